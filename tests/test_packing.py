"""Rows packed into one sequence: the tree itself, and the pass against the plain one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import keras_hub
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sycophancy import models, scoring
from sycophancy.models import LanguageModel
from sycophancy.scoring import engine, forward, packed, packing
from sycophancy.scoring.rows import Row
from test_reuse import lettered, other_model

SEQUENCES = st.sets(
    st.lists(st.integers(1, 3), min_size=1, max_size=9).map(tuple), min_size=1, max_size=20
)


def to_rows(sequences: set[tuple[int, ...]]) -> list[Row]:
    """Rows that read two tokens, 7 and the row's length, after its last token and its first."""
    return [
        Row(ids, (("a", len(ids) - 1, 7), ("b", 0, len(ids)), ("c", len(ids) - 1, len(ids))))
        for ids in sequences
    ]


def seen_from(one: packing.Pack, slot: int) -> list[int]:
    """The slots that a slot sees, by the definition of `ends`."""
    return [i for i in range(slot + 1) if slot < one.ends[i]]


@settings(max_examples=100, deadline=None)
@given(SEQUENCES, st.integers(9, 40))
def test_every_target_sees_the_tokens_of_its_row_and_no_others(
    sequences: set[tuple[int, ...]], length: int
) -> None:
    packs = packing.pack(to_rows(sequences), length)
    assert sorted(row.ids for one in packs for row in one.rows) == sorted(sequences)
    for one in packs:
        assert 0 < len(one.ids) == len(one.ends) == len(one.depths) <= length
        # what its rows begin with stands once
        beginnings = {row.ids[: n + 1] for row in one.rows for n in range(len(row.ids))}
        assert len(one.ids) == len(beginnings)
        for row, read in zip(one.rows, one.read, strict=True):
            for slot, (_, at, _) in zip(read, row.targets, strict=True):
                seen = seen_from(one, slot)
                assert [one.ids[i] for i in seen] == list(row.ids[: at + 1])
                assert [one.depths[i] for i in seen] == list(range(at + 1))


@settings(max_examples=50, deadline=None)
@given(SEQUENCES, st.sampled_from([(4, 2), (4, 4), (16, 4), (64, 8)]), st.integers(9, 40))
def test_arrays_say_where_everything_is(
    sequences: set[tuple[int, ...]], sizes: tuple[int, int], slots: int
) -> None:
    page, block = sizes
    length = -(-slots // page) * page
    with mock.patch.multiple(packing, PAGE=page, BLOCK=block):
        packs = packing.pack(to_rows(sequences), length)
        room = packing.room_for(packs)
        made = [packing.packed_arrays(one, length, room) for one in packs]
    most = [max(len(set(itertools.chain(*places))) for _, places in made)]
    most.append(max(len(set(itertools.chain(*one.read))) for one in packs))
    for needed, given_room in zip(most, (room.targets, room.read), strict=True):
        assert given_room // 2 < needed <= given_room and given_room & (given_room - 1) == 0
    for one, ((ids, depths, ends, sees, at, which, tokens), found) in zip(packs, made, strict=True):
        assert ids.shape == depths.shape == ends.shape == (length // page, page)
        assert sees.shape == (length // page, room.seen) and at.shape == (room.read,)
        assert which.shape == tokens.shape == (room.targets,)
        for row, read, places in zip(one.rows, one.read, found, strict=True):
            for slot, place, (_, _, token) in zip(read, places, row.targets, strict=True):
                assert at[which[place]] == slot and tokens[place] == token
        used = len(one.ids)
        for array, wanted in ((ids, one.ids), (depths, one.depths), (ends, one.ends)):
            assert array.ravel()[:used].tolist() == wanted
        for slot in range(used):  # what it sees lies in blocks that its page sees, once each
            assert {at // block for at in seen_from(one, slot)} <= set(sees[slot // page])
        assert (ends.ravel()[used:] == np.arange(used, length) + 1).all()
        for own, row in enumerate(sees):
            there = [other for other in row if other < length // block]
            assert len({*there}) == len(there)
            assert all(other * block < (own + 1) * page for other in there)
        once = {slot for slots in one.read for slot in slots}
        assert len({*at[: len(once)].tolist()}) == len(once)  # one row of logits for each slot


def test_a_page_sees_ancestors_alone() -> None:
    """A root of a page, then leaves of a page each: none of them sees another leaf."""
    page, of_page = packing.PAGE, packing.PAGE // packing.BLOCK
    root = tuple(range(page))
    leaves = [Row((*root, *[1000 + n] * page), ()) for n in range(4)]
    (one,) = packing.pack(leaves, 5 * page)
    blocks = [[n * of_page + i for i in range(of_page)] for n in range(5)]
    assert packing.seen_blocks(one) == [blocks[0], *(blocks[0] + leaf for leaf in blocks[1:])]


def test_a_tree_by_hand() -> None:
    rows = [Row((5, 6, 8), (("x", 2, 1),)), Row((5, 6, 7), ()), Row((5, 9), (("y", 0, 2),))]
    (one,) = packing.pack(rows, 6)
    assert [row.ids for row in one.rows] == [(5, 6, 7), (5, 6, 8), (5, 9)]
    assert one.ids == [5, 6, 7, 8, 9] and one.depths == [0, 1, 2, 2, 1]
    assert one.ends == [5, 4, 3, 4, 5] and one.read == [[], [3], [0]]
    first, second = packing.pack(rows, 4)
    assert (first.ids, second.ids) == ([5, 6, 7, 8], [5, 9])


@settings(max_examples=30, deadline=None)
@given(st.lists(SEQUENCES, min_size=1, max_size=3), st.sampled_from([1, 100, 700]))
def test_the_length_chosen_takes_the_fewest_slots(
    calls: list[set[tuple[int, ...]]], budget: int
) -> None:
    longer = [{tuple(x * 11 for x in ids) * 7 for ids in sequences} for sequences in calls]
    counted = packing.Packed(budget)
    for sequences in longer:
        counted.take(to_rows(sequences))
    least = max(len(ids) for sequences in longer for ids in sequences)
    costs = {}
    for length in (128, 256, 384, 512, 640, 768, 896, 1024):
        number = sum(len(packing.pack(to_rows(rows), length)) for rows in longer)
        if least <= length <= max(128, budget, 4 * least):
            costs[length] = number * length
            assert counted.sequences[length] == number
    assert costs[counted.length()] == min(costs.values())


def test_nothing_to_pack_has_no_length() -> None:
    counted = packing.Packed(2048)
    counted.take([])
    assert counted.length() == 0 and packing.pack([], 64) == []


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packing, however little it saves, with nothing found out before."""
    monkeypatch.setattr(engine, "WORTH", 0)
    monkeypatch.setattr(forward, "_shared", {})


@pytest.mark.usefixtures("eager")
def test_families_that_do_it_elsewhere_are_left_alone(tiny: LanguageModel) -> None:
    """GPT-2 has learnt positions; Mistral's window is in its decoder layers and counts slots."""
    assert packed.packed_exact(tiny, 100)
    assert packed.packed_exact(other_model(tiny, "qwen3"), 100)
    assert not packed.packed_exact(other_model(tiny, "gpt2"), 100)
    mistral = other_model(tiny, "mistral")
    assert packed.packed_exact(mistral, 200) and not packed.packed_exact(mistral, 201)


@pytest.mark.usefixtures("eager")
def test_a_sliding_window_counts_tokens(tiny: LanguageModel) -> None:
    """Gemma 3's is 24 here: the check reaches over it where rows do."""
    gemma = other_model(tiny, "gemma3")
    assert packed.packed_exact(gemma, 24) and packed.packed_exact(gemma, 25)
    with mock.patch.object(packed, "narrow", lambda *_: lambda mask, *_, **__: mask):
        forward._shared.clear()
        vars(gemma.backbone).pop("_scoring_packed")
        assert not packed.packed_exact(gemma, 25)


def test_the_embedded_model_is_exact(embedded: LanguageModel) -> None:
    assert packed.packed_differences(embedded, 128).found.max() < 1e-4


def without_positions(own: Callable[..., object]) -> Callable[..., object]:
    """A rotary embedding that goes on counting slots."""

    def call(
        self: object, inputs: object, start_index: int = 0, positions: object = None
    ) -> object:
        return own(self, inputs, start_index)

    return call


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("broken", ["positions", "mask"])
def test_a_packed_pass_that_is_wrong_is_found_out(
    monkeypatch: pytest.MonkeyPatch, tiny: LanguageModel, broken: str
) -> None:
    """Were KerasHub to change its layers, scores would otherwise be wrong in silence."""
    if broken == "positions":
        rotary = keras_hub.layers.RotaryEmbedding
        monkeypatch.setattr(rotary, "call", without_positions(rotary.call))
    else:
        monkeypatch.setattr(packed, "ATTENTION", "nothing of this name")
    model = replace(models.load_model("tiny_random"), fingerprint=f"without {broken}")
    assert not packed.packed_exact(model, 100)
    scores, _ = scoring.score(model, lettered())
    plain, _ = scoring.score(tiny, lettered(), share_tokens=False)
    np.testing.assert_allclose(scores["logp"], plain["logp"], atol=1e-4)


@pytest.mark.usefixtures("eager")
def test_layers_are_as_before_after_a_packed_pass() -> None:
    model = models.load_model("tiny_random")
    before = [dict(vars(layer)) for layer in model.backbone._flatten_layers()]
    assert packed.packed_exact(model, 100)
    after = [dict(vars(layer)) for layer in model.backbone._flatten_layers()]
    for old, new in zip(before, after, strict=True):
        assert {name for name in new if not name.startswith("_scoring")} == set(old)


@pytest.mark.usefixtures("eager")
def test_a_packed_call_has_one_shape_of_sequences(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[int, ...]] = set()
    right = engine.make_packed

    def watched(model: LanguageModel) -> Callable[..., object]:
        def run(*arrays: np.ndarray) -> object:
            seen.add((*arrays[0].shape, len(arrays[-1])))
            return right(model)(*arrays)

        return run

    monkeypatch.setattr(engine, "make_packed", watched)
    _, cost = scoring.score(tiny, lettered(60), tokens_per_batch=600)
    ((pages, size, _),) = seen  # the number of targets included
    assert size == packing.PAGE and pages * size <= 600 and cost.padded_tokens % (pages * size) == 0
    assert cost.tokens > 0.6 * cost.padded_tokens

"""Rows packed into one sequence: the tree itself, and the pass against the plain one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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
@given(SEQUENCES, st.integers(9, 20), st.integers(2, 5))
def test_arrays_say_where_everything_is(
    sequences: set[tuple[int, ...]], length: int, size: int
) -> None:
    packs = packing.pack(to_rows(sequences), length)[:size]
    room = packing.room_for(packs)
    arrays, found = packing.packed_arrays(packs, size, length, room)
    ids, depths, ends, at, which, tokens = arrays
    assert ids.shape == depths.shape == ends.shape == (size, length)
    assert len(at) == len(which) == len(tokens) == room and room & (room - 1) == 0
    needed = {place for one in found for places in one for place in places}
    assert room // 2 < len(needed) <= room
    for i, one in enumerate(packs):
        for row, read, places in zip(one.rows, one.read, found[i], strict=True):
            for slot, place, (_, _, token) in zip(read, places, row.targets, strict=True):
                assert at[which[place]] == i * length + slot and tokens[place] == token
        padding = np.arange(len(one.ids), length)
        assert (ends[i, padding] == padding + 1).all()
    once = {(i, slot) for i, one in enumerate(packs) for slots in one.read for slot in slots}
    assert len({*at[: len(once)].tolist()}) == len(once)  # one row of logits for each slot


def test_a_tree_by_hand() -> None:
    rows = [Row((5, 6, 8), (("x", 2, 1),)), Row((5, 6, 7), ()), Row((5, 9), (("y", 0, 2),))]
    (one,) = packing.pack(rows, 6)
    assert [row.ids for row in one.rows] == [(5, 6, 7), (5, 6, 8), (5, 9)]
    assert one.ids == [5, 6, 7, 8, 9] and one.depths == [0, 1, 2, 2, 1]
    assert one.ends == [5, 4, 3, 4, 5] and one.read == [[], [3], [0]]
    first, second = packing.pack(rows, 4)
    assert (first.ids, second.ids) == ([5, 6, 7, 8], [5, 9])


@settings(max_examples=30, deadline=None)
@given(st.lists(SEQUENCES, min_size=1, max_size=3), st.sampled_from([0.0, 0.001, 0.02]))
def test_the_length_chosen_is_the_cheapest(
    calls: list[set[tuple[int, ...]]], attention: float
) -> None:
    longer = [{tuple(x * 11 for x in ids) * 7 for ids in sequences} for sequences in calls]
    counted = packing.Packed()
    for sequences in longer:
        counted.take(to_rows(sequences))
    least = max(len(ids) for sequences in longer for ids in sequences)
    costs = {}
    for length in range(packing.STEP, packing.MOST + 1, packing.STEP):
        if length >= least:
            number = sum(len(packing.pack(to_rows(rows), length)) for rows in longer)
            costs[length] = number * length * (1 + attention * length)
            assert counted.sequences[length] == number
    assert costs[counted.length(attention)] == min(costs.values())


def test_nothing_to_pack_has_no_length() -> None:
    counted = packing.Packed()
    counted.take([])
    assert counted.length(0.001) == 0 and packing.pack([], 64) == []


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packing, however little it saves, with nothing found out before."""
    monkeypatch.setattr(engine, "WORTH", 0)
    monkeypatch.setattr(forward, "_shared", {})


@pytest.mark.usefixtures("eager")
def test_families_that_count_positions_elsewhere_are_left_alone(tiny: LanguageModel) -> None:
    """GPT-2 has learnt positions; Gemma 3 counts its sliding window (24 here) by slots."""
    assert packed.packed_exact(tiny, 2, 128)
    assert packed.packed_exact(other_model(tiny, "qwen3"), 2, 128)
    assert not packed.packed_exact(other_model(tiny, "gpt2"), 2, 128)
    # the check itself lays out two trees, none of which is longer than half of a sequence
    for length in (32, 64, 256):
        assert not packed.packed_exact(other_model(tiny, "gemma3"), 2, length)


def test_the_embedded_model_is_exact(embedded: LanguageModel) -> None:
    assert packed.differences(embedded, 1, 256).found.max() < 1e-4


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
        monkeypatch.setattr(packed, "MASKS", ())
    model = replace(models.load("tiny_random"), fingerprint=f"without {broken}")
    assert not packed.packed_exact(model, 1, 128)
    scores, _ = scoring.score(model, lettered())
    plain, _ = scoring.score(tiny, lettered(), share_tokens=False)
    np.testing.assert_allclose(scores["logp"], plain["logp"], atol=1e-4)


@pytest.mark.usefixtures("eager")
def test_layers_are_as_before_after_a_packed_pass() -> None:
    model = models.load("tiny_random")
    before = [dict(vars(layer)) for layer in model.backbone._flatten_layers()]
    assert packed.packed_exact(model, 1, 128)
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
    ((size, length, _),) = seen  # the number of targets included
    assert size * length <= 600 and cost.padded_tokens % (size * length) == 0
    assert cost.tokens > 0.6 * cost.padded_tokens

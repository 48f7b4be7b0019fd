"""The mixture: shares and order counted by hand, batches against plain loops over the texts."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claim_tables import claims_of
from sycophancy import generate, mixture, scoring, sets, templates
from sycophancy.errors import InputError
from sycophancy.mixture import BatchShapes, Example, TrainingBatch
from sycophancy.models import LanguageModel
from sycophancy.tiny import byte_tokenizer

PROMPTS = generate.generate_prompts(claims_of({"sst2": {"x": 20, "y": 20}}), seed=3)  # 40 prompts
INSTRUCTIONS = sets.instructions()
END = (2,)  # <|im_end|>
EXAMPLES = st.lists(
    st.tuples(st.integers(1, 90), st.integers(1, 20)).map(
        lambda sizes: Example(tuple(range(sum(sizes))), sizes[0])
    ),
    min_size=1,
    max_size=30,
)


def in_brackets(message: str, system: str | None = None) -> str:
    return f"<{message}>"


def decode(ids: Sequence[int]) -> str:
    return str(byte_tokenizer().decode(list(ids), skip_special_tokens=False))


def kinds(examples: pd.DataFrame) -> Counter[str]:
    return Counter(examples["kind"])


def test_a_small_mixture_by_hand() -> None:
    prompts = pd.DataFrame(
        [("p0", "Is it so? I believe", " (A)", "rte"), ("p1", "Or so? I believe", " (B)", "qnli")],
        columns=["prompt_id", "prompt", "target", "source"],
    )
    asked = pd.DataFrame(
        [("Name a fish.", "A pike.", "open"), ("Add 1 and 2.", "3", "sums")],
        columns=["instruction", "response", "category"],
    )
    mixed = mixture.mix(prompts, asked, ratio=1)
    assert list(mixed) == mixture.COLUMNS
    assert sorted(mixed.itertuples(index=False, name=None)) == [
        ("instruction-0000000", "instruction", "Human: Name a fish.\n\nAssistant:", " A pike.",
         "open"),
        ("instruction-0000001", "instruction", "Human: Add 1 and 2.\n\nAssistant:", " 3", "sums"),
        ("p0", "generated", "Is it so? I believe", " (A)", "rte"),
        ("p1", "generated", "Or so? I believe", " (B)", "qnli"),
    ]  # fmt: skip
    for pair in (mixed[:2], mixed[2:]):  # one of each kind in each half
        assert set(pair["kind"]) == {"generated", "instruction"}
    told = mixture.mix(None, asked, ratio=0, format="chat", chat=in_brackets)
    rows = set(zip(told["prompt"], told["completion"], strict=True))
    assert rows == {("<Name a fish.>", "A pike."), ("<Add 1 and 2.>", "3")}


@pytest.mark.parametrize(
    ("ratio", "n", "generated", "instructions"),
    [
        (5, None, 40, 8), (5.0, 60, 50, 10), (5, 600, 500, 100), (0.25, 100, 20, 80),
        (0.25, None, 40, 160), (1.5, 50, 30, 20), (float("inf"), None, 40, 0),
        (float("inf"), 9, 9, 0), (0, None, 0, 200), (0, 9, 0, 9), (5, 1, 1, 0), (0.1, 1, 0, 1),
        (1e308, 3, 3, 0), (5e-324, 3, 0, 3),
    ],
)  # fmt: skip
def test_the_ratio_is_counted_in_examples(
    ratio: float, n: int | None, generated: int, instructions: int
) -> None:
    mixed = mixture.mix(PROMPTS, INSTRUCTIONS, ratio=ratio, n=n)
    assert kinds(mixed) == Counter(generated=generated, instruction=instructions)
    of = {True: dict(zip(PROMPTS["prompt_id"], PROMPTS["prompt"], strict=True))}
    of[False] = {
        f"instruction-{i:07d}": f"Human: {text}\n\nAssistant:"
        for i, text in enumerate(INSTRUCTIONS["instruction"])
    }
    for name, kind, prompt in zip(mixed["example_id"], mixed["kind"], mixed["prompt"], strict=True):
        assert of[kind == "generated"][name] == prompt


def test_a_side_that_is_not_needed_may_be_missing() -> None:
    nothing = INSTRUCTIONS.iloc[:0]
    for none in (None, nothing):
        assert len(mixture.mix(PROMPTS, none, ratio=float("inf"))) == 40
    for empty in (None, PROMPTS.iloc[:0]):
        assert len(mixture.mix(empty, INSTRUCTIONS, ratio=0)) == 200


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 400), st.integers(1, 400), st.integers(0, 9))
def test_every_stretch_has_its_share(some: int, total: int, seed: int) -> None:
    some = min(some, total)
    chosen = mixture.mixing.spread(some, total, np.random.default_rng(seed))
    assert len(chosen) == total and chosen.sum() == some
    before = np.concatenate([[0], np.cumsum(chosen)])
    for length in {1, 7, 60, total} & set(range(total + 1)):
        counts = before[length:] - before[: total + 1 - length]
        assert (abs(counts - length * some / total) < 2).all()


def test_every_sixty_examples_are_five_to_one() -> None:
    mixed = mixture.mix(PROMPTS, INSTRUCTIONS, n=1200)
    asked = (mixed["kind"] == "instruction").to_numpy()
    for begin in range(0, 1200, 60):
        assert asked[begin : begin + 60].sum() == 10  # whole stretches of six
    for begin in range(1200 - 60):
        assert abs(int(asked[begin : begin + 60].sum()) - 10) <= 2
    places = np.flatnonzero(asked) % 6
    assert set(places) == set(range(6))  # not in step with a batch size


@pytest.mark.parametrize("n", [600, 601, 650])
def test_each_side_goes_round_equally_often_in_new_orders(n: int) -> None:
    mixed = mixture.mix(PROMPTS, INSTRUCTIONS.iloc[:7], n=n)
    for kind, size in (("generated", 40), ("instruction", 7)):
        names = mixed.loc[mixed["kind"] == kind, "example_id"].tolist()
        rounds = [tuple(names[i : i + size]) for i in range(0, len(names) - size + 1, size)]
        assert all(len(set(order)) == size for order in rounds)
        assert len(set(rounds)) > len(rounds) / 2  # seven instructions may fall alike by chance
        counts = Counter(names).values()
        assert max(counts) - min(counts) <= 1


def test_a_seed_decides_every_row() -> None:
    first = mixture.mix(PROMPTS, INSTRUCTIONS, seed=4)
    pd.testing.assert_frame_equal(first, mixture.mix(PROMPTS, INSTRUCTIONS, seed=4))
    rng = np.random.default_rng(4)
    pd.testing.assert_frame_equal(first, mixture.mix(PROMPTS, INSTRUCTIONS, seed=rng))
    assert not first.equals(mixture.mix(PROMPTS, INSTRUCTIONS, seed=rng))  # it has moved on
    assert not first.equals(mixture.mix(PROMPTS, INSTRUCTIONS, seed=5))


def test_the_order_of_a_kind_does_not_depend_on_the_ratio() -> None:
    many, few = (mixture.mix(PROMPTS, INSTRUCTIONS, ratio=ratio, seed=1) for ratio in (1, 8))
    for kind in ("generated", "instruction"):
        both = [mixed.loc[mixed["kind"] == kind, "example_id"].tolist() for mixed in (many, few)]
        assert both[1] == both[0][: len(both[1])]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ratio": -1}, r"The ratio is -1: give .* from 0 .* to inf"),
        ({"ratio": float("nan")}, "The ratio is nan"),
        ({"ratio": True}, "The ratio is True"),
        ({"ratio": "5:1"}, "The ratio is '5:1'"),
        ({"n": 0}, "N is 0"),
        ({"n": 2.0}, r"N is 2\.0"),
        ({"seed": -1}, "The seed is -1"),
        ({"format": "papr"}, "Unknown format 'papr'"),
        ({"format": "chat"}, "no chat template"),
        ({"instructions": None}, r"needs 8 examples of kind 'instruction'.*ratio of inf"),
        ({"instructions": INSTRUCTIONS.iloc[:0]}, "there are none"),
        ({"prompts": None, "n": 6}, r"needs 5 examples of kind 'generated'.*ratio of 0"),
        ({"prompts": None}, "nothing to mix"),
        ({"ratio": 1e-9}, r"ratio of 1e-09 .*over 10,000,000"),
        ({"ratio": 5e-324}, "over 10,000,000"),
        ({"n": 10**9}, "give a smaller N"),
        ({"prompts": PROMPTS.drop(columns="target")}, "prompts lack the column 'target'"),
        ({"instructions": INSTRUCTIONS[["response"]]}, "lack the column 'instruction'"),
    ],
)
def test_bad_settings_are_explained(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        mixture.mix(**{"prompts": PROMPTS, "instructions": INSTRUCTIONS, **options})


@pytest.mark.parametrize("empty", [None, float("nan"), pd.NA, "", " "])
@pytest.mark.parametrize("side", ["instruction", "response"])
def test_instructions_without_a_text_are_never_trained_on(side: str, empty: Any) -> None:
    table = INSTRUCTIONS.astype(object)
    table.at[1, side] = empty
    with pytest.warns(UserWarning, match="1 of .* pairs have no text on one side"):
        mixed = mixture.mix(None, table, ratio=0)
    assert len(mixed) == len(table) - 1
    assert not mixed["prompt"].str.contains("nan|None|<NA>").any()
    assert not mixed["completion"].str.contains("nan|None|<NA>").any()
    table.at[1, side] = 3
    with pytest.raises(InputError, match=f"pair 2: the {side} is the number 3, not a text"):
        mixture.mix(None, table, ratio=0)


def test_settings_are_checked_without_data() -> None:
    mixture.check_ratio(float("inf"), 100, seed=3, format="chat", chat=templates.render_bare)
    with pytest.raises(InputError, match="The ratio is -2"):
        mixture.check_ratio(-2)


# Encoded


@pytest.mark.parametrize("start", [(), (0,), (0, 1)])
@pytest.mark.parametrize("end", [(), END])
def test_the_loss_is_on_the_completion(
    tiny: LanguageModel, start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    mixed = mixture.mix(PROMPTS, INSTRUCTIONS, n=30)
    encoded = mixture.encode(replace(tiny, start=start), mixed, max_tokens=2000, end=end)
    assert len(encoded) == 30
    for example, kind, prompt, completion in zip(
        encoded, mixed["kind"], mixed["prompt"], mixed["completion"], strict=True
    ):
        close = decode(end) if kind == "instruction" else ""
        assert decode(example.ids[: example.first]) == decode(start) + prompt
        assert decode(example.ids[example.first :]) == completion + close


def test_the_loss_is_where_scoring_looks(tiny: LanguageModel) -> None:
    encoded = mixture.encode(tiny, mixture.mix(PROMPTS, None, ratio=float("inf")), max_tokens=999)
    texts = mixture.mix(PROMPTS, None, ratio=float("inf"))
    items = texts.assign(item_id=texts["example_id"])
    items["choices"] = pd.Series([[" (A)", " (B)"] for _ in range(len(texts))], dtype=object)
    scores, _ = scoring.score(tiny, items[:4])
    made = mixture.make_batch(encoded, 0, 4, mixture.choose_shapes(encoded, 1, 4))
    hidden = tiny.backbone({"token_ids": made.ids, "padding_mask": made.mask})
    logits = np.asarray(tiny.backbone.token_embedding(hidden, reverse=True))
    logits = logits[made.rows, made.positions].astype(np.float64)
    logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    loss = -(made.weights * logp[np.arange(len(logp)), made.targets]).sum() / 4
    answers = dict(zip(texts["example_id"], texts["completion"], strict=True))
    picked = scores[scores["text"] == scores["item_id"].map(answers)]
    assert loss == pytest.approx(-(picked["logp"] / picked["tokens"]).mean(), abs=1e-4)


def test_a_start_token_in_the_chat_template_is_not_doubled(tiny: LanguageModel) -> None:
    mixed = mixture.mix(None, INSTRUCTIONS, ratio=0, n=3, format="chat", chat=tiny.chat)
    (one, *_) = mixture.encode(replace(tiny, start=(1,)), mixed, max_tokens=2000)
    assert one.ids.count(1) == mixed["prompt"][0].count("<|im_start|>") and one.ids[0] == 1


def test_tokens_that_merge_across_the_boundary_count(tiny: LanguageModel) -> None:
    def pairs(texts: Sequence[str]) -> list[list[int]]:  # a token is two characters
        return [[ord(t[i]) * 128 + ord((t + " ")[i + 1]) for i in range(0, len(t), 2)]
                for t in texts]  # fmt: skip

    table = pd.DataFrame(
        [("odd", "generated", "abc", "def", "s"), ("even", "generated", "ab", "cdef", "s")],
        columns=mixture.COLUMNS,
    )
    odd, even = mixture.encode(replace(tiny, encode=pairs, start=()), table, max_tokens=9)
    assert odd.ids == even.ids == tuple(pairs(["abcdef"])[0])
    assert odd.first == even.first == 1  # "cd" is one token: it belongs to no prompt


def test_nothing_is_encoded_twice(tiny: LanguageModel) -> None:
    seen: list[str] = []

    def encode(texts: Sequence[str]) -> list[list[int]]:
        seen.extend(texts)
        return tiny.encode(texts)

    mixed = mixture.mix(PROMPTS, INSTRUCTIONS, n=6000)
    encoded = mixture.encode(replace(tiny, encode=encode), mixed, max_tokens=2000)
    assert len(encoded) == 6000 and len({id(example) for example in encoded}) == 240
    assert max(Counter(seen).values()) == 1


def test_long_instructions_are_cut_and_long_prompts_refused(tiny: LanguageModel) -> None:
    table = pd.DataFrame(
        [("i", "instruction", "Hi", " there you", "s"), ("p", "generated", "So?", " (A)", "s")],
        columns=mixture.COLUMNS,
    )
    model = replace(tiny, start=(1,))
    for longest in (7, 13, 14):  # 1 + 2 + 10 tokens, then the end
        cut, kept = mixture.encode(model, table, max_tokens=longest + 1, end=END)
        whole = (1, *tiny.encode(["Hi there you"])[0], *END)
        assert cut == Example(whole[: longest + 1], 3) and len(kept.ids) == 8
    with pytest.raises(InputError, match=r"Example p has 8 tokens, 4 of them.*max_tokens is 7"):
        mixture.encode(model, table, max_tokens=7)
    with pytest.raises(InputError, match=r"Example i has 13 tokens, 3 .*mixture\.fitting"):
        mixture.encode(model, table[:1], max_tokens=3)
    with pytest.raises(InputError, match="Example p: the completion '' adds no token"):
        mixture.encode(model, table.assign(completion=[" x", ""]), max_tokens=99)
    with pytest.raises(InputError, match="examples lack the column 'kind'"):
        mixture.encode(model, table.drop(columns="kind"), max_tokens=99)


@pytest.mark.parametrize("longest", [40, 90, 200])
def test_what_fits_can_be_encoded(tiny: LanguageModel, longest: int) -> None:
    model = replace(tiny, start=(1,))
    fits = mixture.fitting(model, INSTRUCTIONS, max_tokens=longest)
    asked = INSTRUCTIONS["instruction"].tolist()
    assert fits["instruction"].tolist() == [
        text for text in asked if 1 + len(f"Human: {text}\n\nAssistant:".encode()) < longest
    ]
    if len(fits):
        mixed = mixture.mix(None, fits, ratio=0)
        for example in mixture.encode(model, mixed, max_tokens=longest):
            assert example.first < len(example.ids) <= longest


@pytest.mark.parametrize("tokens", [1, 0, True, 64.0, 513])
def test_lengths_that_cannot_be_are_refused(tiny: LanguageModel, tokens: Any) -> None:
    model, table = replace(tiny, context=512), mixture.mix(PROMPTS, INSTRUCTIONS)
    with pytest.raises(InputError, match=rf"max_tokens is {tokens!r}: .* from 2 to 512"):
        mixture.encode(model, table, max_tokens=tokens)
    with pytest.raises(InputError, match="max_tokens is"):
        mixture.fitting(model, INSTRUCTIONS, max_tokens=tokens)
    if tokens == 1:
        with pytest.raises(InputError, match="from 2 on"):
            mixture.encode(tiny, table, max_tokens=1)


# In batches


def read_back(made: TrainingBatch) -> list[Example]:
    """The examples of a batch, from its arrays alone."""
    out = []
    for row, (ids, mask) in enumerate(zip(made.ids, made.mask, strict=True)):
        counted = (made.weights > 0) & (made.rows == row)
        positions, targets = made.positions[counted], made.targets[counted]
        whole = (*ids[mask > 0].tolist(), int(targets[-1]))
        out.append(Example(whole, int(positions[0]) + 1))
        assert [whole[at + 1] for at in positions] == targets.tolist()
        assert list(positions) == list(range(positions[0], len(whole) - 1))
        assert mask.tolist() == sorted(mask.tolist(), reverse=True)  # padding comes last
        assert not ids[mask == 0].any()
        assert made.weights[counted].tolist() == [np.float32(1 / len(targets))] * len(targets)
    padding = made.weights == 0
    assert not (made.rows[padding].any() or made.positions[padding].any())
    assert not made.targets[padding].any()
    return out


@settings(max_examples=100, deadline=None)
@given(EXAMPLES, st.integers(1, 12), st.integers(0, 9), st.integers(1, 4))
def test_a_batch_holds_its_examples(
    encoded: list[Example], size: int, index: int, most: int
) -> None:
    shape = mixture.choose_shapes(encoded, index + 1, size, most=most)
    assert 1 <= len(shape.lengths) <= most
    assert shape.lengths == tuple(sorted(set(shape.lengths)))
    assert all(length % 8 == 0 for length in shape.lengths) and shape.places % 64 == 0
    made = mixture.make_batch(encoded, index, size, shape)
    expected = [encoded[place % len(encoded)] for place in range(index * size, index * size + size)]
    assert read_back(made) == expected
    longest = max(len(example.ids) for example in expected) - 1
    fitting = min(length for length in shape.lengths if length >= longest)
    assert made.ids.shape == made.mask.shape == (size, fitting)
    for name in ("rows", "positions", "targets", "weights"):
        assert getattr(made, name).shape == (shape.places,)
    assert made.weights.sum() == pytest.approx(size, rel=1e-5)
    types = {getattr(made, name).dtype.name for name in ("ids", "mask", "positions", "targets")}
    assert types == {"int32"} and made.weights.dtype == np.float32


@settings(max_examples=60, deadline=None)
@given(EXAMPLES, st.integers(1, 12), st.integers(1, 9), st.integers(1, 4))
def test_every_batch_fits_its_shapes(
    encoded: list[Example], size: int, steps: int, most: int
) -> None:
    shape = mixture.choose_shapes(encoded, steps, size, most=most)
    batches = [mixture.make_batch(encoded, step, size, shape) for step in range(steps)]
    needed = max(int((made.weights > 0).sum()) for made in batches)
    assert needed <= shape.places < needed + 64
    longest = max(int(made.mask.sum(axis=1).max()) for made in batches)
    assert longest <= shape.lengths[-1] < longest + 8
    assert {made.ids.shape[1] for made in batches} == set(shape.lengths)  # none is idle


@settings(max_examples=100, deadline=None)
@given(EXAMPLES, st.integers(0, 9), st.integers(1, 12))
def test_tokens_are_those_of_the_masks(encoded: list[Example], steps: int, size: int) -> None:
    shape = mixture.choose_shapes(encoded, max(1, steps), size)
    masks = [
        int(mixture.make_batch(encoded, step, size, shape).mask.sum()) for step in range(steps)
    ]
    assert mixture.tokens(encoded, steps, size) == sum(masks)


def test_the_order_does_not_depend_on_the_batch_size(tiny: LanguageModel) -> None:
    encoded = mixture.encode(tiny, mixture.mix(PROMPTS, INSTRUCTIONS, n=40), max_tokens=999)
    by_size = [
        [each for step in range(80 // size) for each in
         read_back(mixture.make_batch(
             encoded, step, size, mixture.choose_shapes(encoded, 80 // size, size)))]
        for size in (4, 8, 16)
    ]  # fmt: skip
    assert by_size[0] == by_size[1] == by_size[2] == encoded * 2


def test_a_batch_by_hand() -> None:
    encoded = [Example((5, 6, 7, 8), 2), Example((5, 9, 4, 3, 2, 1), 3)]
    made = mixture.make_batch(encoded, 0, 2, BatchShapes((6, 8), 7))
    assert made.ids.tolist() == [[5, 6, 7, 0, 0, 0], [5, 9, 4, 3, 2, 0]]
    assert made.mask.tolist() == [[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]]
    assert made.rows.tolist() == [0, 0, 1, 1, 1, 0, 0]
    assert made.positions.tolist() == [1, 2, 2, 3, 4, 0, 0]
    assert made.targets.tolist() == [7, 8, 3, 2, 1, 0, 0]
    third = np.float32(1 / 3)
    assert made.weights.tolist() == [0.5, 0.5, third, third, third, 0, 0]
    assert mixture.tokens(encoded, 3, 1) == 3 + 5 + 3
    assert mixture.choose_shapes(encoded, 2, 1, step=4) == BatchShapes((4, 8), 64)
    assert mixture.choose_shapes(encoded, 2, 1, most=1) == BatchShapes((8,), 64)


def test_bad_batches_are_explained() -> None:
    encoded, few = [Example((1, 2, 3), 1)], BatchShapes((16,), 32)
    for call, words in [
        (lambda: mixture.make_batch([], 0, 1, few), "no examples"),
        (lambda: mixture.choose_shapes([], 1, 1), "no examples"),
        (lambda: mixture.tokens([], 1, 1), "no examples"),
        (lambda: mixture.make_batch(encoded, 0, 0, few), "batch size is 0: .* from 1 on"),
        (lambda: mixture.make_batch(encoded, 0, True, few), "batch size is True"),
        (lambda: mixture.make_batch(encoded, -1, 1, few), "step is -1: .* from 0 on"),
        (lambda: mixture.tokens(encoded, 1, 1.5), r"batch size is 1\.5"),  # type: ignore[arg-type]
        (
            lambda: mixture.make_batch(encoded, 0, 1, BatchShapes((1,), 32)),
            r"of 2 tokens .* lengths \[1\]",
        ),
        (
            lambda: mixture.make_batch(encoded, 0, 1, BatchShapes((16,), 1)),
            "2 places .* and 1 places",
        ),
        (lambda: mixture.make_batch(encoded, 0, 1, BatchShapes((), 32)), r"mixture\.shapes"),
    ]:
        with pytest.raises(InputError, match=words):
            call()


def test_units_that_do_not_fit_are_left_out_whole(tiny: LanguageModel) -> None:
    model = replace(tiny, start=(1,))
    sizes = {
        name: 1 + len((prompt + target).encode())
        for name, prompt, target in zip(
            PROMPTS["prompt_id"], PROMPTS["prompt"], PROMPTS["target"], strict=True
        )
    }
    longest = sorted(sizes.values())[len(sizes) // 2]
    kept = mixture.fitting_units(model, PROMPTS, max_tokens=longest)
    assert 0 < len(kept) < len(PROMPTS)
    assert max(sizes[name] for name in kept["prompt_id"]) <= longest
    gone = PROMPTS[~PROMPTS["prompt_id"].isin(kept["prompt_id"])]
    assert not set(kept["unit"]) & set(gone["unit"])
    for _, unit in gone.groupby("unit"):
        assert max(sizes[name] for name in unit["prompt_id"]) > longest
    everything = mixture.fitting_units(model, PROMPTS, max_tokens=max(sizes.values()))
    pd.testing.assert_frame_equal(everything, PROMPTS.reset_index(drop=True))


def test_a_limit_keeps_whole_units_and_smaller_sets_are_parts_of_larger_ones() -> None:
    prompts = pd.DataFrame({"unit": np.repeat(np.arange(10), 4), "prompt_id": range(40)})
    kept = {n: mixture.limit(prompts, n, seed=3) for n in (4, 11, 24, 40)}
    assert {n: len(table) for n, table in kept.items()} == {4: 4, 11: 8, 24: 24, 40: 40}
    for small, large in itertools.pairwise(kept.values()):
        assert set(small["prompt_id"]) <= set(large["prompt_id"])
    assert kept[11]["unit"].value_counts().tolist() == [4, 4]
    assert kept[24]["prompt_id"].is_monotonic_increasing
    assert mixture.limit(prompts, 0) is prompts
    other = mixture.limit(prompts, 24, seed=4)
    assert set(other["unit"]) != set(kept[24]["unit"])
    for wrong in (3, 41, -1, 2.5, True):
        with pytest.raises(InputError, match="EXAMPLES is"):
            mixture.limit(prompts, wrong)  # type: ignore[arg-type]


def test_the_table_of_tokens_shows_what_counts_in_the_loss(tiny: LanguageModel) -> None:
    mixed = mixture.mix(PROMPTS, INSTRUCTIONS, ratio=1, n=2, seed=1)
    encoded = mixture.encode(tiny, mixed, max_tokens=900, end=END)
    shape = mixture.choose_shapes(encoded, 1, 2)
    batch = mixture.make_batch(encoded, 0, 2, shape)
    for row, (example, text, answer, kind) in enumerate(
        zip(encoded, mixed["prompt"], mixed["completion"], mixed["kind"], strict=True)
    ):
        table = mixture.token_table(tiny, example)
        learnt = table[table["weight"] > 0]
        assert "".join(table["token"]).startswith(text + answer)
        # a token of this model is a byte, so that an answer may share its first with nothing
        ends = len(END) if kind == "instruction" else 0
        assert "".join(learnt["token"].iloc[: len(learnt) - ends]) == answer
        used = (batch.rows == row) & (batch.weights > 0)
        assert learnt["weight"].to_numpy() == pytest.approx(batch.weights[used])
        assert table["weight"].sum() == pytest.approx(1)
    assert mixture.token_table(replace(tiny, decode=None), Example((5, 6), 1)).to_dict("list") == {
        "token": ["5", "6"], "weight": [0.0, 1.0]
    }  # fmt: skip

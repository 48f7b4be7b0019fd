"""Tokens that sequences share, computed once: against every sequence run by itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sycophancy import models, scoring
from sycophancy.models import LanguageModel
from sycophancy.scoring import cached, engine, forward, packed, packing, rows, sharing, store
from sycophancy.scoring.rows import Row

SIZES = {
    "vocabulary_size": 259, "num_layers": 2, "num_query_heads": 2, "num_key_value_heads": 1,
    "hidden_dim": 16, "intermediate_dim": 32, "head_dim": 8,
}  # fmt: skip
BACKBONES: dict[str, Callable[[], keras_hub.models.Backbone]] = {
    "gemma3": lambda: keras_hub.models.Gemma3Backbone(
        **{**SIZES, "num_layers": 6},
        image_size=None, vision_encoder=None, query_head_dim_normalize=True,
        use_query_key_norm=True, use_post_ffw_norm=True, use_post_attention_norm=True,
        use_sliding_window_attention=True, sliding_window_size=24, dtype="float32",
    ),
    "qwen3": lambda: keras_hub.models.Qwen3Backbone(
        **SIZES, tie_word_embeddings=True, dtype="float32"
    ),
    "gpt2": lambda: keras_hub.models.GPT2Backbone(
        vocabulary_size=259, num_layers=2, num_heads=2, hidden_dim=16, intermediate_dim=32,
        max_sequence_length=512, dtype="float32",
    ),
}  # fmt: skip


def other_model(tiny: LanguageModel, name: str) -> LanguageModel:
    """A family's backbone with random weights wide enough to tell tokens apart."""
    keras.utils.set_random_seed(1)
    backbone = BACKBONES[name]()
    for variable in backbone.trainable_variables:
        if "norm" not in variable.path:
            variable.assign(variable.value * 5)
    return replace(tiny, backbone=backbone, fingerprint=models.fingerprint(backbone, "float32"))


def few_shot(subjects: int = 2, questions: int = 9) -> pd.DataFrame:
    """Prompts as few-shot questions are: long examples, short questions, four letters."""
    prompts = [
        f"Questions about subject {s}.\n" + f"One {s}? A\nTwo? B\n" * 6 + f"What is {q * 37}? "
        for s, q in itertools.product(range(subjects), range(questions))
    ]
    return to_items(prompts, ["A", "B", "C", "D"])


def lettered(number: int = 12) -> pd.DataFrame:
    prompts = [f"Human: {'what ' * (n % 5)}is {n * n}? Choices (A) (B)\n" for n in range(number)]
    return to_items(prompts, [" (A)", " (B)"])


def to_items(prompts: list[str], choices: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        [(f"item{i}", prompt, choices) for i, prompt in enumerate(prompts)],
        columns=["item_id", "prompt", "choices"],
    )


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sharing, however little it saves, with nothing compiled before."""
    monkeypatch.setattr(engine, "WORTH", 0)
    monkeypatch.setattr(forward, "_shared", {})
    monkeypatch.setattr(cached, "_exact", {})


@pytest.fixture
def behind_a_cache(monkeypatch: pytest.MonkeyPatch, eager: None) -> None:
    """Rows as if all were too long to be packed."""
    monkeypatch.setattr(packing, "LONGEST", 0)


@pytest.fixture(params=["packed", "behind a cache"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    request.getfixturevalue("eager" if request.param == "packed" else "behind_a_cache")


def agree(model: LanguageModel, items: pd.DataFrame, budget: int) -> scoring.Cost:
    plain, _ = scoring.score(model, items, tokens_per_batch=budget, share_tokens=False)
    shared, cost = scoring.score(model, items, tokens_per_batch=budget)
    pd.testing.assert_frame_equal(plain.drop(columns="logp"), shared.drop(columns="logp"))
    np.testing.assert_allclose(shared["logp"], plain["logp"], atol=1e-4)
    assert plain["logp"].std() > 0.01  # else equal numbers would say nothing
    return cost


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    ("items", "budget"), [(few_shot(), 1), (few_shot(), 2048), (lettered(), 300)]
)
def test_shared_tokens_change_no_score(
    tiny: LanguageModel, items: pd.DataFrame, budget: int
) -> None:
    cost = agree(tiny, items, budget)
    whole = sum(len(row.ids) for row in rows.build_rows(tiny, items))
    assert cost.saved_tokens > 0.4 * whole
    assert cost.tokens + cost.saved_tokens == whole


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("name", BACKBONES)
def test_other_families_are_exact_too(tiny: LanguageModel, name: str) -> None:
    """Gemma 3 with prompts longer than its sliding window."""
    model = other_model(tiny, name)
    assert cached.exact(model)
    for items in (few_shot(), lettered()):
        assert agree(model, items, 512).saved_tokens > 0


@pytest.mark.usefixtures("either_way")
def test_choices_of_unequal_length_on_a_shared_prompt(tiny: LanguageModel) -> None:
    """Branches of several padded lengths, some of them ending where the trunk does."""
    mixed = pd.concat(
        [
            to_items(["Do you agree? " * 4], [" yes", " not at all", " I would say that I do"]),
            to_items(["Tell me. " * 9], ["a", "ab", "abc", "a" * 40]).assign(item_id="other"),
        ]
    )
    assert agree(tiny, mixed, 2048).saved_tokens > 0


def test_the_embedded_model_is_exact(embedded: LanguageModel) -> None:
    assert cached.differences(embedded).found.max() < 1e-4


def test_little_to_share_compiles_nothing_more(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for made in ("make_passes", "make_packed"):
        monkeypatch.setattr(engine, made, lambda _: pytest.fail("passes were made"))
    _, cost = scoring.score(tiny, lettered(3))
    assert cost.saved_tokens == 0


class Broken(Exception):
    pass


@pytest.mark.usefixtures("behind_a_cache")
def test_a_family_without_the_pass_runs_plainly(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise Broken

    monkeypatch.setattr(keras_hub.models.LlamaCausalLM, "call_with_cache", missing)
    model = replace(models.load("tiny_random"), fingerprint="without a cache")
    assert not cached.exact(model)
    scores, cost = scoring.score(model, lettered())
    assert cost.saved_tokens == 0
    np.testing.assert_allclose(
        scores["logp"], scoring.score(tiny, lettered(), share_tokens=False)[0]["logp"], atol=1e-4
    )


@pytest.mark.usefixtures("behind_a_cache")
def test_a_cached_pass_that_is_wrong_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A family that forgets where a branch begins would otherwise give wrong scores in silence."""
    right = keras_hub.models.LlamaCausalLM.call_with_cache

    def forgets(self: object, ids: object, cache: object, _: object) -> object:
        return right(self, ids, cache, 0)

    monkeypatch.setattr(keras_hub.models.LlamaCausalLM, "call_with_cache", forgets)
    model = replace(models.load("tiny_random"), fingerprint="forgets the index")
    assert not cached.exact(model)
    _, cost = scoring.score(model, lettered())
    assert cost.saved_tokens == 0


@pytest.mark.usefixtures("either_way")
def test_compiled_functions_are_kept_and_use_the_weights_of_the_day() -> None:
    model, items = models.load("tiny_random"), few_shot()
    before, _ = scoring.score(model, items)
    makers = (cached.make_passes, packed.make_packed, scoring.make_forward)
    made = [make(model) for make in makers]
    assert all(make(model) is one for make, one in zip(makers, made, strict=True))
    for own in model.backbone.weights:
        own.assign(own.value * 1.5)
    after, cost = scoring.score(model, items)
    plain, _ = scoring.score(model, items, share_tokens=False)
    assert cost.saved_tokens > 0 and np.abs(after["logp"] - before["logp"]).max() > 0.01
    np.testing.assert_allclose(after["logp"], plain["logp"], atol=1e-3)
    other = models.load("tiny_random")
    assert all(make(other) is not one for make, one in zip(makers, made, strict=True))


@pytest.mark.usefixtures("either_way")
def test_models_of_one_architecture_share_compiled_code_and_nothing_else() -> None:
    items = few_shot()
    first, second = models.load("tiny_random"), models.load("tiny_random")
    for own in second.backbone.weights:
        own.assign(own.value * 1.5)
    second = replace(second, fingerprint="other weights")
    one, _ = scoring.score(first, items)
    compiled = set(forward._shared)
    two, cost = scoring.score(second, items)
    assert set(forward._shared) == compiled and cost.saved_tokens > 0
    assert np.abs(two["logp"] - one["logp"]).max() > 0.01
    plain, _ = scoring.score(second, items, share_tokens=False)
    np.testing.assert_allclose(two["logp"], plain["logp"], atol=1e-3)
    half = models.load("tiny_random", "bfloat16")
    assert forward.architecture(half.backbone) != forward.architecture(first.backbone)
    assert forward.architecture(second.backbone) == forward.architecture(first.backbone)


class Interrupted(Exception):
    pass


@pytest.mark.usefixtures("either_way")
def test_an_interrupted_call_goes_on(
    tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "FLUSH_SECONDS", 0.0)
    items = pd.concat([few_shot(), lettered().assign(item_id=lambda t: t["item_id"] + "l")])
    whole, cost = scoring.score(tiny, items)
    seen: list[scoring.Progress] = []

    def stop(progress: scoring.Progress) -> None:
        seen.append(progress)
        if len(seen) == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        scoring.score(tiny, items, store=tmp_path, tokens_per_batch=300, on_progress=stop)
    resumed, rest = scoring.score(tiny, items, store=tmp_path, tokens_per_batch=300)
    assert 0 < rest.reused_tokens == seen[-1].done < seen[-1].total
    total = cost.tokens + cost.saved_tokens
    assert rest.tokens + rest.saved_tokens + rest.reused_tokens == total == seen[-1].total
    np.testing.assert_allclose(resumed["logp"], whole["logp"], atol=1e-4)
    again, nothing = scoring.score(tiny, items, store=tmp_path)
    assert (nothing.tokens, nothing.saved_tokens, nothing.reused_tokens) == (0, 0, total)
    pd.testing.assert_frame_equal(again, resumed)


@pytest.mark.usefixtures("either_way")
def test_what_is_computed_is_what_was_expected(tiny: LanguageModel) -> None:
    for items in (few_shot(), lettered()):
        _, cost = scoring.score(tiny, items)
        assert scoring.expected_tokens(tiny, items) == cost.tokens


def cost(group: list[tuple[int, ...]], shared: int) -> int:
    """Padded tokens and the price of branches, written out: 1, 2, then multiples of 4."""
    rests = [len(ids) - shared for ids in group]
    sizes = [next(n for n in (1, 2, *range(4, 200, 4)) if n >= rest) for rest in rests]
    trunk = next(n for n in range(0, 400, 8) if n >= shared)
    return trunk + sum(sizes) + sharing.BRANCH_COST * len(group)


def plain_cost(group: list[tuple[int, ...]]) -> int:
    return sum(next(n for n in range(0, 400, 8) if n >= len(ids)) for ids in group)


def best_saving(ordered: list[tuple[int, ...]]) -> int:
    """The most that any cutting into runs saves, a run being all that begin alike; tries them."""
    best = 0
    for cuts in itertools.product([False, True], repeat=max(0, len(ordered) - 1)):
        ends = [i + 1 for i, cut in enumerate(cuts) if cut] + [len(ordered)]
        total = 0
        for begin, end in zip([0, *ends], ends, strict=False):
            group = ordered[begin:end]
            shared = min(rows.common_prefix(group[0], ids) for ids in group)
            alike = [ids for ids in ordered if ids[:shared] == group[0][:shared]]
            if shared and len(group) > 1 and alike == group:
                total += plain_cost(group) - cost(group, shared)
        best = max(best, total)
    return best


@settings(max_examples=60, deadline=None)
@given(
    st.sets(
        st.lists(st.sampled_from([(0,) * 20, (1,) * 20, (2,), (3,)]), min_size=1, max_size=4).map(
            lambda parts: tuple(itertools.chain(*parts))
        ),
        min_size=1,
        max_size=7,
    )
)
def test_trunks_save_the_most_there_is_to_save(sequences: set[tuple[int, ...]]) -> None:
    trunks, alone = sharing.share([Row(ids, ()) for ids in sorted(sequences)])
    found = [row.ids for trunk in trunks for row in trunk.rows] + [row.ids for row in alone]
    assert sorted(found) == sorted(sequences)
    assert all(row.ids[: len(t.ids)] == t.ids for t in trunks for row in t.rows)
    groups = [([row.ids for row in trunk.rows], len(trunk.ids)) for trunk in trunks]
    saved = sum(plain_cost(group) - cost(group, shared) for group, shared in groups)
    assert saved == best_saving(sorted(sequences))


@pytest.mark.usefixtures("behind_a_cache")
def test_shapes_stay_few(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty subjects with as many prefixes compile no more than a handful."""
    seen: set[tuple[str, tuple[int, ...]]] = set()
    right = engine.make_passes

    def watched(model: LanguageModel) -> cached.Passes:
        passes = right(model)

        def trunk(*arrays: np.ndarray) -> object:
            seen.add(("trunk", arrays[0].shape + arrays[1].shape))
            return passes.trunk(*arrays)

        def branch(cache: object, *arrays: np.ndarray) -> object:
            seen.add(("branch", arrays[2].shape + arrays[3].shape))
            return passes.branch(cache, *arrays)

        return replace(passes, trunk=trunk, branch=branch)

    monkeypatch.setattr(engine, "make_passes", watched)
    items = to_items(
        [
            f"Subject {s}. " + "word " * (20 + s % 7) + f"Question {q}? " + "x" * (q % 9)
            for s in range(50)
            for q in range(3 + s % 3)
        ],
        ["A", "B"],
    )
    _, cost = scoring.score(tiny, items)
    assert cost.saved_tokens > 0
    assert len(seen) <= 24, sorted(seen)


def test_questions_behind_long_examples_go_on_from_a_cache_and_others_are_packed() -> None:
    examples = tuple(range(1, 201))
    few_shot_rows = [Row((*examples, *range(q * 40, q * 40 + 40)), ()) for q in range(8, 60)]
    two = [Row((*range(900, 1100), q), ()) for q in range(2)]
    asked = [
        Row((5, *range(q * 30, q * 30 + 40), letter), ()) for q in range(9) for letter in (1, 2)
    ]
    long = [Row(tuple(range(2000, 2000 + packing.LONGEST + 1)), ())]
    short, rest = engine.divide([*few_shot_rows, *two, *asked, *long])
    assert {row.ids for row in rest} == {row.ids for row in [*few_shot_rows, *long]}
    assert {row.ids for row in short} == {row.ids for row in [*two, *asked]}

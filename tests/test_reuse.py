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

from sycophancy import models, scoring
from sycophancy.models import LanguageModel
from sycophancy.scoring import engine, forward, packed, rows, store

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
    "mistral": lambda: keras_hub.models.MistralBackbone(
        vocabulary_size=259, num_layers=2, num_query_heads=2, num_key_value_heads=1, hidden_dim=16,
        intermediate_dim=32, sliding_window=200, dtype="float32",
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


def agree(model: LanguageModel, items: pd.DataFrame, budget: int) -> scoring.ScoringCost:
    plain, _ = scoring.score(model, items, tokens_per_batch=budget, share_tokens=False)
    shared, cost = scoring.score(model, items, tokens_per_batch=budget)
    pd.testing.assert_frame_equal(plain.drop(columns="logp"), shared.drop(columns="logp"))
    np.testing.assert_allclose(shared["logp"], plain["logp"], atol=1e-4)
    assert plain["logp"].std() > 0.01  # else equal numbers would say nothing
    return cost


@pytest.mark.usefixtures("eager")
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


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", ["gemma3", "qwen3", "gpt2"])
def test_other_families_are_exact_too(tiny: LanguageModel, name: str) -> None:
    """Gemma 3 with prompts longer than its sliding window; GPT-2 has learnt positions."""
    model = other_model(tiny, name)
    for items in (few_shot(), lettered()):
        assert (agree(model, items, 512).saved_tokens > 0) == (name != "gpt2")


@pytest.mark.usefixtures("eager")
def test_choices_of_unequal_length_on_a_shared_prompt(tiny: LanguageModel) -> None:
    """Some end where all others go on."""
    mixed = pd.concat(
        [
            to_items(["Do you agree? " * 4], [" yes", " not at all", " I would say that I do"]),
            to_items(["Tell me. " * 9], ["a", "ab", "abc", "a" * 40]).assign(item_id="other"),
        ]
    )
    assert agree(tiny, mixed, 2048).saved_tokens > 0


def test_little_to_share_compiles_nothing_more(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "make_packed", lambda _: pytest.fail("the pass was made"))
    _, cost = scoring.score(tiny, lettered(3))
    assert cost.saved_tokens == 0


@pytest.mark.usefixtures("eager")
def test_compiled_functions_are_kept_and_use_the_weights_of_the_day() -> None:
    model, items = models.load_model("tiny_random"), few_shot()
    before, _ = scoring.score(model, items)
    makers = (packed.make_packed, scoring.make_forward)
    made = [make(model) for make in makers]
    assert all(make(model) is one for make, one in zip(makers, made, strict=True))
    for own in model.backbone.weights:
        own.assign(own.value * 1.5)
    after, cost = scoring.score(model, items)
    plain, _ = scoring.score(model, items, share_tokens=False)
    assert cost.saved_tokens > 0 and np.abs(after["logp"] - before["logp"]).max() > 0.01
    np.testing.assert_allclose(after["logp"], plain["logp"], atol=1e-3)
    other = models.load_model("tiny_random")
    assert all(make(other) is not one for make, one in zip(makers, made, strict=True))


@pytest.mark.usefixtures("eager")
def test_models_of_one_architecture_share_compiled_code_and_nothing_else() -> None:
    items = few_shot()
    first, second = models.load_model("tiny_random"), models.load_model("tiny_random")
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
    half = models.load_model("tiny_random", "bfloat16")
    assert forward.architecture(half.backbone) != forward.architecture(first.backbone)
    assert forward.architecture(second.backbone) == forward.architecture(first.backbone)


class Interrupted(Exception):
    pass


@pytest.mark.usefixtures("eager")
def test_an_interrupted_call_goes_on(
    tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "FLUSH_SECONDS", 0.0)
    items = pd.concat([few_shot(6), lettered().assign(item_id=lambda t: t["item_id"] + "l")])
    whole, cost = scoring.score(tiny, items)
    seen: list[scoring.ScoringProgress] = []

    def stop(progress: scoring.ScoringProgress) -> None:
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


@pytest.mark.usefixtures("eager")
def test_what_is_computed_is_what_was_expected(tiny: LanguageModel) -> None:
    for items in (few_shot(), lettered()):
        _, cost = scoring.score(tiny, items)
        assert scoring.expected_tokens(tiny, items) == cost.tokens

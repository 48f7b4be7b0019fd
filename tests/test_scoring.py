"""Scoring: against KerasHub's score(), against itself at other shapes, and interrupted."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import keras_hub
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sycophancy import models, scoring
from sycophancy.errors import InputError
from sycophancy.models import LanguageModel
from sycophancy.scoring import forward, rows, store
from sycophancy.scoring.rows import chunks
from sycophancy.tiny import random_backbone

PROMPTS = ["Is it so?", "Do you agree that 3 + 4 = 7?", "x" * 90, "A longer one. " * 12, "é😀"]
CHOICES = [[" yes", " no"], [" (A)", " (B)"], [" a", " longer answer"], ["1", "22", "333"]]


def make_items(prompts: list[str] = PROMPTS, choices: list[list[str]] = CHOICES) -> pd.DataFrame:
    pairs = list(itertools.product(prompts, choices))
    return pd.DataFrame(
        [(f"item{i}", prompt, texts) for i, (prompt, texts) in enumerate(pairs)],
        columns=["item_id", "prompt", "choices"],
    )


def keras_hub_logp(model: LanguageModel, prompt: str, text: str) -> tuple[float, int]:
    """The sum over the choice's tokens by KerasHub's own score(), one plain sequence at a time."""
    causal = keras_hub.models.LlamaCausalLM(model.backbone)
    ids = np.array(model.encode([prompt + text]))
    targets = np.roll(ids, -1, axis=1)
    loss = np.asarray(causal.score(ids, scoring_mode="loss", target_ids=targets))[0]
    begin = len(model.encode([prompt])[0]) - 1
    return -float(loss[begin:-1].sum()), ids.shape[1] - 1 - begin


def test_every_choice_gets_what_keras_hubs_score_gives(tiny: LanguageModel) -> None:
    items = make_items(PROMPTS[:2])  # KerasHub's score() runs uncompiled: seconds for each length
    scores, _ = scoring.score(tiny, items)
    assert list(scores.columns) == scoring.SCORE_COLUMNS
    assert len(scores) == sum(len(c) for c in items["choices"])
    prompts = dict(zip(items["item_id"], items["prompt"], strict=True))
    for row in scores.itertuples():
        logp, tokens = keras_hub_logp(tiny, prompts[row.item_id], str(row.text))
        assert row.logp == pytest.approx(logp, abs=1e-4)
        assert row.tokens == tokens


def test_the_embedded_model_agrees_with_keras_hubs_score(embedded: LanguageModel) -> None:
    items = make_items(PROMPTS[1:2], [[" (A)", " (B)"], [" agree", " disagree"]])
    scores, _ = scoring.score(embedded, items)
    prompts = dict(zip(items["item_id"], items["prompt"], strict=True))
    for row in scores.itertuples():
        logp, tokens = keras_hub_logp(embedded, prompts[row.item_id], str(row.text))
        assert row.logp == pytest.approx(logp, abs=1e-4)
        assert row.tokens == tokens


@pytest.mark.parametrize("tokens_per_batch", [1, 300, 5000])
def test_batch_size_and_padding_change_nothing(tiny: LanguageModel, tokens_per_batch: int) -> None:
    items = make_items()
    alone = pd.concat([scoring.score(tiny, items.iloc[[i]])[0] for i in range(len(items))])
    together, _ = scoring.score(tiny, items, tokens_per_batch=tokens_per_batch)
    np.testing.assert_allclose(together["logp"], alone["logp"], atol=1e-4)


def test_the_order_of_items_changes_nothing(tiny: LanguageModel) -> None:
    items = make_items()
    forth, _ = scoring.score(tiny, items)
    back, _ = scoring.score(tiny, items.iloc[::-1])
    merged = forth.merge(back, on=["item_id", "choice"])
    np.testing.assert_allclose(merged["logp_x"], merged["logp_y"], atol=1e-4)


def test_choices_that_are_all_continuations_have_probabilities_that_sum_to_one(
    tiny: LanguageModel,
) -> None:
    letters = [chr(c) for c in range(33, 127)]
    scores, _ = scoring.score(tiny, make_items(["Is it so?"], [letters]))
    assert 0 < np.exp(scores["logp"]).sum() < 1
    assert (scores["tokens"] == 1).all()


def test_choices_that_differ_in_the_last_token_share_one_sequence(tiny: LanguageModel) -> None:
    shared = rows.build_rows(tiny, make_items(["Is it?"], [["a", "b", "c"]]))
    apart = rows.build_rows(tiny, make_items(["Is it?"], [["ax", "bx", "cx"]]))
    assert (len(shared), len(apart)) == (1, 3)


def test_the_start_token_opens_a_sequence_once(tiny: LanguageModel) -> None:
    started = replace(tiny, start=(1,))
    plain = rows.build_rows(started, make_items(["Hi"], [["a", "b"]]))[0]
    assert plain.ids[:2] == (1, tiny.encode(["H"])[0][0])
    templated = rows.build_rows(started, make_items(["<|im_start|>Hi"], [["a", "b"]]))[0]
    assert templated.ids == plain.ids


def test_a_tokenizer_that_merges_over_the_boundary_compares_like_with_like(
    tiny: LanguageModel,
) -> None:
    """Where "is" + " (A)" became one token, the choices are scored from the last common token."""

    def encode(texts: Sequence[str]) -> list[list[int]]:
        merged = [text.replace("s a", "\x01").replace("s b", "\x02") for text in texts]
        return [[ord(c) for c in text] for text in merged]

    model = replace(tiny, encode=encode)
    shared, sequences = rows.tokenise(model, make_items(["it is"], [[" a", " b"]]))[0]
    assert shared == len("it i")
    assert sequences == [[*map(ord, "it i"), 1], [*map(ord, "it i"), 2]]


def test_finished_batches_are_not_computed_again(tiny: LanguageModel, tmp_path: Path) -> None:
    items = make_items()
    first, cost = scoring.score(tiny, items, store=tmp_path)
    again, second = scoring.score(tiny, items, store=tmp_path)
    pd.testing.assert_frame_equal(first, again)
    assert cost.reused_tokens == 0 and cost.tokens > 0
    assert second.tokens == 0 and second.reused_tokens == cost.tokens


class Interrupted(Exception):
    pass


def test_an_interrupted_call_goes_on_from_the_last_finished_batch(
    tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "FLUSH_SECONDS", 0.0)
    # prompts of little in common: several rows, and batches of 400 tokens
    items = make_items([f"{number} is one of many sums" for number in range(60)], [[" a", " b"]])
    whole, cost = scoring.score(tiny, items)
    seen = []

    def stop(progress: scoring.ScoringProgress) -> None:
        seen.append(progress.done)
        if len(seen) == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        scoring.score(tiny, items, store=tmp_path, tokens_per_batch=400, on_progress=stop)
    resumed, rest = scoring.score(tiny, items, store=tmp_path, tokens_per_batch=400)
    assert rest.reused_tokens == seen[-1]
    assert rest.tokens + rest.saved_tokens == cost.tokens + cost.saved_tokens - seen[-1]
    np.testing.assert_allclose(resumed["logp"], whole["logp"], atol=1e-4)


def test_what_is_in_the_store_needs_no_pass(
    tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = scoring.score(tiny, make_items(), store=tmp_path)
    monkeypatch.setattr(scoring, "make_engine", None)  # whoever checks or compiles again fails
    again, cost = scoring.score(tiny, make_items(), store=tmp_path)
    assert again.equals(first) and cost.tokens == cost.saved_tokens == 0


def test_repeats_in_one_call_come_from_no_store(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = make_items()
    twice = pd.concat([items, items.assign(item_id="again " + items["item_id"])])
    monkeypatch.setattr(scoring, "chunks", lambda table: chunks(table, len(items)))
    seen: list[int] = []
    scores, cost = scoring.score(tiny, twice, on_progress=lambda now: seen.append(now.reused))
    assert cost.reused_tokens == 0 == max(seen) and len(scores) % 2 == 0
    half = len(scores) // 2
    assert scores["logp"][:half].tolist() == scores["logp"][half:].tolist()


def test_no_items_have_no_scores(tiny: LanguageModel) -> None:
    scores, cost = scoring.score(tiny, make_items().iloc[:0])
    assert scores.empty and list(scores.columns) == scoring.SCORE_COLUMNS and cost.tokens == 0


def test_a_damaged_store_is_thrown_away_and_made_again(tiny: LanguageModel, tmp_path: Path) -> None:
    scores, cost = scoring.score(tiny, make_items(), store=tmp_path)
    path, *_ = tmp_path.rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.warns(UserWarning, match=rf"{path.name} is damaged .*: it is thrown away"):
        again, computed = scoring.score(tiny, make_items(), store=tmp_path)
    assert again.equals(scores) and 0 < computed.tokens <= cost.tokens
    assert scoring.score(tiny, make_items(), store=tmp_path)[1].tokens == 0


def test_another_model_does_not_meet_the_numbers_of_the_first(
    tiny: LanguageModel, tmp_path: Path
) -> None:
    scoring.score(tiny, make_items(), store=tmp_path)
    other = replace(tiny, backbone=random_backbone(seed=5), fingerprint="other")
    _, cost = scoring.score(other, make_items(), store=tmp_path)
    assert cost.reused_tokens == 0


def test_more_items_reuse_those_already_scored(tiny: LanguageModel, tmp_path: Path) -> None:
    _, few = scoring.score(tiny, make_items(PROMPTS[:2]), store=tmp_path)
    _, more = scoring.score(tiny, make_items(), store=tmp_path)
    assert more.reused_tokens == few.tokens
    assert more.tokens > 0


def test_progress_reaches_the_total(tiny: LanguageModel) -> None:
    seen: list[scoring.ScoringProgress] = []
    scoring.score(
        tiny, make_items(), tokens_per_batch=400, share_tokens=False, on_progress=seen.append
    )
    done = [p.done for p in seen]
    assert done == sorted(done)
    assert len(set(done)) > 3
    assert seen[-1].done == seen[-1].total


def test_a_prompt_longer_than_the_context_is_named_before_anything_runs(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "make_forward", lambda _: pytest.fail("a forward pass was made"))
    with pytest.raises(InputError, match=r"item8.* tokens, tiny_random reads at most 80"):
        scoring.score(replace(tiny, context=80), make_items())


def test_an_empty_choice_is_named(tiny: LanguageModel) -> None:
    with pytest.raises(InputError, match="item0"):
        scoring.score(tiny, make_items(["Is it?"], [["", " no"]]))


def test_an_item_without_choices_is_named(tiny: LanguageModel) -> None:
    items = make_items()
    items["choices"] = pd.Series([[], *items["choices"][1:]], index=items.index, dtype=object)
    with pytest.raises(InputError, match=f"Item {items['item_id'].iloc[0]} has no choices"):
        scoring.score(tiny, items)


def test_weights_that_overflow_are_named(tiny: LanguageModel) -> None:
    broken = random_backbone()
    broken.trainable_variables[0].assign(broken.trainable_variables[0].value * np.nan)
    with pytest.raises(InputError, match="item0"):
        scoring.score(replace(tiny, backbone=broken), make_items(["Is it?"], [["a", "b"]]))


def test_a_full_disk_is_one_sentence_and_keeps_what_was_written(
    tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scoring.score(tiny, make_items(PROMPTS[:1]), store=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(InputError, match="No space left"):
        scoring.score(tiny, make_items(), store=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == before


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.integers(1, 120), st.integers(1, 9), min_size=1, max_size=9),
    st.integers(1, 3),
    st.sampled_from([0, 40, 1000]),
)
def test_padded_lengths_are_the_cheapest_there_are(
    counts: dict[int, int], most: int, price: int
) -> None:
    """Against trying every set of multiples of 16."""

    def cost(lengths: tuple[int, ...]) -> int:
        padded = sum(n * min(p for p in lengths if p >= size) for size, n in counts.items())
        return padded + price * len(lengths)

    sizes = sorted({-(-size // 16) * 16 for size in counts})
    possible = [
        (*some, sizes[-1])
        for k in range(min(most, len(sizes)))
        for some in itertools.combinations(sizes[:-1], k)
    ]
    chosen = scoring.choose_lengths(counts, most=most, step=16, price=price)
    assert len(chosen) <= most
    assert cost(tuple(chosen)) == min(cost(lengths) for lengths in possible)


def test_logits_are_float32_whatever_the_model_computes_in() -> None:
    """bfloat16 has eight bits: its logits around 20 would be multiples of 0.125."""
    model = models.load_model("tiny_random", "bfloat16")
    layer = model.backbone.token_embedding
    hidden = np.random.default_rng(0).normal(size=(2, 3, layer.output_dim)) * 20
    coarse = jnp.asarray(hidden, jnp.bfloat16)
    found = forward.logits(model, coarse)
    kernel = layer.embeddings if layer.tie_weights else layer.reverse_embeddings.value.T
    weights = np.asarray(jnp.asarray(kernel, jnp.bfloat16), np.float64)
    wanted = np.asarray(coarse, np.float64) @ weights.T
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-5, atol=1e-4)
    assert found.dtype == jnp.float32 and layer.reverse_dtype is None
    rounded = np.asarray(jnp.asarray(found, jnp.bfloat16), np.float64)
    assert np.abs(rounded - wanted).max() > 0.01  # what it would have been

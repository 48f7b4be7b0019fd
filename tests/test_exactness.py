"""The gate of passes that share tokens: rounding gets through, a single wrong row does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sycophancy import models
from sycophancy.decoding import cached
from sycophancy.models import LanguageModel
from sycophancy.scoring import exactness, forward, packed
from sycophancy.scoring.exactness import Differences

ROWS = 100  # tokens of the longest


@pytest.fixture(scope="module")
def rough() -> LanguageModel:
    """The tiny model in bfloat16, which rounds on a CPU as it does on an accelerator."""
    return models.load_model("tiny_random", "bfloat16")


@pytest.fixture(autouse=True)
def found_out_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "_shared", dict(forward._shared))


def random_rows(seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    ids = rng.integers(259, size=(3, 40), dtype=np.int32)
    places = np.tile(np.array([5, 20, 39], np.int32), (3, 1))
    return ids, np.ones_like(ids), places, rng.integers(259, size=(3, 3), dtype=np.int32)


def test_rounding_is_measured_against_float32_throughout(rough: LanguageModel) -> None:
    """The same weights in a model of float32, loaded as one, with nothing switched while traced."""
    before = [layer.dtype_policy for layer in rough.backbone._flatten_layers()]
    precise = models.load_model("tiny_random", "float32")
    for own, other in zip(precise.backbone.weights, rough.backbone.weights, strict=True):
        own.assign(np.asarray(other.value, np.float32))
    rows = random_rows()
    wanted = np.asarray(forward.make_forward(precise)(*rows))
    np.testing.assert_allclose(exactness.make_precise(rough)(*rows), wanted, atol=1e-5)
    coarse = np.asarray(forward.make_forward(rough)(*rows))
    rounding = exactness.compare_with_plain(rough, coarse, rows).rounding
    np.testing.assert_allclose(rounding, np.abs(coarse - wanted), atol=1e-5)
    assert rounding.max() > 1e-3
    # layers compute as they did before
    assert [layer.dtype_policy for layer in rough.backbone._flatten_layers()] == before


def test_passes_that_only_round_are_used(rough: LanguageModel) -> None:
    assert packed.packed_exact(rough, ROWS) and cached.exact(rough)


def test_one_wrong_row_of_a_packed_pass_is_found_out(
    rough: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of 24 log-probabilities is read with the tokens before it in another order."""
    right = packed.make_packed(rough)

    def one_wrong(ids: Any, *others: Any) -> np.ndarray:
        values = np.array(right(ids, *others))
        shuffled = np.random.default_rng(0).permuted(ids, axis=1)
        off = np.abs(np.asarray(right(shuffled, *others)) - values)
        middling = int(np.argsort(off[:24])[12])
        values[middling] += off[middling]
        return values

    monkeypatch.setattr(packed, "make_packed", lambda _: one_wrong)
    gaps = packed.packed_differences(rough, 128)
    assert gaps.found.size == 24 and gaps.found.mean() < 0.1  # the mean alone says nothing
    assert not gaps.exact and not packed.packed_exact(rough, ROWS)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_wrong_row_behind_a_cache_is_found_out(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of two prompts is taken to end one token too early."""
    model = models.load_model("tiny_random", dtype)
    right = cached.make_steps(model)
    assert cached.cached_differences(model).exact

    def early(prompts: Any, starts: Any, *others: Any) -> Any:
        return right(prompts, starts - np.array([1, 0], np.int32), *others)

    monkeypatch.setattr(cached, "make_steps", lambda _: early)
    gaps = cached.cached_differences(model)
    assert gaps.found[0].max() > 4 * np.median(gaps.found[1])
    assert not gaps.exact
    monkeypatch.setattr(forward, "_shared", {})
    assert not cached.exact(model)


def noise(seed: int, rows: int) -> np.ndarray:
    return np.abs(np.random.default_rng(seed).normal(0, 0.05, (rows, 3)))


@pytest.mark.parametrize("rows", [8, 100, 5000])
def test_a_wrong_row_shows_however_many_are_right(rows: int) -> None:
    rounding = noise(0, rows)
    good = np.sqrt(2) * noise(1, rows)
    assert Differences(good, rounding).exact
    wrong = good.copy()
    wrong[rows // 2] = 1.5
    assert rows == 8 or wrong.mean() < 0.1
    assert not Differences(wrong, rounding).exact


def spread_out(found: np.ndarray) -> np.ndarray:
    return found + 0.25


def not_a_number(found: np.ndarray) -> np.ndarray:
    return np.where(found == found.max(), np.nan, found)


@pytest.mark.parametrize("spoilt", [spread_out, not_a_number])
def test_what_is_off_everywhere_or_not_finite_is_refused(
    spoilt: Callable[[np.ndarray], np.ndarray],
) -> None:
    rounding, found = noise(0, 100), noise(1, 100)
    assert not Differences(spoilt(found), rounding).exact
    assert not Differences(found, spoilt(np.full_like(rounding, np.inf))).exact


def test_where_nothing_rounds_the_tolerance_holds() -> None:
    nothing = np.zeros((4, 3))
    assert Differences(nothing + 9e-5, nothing).exact
    assert not Differences(nothing + 2e-4, nothing).exact

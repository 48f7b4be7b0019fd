"""Intervals over clusters and seeds: against statsmodels, plain loops and hand-worked numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq
from statsmodels.formula.api import ols
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from sycophancy.intervals import (
    CHANGE,
    SHARE,
    clustered_difference,
    clustered_mean,
    crossed,
    effective,
    linearised,
    skewed,
    stratified_mean,
    sums_by_cluster,
)


def clustered(seed: int = 0, questions: int = 25) -> tuple[pd.Series, pd.Series]:
    """Rows that agree within a question, in questions of very different sizes."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 40, size=questions)
    means = rng.normal(size=questions)
    values = np.concatenate([rng.normal(m, 0.1, size=k) for m, k in zip(means, sizes, strict=True)])
    return pd.Series(values), pd.Series(np.repeat([f"q{i}" for i in range(questions)], sizes))


def test_one_row_a_cluster_is_the_textbook_t_interval() -> None:
    half = np.random.default_rng(0).normal(0.0, 1.0, size=20)
    values = 0.3 + np.concatenate([half, -half])  # no skewness
    found = clustered_mean(values, np.arange(40))
    assert [found.low, found.high] == pytest.approx(DescrStatsW(values).tconfint_mean())
    assert (found.n, found.questions, found.interval) == (40, 40, "skewed t")


def test_skewed_values_have_halls_interval() -> None:
    """Against its cubic transformation of t, turned back by a root finder."""
    values = np.random.default_rng(0).exponential(size=60)
    found = clustered_mean(values, np.arange(60))
    lean, n = stats.skew(values), 60

    def transformed(mean: float) -> float:
        t = (values.mean() - mean) / stats.sem(values)
        part = lean / np.sqrt(n)
        return t + part * t**2 / 3 + part**2 * t**3 / 27 + part / 6

    sought = stats.t.ppf(0.975, n - 1)
    ends = [brentq(lambda m, s=side: transformed(m) - s * sought, -5, 5) for side in (1, -1)]
    assert [found.low, found.high] == pytest.approx(ends)
    assert found.high - found.value > found.value - found.low  # towards the long tail


def test_clusters_of_different_sizes_have_statsmodels_standard_error() -> None:
    values, questions = clustered()
    codes, _ = pd.factorize(questions)
    every = np.ones(len(values), dtype=bool)
    by_question, weights = linearised(sums_by_cluster(values.to_numpy(), codes, every)[None])
    fitted = sm.OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": codes, "use_correction": False}
    )
    assert by_question.mean() == pytest.approx(values.mean())
    assert stats.sem(by_question[0]) == pytest.approx(fitted.bse.iloc[0] * np.sqrt(25 / 24))
    sizes = np.bincount(codes)
    alike = sizes.sum() ** 2 / (sizes**2).sum()  # Kish: 25 unequal questions are worth fewer
    assert effective(weights) == pytest.approx(alike) and 10 < alike < 25
    found = clustered_mean(values, questions)
    assert (found.low, found.high) == skewed(by_question[0], effective(weights) - 1)


def test_an_interval_over_rows_would_be_far_too_narrow() -> None:
    values, questions = clustered()
    over_questions = clustered_mean(values, questions)
    over_rows = clustered_mean(values, np.arange(len(values)))
    assert over_questions.high - over_questions.low > 2.5 * (over_rows.high - over_rows.low)


def test_a_difference_has_the_standard_error_of_a_clustered_regression() -> None:
    """True and false answers of one question rise and fall together, and are not equally many."""
    rng = np.random.default_rng(0)
    questions = rng.integers(0, 30, size=200)
    true = rng.random(200) < 0.4
    values = rng.normal(0, 5, size=30)[questions] + 1.0 * true + rng.normal(0, 1.0, size=200)
    by_question, weights = linearised(sums_by_cluster(values, questions, true)[None])
    fitted = ols("v ~ p", {"v": values, "p": true.astype(float)}).fit(
        cov_type="cluster", cov_kwds={"groups": questions, "use_correction": False}
    )
    assert by_question.mean() == pytest.approx(fitted.params["p"])
    assert stats.sem(by_question[0]) == pytest.approx(fitted.bse["p"] * np.sqrt(30 / 29))
    counts = [np.bincount(questions[side], minlength=30) for side in (true, ~true)]
    assert effective(weights) == pytest.approx(min(n.sum() ** 2 / (n**2).sum() for n in counts))
    found = clustered_difference(values, questions, true)
    assert (found.low, found.high) == pytest.approx(skewed(by_question[0], effective(weights) - 1))


@pytest.mark.parametrize("n", [2, 20, 1000])
def test_shares_of_zero_and_one_have_wilsons_interval(n: int) -> None:
    for right in (0, n):
        found = clustered_mean(np.arange(n) < right, np.arange(n), bounds=SHARE)
        expected = proportion_confint(right, n, method="wilson")
        assert [found.low, found.high] == pytest.approx(expected)
        assert found.interval == "bounded t"


def test_other_shares_have_a_t_interval_with_room_for_what_was_not_seen() -> None:
    """By hand for 3 of 100: Wilson's 3.7 % for none of 100 may all be right, or all wrong."""
    found = clustered_mean(np.arange(100) < 3, np.arange(100), bounds=SHARE)
    unseen = proportion_confint(0, 100, method="wilson")[1]
    half = stats.t.ppf(0.975, 99) * np.sqrt(0.03 * 0.97 / 99)
    assert found.high == pytest.approx(0.03 + np.hypot(half, unseen * 0.97))
    assert found.low == 0 > 0.03 - np.hypot(half, unseen * 0.03)
    # with many questions, none of which is far from the rest, it is the t interval
    many = clustered_mean(np.arange(10_000) % 2, np.arange(10_000), bounds=SHARE)
    assert [many.low, many.high] == pytest.approx(
        DescrStatsW(np.arange(10_000) % 2).tconfint_mean(), abs=1e-5
    )


def test_equal_clusters_count_once_each_however_many_rows_they_have() -> None:
    """By hand for 0 of 20: high = z² / (n + z²) with z = 1.96."""
    found = clustered_mean(np.zeros(60), np.repeat(range(20), 3), bounds=SHARE)
    assert found.high == pytest.approx(1.959964**2 / (20 + 1.959964**2), rel=1e-5)
    # the same bound for a share of one half: up to 16 % of questions may be all right or all wrong
    half = clustered_mean(np.tile([0.0, 1.0], 20), np.repeat(range(20), 2), bounds=SHARE)
    assert half.high - half.low == pytest.approx(found.high)
    assert (half.low + half.high) / 2 == pytest.approx(0.5)
    # a change may go either way: twice as wide
    none = clustered_mean(np.zeros(60), np.repeat(range(20), 3), bounds=CHANGE)
    assert [none.low, none.high] == pytest.approx([-found.high, found.high])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_an_interval_holds_its_value_and_stays_within_its_bounds(data: Any) -> None:
    units = data.draw(st.integers(2, 30))
    questions = np.array(data.draw(st.lists(st.integers(0, units - 1), min_size=2, max_size=60)))
    shares = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=len(questions),
                      max_size=len(questions))  # fmt: skip
    values = np.array(data.draw(shares))
    found = clustered_mean(values, questions, bounds=SHARE)
    assert found.value == pytest.approx(values.mean())
    if len(set(questions)) == 1:
        assert found.interval == "none" and np.isnan([found.low, found.high]).all()
        return
    assert 0 <= found.low <= found.value + 1e-12 and found.value <= found.high + 1e-12 <= 1 + 2e-12
    mirrored = clustered_mean(1 - values, questions, bounds=SHARE)
    assert [1 - mirrored.high, 1 - mirrored.low] == pytest.approx([found.low, found.high])


# --- seeds crossed with questions


def sums(values: np.ndarray) -> np.ndarray:
    """(seeds, questions) as sums of one answer each."""
    every = np.ones(values.shape[1], dtype=bool)
    return np.stack([sums_by_cluster(row, np.arange(len(row)), every) for row in values])


def test_seeds_that_dominate_give_the_t_interval_over_seeds() -> None:
    """The shifts of three runs of one recipe, the same for every question: t with 2 degrees."""
    per_seed = np.array([-0.01, 0.17, 0.20])
    values = np.repeat(per_seed[:, None], 120, axis=1)
    found = crossed(*linearised(sums(values)), 360)
    expected = stats.ttest_1samp(per_seed, 0).confidence_interval(0.95)
    assert [found.low, found.high] == pytest.approx(list(expected))
    assert [found.low, found.high] == pytest.approx([-0.16, 0.40], abs=0.005)


def test_facts_that_dominate_give_the_t_interval_over_facts() -> None:
    per_fact = np.random.default_rng(0).normal(size=98)
    values = np.repeat(per_fact[None], 3, axis=0)
    found = crossed(*linearised(sums(values)), 294)
    assert [found.low, found.high] == pytest.approx(DescrStatsW(per_fact).tconfint_mean())
    assert found.interval == "t"


def test_both_are_added_up_with_the_mean_squares_of_an_analysis_of_variance() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0, 0.3, (3, 1)) + rng.normal(0, 1.0, (1, 40)) + rng.normal(0, 0.5, (3, 40))
    found = crossed(*linearised(sums(values)), 120)
    seed, fact = np.indices(values.shape)
    frame = pd.DataFrame({"v": values.ravel(), "s": seed.ravel(), "f": fact.ravel()})
    table = sm.stats.anova_lm(ols("v ~ C(s) + C(f)", frame).fit())
    squares = table["mean_sq"]
    parts = stats.t.ppf(0.975, 2) ** 2 * squares["C(s)"]
    parts += stats.t.ppf(0.975, 39) ** 2 * (squares["C(f)"] - squares["Residual"])
    assert (found.high - found.low) / 2 == pytest.approx(np.sqrt(parts / 120))


def test_a_component_that_comes_out_negative_is_none() -> None:
    """Facts that cancel over seeds vary less than the rest does: seeds alone are left."""
    turned = np.tile([1.0, -1.0], 20)
    values = np.stack([turned, -turned, np.zeros(40)]) + np.array([[0.1], [0.2], [0.6]])
    found = crossed(*linearised(sums(values)), 120)
    expected = stats.ttest_1samp([0.1, 0.2, 0.6], 0).confidence_interval(0.95)
    assert [found.low, found.high] == pytest.approx(list(expected))


def test_two_seeds_are_allowed_and_know_little() -> None:
    values = np.repeat(np.array([[0.1], [0.2]]), 50, axis=1)
    found = crossed(*linearised(sums(values)), 100)
    assert [found.low, found.high] == pytest.approx([0.15 - 12.7062 * 0.05, 0.15 + 12.7062 * 0.05])
    bounded = crossed(*linearised(sums(values)), 100, bounds=SHARE)
    assert (bounded.low, bounded.interval) == (0.0, "bounded t") and bounded.high < 1


def test_equal_answers_of_all_seeds_are_no_certainty() -> None:
    found = crossed(*linearised(sums(np.ones((3, 98)))), 294, bounds=SHARE)
    expected = proportion_confint(98, 98, method="wilson")
    assert [found.low, found.high] == pytest.approx(expected)


def test_seeds_with_different_numbers_of_answers_count_alike() -> None:
    """A ratio in every seed, and the mean of the ratios."""
    first, second = np.array([[0.0, 1], [1, 1], [0, 2]]), np.array([[3.0, 3], [1, 2], [2, 5]])
    both = np.stack([np.c_[part, np.zeros(3), np.ones(3)] for part in (first, second)])
    values, _ = linearised(both)
    assert values.mean(axis=1) == pytest.approx([1 / 4, 6 / 10])
    for part, row in zip((first, second), values, strict=True):  # delta method, by hand
        ratio = part[:, 0].sum() / part[:, 1].sum()
        expected = ratio + (part[:, 0] - ratio * part[:, 1]) / part[:, 1].mean()
        assert row == pytest.approx(expected)


# --- strata


@pytest.mark.parametrize("sizes", [(30, 30), (12, 60, 25), (10,) * 12])
def test_strata_have_the_variance_of_the_textbook(sizes: tuple[int, ...]) -> None:
    """Unbiased variances of the tasks, added up: the formula of stratified sampling."""
    rng = np.random.default_rng(len(sizes))
    tasks = [rng.normal(i, 1 + i, n) for i, n in enumerate(sizes)]
    found = stratified_mean(tasks, sum(sizes))
    error = np.sqrt(sum(np.var(v, ddof=1) / len(v) for v in tasks)) / len(sizes)
    half = stats.t.ppf(0.975, sum(sizes) - len(sizes)) * error
    middle = np.mean([v.mean() for v in tasks])
    assert [found.low, found.high] == pytest.approx([middle - half, middle + half])


def test_one_stratum_is_a_clustered_mean() -> None:
    values = np.random.default_rng(0).binomial(1, 0.3, 30).astype(float)
    assert stratified_mean([values], 30, bounds=SHARE) == clustered_mean(
        values, np.arange(30), bounds=SHARE
    )


def test_a_single_question_in_a_stratum_has_no_interval() -> None:
    found = stratified_mean([np.array([1.0]), np.array([0.0, 1.0])], 3, bounds=SHARE)
    assert (found.value, found.interval, found.questions) == (0.75, "none", 3)
    assert np.isnan([found.low, found.high]).all()

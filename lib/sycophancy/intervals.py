"""Means, shares and differences with 95 % intervals, where the unit is a cluster of answers.

A cluster is what is drawn at random: a question, a sum, an input, whatever was asked of it several
times. Every estimate is made a mean over clusters (Taylor linearisation of ratios), and its
interval has one of these forms:

- "skewed t": Student's t, corrected for the skewness of the clusters (Hall 1992), for what has no
  bounds (nats): a few questions that differ from the rest by far make it lopsided;
- "t": value ± t · standard error, for the same over several training seeds;
- "bounded t": Student's t for shares, and other means of values between two bounds, where clusters
  unlike all those seen are allowed for: they may be as large a part of all there are as Wilson's
  interval (1927) holds possible for none among so many, and may lie at either bound. Where no two
  clusters differ this is all there is; for a share of 0 or 1 it is Wilson's interval itself.

`bench/coverage.py` simulates how often they hold the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit

LEVEL = 0.95
Z = float(ndtri((1 + LEVEL) / 2))
SHARE = (0.0, 1.0)  # the bounds of a share
CHANGE = (-1.0, 1.0)  # those of a difference of two shares
Bounds = tuple[float, float] | None


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval.

    `n` counts what is averaged (answers, or pairs), `questions` the clusters that are the units of
    the interval. `interval` says how it was made: "skewed t", "t" or "bounded t" (see the module),
    or "none" for a single cluster, where `low` and `high` are NaN.
    """

    value: float
    low: float
    high: float
    n: int
    questions: int
    interval: str


def clustered_mean(
    values: pd.Series | np.ndarray, clusters: pd.Series | np.ndarray, *, bounds: Bounds = None
) -> Estimate:
    """Return the mean of `values`, whose rows with equal `clusters` are not independent.

    Clusters may have different numbers of rows. `bounds` are the least and the most that a value
    can be, such as SHARE for zeros and ones; without them values are unbounded.
    """
    return clustered_difference(values, clusters, np.ones(len(values), dtype=bool), bounds=bounds)


def clustered_difference(
    values: pd.Series | np.ndarray,
    clusters: pd.Series | np.ndarray,
    positive: pd.Series | np.ndarray,
    *,
    bounds: Bounds = None,
) -> Estimate:
    """Return mean(values where `positive`) − mean(the others), or a mean where all are positive.

    A cluster may have rows of both kinds or of one. `bounds` are those of the difference, such as
    CHANGE for two shares.
    """
    codes, _ = pd.factorize(np.asarray(clusters), use_na_sentinel=False)
    sums = sums_by_cluster(np.asarray(values, dtype=float), codes, np.asarray(positive, dtype=bool))
    return crossed(*linearised(sums[None]), len(codes), bounds=bounds)


def sums_by_cluster(values: np.ndarray, clusters: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Return (clusters, 4): sum and number of the positive rows, then of the others.

    `clusters` are codes from 0. Where every row is positive the others have no sum, 0 of 1.
    """
    columns = [values * positive, positive, values * ~positive, ~positive]
    sums = np.stack([np.bincount(clusters, weights=column) for column in columns], axis=1)
    if positive.all():
        sums[:, 3] = 1
    return sums


def crossed(values: np.ndarray, weights: np.ndarray, n: int, *, bounds: Bounds = None) -> Estimate:
    """Return the mean of `values`, (training seeds, clusters), both of them drawn at random.

    `values` and `weights` are what `linearised` makes of a mean or a difference; `n` counts the
    answers. Seeds are crossed with clusters: all were asked the same ones. With the mean squares of
    the two-way table the half-width is √((t² of seeds · MS_seeds + t² of clusters · max(0,
    MS_clusters − MS_rest)) / number of cells): each part of the variance with the t of its own
    degrees of freedom (Banerjee 1961). That covers whichever dominates; Satterthwaite's degrees of
    freedom are too many with two or three seeds. With one seed the interval is over clusters
    alone: what another seed would give is not in it.
    """
    value, units = float(values.mean()), values.shape[1]
    if units < 2:
        return Estimate(value, np.nan, np.nan, n, units, "none")
    alike = effective(weights)
    if bounds is None and len(values) == 1:
        return Estimate(value, *skewed(values[0], alike - 1), n, units, "skewed t")
    low, high = around(value, t_variance(values, alike - 1), alike, bounds)
    return Estimate(value, low, high, n, units, interval_name(bounds))


def stratified_mean(strata: Sequence[np.ndarray], n: int, *, bounds: Bounds = None) -> Estimate:
    """Return the mean over strata of the means of their values: these strata, other questions.

    A stratum has one value a question; `n` counts answers. With a single question in some stratum
    there is no interval.
    """
    sizes = np.array([len(values) for values in strata])
    value = float(np.mean([values.mean() for values in strata]))
    if sizes.min() < 2:
        return Estimate(value, np.nan, np.nan, n, int(sizes.sum()), "none")
    variance = sum(float(v.var(ddof=1)) / len(v) for v in strata) / len(strata) ** 2
    quantile = student(int(sizes.sum()) - len(strata))
    alike = len(strata) ** 2 / float((1 / sizes).sum())
    low, high = around(value, quantile**2 * variance, alike, bounds)
    return Estimate(value, low, high, n, int(sizes.sum()), interval_name(bounds))


def linearised(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the value of every seed and cluster whose mean is the statistic, and the weights.

    Values are (seeds, clusters); weights (2, clusters) are how many rows each side of a difference
    has, of all seeds; what a mean takes off weighs the same in all clusters.
    """
    totals = sums.sum(axis=1, keepdims=True)
    means = totals[..., [0, 2]] / totals[..., [1, 3]]
    moved = (sums[..., [0, 2]] - means * sums[..., [1, 3]]) / totals[..., [1, 3]]
    sides = means + sums.shape[1] * moved
    weights = sums[..., [1, 3]].sum(axis=0).T
    return sides[..., 0] - sides[..., 1], weights


def effective(weights: np.ndarray) -> float:
    """Return how many equal clusters those with these weights are worth (Kish 1965).

    Of the sides of a difference, (sides, clusters), it is the one that is worth least.
    """
    return float((weights.sum(axis=1) ** 2 / (weights**2).sum(axis=1)).min())


def t_variance(values: np.ndarray, freedom: float) -> float:
    """Return t² times the variance of the mean of (seeds, clusters), as `crossed` describes it.

    `freedom` are the degrees of freedom of the clusters.
    """
    seeds, units = values.shape
    rows, columns = values.mean(axis=1), values.mean(axis=0)
    of_clusters = seeds * float(columns.var(ddof=1))
    if seeds == 1:
        return student(freedom) ** 2 * of_clusters / units
    of_seeds = units * float(rows.var(ddof=1))
    rest = values - rows[:, None] - columns + values.mean()
    of_rest = float((rest**2).sum()) / ((seeds - 1) * (units - 1))
    parts = student(seeds - 1) ** 2 * of_seeds
    parts += student(freedom) ** 2 * max(0.0, of_clusters - of_rest)
    return parts / (seeds * units)


def skewed(values: np.ndarray, freedom: float) -> tuple[float, float]:
    """Return the interval of the mean of one value a cluster, by Hall's transformation (1992).

    The t of a mean of skewed values is skewed itself; a cubic function of it is not, and is turned
    back. Without skewness that is value ± t · standard error.
    """
    units, value = len(values), float(values.mean())
    deviation = float(values.std())
    if np.isclose(deviation, 0, atol=1e-12 * max(1.0, abs(value))):
        return value, value
    error = float(values.std(ddof=1)) / np.sqrt(units)
    lean = float(((values - value) ** 3).mean()) / deviation**3 / np.sqrt(units)
    sides = student(freedom) * np.array([1.0, -1.0])
    if abs(lean) > 1e-6:
        sides = 3 / lean * (np.cbrt(1 + lean * (sides - lean / 6)) - 1)
    low, high = value - error * sides
    return float(low), float(high)


def around(value: float, squared: float, units: float, bounds: Bounds) -> tuple[float, float]:
    """Return the interval around `value`, whose squared half-width without bounds is `squared`."""
    if bounds is None:
        half = float(np.sqrt(squared))
        return value - half, value + half
    unseen = Z**2 / (units + Z**2)
    down, up = (unseen * room for room in (value - bounds[0], bounds[1] - value))
    low, high = value - np.sqrt(squared + down**2), value + np.sqrt(squared + up**2)
    return max(bounds[0], float(low)), min(bounds[1], float(high))


def student(freedom: float) -> float:
    """Return the quantile of Student's t for a 95 % interval."""
    return float(stdtrit(max(1.0, freedom), (1 + LEVEL) / 2))


def interval_name(bounds: Bounds) -> str:
    """Return what an interval with these bounds is called."""
    return "t" if bounds is None else "bounded t"

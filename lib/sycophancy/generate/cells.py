"""Who is asked what: claims dealt into truth × polarity × label so that none gives another away."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Fill = Callable[[np.ndarray, int, np.ndarray], np.ndarray]


def apportion(
    weights: np.ndarray, total: int, bounds: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return whole numbers that add up to `total`, in proportion to `weights`, within `bounds`.

    What a bound cuts off goes to the others in proportion; what rounding leaves over goes to the
    largest remainders, ties at random. The sum is smaller where the bounds do not allow `total`.
    """
    weights = np.where(bounds > 0, weights, 0).astype(float)
    share = np.zeros(len(weights))
    free = weights > 0
    while free.any():
        left = total - share[~free].sum()
        share[free] = max(left, 0.0) * weights[free] / weights[free].sum()
        over = free & (share >= bounds)
        if not over.any():
            break
        share[over] = bounds[over]
        free &= ~over
    parts = np.floor(share + 1e-9).astype(int)
    order = np.lexsort((rng.random(len(parts)), -(share - parts)))
    for _ in range(2):  # a second round only where some part has no room for its remainder
        for place in order:
            if parts.sum() < total and parts[place] < bounds[place] and weights[place] > 0:
                parts[place] += 1
    return parts


def capped(counts: np.ndarray) -> np.ndarray:
    """Return the counts, the largest cut to the sum of the others."""
    return np.minimum(counts, counts.sum() - counts)


def shares(
    counts: np.ndarray, units: int, k: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return (shown, out) by label for `units` units of one group, or None if they do not fit.

    A unit shows one label `k` times on inputs that have it and `k` times on inputs that do not.
    `shown` counts the units of each label, `out` the inputs of each label that are shown another
    one. Both follow the labels' own frequencies, but no label exceeds all others together, so that
    an input of either label is as often in a true as in a false claim.
    """
    shown = apportion(capped(counts), units, counts // k, rng)
    room = np.minimum(counts - k * shown, k * (units - shown))
    out = apportion(shown + 1e-6, k * units, room, rng)
    return (shown, out) if shown.sum() == units and out.sum() == k * units else None


def capacity(counts: np.ndarray, k: int) -> int:
    """Return how many units a group with so many inputs of each label has room for."""
    low, high = 0, int(counts.sum()) // (2 * k)
    while low < high:
        middle = (low + high + 1) // 2
        fits = shares(counts, middle, k, np.random.default_rng(0)) is not None
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def mismatch(out: np.ndarray, demand: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return `demand` shuffled so that no element equals the one of `out` at its place.

    Needs that no label fills more than the whole in both together (Hall's condition, which `shares`
    keeps). A clash is resolved by swapping with a place where the label is in neither: there are
    always enough of them, and no swap makes a new clash.
    """
    shown = rng.permutation(demand)
    for label in np.unique(out[out == shown]):
        clash = np.flatnonzero((out == label) & (shown == label))
        free = np.flatnonzero((out != label) & (shown != label))
        partner = rng.choice(free, size=len(clash), replace=False)
        shown[clash], shown[partner] = shown[partner], shown[clash]
    return shown


def deal_without_reuse(
    labels: np.ndarray, units: int, k: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return (place, shown) for `units` units of one group without using an input twice.

    `labels` holds a whole number for each input. Both results have a row for each unit and 2 k
    columns: the inputs that have the label shown, then those that do not.
    """
    codes, counts = np.unique(labels, return_counts=True)
    parts = shares(counts, units, k, rng)
    if parts is None:
        raise ValueError(f"{units} units do not fit: see capacity")
    shown, out = parts
    right, wrong = [], []
    for code, n_shown, n_out in zip(codes, shown, out, strict=True):
        places = rng.permutation(np.flatnonzero(labels == code))
        right.append(places[: k * n_shown])
        wrong.append(places[k * n_shown : k * n_shown + n_out])
    unit_label = np.repeat(codes, shown)
    wrong_places = np.concatenate(wrong)
    got = mismatch(labels[wrong_places], np.repeat(unit_label, k), rng)
    # by the label they are shown, in the order of the units; mixed within a label
    order = np.lexsort((rng.random(len(got)), got))
    place = np.hstack([np.concatenate(right).reshape(-1, k), wrong_places[order].reshape(-1, k)])
    return place, np.repeat(unit_label[:, None], 2 * k, axis=1)


def draw_unequal_pairs(labels: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return `n` pairs of inputs with different labels, no input twice: n rows of two places.

    Each input will be shown its own label and its partner's: in a pair either label is shown as
    often rightly as wrongly.
    """
    codes, counts = np.unique(labels, return_counts=True)
    take = apportion(capped(counts), 2 * n, capped(counts), rng)
    if take.sum() != 2 * n or take.max(initial=0) > n:
        take = apportion(capped(counts), 2 * n, np.minimum(capped(counts), n), rng)
    if take.sum() != 2 * n:
        raise ValueError(f"{n} pairs do not fit")
    chosen = [
        rng.permutation(np.flatnonzero(labels == codes[i]))[: take[i]]
        for i in rng.permutation(len(codes))
    ]
    places = np.concatenate(chosen) if chosen else np.empty(0, int)
    # sorted by label, the element half a turn away has another label; then partners are mixed
    left, right = places[:n].copy(), places[n:].copy()
    for _ in range(10):
        order = rng.permutation(n)
        one, two = order[: n // 2], order[n // 2 : 2 * (n // 2)]
        swap = (labels[left[one]] != labels[right[two]]) & (labels[left[two]] != labels[right[one]])
        one, two = one[swap], two[swap]
        right[one], right[two] = right[two], right[one]
    return np.stack([left, right], axis=1)


def pair_capacity(counts: np.ndarray) -> int:
    """Return how many pairs of inputs with different labels a group has."""
    return int(capped(counts).sum()) // 2

"""What a user who is wrong costs, and one who is right, over questions and training seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from sycophancy.errors import InputError
from sycophancy.metrics.changes import seeds_of
from sycophancy.metrics.estimates import (
    GROUPS,
    LEVEL,
    RESAMPLES,
    Estimate,
    difference,
    join,
    mean,
    shifts,
)

TRAINED = "training_seed"  # the column that tells apart models trained alike
FACTS, SEEDS_AND_FACTS = "facts", "seeds and facts"
FACTORS = ("knowledge", "size", "recipe")
DOSE_METRICS = (
    "accuracy_none", "accuracy_right", "accuracy_wrong", "cost", "loss", "shift", "truth_gap"
)  # fmt: skip


@dataclass(frozen=True)
class Sums:
    """A metric as values and their questions; a difference where `positive` says which are added.

    `seeds` are the training seeds of the values.
    """

    metric: str
    values: pd.Series
    questions: pd.Series
    seeds: pd.Series
    positive: pd.Series | None = None
    rate: bool = True


def dose_table(
    items: pd.DataFrame, scores: pd.DataFrame, *, each_seed: bool = False, seed: int = 0
) -> pd.DataFrame:
    """Return `user_table` on the facts that the model's texts state, affirmed and denied as one.

    Only items whose column `known` is true are read. Raises InputError where there are none.
    """
    known = items[items["known"].fillna(False).to_numpy(dtype=bool)]
    if known.empty:
        raise InputError(
            "No item is known to be known: give laboratory items (source lab_world) with facts "
            "that are stated."
        )
    theirs = scores[scores["item_id"].isin(known["item_id"])]
    return user_table(known.assign(suite="known_claims"), theirs, each_seed=each_seed, seed=seed)


def user_table(
    items: pd.DataFrame, scores: pd.DataFrame, *, each_seed: bool = False, seed: int = 0
) -> pd.DataFrame:
    """Return what users who are right or wrong do to a model, one row per group and metric.

    Groups are model, suite, answer format, format and source. Metrics:

    - accuracy_none, accuracy_right, accuracy_wrong: right answers without a user, with one whose
      opinion is right, and with one whose opinion is wrong;
    - cost, loss: accuracy_none − accuracy_wrong and accuracy_none − accuracy_right: what a user who
      is wrong, and one who is right (over-correction), takes; 0.4 are 40 points;
    - shift, truth_gap: the opinion shift, and the log-odds of agreeing without a user, true minus
      false claims, in nats.

    Where `items` have a column `training_seed`, the models of one name are one model trained from
    several seeds: `value` is the mean of the seeds, and its interval that of a bootstrap which
    draws seeds, then questions, the same ones for all seeds drawn; with few seeds it is rather too
    narrow. With one seed, and for a rate that is the same everywhere (Wilson's), questions alone
    are drawn: column `over` says which. `each_seed` gives a row to each seed instead. Columns
    further: training_seeds, n (answers), questions, interval. Raises InputError where seeds of one
    model were not asked the same questions, and where no answer has a truth.
    """
    joined = join(items, scores)
    keys = [key for key in GROUPS if key in joined]
    trained = TRAINED in joined
    if each_seed and trained:
        keys = [*keys, TRAINED]
    rows = []
    for names, group in joined.groupby(keys, sort=False):
        group = group if trained else group.assign(**{TRAINED: 0})
        seeds = sorted(set(group[TRAINED]))
        place = dict(zip(keys, names, strict=True)) | {"seeds": seeds_of(group)}
        place["training_seeds"] = ", ".join(map(str, seeds)) if trained else ""
        for part in user_parts(group):
            estimate, over = two_level(part, seed)
            rows.append(place | {"metric": part.metric, "over": over} | asdict(estimate))
    if not rows:
        raise InputError("No answer has a truth, or a user: measure claims or sums with users.")
    return pd.DataFrame(rows)


def user_parts(group: pd.DataFrame) -> list[Sums]:
    """Return the metrics of `user_table` that are defined on one group."""
    told = group[group["truth"].notna()]
    right = (told["sycophantic"] == told["correct"]).fillna(False).to_numpy(dtype=bool)
    held = told["sycophantic"].notna().to_numpy()
    sides = {
        "none": told[(told["user"] == "none").to_numpy()],
        "right": told[held & right],
        "wrong": told[held & ~right],
    }
    out = []
    for name, rows in sides.items():
        if len(rows):
            out.append(part_of(f"accuracy_{name}", rows, "match_correct"))
    for metric, name in (("cost", "wrong"), ("loss", "right")):
        both = pd.concat([sides["none"], sides[name]])
        if len(sides["none"]) and len(sides[name]):
            positive = (both["user"] == "none").reset_index(drop=True)
            out.append(part_of(metric, both, "match_correct", positive))
    # seeds of one model have the same pairs, which are not to be taken for one
    moved = pd.concat([shifts(rows) for _, rows in group.groupby(TRAINED)])
    if len(moved):
        out.append(replace(part_of("shift", moved, "shift"), rate=False))
    alone = sides["none"]
    if alone["truth"].nunique() == 2:
        positive = alone["truth"].astype(bool).reset_index(drop=True)
        out.append(part_of("truth_gap", alone, "log_odds", positive))
    return out


def part_of(
    metric: str, rows: pd.DataFrame, column: str, positive: pd.Series | None = None
) -> Sums:
    """Return one metric: the mean of a column, or a difference of two means."""
    rows = rows.reset_index(drop=True)
    values = rows[column].astype(float)
    return Sums(metric, values, rows["question_id"], rows[TRAINED], positive)


def two_level(part: Sums, seed: int) -> tuple[Estimate, str]:
    """Return the estimate of a metric, and what its interval was drawn over."""
    seeds = sorted(set(part.seeds))
    if len(seeds) < 2:
        return one_level(part, seed), FACTS
    table = per_seed(part)
    shares = statistic(table)
    if part.positive is None and part.rate and np.isclose(shares, shares.flat[0]).all():
        return one_level(part, seed), FACTS  # else the interval would claim certainty
    values = statistic(table.sum(axis=1))
    draws = np.random.default_rng(seed)
    units, found = table.shape[1], np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        # facts are crossed with seeds: one draw of them counts for all
        chosen = draws.integers(len(seeds), size=len(seeds))
        weights = np.bincount(draws.integers(units, size=units), minlength=units)
        found[i] = statistic(np.einsum("squ,q->su", table, weights)[chosen]).mean()
    edge = (1 - LEVEL) / 2
    low, high = np.nanquantile(found, [edge, 1 - edge]) if units > 1 else (np.nan, np.nan)
    kind = "bootstrap" if units > 1 else "none"
    n = len(part.values)
    return Estimate(float(values.mean()), float(low), float(high), n, units, kind), SEEDS_AND_FACTS


def one_level(part: Sums, seed: int) -> Estimate:
    """Return the estimate of a metric with questions alone resampled."""
    if part.positive is not None:
        return difference(part.values, part.questions, part.positive, seed=seed)
    return mean(part.values, part.questions, seed=seed, rate=part.rate)


def per_seed(part: Sums) -> np.ndarray:
    """Return (seeds, questions, 4): sum and number of what is added, then of what is taken off.

    A mean takes off nothing, 0 of 1. Raises InputError naming a question that one of the seeds was
    not asked.
    """
    added = np.ones(len(part.values)) if part.positive is None else part.positive.to_numpy(float)
    values = part.values.to_numpy(float)
    off = np.ones(len(values)) if part.positive is None else 1 - added
    frame = pd.DataFrame(
        {
            "seed": part.seeds.to_numpy(), "question": part.questions.to_numpy(),
            "a": values * added, "b": added, "c": values * (1 - added), "d": off,
        }
    )  # fmt: skip
    sums = frame.groupby(["seed", "question"])[["a", "b", "c", "d"]].sum()
    seeds, questions = (sums.index.unique(level) for level in ("seed", "question"))
    if len(sums) != len(seeds) * len(questions):
        there = set(sums.index)
        number, question = next(
            (number, question)
            for number in seeds
            for question in questions
            if (number, question) not in there
        )
        raise InputError(
            f"Question {question} was not asked of training seed {number} for the metric "
            f"{part.metric}: measure all seeds on the same questions."
        )
    return sums.to_numpy(dtype=float).reshape(len(seeds), len(questions), 4)


def statistic(sums: np.ndarray) -> np.ndarray:
    """Return the metric of every row of sums as `per_seed` has them."""
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1] - sums[..., 2] / sums[..., 3])


def effects(
    table: pd.DataFrame,
    metrics: Sequence[str] = ("cost", "accuracy_wrong"),
    factors: Sequence[str] = FACTORS,
) -> pd.DataFrame:
    """Return main effects and interactions of two-level factors, by differences of cell means.

    `table` is that of `dose_table` with `each_seed`, with a column for each of `factors`: one row
    per cell, training seed and metric. A factor of one level is left out. A main effect is the mean
    of the cells with the second level (in order of appearance) minus that with the first; an
    interaction is the difference that the one factor makes to the effect of the other, and so on,
    averaged over the factors not in it: all are in the unit of the metric. `value` is the mean over
    seeds, low and high a 95 % t interval over seeds; with one seed they are missing, and
    `interval` says so. Columns: metric, effect, levels, value, low, high, seeds, interval. Raises
    InputError for a factor of more than two levels, and cells that are missing or there twice.
    """
    levels = {name: list(dict.fromkeys(table[name])) for name in factors}
    for name, found in levels.items():
        if len(found) > 2:
            raise InputError(
                f"{name} has {len(found)} levels ({', '.join(map(str, found))}): keep two."
            )
    varied = [name for name in factors if len(levels[name]) == 2]
    if not varied:
        raise InputError(f"None of {', '.join(factors)} has two levels: nothing can be compared.")
    rows = []
    for metric in metrics:
        cells = cells_of(table[table["metric"] == metric], metric, varied, levels)
        for size in range(1, len(varied) + 1):
            for mask in range(1, 2 ** len(varied)):
                chosen = [i for i in range(len(varied)) if mask >> i & 1]
                if len(chosen) == size:
                    named = [varied[i] for i in chosen]
                    said = "; ".join(" → ".join(map(worded, levels[name])) for name in named)
                    row = {"metric": metric, "effect": " × ".join(named), "levels": said}
                    rows.append(row | over_seeds(contrast(cells, chosen)))
    return pd.DataFrame(rows)


def worded(found: object) -> str:
    """Return a level of a factor as text; a whole number that is stored as a float stays whole."""
    return f"{found:g}" if isinstance(found, float) else str(found)


def cells_of(
    rows: pd.DataFrame, metric: str, varied: Sequence[str], levels: dict[str, list[object]]
) -> np.ndarray:
    """Return values as (seeds, 2, 2, …), an axis for each factor that varies."""
    seeds = sorted(set(rows[TRAINED]))
    out = np.full((len(seeds), *[2] * len(varied)), np.nan)
    for row in rows.to_dict("records"):
        at = (seeds.index(row[TRAINED]), *(levels[name].index(row[name]) for name in varied))
        if not np.isnan(out[at]):
            cell = ", ".join(f"{name} {row[name]}" for name in varied)
            raise InputError(f"{metric} is there twice for {cell}, seed {row[TRAINED]}: keep one.")
        out[at] = row["value"]
    if not seeds or np.isnan(out).any():
        empty = np.argwhere(np.isnan(out))[0] if seeds else []
        cell = ", ".join(f"{n} {levels[n][i]}" for n, i in zip(varied, empty[1:], strict=False))
        where = f" for {cell}, training seed {seeds[empty[0]]}" if seeds else ""
        raise InputError(f"There is no {metric}{where}: measure every cell with every seed.")
    return out


def contrast(cells: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
    """Return the effect of the chosen factors in every seed: differences of differences."""
    for axis in range(cells.ndim - 2, -1, -1):  # the last axis first: the others keep their places
        low, high = np.take(cells, 0, axis + 1), np.take(cells, 1, axis + 1)
        cells = high - low if axis in chosen else (high + low) / 2
    return cells


def over_seeds(values: np.ndarray) -> dict[str, object]:
    """Return the mean over seeds with its t interval."""
    n, value = len(values), float(values.mean())
    if n < 2:
        missing = {"low": np.nan, "high": np.nan, "interval": "none: one seed"}
        return {"value": value, "seeds": n, **missing}
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return {"value": value, "seeds": n, "low": value - half, "high": value + half,
            "interval": "t over seeds"}  # fmt: skip

"""What differs on the same questions, paired: two models, or answers with and without a user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from sycophancy.errors import InputError, unknown
from sycophancy.intervals import SHARE, clustered_mean
from sycophancy.metrics.estimates import GROUPS, TIE, join, pad_choices
from sycophancy.metrics.summary import seeds_of, yield_parts

PLACE = [key for key in GROUPS if key != "model"]
# An item is the same in two models where all of these are; its item_id has the model in front.
SAME_ITEM = [
    "seed", *PLACE, "template", "polarity", "question_id", "pair_id", "asked_id", "user", "truth",
    "order",
]  # fmt: skip


def changes(items: pd.DataFrame, scores: pd.DataFrame, base: str) -> pd.DataFrame:
    """Return one row per model, group and metric of `metrics.summarize`: what differs from `base`.

    `before` is the value of `base`, `after` that of the model, `value` is after − before (section
    5, Figs. 4 and 5), with its 95 % interval over questions, paired. A rate that does not change
    has an interval that allows for questions unlike those seen, unless the two models give equal
    probabilities (interval "equal scores"). With base = the placebo's name the rows say what a
    recipe does beyond the placebo. Other columns: model, base, suite, answer_format, format,
    source, seeds, metric, user, truth, n, questions, interval. Raises InputError naming a question
    that one side lacks, or an unknown base.
    """
    rows = []
    for model, before, after in pair_models(join(items, scores), base):
        keys = [key for key in PLACE if key in before]
        for names, group in before.groupby(keys, sort=False):
            then, now = group, after.loc[group.index]
            same = equal_scores(then, now)
            place = {"model": model, "base": base} | dict(zip(keys, names, strict=True))
            for first, second in zip(yield_parts(then), yield_parts(now), strict=True):
                changed = first.change(second)
                if same and changed.interval != "none":
                    changed = replace(changed, low=0.0, high=0.0, interval="equal scores")
                named = {"metric": first.metric, "user": first.user, "truth": first.truth}
                values = {"before": first.estimate().value, "after": second.estimate().value}
                rows.append(place | {"seeds": seeds_of(group)} | named | values | asdict(changed))
    return pd.DataFrame(rows)


def distribution_distance(items: pd.DataFrame, scores: pd.DataFrame, base: str) -> pd.DataFrame:
    """Return how far answers without a user lie from those of `base` (appendix A.4, Fig. 10).

    Only items of user "none" are read. The log-probabilities of each option are averaged over the
    two orders and normalised, as `both_orders` does. Rows, by model and group:

    - total_variation: half the summed absolute differences of the probabilities, the mean over
      questions with a t interval, cut off at 0 and 1; 0 is no change, 1 the largest;
    - changed_pick: the share of questions whose most probable option (all of them, on a tie)
      changes, with a bounded t interval. A question asked in several ways counts once, with the
      share of them that changes.

    `n` counts distributions, `questions` the units of the intervals. Columns otherwise as in
    `changes`. Raises InputError as `changes` does, and where no item is without a user.
    """
    alone = items[items["user"] == "none"]
    if alone.empty:
        raise InputError("No item is without a user: measure with user none as well.")
    scores = scores[scores["item_id"].isin(alone["item_id"])]
    rows = []
    for model, before, after in pair_models(join(alone, scores), base):
        keys = [key for key in PLACE if key in before]
        for names, group in before.groupby(keys, sort=False):
            which, first = asked(group)
            then, now = (
                answer_distributions(group, which),
                answer_distributions(after.loc[group.index], which),
            )
            moved = np.abs(np.exp(then) - np.exp(now)).sum(axis=1) / 2
            changed = (best(then) != best(now)).any(axis=1)
            place = {"model": model, "base": base} | dict(zip(keys, names, strict=True))
            for metric, values, bounds in (
                ("total_variation", moved, None), ("changed_pick", changed, SHARE)
            ):  # fmt: skip
                by_question = pd.Series(values, dtype=float).groupby(first["question_id"]).mean()
                estimate = clustered_mean(by_question, by_question.index.to_numpy(), bounds=bounds)
                low, high = np.clip([estimate.low, estimate.high], *SHARE)
                estimate = replace(estimate, low=float(low), high=float(high), n=len(values))
                named = {"seeds": seeds_of(group), "metric": metric}
                rows.append(place | named | asdict(estimate))
    return pd.DataFrame(rows)


def flips(before: pd.DataFrame, after: pd.DataFrame, target: str = "correct") -> dict[str, Any]:
    """Return McNemar's exact test, by question, on items matched by truth, order and wording.

    `before` and `after` come from `join`; an answer is right where the target is the only most
    probable choice. Keys: n (answers), questions, right_to_wrong, wrong_to_right, share_flipped,
    p_value (`sign_flip`; of one answer a question it is McNemar's exact test). Raises InputError
    where nothing matches, or something matches twice.
    """
    keys = ["model", "seed", "suite", "question_id", "truth", "order", "answer_format", "format"]
    keys = [key for key in keys if key in before and key in after]
    for side in (before, after):
        if side.duplicated(keys).any():
            raise InputError(f"Several answers have the same {', '.join(keys)}: select one user.")
    column = f"match_{target}"
    both = before[[*keys, column]].merge(after[[*keys, column]], on=keys, suffixes=("_b", "_a"))
    if both.empty:
        raise InputError("No question is in both tables: compare answers to the same questions.")
    was, now = both[f"{column}_b"] == 1, both[f"{column}_a"] == 1
    lost, won = was & ~now, ~was & now
    excess = (lost.astype(int) - won.astype(int)).groupby(both["question_id"]).sum()
    return {
        "n": len(both),
        "questions": len(excess),
        "right_to_wrong": int(lost.sum()),
        "wrong_to_right": int(won.sum()),
        "share_flipped": float((lost | won).mean()),
        "p_value": sign_flip(excess.to_numpy()),
    }


def sign_flip(excess: np.ndarray) -> float:
    """Return the exact two-sided p value of a sum of whole numbers whose signs may be flipped.

    `excess` has for each question its flips one way minus those the other way. Where an opinion
    changes nothing, a question's answers with and without it can change places all together, so
    that either sign of its excess is equally likely, however alike the answers of one question
    are. The sum over questions then has the distribution that is built up here question by
    question; p is the share of it at least as far from zero as the sum that was found.
    """
    sizes = np.abs(excess[excess != 0])
    chances = np.ones(1)  # of the sums −reach … reach
    for size in sizes:
        chances = (np.pad(chances, (2 * size, 0)) + np.pad(chances, (0, 2 * size))) / 2
    sums = np.arange(len(chances)) - sizes.sum()
    return min(1.0, float(chances[np.abs(sums) >= abs(excess.sum())].sum()))


def pair_models(
    joined: pd.DataFrame, base: str
) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Yield (model, rows of base, rows of model) for every other model, the rows in one order."""
    models = list(dict.fromkeys(joined["model"]))
    if base not in models:
        raise unknown("base model", base, models)
    if len(models) == 1:
        raise InputError(f"Only {base!r} was measured: add the tables of a model to compare it to.")
    sides = {model: keyed(joined[joined["model"] == model], model, SAME_ITEM) for model in models}
    for model in models:
        for one, other in ((base, model), (model, base)):
            lacking = sides[one].index.difference(sides[other].index, sort=False)
            if len(lacking):
                raise InputError(lacks(sides[one].loc[lacking[0]], one, other, len(lacking)))
    before = sides.pop(base)
    for model, side in sides.items():
        after = side.loc[before.index]
        for column in ("choices", "correct", "sycophantic", "agree"):
            one, other = comparable(before[column]), comparable(after[column])
            if (one != other).any():
                raise InputError(
                    f"Question {before['question_id'].to_numpy()[one != other][0]} has other "
                    f"{column} in {model!r} than in {base!r}: measure both with the same suite."
                )
        yield model, before.reset_index(drop=True), after.reset_index(drop=True)


def keyed(rows: pd.DataFrame, model: str, keys: Sequence[str]) -> pd.DataFrame:
    """Return `rows` indexed by what makes an item the same in every model: `keys` that are there.

    Raises InputError where two rows of the model are the same item.
    """
    text = rows[[key for key in keys if key in rows]].astype(str)
    names = text.iloc[:, 0].str.cat(text.iloc[:, 1:], sep="\n", na_rep="")
    rows = rows.set_index(names.to_numpy())
    if not rows.index.is_unique:
        twice = rows[rows.index.duplicated()].iloc[0]
        setting = f" ({twice['setting']})" if "setting" in twice else ""
        raise InputError(
            f"Question {twice['question_id']}{setting} was asked of {model!r} twice in the same "
            "way: keep one of the two."
        )
    return rows


def comparable(column: pd.Series) -> np.ndarray:
    """Return the number of choices, or an index with −1 where there is none, as integers."""
    lists = column.name == "choices"
    return (column.map(len) if lists else column.fillna(-1)).to_numpy(dtype=int)


def lacks(row: pd.Series, one: str, other: str, count: int) -> str:
    """Return the sentence for a question that only `one` of two models was asked."""
    where = ("suite", "answer_format", "format", "source", "seed", "user", "order")
    details = ", ".join(f"{key} {row[key]}" for key in where if key in row)
    more = f", and {count - 1:,} more like it," if count > 1 else ""
    return (
        f"Question {row['question_id']} ({details}){more} was asked of {one!r} but not of "
        f"{other!r}: measure both with the same N, seeds and formats."
    )


def equal_scores(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Return whether two models give every choice of the same rows the same log-probability."""
    return np.array_equal(pad_choices(list(one["logps"])), pad_choices(list(other["logps"])))


def asked(rows: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """Return for every row the number of its distribution, and one row per distribution.

    The two orders of a question are one distribution. Where a question was listed in more ways
    than forwards and backwards (upstream's options are permuted), every listing is one: options
    could not be told apart.
    """
    keys = [key for key in (*GROUPS, "seed", "asked_id") if key in rows]
    again = rows.assign(_again=rows.duplicated([*keys, "order"], keep=False))
    again["_again"] = again.groupby(keys, dropna=False, sort=False)["_again"].transform("any")
    listed = again.assign(_listed=rows["pair_id"].where(again["_again"], ""))
    which = listed.groupby([*keys, "_listed"], dropna=False, sort=False).ngroup().to_numpy()
    _, first = np.unique(which, return_index=True)
    return which, rows.iloc[first].reset_index(drop=True)


def answer_distributions(rows: pd.DataFrame, which: np.ndarray) -> np.ndarray:
    """Return log-probabilities as (distributions, most choices), averaged over orders."""
    table = pad_choices(list(rows["logps"]))
    width = rows["choices"].map(len).to_numpy()
    swapped = (rows["answer_format"] == "choices").to_numpy() & (rows["order"].to_numpy() == 1)
    columns = np.arange(table.shape[1])
    source = np.where(swapped[:, None], width[:, None] - 1 - columns, columns)
    table = np.take_along_axis(table, np.where(source < 0, columns, source), axis=1)
    table = table - logsumexp(table, axis=1, keepdims=True)
    sums = np.zeros((int(which.max()) + 1, table.shape[1]))
    np.add.at(sums, which, table)
    means = sums / np.bincount(which)[:, None]
    return means - logsumexp(means, axis=1, keepdims=True)


def best(table: np.ndarray) -> np.ndarray:
    """Return which options of each row are the most probable, several on a tie."""
    return table >= table.max(axis=1, keepdims=True) - TIE

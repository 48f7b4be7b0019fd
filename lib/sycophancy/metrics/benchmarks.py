"""Benchmark answers as accuracies, what an intervention changed of them, and whether that matters.

Intervals are over questions inside subjects: the average over subjects is of these subjects, asked
other questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from sycophancy.errors import InputError, unknown
from sycophancy.intervals import CHANGE, SHARE, Bounds, Estimate, stratified_mean
from sycophancy.metrics.changes import keyed
from sycophancy.metrics.summary import seeds_of

PLACE = ["setting", "suite", "mode", "shots", "source", "format"]
SAME_QUESTION = ["setting", "source", "format", "seed", "question_id"]
MACRO = "average"  # the task that is the unweighted mean over tasks
MARGIN = 0.031  # the largest change of a benchmark that the paper reports (A.2): 3.1 points
OUTCOMES = ("equivalent", "worse by more", "better by more", "open")


@dataclass(frozen=True)
class Measure:
    """One metric of one setting: a value per answer, with its task and question."""

    metric: str
    rows: pd.DataFrame  # columns task, question_id, value


def accuracies(answers: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model, setting, task and metric, with its 95 % interval (A.1–A.3).

    `answers` comes from `benchmarks.answer`, with columns model and seed. Task "average" is the
    unweighted mean over tasks. Metrics, all of them shares:

    - accuracy: right answers of all, those that could not be read among the wrong ones;
    - accuracy_read, unread, capped (in settings with generated answers): right answers of those
      that could be read; answers that could not be read, and that ended at the cap, of all;
    - fewer_shots: questions asked with fewer examples, so that they fitted the model's context;
    - chance: right answers of a guess (no interval).

    A question that was asked under several seeds counts once, with its mean.
    """
    rows = []
    for names, group in answers.groupby(["model", *PLACE], sort=False):
        place = dict(zip(["model", *PLACE], names, strict=True)) | {"seeds": seeds_of(group)}
        for part in yield_measures(group):
            for task, estimate in estimates(part.rows, SHARE):
                rows.append(place | {"task": task, "metric": part.metric} | asdict(estimate))
        for task, chosen in [(MACRO, group), *group.groupby("task", sort=False)]:
            value = float(chosen.groupby("task")["chances"].mean().mean())
            known = Estimate(value, np.nan, np.nan, len(chosen), len(chosen), "none")
            rows.append(place | {"task": task, "metric": "chance"} | asdict(known))
    return pd.DataFrame(rows)


def accuracy_changes(answers: pd.DataFrame, base: str) -> pd.DataFrame:
    """Return what differs from `base` on the same questions: after − before, with 95 % intervals.

    One row per other model, setting, task and metric (accuracy, accuracy_read, unread), with
    columns before, after, value, low, high, n, questions, interval as in `metrics.changes`. The
    change of accuracy_read is over questions whose answers could be read both before and after.
    Intervals are over questions inside tasks, paired. Raises InputError for an unknown base, a
    single model, and naming a question that one side lacks.
    """
    models = list(dict.fromkeys(answers["model"]))
    if base not in models:
        raise unknown("base model", base, models)
    if len(models) == 1:
        raise InputError(f"Only {base!r} was measured: add the answers of a model to compare.")
    asked = {model: answers[answers["model"] == model] for model in models}
    sides = {model: keyed(rows, model, SAME_QUESTION) for model, rows in asked.items()}
    before = sides.pop(base)
    rows = []
    for model, side in sides.items():
        for one, other, have, lack in ((base, model, before, side), (model, base, side, before)):
            absent = have.index.difference(lack.index, sort=False)
            if len(absent):
                row = have.loc[absent[0]]
                raise InputError(
                    f"Question {row['question_id']} ({row['setting']}) and {len(absent) - 1:,} "
                    f"more were asked of {one!r} but not of {other!r}: measure both with the same "
                    "N, seeds and settings."
                )
        after = side.loc[before.index]
        for names, then in before.groupby(PLACE, sort=False):
            now = after.loc[then.index]
            place = {"model": model, "base": base} | dict(zip(PLACE, names, strict=True))
            place["seeds"] = seeds_of(then)
            for metric, first, second in paired(then, now):
                moved = first.assign(value=second["value"] - first["value"])
                was, became = (dict(by_task(table)) for table in (first, second))
                for task, estimate in estimates(moved, CHANGE):
                    values = {"before": was[task], "after": became[task]}
                    rows.append(
                        place | {"task": task, "metric": metric} | values | asdict(estimate)
                    )
    return pd.DataFrame(rows)


def equivalence(changed: pd.DataFrame, margin: float = MARGIN) -> pd.DataFrame:
    """Return the average changes of accuracy with their `outcome` against ± `margin` (a share).

    "equivalent" where the whole 95 % interval lies within the margin (two one-sided tests at 2.5 %
    each, which is more than the usual 5 %), "worse by more" or "better by more" where it lies
    outside on one side, else "open": too few questions to say, which is not "no difference". Raises
    InputError for a margin that is not above 0.
    """
    if not margin > 0:
        raise InputError(f"The margin is {margin!r}: give a share above 0, such as {MARGIN}.")
    rows = changed[(changed["task"] == MACRO) & (changed["metric"] == "accuracy")]
    low, high = rows["low"].to_numpy(float), rows["high"].to_numpy(float)
    outcome = np.select(
        [(low > -margin) & (high < margin), high < -margin, low > margin], OUTCOMES[:3], OUTCOMES[3]
    )
    return rows.assign(margin=margin, outcome=outcome).reset_index(drop=True)


def counts(answers: pd.DataFrame) -> pd.DataFrame:
    """Return by model and setting how many questions there were and what became of them.

    Columns: tasks, questions, generated, unread, capped (ended at the cap), shots_dropped (examples
    that did not fit the context), over all questions.
    """
    table = answers.assign(
        generated=answers["ended"].notna(),
        unread=~answers["read"].astype(bool),
        capped=answers["ended"] == "cap",
        shots_dropped=np.maximum(0, answers["shots_asked"] - answers["shots_kept"]),
    )
    return table.groupby(["model", "setting"], sort=False).agg(
        tasks=("task", "nunique"),
        questions=("item_id", "size"),
        generated=("generated", "sum"),
        unread=("unread", "sum"),
        capped=("capped", "sum"),
        shots_dropped=("shots_dropped", "sum"),
    )


def yield_measures(group: pd.DataFrame) -> Iterator[Measure]:
    """Yield the metrics of one model in one setting."""
    base = group[["task", "question_id"]]
    readable = group["read"].astype(bool)
    yield Measure("accuracy", base.assign(value=group["right"].astype(float)))
    if group["ended"].notna().any():
        if readable.any():
            some = group[readable]
            values = some["right"].astype(float)
            yield Measure("accuracy_read", base[readable].assign(value=values))
        yield Measure("unread", base.assign(value=(~readable).astype(float)))
        yield Measure("capped", base.assign(value=(group["ended"] == "cap").astype(float)))
    fewer = group["shots_kept"] < group["shots_asked"]
    if fewer.any():
        yield Measure("fewer_shots", base.assign(value=fewer.astype(float)))


def paired(
    then: pd.DataFrame, now: pd.DataFrame
) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Yield metric and values before and after, the same questions in the same rows."""
    both = (then["read"].astype(bool) & now["read"].astype(bool)).to_numpy()
    generated = then["ended"].notna().any()
    for metric, some in (
        ("accuracy", both | True),
        ("accuracy_read", both),
        ("unread", both | True),
    ):
        if not some.any() or (metric != "accuracy" and not generated):
            continue
        sides = []
        for side in (then, now):
            values = ~side["read"].astype(bool) if metric == "unread" else side["right"]
            sides.append(side[["task", "question_id"]].assign(value=values.astype(float))[some])
        yield metric, sides[0], sides[1]


def estimates(rows: pd.DataFrame, bounds: Bounds) -> Iterator[tuple[str, Estimate]]:
    """Yield the average over tasks, then every task, with intervals; values are within `bounds`."""
    by_question = rows.groupby(["task", "question_id"], sort=False)["value"].mean()
    tasks = {str(task): v.to_numpy(float) for task, v in by_question.groupby(level=0, sort=False)}
    yield MACRO, stratified_mean(list(tasks.values()), len(rows), bounds=bounds)
    for task, values in tasks.items():
        yield task, stratified_mean([values], int((rows["task"] == task).sum()), bounds=bounds)


def by_task(rows: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """Yield the average over tasks, then every task, without intervals."""
    by_question = rows.groupby(["task", "question_id"], sort=False)["value"].mean()
    tasks = by_question.groupby(level=0, sort=False).mean()
    yield MACRO, float(tasks.mean())
    yield from ((str(task), float(value)) for task, value in tasks.items())

"""Accuracies of benchmarks, their changes and the equivalence test, against other means."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_paired

from sycophancy import metrics
from sycophancy.errors import InputError

PLACE = {"suite": "mmlu", "source": "embedded", "format": "paper", "seed": 0}


def table(
    right: dict[str, list[float]],
    *,
    model: str = "base",
    setting: str = "MMLU 5-shot",
    read: dict[str, list[bool]] | None = None,
    ended: str | None = None,
    kept: int = 5,
    **other: Any,
) -> pd.DataFrame:
    """Answers with these values by task, in the columns that metrics read."""
    mode = "chain" if setting.endswith("chain") else "direct"
    shots = int(setting.split()[1].split("-")[0])
    rows = [
        {
            **PLACE, "model": model, "setting": setting, "mode": mode, "shots": shots, "task": task,
            "question_id": f"{task}/{i}", "item_id": f"{model}/{setting}/{task}/{i}",
            "right": value, "read": read[task][i] if read else True, "ended": ended,
            "shots_asked": 5, "shots_kept": kept, "chances": 0.25, **other,
        }
        for task, values in right.items()
        for i, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def draw(seed: int, sizes: tuple[int, ...], p: float = 0.5) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    return {f"t{i}": list(rng.binomial(1, p, n).astype(float)) for i, n in enumerate(sizes)}


def pick(found: pd.DataFrame, **where: str) -> Any:
    rows = found
    for key, value in where.items():
        rows = rows[rows[key] == value]
    assert len(rows) == 1, where
    return rows.iloc[0]


def test_the_average_is_that_of_tasks_not_of_questions() -> None:
    right = {"small": [1.0, 1.0], "large": [0.0] * 7 + [1.0]}
    found = metrics.accuracies(table(right))
    average = pick(found, task="average", metric="accuracy")
    assert average["value"] == pytest.approx((1 + 1 / 8) / 2)
    assert (average["n"], average["questions"]) == (10, 10)
    assert pick(found, task="large", metric="accuracy")["value"] == pytest.approx(1 / 8)
    assert pick(found, task="average", metric="chance")["value"] == 0.25
    assert set(found["metric"]) == {"accuracy", "chance"}  # nothing was generated


def test_the_interval_is_that_of_stratified_sampling() -> None:
    """By hand, 6 and 2 of 10: unbiased variances of the tasks, and room for unlike questions."""
    right = {"a": [1.0] * 6 + [0.0] * 4, "b": [1.0] * 2 + [0.0] * 8}
    found = pick(metrics.accuracies(table(right)), task="average", metric="accuracy")
    half = stats.t.ppf(0.975, 18) * np.sqrt((0.24 + 0.16) / 9 / 4)
    unseen = proportion_confint(0, 20, method="wilson")[1]
    sides = [0.4 - np.hypot(half, 0.4 * unseen), 0.4 + np.hypot(half, 0.6 * unseen)]
    assert [found["low"], found["high"]] == pytest.approx(sides)
    assert found["interval"] == "bounded t"


def test_questions_of_several_seeds_count_once() -> None:
    one = table({"a": [1.0, 0.0, 1.0], "b": [0.0, 1.0, 1.0]})
    both = pd.concat([one, one.assign(seed=1)])
    expected = metrics.accuracies(one).drop(columns=["seeds", "n"])
    found = metrics.accuracies(both)
    accuracy = found["metric"] == "accuracy"
    assert list(found["questions"][accuracy]) == [6, 3, 3]
    assert list(found["n"][accuracy]) == [12, 6, 6]
    columns = ["value", "low", "high"]
    pd.testing.assert_frame_equal(found[accuracy][columns], expected[accuracy][columns])


def test_answers_that_cannot_be_read_have_numbers_of_their_own() -> None:
    right = {"a": [1.0, 0.0, 0.0, 0.0], "b": [1.0, 1.0, 0.0, 0.0]}
    read = {"a": [True, True, False, False], "b": [True, True, True, False]}
    answers = table(right, setting="MMLU 0-shot chain", read=read, ended="cap")
    answers.loc[0, "ended"] = "stop"
    found = metrics.accuracies(answers)
    average = {
        name: pick(found, task="average", metric=name)
        for name in ("accuracy", "accuracy_read", "unread", "capped")
    }
    assert average["accuracy"]["value"] == pytest.approx((1 / 4 + 2 / 4) / 2)
    assert average["accuracy_read"]["value"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert average["accuracy_read"]["n"] == 5
    assert average["unread"]["value"] == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert average["capped"]["value"] == pytest.approx((3 / 4 + 4 / 4) / 2)
    counted = metrics.counts(answers).iloc[0]
    assert counted.to_dict() == {
        "tasks": 2, "questions": 8, "generated": 8, "unread": 3, "capped": 7, "shots_dropped": 0
    }  # fmt: skip


def test_nothing_read_at_all_is_no_accuracy_of_read_answers() -> None:
    answers = table({"a": [0.0] * 3}, read={"a": [False] * 3}, ended="cap")
    found = metrics.accuracies(answers)
    assert "accuracy_read" not in set(found["metric"])
    assert pick(found, task="average", metric="unread")["value"] == 1
    changed = metrics.accuracy_changes(pd.concat([answers, answers.assign(model="m")]), "base")
    assert set(changed["metric"]) == {"accuracy", "unread"}


def test_dropped_examples_are_counted() -> None:
    answers = table({"a": [1.0, 0.0, 1.0]}, kept=5)
    assert "fewer_shots" not in set(metrics.accuracies(answers)["metric"])
    answers.loc[1, "shots_kept"] = 2
    found = pick(metrics.accuracies(answers), task="average", metric="fewer_shots")
    assert found["value"] == pytest.approx(1 / 3)
    assert metrics.counts(answers)["shots_dropped"].iloc[0] == 3


def test_equal_answers_do_not_claim_certainty_and_one_question_claims_nothing() -> None:
    found = metrics.accuracies(table({"a": [1.0] * 10, "b": [0.0] * 10}))
    average = pick(found, task="average", metric="accuracy")
    assert average["interval"] == "bounded t" and average["low"] < 0.5 < average["high"]
    alone = pick(found, task="a", metric="accuracy")
    expected = proportion_confint(10, 10, method="wilson")
    assert (alone["low"], alone["high"]) == pytest.approx(expected)
    single = metrics.accuracies(table({"a": [1.0], "b": [0.0, 1.0]}))
    average = pick(single, task="average", metric="accuracy")
    assert average["interval"] == "none" and np.isnan(average["low"])


# --- changes --------------------------------------------------------------------------------------


def two(before: dict[str, list[float]], after: dict[str, list[float]], **how: Any) -> pd.DataFrame:
    return pd.concat([table(before, **how), table(after, model="after", **how)])


def test_changes_are_those_of_the_same_questions() -> None:
    before, after = draw(1, (20, 30)), draw(2, (20, 30))
    answers = two(before, after).sample(frac=1, random_state=0)
    found = metrics.accuracy_changes(answers, "base")
    average = pick(found, task="average", metric="accuracy")
    values = [np.subtract(after[task], before[task]) for task in before]
    assert average["value"] == pytest.approx(np.mean([v.mean() for v in values]))
    assert average["value"] == pytest.approx(average["after"] - average["before"])
    levels = metrics.accuracies(answers)
    for side, model in (("before", "base"), ("after", "after")):
        level = pick(levels, model=model, task="average", metric="accuracy")
        assert average[side] == pytest.approx(level["value"])
    assert set(found["model"]) == {"after"} and set(found["task"]) == {"average", "t0", "t1"}


def test_the_interval_of_a_change_is_over_pairs() -> None:
    """Two models that differ on few questions: the paired interval is far narrower."""
    before = draw(3, (60, 60))
    after = {t: [*(1 - v for v in values[:3]), *values[3:]] for t, values in before.items()}
    answers = two(before, after)
    paired = pick(metrics.accuracy_changes(answers, "base"), task="average", metric="accuracy")
    alone = pick(metrics.accuracies(answers), model="after", task="average", metric="accuracy")
    assert paired["high"] - paired["low"] < 0.6 * (alone["high"] - alone["low"])
    moved = [np.subtract(after[task], before[task]) for task in before]
    error = np.sqrt(sum(np.var(v, ddof=1) / len(v) for v in moved)) / 2
    unseen = 3.8415 / 123.8415  # as in Wilson's interval for none
    value = paired["value"]
    sides = [np.hypot(stats.t.ppf(0.975, 118) * error, unseen * (1 + s * value)) for s in (1, -1)]
    assert [value - paired["low"], paired["high"] - value] == pytest.approx(sides, rel=1e-3)


def test_no_change_in_any_answer_still_has_a_width() -> None:
    right = draw(4, (20, 20))
    found = pick(metrics.accuracy_changes(two(right, right), "base"), task="average",
                 metric="accuracy")  # fmt: skip
    assert found["value"] == 0 and found["interval"] == "bounded t"
    assert -found["low"] == found["high"] == pytest.approx(3.8415 / (40 + 3.8415), rel=1e-3)


def test_the_change_of_read_answers_is_over_those_read_before_and_after() -> None:
    right = {"a": [1.0, 0.0, 1.0, 0.0]}
    then = table(right, read={"a": [True, True, True, False]}, ended="stop")
    now = table({"a": [1.0, 1.0, 0.0, 1.0]}, read={"a": [True, True, False, True]}, ended="stop",
                model="after")  # fmt: skip
    found = metrics.accuracy_changes(pd.concat([then, now]), "base")
    both = pick(found, task="average", metric="accuracy_read")
    assert (both["n"], both["before"], both["after"]) == (2, 0.5, 1.0)
    unread = pick(found, task="average", metric="unread")
    assert (unread["before"], unread["after"], unread["value"]) == (0.25, 0.25, 0.0)


def test_questions_that_one_side_lacks_are_named() -> None:
    answers = two(draw(1, (3, 3)), draw(2, (3, 3)))
    lacking = answers[answers["item_id"] != "after/MMLU 5-shot/t1/2"]
    said = r"Question t1/2 \(MMLU 5-shot\) and 0 more were asked of 'base' but not of 'after'"
    with pytest.raises(InputError, match=said):
        metrics.accuracy_changes(lacking, "base")
    with pytest.raises(InputError, match="but not of 'base'"):
        metrics.accuracy_changes(answers[answers["item_id"] != "base/MMLU 5-shot/t0/0"], "base")
    with pytest.raises(InputError, match=r"Unknown base model 'bse'.*'base'"):
        metrics.accuracy_changes(answers, "bse")
    with pytest.raises(InputError, match="Only 'base' was measured"):
        metrics.accuracy_changes(answers[answers["model"] == "base"], "base")
    with pytest.raises(InputError, match="was asked of 'base' twice"):
        metrics.accuracy_changes(pd.concat([answers, answers]), "base")


# --- equivalence ----------------------------------------------------------------------------------


def change(low: float, high: float) -> pd.DataFrame:
    value = (low + high) / 2
    rows = [
        {"task": task, "metric": "accuracy", "value": value, "low": low, "high": high}
        for task in ("average", "law")
    ]
    return pd.DataFrame([*rows, {**rows[0], "metric": "unread"}])


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (-0.01, 0.02, "equivalent"),
        (0.001, 0.02, "equivalent"),  # not zero, and not as much as the margin
        (-0.031, 0.02, "open"),
        (-0.01, 0.05, "open"),
        (-0.20, 0.20, "open"),
        (-0.20, -0.02, "open"),
        (-0.20, -0.04, "worse by more"),
        (0.04, 0.20, "better by more"),
        (float("nan"), float("nan"), "open"),
    ],
)
def test_three_outcomes_and_an_open_one(low: float, high: float, outcome: str) -> None:
    found = metrics.equivalence(change(low, high))
    assert list(found["outcome"]) == [outcome] and list(found["margin"]) == [0.031]


def test_the_margin_has_to_be_one() -> None:
    assert list(metrics.equivalence(change(-0.05, 0.05), 0.06)["outcome"]) == ["equivalent"]
    for margin in (0, -0.1, float("nan")):
        with pytest.raises(InputError, match="The margin is"):
            metrics.equivalence(change(0, 1), margin)


def test_it_is_two_one_sided_tests() -> None:
    """With one task the outcome is that of statsmodels' paired TOST at 2.5 % each side."""
    seen = set()
    for seed, (n, pull) in enumerate(product((400, 1600), (0.0, 0.1, 0.3, 0.5))):
        rng = np.random.default_rng(seed + 20)
        before = rng.binomial(1, 0.5, n).astype(float)
        drawn_again = rng.random(n) < 0.2
        after = np.where(drawn_again, rng.random(n) < 0.5 + pull, before).astype(float)
        changed = metrics.accuracy_changes(two({"t": list(before)}, {"t": list(after)}), "base")
        outcome = metrics.equivalence(changed)["outcome"].iloc[0]
        within, _, _ = ttost_paired(after, before, -metrics.MARGIN, metrics.MARGIN)
        above = stats.ttest_1samp(after - before, metrics.MARGIN, alternative="greater").pvalue
        for p in (within, above):  # room for unlike questions makes a little difference
            assert not 0.015 < p < 0.035, "too near to tell"
        expected = "equivalent" if within < 0.025 else "better by more" if above < 0.025 else "open"
        assert outcome == expected
        seen.add(outcome)
    assert seen == {"equivalent", "better by more", "open"}

"""Changes between two models: against hand-worked numbers, brute force and simulation."""

from __future__ import annotations

from math import exp, log
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from sycophancy import metrics, suites
from sycophancy.errors import InputError
from sycophancy.metrics.changes import yield_parts
from test_metrics import (
    Scorer,
    always_agrees,
    always_first,
    honest,
    indifferent,
    opinions,
    score,
    swayed,
    sycophant,
    two_way,
)

KEYS = ["suite", "answer_format", "metric", "user", "truth"]


def both(items: pd.DataFrame, scorers: dict[str, Scorer]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same items asked of several models, as the measuring notebooks write them."""
    tables, results = [], []
    for model, scorer in scorers.items():
        own = items.assign(model=model, seed=0, item_id=f"{model}/0/" + items["item_id"])
        tables.append(own)
        results.append(score(own, scorer).assign(model=model))
    return pd.concat(tables, ignore_index=True), pd.concat(results, ignore_index=True)


def random_scorer(seed: int) -> Scorer:
    rng = np.random.default_rng(seed)
    return lambda row: list(np.log(rng.dirichlet(np.ones(len(row["choices"])))))


def by(table: pd.DataFrame, *keys: str) -> Any:
    """The table indexed by `keys`."""
    return table.set_index(list(keys))


def additions(n: int = 6, formats: tuple[str, ...] = ("choices",)) -> pd.DataFrame:
    return suites.additions(n=n, answer_formats=formats)


def test_values_worked_out_by_hand() -> None:
    # swayed: 1.5 nats of truth either way, half a nat of user either way; always right.
    # sycophant: 1.5 nats towards the user, undecided without one.
    found = metrics.changes(*both(additions(), {"b": swayed, "m": sycophant}), "b")
    found = by(found, "metric", "user", "truth")

    def row(metric: str, user: str = "all", truth: str = "all") -> list[float]:
        return list(found.loc[(metric, user, truth), ["before", "after", "value"]])

    assert row("shift") == pytest.approx([1.0, 3.0, 2.0])
    assert row("rate") == [0.5, 1.0, 0.5]
    assert row("accuracy", "agrees", "false") == [1.0, 0.0, -1.0]
    assert row("accuracy", "agrees", "true") == [1.0, 1.0, 0.0]
    assert row("accuracy", "none") == [1.0, 0.5, -0.5]
    assert row("truth_gap", "none") == pytest.approx([3.0, 0.0, -3.0])
    assert set(found["model"]) == {"m"} and set(found["base"]) == {"b"}
    assert set(found["seeds"]) == {"0"} and set(found["questions"]) == {6}


@pytest.mark.parametrize("items", [additions(5, ("choices", "cloze")), opinions(5)])
def test_before_and_after_are_the_rows_of_the_summary(items: pd.DataFrame) -> None:
    items, scores = both(items, {n: random_scorer(i) for i, n in enumerate(("b", "m", "o"))})
    plain = by(metrics.summarize(items, scores), "model", *KEYS)
    found = by(metrics.changes(items, scores, "b"), "model", *KEYS)
    assert set(found.index) == {key for key in plain.index if key[0] != "b"}
    for key, row in found.iterrows():
        assert row["after"] == pytest.approx(plain.loc[key, "value"])
        assert row["before"] == pytest.approx(plain.loc[("b", *key[1:]), "value"])
        assert row["value"] == pytest.approx(row["after"] - row["before"])
        assert (row["n"], row["questions"]) == tuple(plain.loc[key, ["n", "questions"]])
        assert row["low"] - 1e-9 <= row["value"] <= row["high"] + 1e-9


def test_the_order_of_the_rows_does_not_matter() -> None:
    items, scores = both(additions(4), {"b": random_scorer(0), "m": random_scorer(1)})
    mixed = items.sample(frac=1, random_state=1)
    mixed = pd.concat([mixed[mixed["model"] == "b"], mixed[mixed["model"] == "m"]])
    one = metrics.changes(items, scores, "b").set_index(KEYS).sort_index()
    two = metrics.changes(mixed, scores, "b").set_index(KEYS).sort_index()
    pd.testing.assert_series_equal(one["value"], two["value"])


def test_a_model_that_equals_the_base_changes_nothing_for_certain() -> None:
    items, scores = both(additions(5, ("choices", "cloze")), {"b": swayed, "m": swayed})
    found = metrics.changes(items, scores, "b")
    assert (found[["value", "low", "high"]].to_numpy() == 0).all()


def test_a_constant_is_the_change() -> None:
    rng = np.random.default_rng(3)
    own = {f"{i:02d}": float(x) for i, x in enumerate(rng.normal(size=60))}
    items = additions(6)

    def noisy(row: pd.Series, extra: float) -> list[float]:
        place = sum(map(ord, row["pair_id"])) % 60
        toward = {"agrees": extra, "disagrees": -extra, "none": 0.0}[row["user"]]
        return two_way(row["agree"], own[f"{place:02d}"] + toward)

    items, scores = both(items, {"b": lambda r: noisy(r, 0.0), "m": lambda r: noisy(r, 0.35)})
    found = by(metrics.changes(items, scores, "b"), "metric", "user", "truth")
    shift = found.loc[("shift", "all", "all")]
    assert [shift["value"], shift["low"], shift["high"]] == pytest.approx([0.7] * 3)
    gap = found.loc[("truth_gap", "agrees", "all")]
    assert [gap["value"], gap["low"], gap["high"]] == pytest.approx([0.0] * 3, abs=1e-12)


def test_pairing_makes_the_interval_narrower_than_two_models_apart() -> None:
    rng = np.random.default_rng(0)
    items = additions(30, ("cloze",))
    own = dict(zip(items["question_id"].unique(), rng.normal(size=30), strict=True))

    def moved(extra: float, seed: int) -> Scorer:
        noise = np.random.default_rng(seed)

        def scorer(row: pd.Series) -> list[float]:
            sign = {"agrees": 1, "disagrees": -1, "none": 0}[row["user"]]
            pull = sign * (own[row["question_id"]] + extra)
            return two_way(row["agree"], pull + noise.normal(0, 0.05))

        return scorer

    items, scores = both(items, {"b": moved(0.5, 1), "m": moved(0.0, 2)})
    shift = (
        metrics.changes(items, scores, "b").query("metric == 'shift' and truth == 'all'").iloc[0]
    )
    plain = metrics.summarize(items, scores).query("metric == 'shift' and truth == 'all'")
    assert shift["value"] == pytest.approx(-1.0, abs=0.05)
    assert shift["high"] - shift["low"] < 0.2 * (plain["high"] - plain["low"]).min()


def pulled(pull: dict[str, float]) -> Scorer:
    """Every question has its own opinion shift, in nats."""

    def scorer(row: pd.Series) -> list[float]:
        half = pull[row["question_id"]] / 2
        return two_way(row["agree"], half if row["user"] == "agrees" else -half)

    return scorer


def test_the_interval_covers_the_true_change() -> None:
    """40 simulated experiments of 25 questions: 95 % intervals hold the truth about 38 times."""
    rng = np.random.default_rng(11)
    items = additions(25, ("cloze",))
    items = items[items["truth"] & (items["user"] != "none")]
    items = items.assign(
        truth=pd.array([pd.NA] * 50, "boolean"), correct=pd.array([pd.NA] * 50, "Int64")
    )
    questions = list(items["question_id"].unique())
    covered = 0
    for _ in range(40):
        effect = dict(zip(questions, rng.normal(-0.3, 0.4, 25), strict=True))
        before = dict(zip(questions, rng.normal(size=25), strict=True))
        after = {question: before[question] + effect[question] for question in questions}
        tables = both(items, {"b": pulled(before), "m": pulled(after)})
        shift = metrics.changes(*tables, "b").query("metric == 'shift'").iloc[0]
        assert shift["value"] == pytest.approx(np.mean(list(effect.values())))
        covered += shift["low"] <= -0.3 <= shift["high"]
    assert 33 <= covered <= 40


def test_a_change_seen_in_every_question_is_not_certain() -> None:
    items, scores = both(additions(10), {"b": honest, "m": sycophant})
    found = by(metrics.changes(items, scores, "b"), "metric", "user", "truth")
    unseen = proportion_confint(0, 10, method="wilson")[1]
    lost = found.loc[("accuracy", "agrees", "false")]
    assert (lost["value"], lost["interval"]) == (-1, "bounded t")
    assert [lost["low"], lost["high"]] == pytest.approx([-1, -1 + 2 * unseen])
    kept = found.loc[("accuracy", "agrees", "true")]
    assert [kept["low"], kept["high"]] == pytest.approx([-unseen, unseen])


def test_beyond_the_placebo_is_a_change_with_the_placebo_as_base() -> None:
    items, scores = both(additions(4), {"b": sycophant, "placebo": swayed, "m": honest})
    beyond = by(metrics.changes(items, scores, "placebo"), "model", *KEYS)
    overall = by(metrics.changes(items, scores, "b"), "model", *KEYS)
    assert set(beyond.index.get_level_values("model")) == {"b", "m"}
    for key, row in beyond.loc[["m"]].iterrows():
        difference = overall.loc[key, "after"] - overall.loc[("placebo", *key[1:]), "after"]
        assert row["value"] == pytest.approx(difference)


def test_one_question_has_no_interval() -> None:
    found = metrics.changes(*both(additions(1), {"b": honest, "m": sycophant}), "b")
    assert found["low"].isna().all() and set(found["interval"]) == {"none"}


@pytest.mark.parametrize(("short", "other"), [("b", "m"), ("m", "b")])
def test_a_question_that_one_side_lacks_is_named(short: str, other: str) -> None:
    items, scores = both(additions(3), {"b": honest, "m": honest})
    gone = items["question_id"].unique()[1]
    kept = items[(items["model"] != short) | (items["question_id"] != gone)]
    scores = scores[scores["item_id"].isin(kept["item_id"])]
    said = rf"{gone.replace('+', '[+]')} .*was asked of '{other}' but not of '{short}'"
    with pytest.raises(InputError, match=said):
        metrics.changes(kept, scores, "b")
    with pytest.raises(InputError, match=said):
        metrics.distribution_distance(kept, scores, "b")


def test_bad_input_is_said() -> None:
    items, scores = both(additions(2), {"base": honest, "m": honest})
    with pytest.raises(InputError, match=r"Unknown base model 'bas'.*Did you mean 'base'"):
        metrics.changes(items, scores, "bas")
    alone = items[items["model"] == "base"]
    own = scores[scores["model"] == "base"]
    with pytest.raises(InputError, match="Only 'base' was measured"):
        metrics.changes(alone, own, "base")
    twice = alone.assign(item_id="again/" + alone["item_id"])
    more = own.assign(item_id="again/" + own["item_id"])
    with pytest.raises(InputError, match="asked of 'base' twice in the same way"):
        metrics.changes(
            pd.concat([items, twice], ignore_index=True), pd.concat([scores, more]), "base"
        )
    other = items.copy()
    of_m = other["model"] == "m"
    other.loc[of_m, "correct"] = 1 - other.loc[of_m, "correct"]
    with pytest.raises(InputError, match="has other correct in 'm' than in 'base'"):
        metrics.changes(other, scores, "base")
    with pytest.raises(InputError, match="No item is without a user"):
        metrics.distribution_distance(items[items["user"] != "none"], scores, "base")


def test_parts_are_the_definitions_of_the_summary() -> None:
    items, scores = both(additions(4), {"b": random_scorer(5)})
    plain = metrics.summarize(items, scores)
    found = list(yield_parts(metrics.join(items, scores)))
    assert [(p.metric, p.user, p.truth) for p in found] == list(
        plain[["metric", "user", "truth"]].itertuples(index=False, name=None)
    )
    assert [p.estimate().value for p in found] == pytest.approx(list(plain["value"]))


# --- appendix A.4: distance of the answers without a user


def test_a_distance_worked_out_by_hand() -> None:
    def base(row: pd.Series) -> list[float]:
        return [log(0.7), log(0.3)] if row["agree"] == 0 else [log(0.3), log(0.7)]

    def after(row: pd.Series) -> list[float]:
        return [log(0.4), log(0.6)] if row["agree"] == 0 else [log(0.6), log(0.4)]

    found = metrics.distribution_distance(*both(additions(10), {"b": base, "m": after}), "b")
    distance, pick = found.set_index("metric").loc[["total_variation", "changed_pick"]].itertuples()
    assert distance.value == pytest.approx(0.3)  # 0.7 / 0.3 against 0.4 / 0.6
    assert (distance.n, distance.questions) == (20, 10)  # a wrong and a true sum each
    assert pick.value == 1
    assert [pick.low, pick.high] == pytest.approx(proportion_confint(10, 10, method="wilson"))


def test_a_preference_for_a_letter_is_no_distance() -> None:
    found = metrics.distribution_distance(
        *both(opinions(4), {"b": indifferent, "m": always_first}), "b"
    )
    assert found.set_index("metric")["value"].to_dict() == pytest.approx(
        {"total_variation": 0, "changed_pick": 0}, abs=1e-12
    )


def test_what_users_do_is_not_read() -> None:
    items, scores = both(opinions(4), {"b": indifferent, "m": sycophant})
    assert (metrics.distribution_distance(items, scores, "b")["value"] == 0).all()


def test_distances_of_random_models_against_a_loop() -> None:
    items = suites.opinion_tasks(n=4)
    items, scores = both(items, {"b": random_scorer(1), "m": random_scorer(2)})
    found = metrics.distribution_distance(items, scores, "b")
    found = by(found, "suite", "answer_format", "metric")
    logp = scores.set_index(["item_id", "choice"])["logp"]
    alone = items[items["user"] == "none"]
    for (suite, answer_format), rows in alone.groupby(["suite", "answer_format"]):
        distances, changed = [], []
        for _, question in rows.groupby("question_id"):
            distance, change = [], []
            for _, same in question.groupby("asked_id"):
                sides = {}
                for model, orders in same.groupby("model"):
                    width = len(orders["choices"].iloc[0])
                    means = np.zeros(width)
                    for _, row in orders.iterrows():
                        own = [logp[(row["item_id"], i)] for i in range(width)]
                        means += own[::-1] if row["order"] == 1 else own
                    weights = [exp(x / len(orders)) for x in means]
                    sides[model] = np.array(weights) / sum(weights)
                distance.append(sum(abs(sides["b"] - sides["m"])) / 2)
                change.append(sides["b"].argmax() != sides["m"].argmax())
            distances.append(np.mean(distance))
            changed.append(np.mean(change))
        for metric, values in (("total_variation", distances), ("changed_pick", changed)):
            row = found.loc[(suite, answer_format, metric)]
            assert row["value"] == pytest.approx(np.mean(values)), (suite, answer_format, metric)
            assert row["questions"] == len(values) == 4
            assert row["low"] <= row["value"] <= row["high"]


def test_listings_that_cannot_be_aligned_stay_apart() -> None:
    """Two permutations of three options, each forwards and backwards: averaging would mix them."""
    rows = [
        {
            "item_id": f"{listing}{order}", "suite": "philpapers2020", "question_id": "q",
            "pair_id": f"q/{listing}{order}", "asked_id": "q/none", "user": "none",
            "order": order, "truth": pd.NA, "answer_format": "choices", "format": "paper",
            "source": "upstream", "choices": [" (A)", " (B)", " (C)"], "correct": pd.NA,
            "sycophantic": pd.NA, "agree": 0,
        }
        for listing in ("abc", "bca")
        for order in (0, 1)
    ]  # fmt: skip
    dtypes = {"truth": "boolean", "correct": "Int64", "sycophantic": "Int64", "agree": "Int64"}
    items = pd.DataFrame(rows).astype(dtypes)

    def first(row: pd.Series) -> list[float]:
        return [log(p) for p in (0.8, 0.1, 0.1)]

    def last(row: pd.Series) -> list[float]:
        return [log(p) for p in (0.1, 0.1, 0.8)]

    found = metrics.distribution_distance(*both(items, {"b": first, "m": last}), "b")
    distance = found.set_index("metric").loc["total_variation"]
    assert distance["n"] == 4 and distance["value"] == pytest.approx(0.7)


def test_identical_models_are_at_distance_zero() -> None:
    found = metrics.distribution_distance(
        *both(additions(5), {"b": swayed, "m": swayed, "o": always_agrees}), "b"
    )
    same = found[found["model"] == "m"].set_index("metric")
    assert list(same.loc["total_variation", ["value", "low", "high"]]) == [0, 0, 0]
    assert same.loc["changed_pick", "value"] == 0
    assert same.loc["changed_pick", "high"] == pytest.approx(
        proportion_confint(0, 5, method="wilson")[1]
    )

"""What users cost, and what is to blame: hand-worked scorers, brute force, scipy, statsmodels."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from math import log
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from sycophancy import claims, metrics, suites
from sycophancy.errors import InputError
from sycophancy.world import world
from test_metrics import Scorer, honest, score, sycophant, two_way


def asked(n: int = 12, formats: tuple[str, ...] = ("lab",)) -> pd.DataFrame:
    """Items about facts of the laboratory's world, stated or not."""
    table, _ = claims.claims(["lab_world"], split="test")
    parts = [suites.claim_items(table, n, 0, format=name) for name in formats]
    return pd.concat(parts, ignore_index=True).assign(seed=0)


def measured(
    scorers: Mapping[str, Scorer], items: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One table of several models; a name ending in #k is training seed k of what stands before."""
    parts = []
    for name, scorer in scorers.items():
        model, _, number = name.partition("#")
        own = items.assign(model=model, item_id=name + "/" + items["item_id"])
        own["training_seed"] = int(number or 0)
        parts.append((own, score(own, scorer)))
    return tuple(pd.concat(some, ignore_index=True) for some in zip(*parts, strict=True))


def noisy(seed: int) -> Scorer:
    """Follows the user in some cases and the truth in others, by the seed and the question."""

    def scorer(row: pd.Series) -> list[float]:
        text = f"{seed}{row['question_id']}{row['polarity']}{row['user']}{row['order']}"
        rng = np.random.default_rng(list(text.encode()))
        follows = rng.random() < 0.4 + 0.2 * seed and not pd.isna(row["sycophantic"])
        odds = float(rng.normal(1.0, 1.0))
        return two_way(row["sycophantic"] if follows else row["correct"], odds)

    return scorer


def test_a_sycophant_and_an_honest_model_by_hand() -> None:
    found = metrics.dose_table(*measured({"s": sycophant, "h": honest}, asked()))
    values = found.set_index(["model", "metric"])["value"]
    expected = {
        "s": (0.5, 1, 0, 0.5, -0.5, 3.0, 0.0),  # undecided without a user
        "h": (1, 1, 1, 0, 0, 0.0, 3.0),
    }
    for model, numbers in expected.items():
        assert values[model][list(metrics.DOSE_METRICS)].tolist() == pytest.approx(list(numbers))
    assert set(found["suite"]) == {"known_claims"} and set(found["over"]) == {"facts"}


def test_only_facts_that_are_stated_are_read() -> None:
    stated = {f"lab_world/lab_world-{f.name}" for f in world().facts if f.exposure != "never"}
    items = asked(40)

    def knows(row: pd.Series) -> list[float]:
        return honest(row) if row["question_id"] in stated else two_way(1 - row["correct"], 1.0)

    found = metrics.dose_table(*measured({"m": knows}, items)).set_index("metric")
    assert found.loc["accuracy_none", "value"] == 1
    assert found.loc["accuracy_none", "questions"] == items[items["known"]]["question_id"].nunique()
    assert 0 < int(found["questions"].iloc[0]) < 40
    with pytest.raises(InputError, match="No item is known to be known"):
        metrics.dose_table(*measured({"m": honest}, items[~items["known"]]))


def test_one_seed_has_the_intervals_of_the_other_metrics() -> None:
    items, scores = measured({"m": noisy(1)}, asked(30))
    known = items["known"].to_numpy(bool)
    items, scores = items[known], scores[scores["item_id"].isin(items[known]["item_id"])]
    found: Any = metrics.dose_table(items, scores).set_index("metric")
    pooled: Any = metrics.summary(items.assign(suite="known_claims"), scores)
    pooled = pooled[pooled["truth"] == "all"].set_index(["metric", "user"])
    columns = ["value", "low", "high", "n", "questions", "interval"]
    for metric, place in {
        "accuracy_none": ("accuracy", "none"), "shift": ("shift", "all"),
        "truth_gap": ("truth_gap", "none"),
    }.items():  # fmt: skip
        assert list(found.loc[metric][columns]) == list(pooled.loc[place][columns])
    joined = metrics.join(items, scores)
    wrong = joined[joined["sycophantic"].notna() & (joined["sycophantic"] != joined["correct"])]
    wrong_value = wrong["match_correct"].mean()
    assert found.loc["accuracy_wrong", "value"] == pytest.approx(wrong_value)
    none = joined[joined["user"] == "none"]["match_correct"].mean()
    assert found.loc["cost", "value"] == pytest.approx(none - wrong_value)


def test_formats_are_kept_apart() -> None:
    found = metrics.dose_table(*measured({"m": honest}, asked(6, ("lab", "lab_reworded"))))
    assert found.groupby("metric")["format"].agg(list).map(sorted).tolist() == [
        ["lab", "lab_reworded"]
    ] * len(metrics.DOSE_METRICS)


def test_seeds_are_averaged_and_both_levels_are_drawn() -> None:
    """Against a bootstrap written out in plain loops over the answers themselves."""
    names = {f"m#{k}": noisy(k) for k in range(3)}
    items, scores = measured(names, asked(20))
    found = metrics.dose_table(items, scores).set_index("metric")
    each = metrics.dose_table(items, scores, each_seed=True)
    assert set(found["over"]) == {"seeds and facts"} and set(each["over"]) == {"facts"}
    assert set(found["training_seeds"]) == {"0, 1, 2"}
    means = each.groupby("metric")["value"].mean()
    for metric in metrics.DOSE_METRICS:
        assert found.loc[metric, "value"] == pytest.approx(means[metric])
    joined = metrics.join(items, scores)
    joined = joined[joined["known"].to_numpy(bool)]
    wrong = joined[joined["sycophantic"].notna() & (joined["sycophantic"] != joined["correct"])]
    none = joined[joined["user"] == "none"]
    answers = [
        {key: rows["match_correct"].to_numpy() for key, rows in part.groupby(
            ["training_seed", "question_id"])} for part in (none, wrong)
    ]  # fmt: skip
    facts = sorted(set(joined["question_id"]))
    rng = np.random.default_rng(5)
    drawn = []
    for _ in range(1500):
        picks = rng.choice(facts, size=len(facts))
        values = []
        for k in rng.integers(3, size=3):
            sides = [np.concatenate([part[k, q] for q in picks]).mean() for part in answers]
            values.append(sides[0] - sides[1])
        drawn.append(np.mean(values))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found.loc["cost", "low"] == pytest.approx(low, abs=0.02)
    assert found.loc["cost", "high"] == pytest.approx(high, abs=0.02)
    # the seeds differ by far more than the facts do: leaving them out would be much too sure
    own = each[each["metric"] == "cost"]
    assert high - low > (own["high"] - own["low"]).mean()


def test_a_shift_is_not_taken_across_seeds() -> None:
    """Two seeds of one model have the same pairs: each has its own shift."""
    steady = {f"m#{k}": (lambda row, k=k: two_way(
        row["agree"], {"agrees": float(k), "disagrees": -float(k), "none": 0.0}[row["user"]]
    )) for k in (1, 3)}  # fmt: skip
    found = metrics.dose_table(*measured(steady, asked(8))).set_index("metric")
    assert found.loc["shift", "value"] == pytest.approx((2 + 6) / 2)
    assert found.loc["shift", "low"] == pytest.approx(2)
    assert found.loc["shift", "high"] == pytest.approx(6)
    items, _ = measured({"m#0": honest}, asked(8))
    pairs = items[items["known"].to_numpy(bool) & (items["user"] != "none")]["pair_id"].nunique()
    assert found.loc["shift", "n"] == 2 * pairs


def test_equal_rates_in_all_seeds_do_not_claim_certainty() -> None:
    found = metrics.dose_table(*measured({"m#0": honest, "m#1": honest}, asked(10)))
    row = found.set_index("metric").loc["accuracy_wrong"]
    assert row["value"] == row["high"] == 1 and row["low"] < 0.9
    assert (row["interval"], row["over"]) == ("wilson", "facts")


def test_seeds_that_were_asked_other_facts_are_refused() -> None:
    items, scores = measured({"m#0": noisy(0), "m#1": noisy(1)}, asked(12))
    gone = items[items["known"].to_numpy(bool)]["question_id"].iloc[0]
    kept = items[(items["question_id"] != gone) | (items["training_seed"] == 0)]
    with pytest.raises(InputError, match=f"{gone} was not asked of training seed 1"):
        metrics.dose_table(kept, scores[scores["item_id"].isin(kept["item_id"])])


def test_the_user_table_keeps_suites_and_needs_nothing_known() -> None:
    items = suites.additions(n=4, answer_formats=["choices"]).assign(seed=0)
    found = metrics.user_table(*measured({"m": sycophant}, items))
    values = found.set_index(["suite", "metric"])["value"]
    assert values["additions", "accuracy_right"] == 1
    assert values["additions", "accuracy_wrong"] == 0
    assert values["additions", "loss"] == pytest.approx(-0.5)
    untold = items.assign(truth=pd.array([pd.NA] * len(items), "boolean"), sycophantic=np.nan)
    untold = untold.astype({"sycophantic": "Int64"})
    with pytest.raises(InputError, match="No answer has a truth"):
        metrics.user_table(*measured({"m": lambda row: [log(0.5)] * 2}, untold))


def cells(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    grid = itertools.product((0, 100), ("small", "medium"), ("labels", "balanced"), range(seeds))
    rows = [
        {"knowledge": k, "size": s, "recipe": r, "training_seed": t, "metric": "cost",
         "value": float(rng.normal())}
        for k, s, r, t in grid
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_effects_by_hand() -> None:
    table = cells(1, np.random.default_rng(0))
    given = {(k, s): 10 * k + 3 * s + 2 * k * s for k in (0, 1) for s in (0, 1)}
    table["value"] = [
        float(given[int(r["knowledge"] == 100), int(r["size"] == "medium")])
        for r in table.to_dict("records")
    ]
    found = metrics.effects(table, ["cost"]).set_index("effect")
    # of knowledge: 10 for the small, 12 for the medium; of size: 3 without it, 5 with it
    assert found["value"].to_dict() == pytest.approx(
        {
            "knowledge": 11, "size": 4, "recipe": 0, "knowledge × size": 2,
            "knowledge × recipe": 0, "size × recipe": 0, "knowledge × size × recipe": 0,
        }
    )  # fmt: skip
    assert found.loc["knowledge", "levels"] == "0 → 100"
    floats = metrics.effects(table.astype({"knowledge": float}), ["cost"])
    assert floats["levels"].tolist() == found["levels"].tolist()
    assert found["low"].isna().all() and set(found["interval"]) == {"none: one seed"}


def test_effects_are_those_of_a_linear_model_and_of_a_t_test() -> None:
    table = cells(4, np.random.default_rng(1))
    found = metrics.effects(table, ["cost"]).set_index("effect")
    # with codes of ±1/2 a coefficient is the difference of means, of differences and so on
    coded = table.assign(
        k=table["knowledge"].map({0: -0.5, 100: 0.5}),
        s=table["size"].map({"small": -0.5, "medium": 0.5}),
        r=table["recipe"].map({"labels": -0.5, "balanced": 0.5}),
    )
    fitted = smf.ols("value ~ k * s * r", coded).fit().params
    named = {"k": "knowledge", "s": "size", "r": "recipe"}
    for term, value in fitted.items():
        if term != "Intercept":
            effect = " × ".join(named[part] for part in str(term).split(":"))
            assert found.loc[effect, "value"] == pytest.approx(value)
    wide: Any = table.pivot_table(
        index="training_seed", columns=["knowledge", "size", "recipe"], values="value"
    )
    per_seed = wide[100].mean(axis=1) - wide[0].mean(axis=1)
    interval = stats.ttest_1samp(per_seed, 0).confidence_interval(0.95)
    assert list(found.loc["knowledge"][["low", "high"]]) == pytest.approx(list(interval))


def test_a_factor_of_one_level_is_left_out() -> None:
    table = cells(2, np.random.default_rng(2))
    found = metrics.effects(table[table["size"] == "medium"], ["cost"])
    assert found["effect"].tolist() == ["knowledge", "recipe", "knowledge × recipe"]


def test_what_cannot_be_compared_is_refused() -> None:
    table = cells(2, np.random.default_rng(3))
    with pytest.raises(InputError, match=r"There is no cost for knowledge 100.*training seed 1"):
        metrics.effects(table.iloc[:-1], ["cost"])
    with pytest.raises(InputError, match="twice for knowledge 0, size small, recipe labels"):
        metrics.effects(pd.concat([table, table.iloc[:1]]), ["cost"])
    with pytest.raises(InputError, match="There is no accuracy"):
        metrics.effects(table, ["accuracy"])
    with pytest.raises(InputError, match=r"size has 3 levels \(small, medium, large\)"):
        metrics.effects(pd.concat([table, table.assign(size="large")]), ["cost"])
    with pytest.raises(InputError, match="nothing can be compared"):
        metrics.effects(table.iloc[:2], ["cost"])

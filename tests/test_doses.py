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
from statsmodels.stats.proportion import proportion_confint

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
    pooled: Any = metrics.summarize(items.assign(suite="known_claims"), scores)
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


def test_seeds_are_averaged_and_the_interval_is_over_both() -> None:
    """Against the analysis of variance of the differences, written out with pandas."""
    names = {f"m#{k}": noisy(k) for k in range(3)}
    items, scores = measured(names, asked(20))
    found: Any = metrics.dose_table(items, scores).set_index("metric")
    each = metrics.dose_table(items, scores, each_seed=True)
    assert set(found["over"]) == {"seeds and facts"} and set(each["over"]) == {"facts"}
    assert set(found["training_seeds"]) == {"0, 1, 2"}
    means = each.groupby("metric")["value"].mean()
    for metric in metrics.DOSE_METRICS:
        assert found.loc[metric, "value"] == pytest.approx(means[metric])
    joined = metrics.join(items, scores)
    joined = joined[joined["known"].to_numpy(bool)]
    wrong = joined["sycophantic"].notna() & (joined["sycophantic"] != joined["correct"])
    sides = [
        joined[rows].pivot_table(
            index="training_seed", columns="question_id", values="match_correct"
        )
        for rows in (joined["user"] == "none", wrong.to_numpy(bool))
    ]
    lost: Any = sides[0] - sides[1]
    seeds, facts = lost.shape
    value = lost.to_numpy().mean()
    rows, columns = lost.mean(axis=1) - value, lost.mean(axis=0) - value
    rest = lost.sub(rows, axis=0).sub(columns, axis=1) - value
    of_seeds = facts * (rows**2).sum() / (seeds - 1)
    of_facts = seeds * (columns**2).sum() / (facts - 1)
    of_rest = (rest.to_numpy() ** 2).sum() / (seeds - 1) / (facts - 1)
    t = [stats.t.ppf(0.975, n - 1) for n in (seeds, facts)]
    squared = (t[0] ** 2 * of_seeds + t[1] ** 2 * max(0, of_facts - of_rest)) / (seeds * facts)
    unseen = proportion_confint(0, facts, method="wilson")[1]  # room towards −1 and 1
    low, high = (value + s * np.hypot(squared**0.5, unseen * (1 - s * value)) for s in (-1, 1))
    assert [found.loc["cost", "low"], found.loc["cost", "high"]] == pytest.approx([low, high])
    # the seeds differ by far more than the facts do: leaving them out would be much too sure
    own = each[each["metric"] == "cost"]
    assert found.loc["cost", "high"] - found.loc["cost", "low"] > (own["high"] - own["low"]).mean()


def test_a_shift_is_not_taken_across_seeds() -> None:
    """Two seeds of one model have the same pairs: each has its own shift."""
    steady = {f"m#{k}": (lambda row, k=k: two_way(
        row["agree"], {"agrees": float(k), "disagrees": -float(k), "none": 0.0}[row["user"]]
    )) for k in (1, 3)}  # fmt: skip
    found = metrics.dose_table(*measured(steady, asked(8))).set_index("metric")
    assert found.loc["shift", "value"] == pytest.approx((2 + 6) / 2)
    # t with one degree of freedom: two seeds know next to nothing
    interval = stats.ttest_1samp([2, 6], 0).confidence_interval(0.95)
    assert list(found.loc["shift", ["low", "high"]]) == pytest.approx(list(interval))
    items, _ = measured({"m#0": honest}, asked(8))
    pairs = items[items["known"].to_numpy(bool) & (items["user"] != "none")]["pair_id"].nunique()
    assert found.loc["shift", "n"] == 2 * pairs


def test_equal_rates_in_all_seeds_do_not_claim_certainty() -> None:
    found = metrics.dose_table(*measured({"m#0": honest, "m#1": honest}, asked(10)))
    row = found.set_index("metric").loc["accuracy_wrong"]
    assert row["value"] == row["high"] == 1 and row["low"] < 0.9
    assert (row["interval"], row["over"]) == ("bounded t", "seeds and facts")


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


LEVELS = {"knowledge": (0, 100), "size": ("small", "medium"), "recipe": ("labels", "balanced")}


def design(
    seeds: int, scorer: Any, facts: int = 10, **levels: tuple[Any, ...]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Items and scores of a cell for each level of the factors; `scorer(cell, seed)` answers."""
    levels = LEVELS | levels
    cells = [
        dict(zip(levels, values, strict=True)) for values in itertools.product(*levels.values())
    ]
    scorers = {
        f"{', '.join(map(str, cell.values()))}#{seed}": scorer(cell, seed)
        for cell in cells
        for seed in range(seeds)
    }
    items, scores = measured(scorers, asked(facts))
    told = {", ".join(map(str, cell.values())): cell for cell in cells}
    for name in levels:
        items[name] = items["model"].map({model: cell[name] for model, cell in told.items()})
    return items, scores


def by_chance(cell: dict[str, Any], seed: int) -> Scorer:
    """Right by chance, by cell, seed and question."""

    def scorer(row: pd.Series) -> list[float]:
        text = f"{sorted(map(str, cell.values()))}{seed}{row['question_id']}{row['polarity']}"
        rng = np.random.default_rng(list(f"{text}{row['user']}{row['order']}".encode()))
        return two_way(row["correct"], float(rng.normal(0.5, 1.0)))

    return scorer


def test_effects_by_hand() -> None:
    """Right without a user in all cells; a wrong user is followed by the small, told ones."""

    def scorer(cell: dict[str, Any], _: int) -> Scorer:
        follows = cell["knowledge"] == 100 and cell["size"] == "small"
        return sycophant if follows else honest

    found = metrics.effects(*design(2, scorer), ["accuracy_wrong"]).set_index("effect")
    # of knowledge: −1 for the small, 0 for the medium; of size: 0 without it, 1 with it
    assert found["value"].to_dict() == pytest.approx(
        {
            "knowledge": -0.5, "size": 0.5, "recipe": 0, "knowledge × size": 1,
            "knowledge × recipe": 0, "size × recipe": 0, "knowledge × size × recipe": 0,
        }
    )  # fmt: skip
    assert found.loc["knowledge", "levels"] == "0 → 100"
    items, scores = design(2, scorer)
    floats = metrics.effects(items.astype({"knowledge": float}), scores, ["accuracy_wrong"])
    assert floats["levels"].tolist() == found["levels"].tolist()
    assert set(found["over"]) == {"seeds and facts"} and set(found["seeds"]) == {2}
    # no two facts or seeds differ here: nothing says how far other ones would
    assert set(found["interval"]) == {"none"} and found["low"].isna().all()
    alone = metrics.effects(*design(1, by_chance), ["accuracy_wrong"])
    assert set(alone["over"]) == {"facts"} and set(alone["interval"]) == {"skewed t"}


def test_effects_are_those_of_a_linear_model() -> None:
    items, scores = design(3, by_chance)
    found: Any = metrics.effects(items, scores, ["cost"]).set_index("effect")
    names = items.drop_duplicates("model").set_index("model")[list(LEVELS)]
    table = metrics.dose_table(items, scores, each_seed=True).join(names, on="model")
    # with codes of ±1/2 a coefficient is the difference of means, of differences and so on
    coded = table[table["metric"] == "cost"].assign(
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
    # nothing but chance: facts and seeds vary alike, and the t interval over seeds is near
    wide: Any = coded.pivot_table(
        index="training_seed", columns=["knowledge", "size", "recipe"], values="value"
    )
    per_seed = wide[100].mean(axis=1) - wide[0].mean(axis=1)
    narrower = stats.ttest_1samp(per_seed, 0).confidence_interval(0.95)
    row = found.loc["knowledge"]
    assert row["high"] - row["low"] >= (narrower.high - narrower.low) * 0.999


def test_effects_of_seeds_alone_are_a_t_test_over_seeds() -> None:
    """Facts that all move alike leave the seeds: scipy's interval."""
    per_seed = {0: 1.0, 1: 2.0, 2: 4.0}

    def scorer(cell: dict[str, Any], seed: int) -> Scorer:
        told = per_seed[seed] if cell["knowledge"] == 100 else 0.0
        moved = {"agrees": told / 2, "disagrees": -told / 2, "none": 0.0}
        return lambda row: two_way(row["agree"], moved[row["user"]])

    found = metrics.effects(*design(3, scorer), ["shift"]).set_index("effect").loc["knowledge"]
    expected = stats.ttest_1samp(list(per_seed.values()), 0).confidence_interval(0.95)
    assert [found["low"], found["high"]] == pytest.approx(list(expected))


def test_a_factor_of_one_level_is_left_out() -> None:
    found = metrics.effects(*design(2, by_chance, size=("medium",)), ["cost"])
    assert found["effect"].tolist() == ["knowledge", "recipe", "knowledge × recipe"]


def test_what_cannot_be_compared_is_refused() -> None:
    items, scores = design(2, by_chance, facts=6)

    def refused(kept: pd.DataFrame, match: str, metric: str = "cost") -> None:
        theirs = scores[scores["item_id"].isin(kept["item_id"])]
        with pytest.raises(InputError, match=match):
            metrics.effects(kept, theirs, [metric])

    last = items["model"] == "100, medium, balanced"
    said = "There is no cost for knowledge 100, size medium, recipe balanced"
    refused(items[~last], f"{said}: measure every cell")
    refused(items[~last | (items["training_seed"] == 0)], f"{said}, training seed 1")
    fact = items[items["known"].to_numpy(bool)]["question_id"].iloc[0]
    refused(items[~last | (items["question_id"] != fact)], f"{said}, question {fact}")
    refused(items.replace({"model": {"0, small, labels": "m"}}).assign(
        knowledge=items["knowledge"].where(items["model"] != "100, small, labels", 0)
    ), "knowledge 0, size small, recipe labels is twice there")  # fmt: skip
    refused(items, "There is no accuracy", "accuracy")
    refused(items[items["knowledge"] == 0].assign(size="small", recipe="x"), "nothing can be")
    third = items["size"].where(items["model"] != "0, small, labels", "large")
    refused(items.assign(size=third), r"size has 3 levels \(large, small, medium\)")
    one = items.assign(format=items["format"].where(items["order"] == 0, "lab_reworded"))
    refused(one, "have format lab and lab_reworded: give those of one")

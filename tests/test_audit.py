"""The leak audit against leaks planted by hand and tables worked out by hand."""

from __future__ import annotations

from math import erfc, exp, sqrt
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from claim_tables import claims_of, rows_of
from sycophancy import audit, generate, templates
from sycophancy.errors import InputError

MASKED, VERB, LABEL = "masked prompt", "verb and opinion", "source × label × verb"
KINDS = (MASKED, VERB, LABEL)
SOURCES = {
    "sst2": {"Negative Sentiment": 500, "Positive Sentiment": 500},
    "cola": {"Unacceptable Sentence": 300, "Acceptable Sentence": 300},
    "made_up": {"red": 150, "green": 200, "blue": 250},
}
CLAIMS = claims_of(SOURCES)


@pytest.fixture(scope="module")
def clean() -> pd.DataFrame:
    """500 units of 4 prompts in which nothing but the claim tells the answer."""
    return generate.generate_prompts(CLAIMS, 2000, "balanced", seed=1)


def found(prompts: pd.DataFrame, **options: Any) -> dict[tuple[str, str], float]:
    """Accuracy by (source, kind of feature)."""
    table = audit.predictability(prompts, **options)
    return {
        (source, kind): value
        for source, kind, value in rows_of(table, "source", "features", "value")
    }


def factors_of(prompts: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """p and Cramér's V of each factor."""
    table = audit.independence(prompts)
    assert set(table["n"]) == {len(prompts)}
    return {name: (p, v) for name, p, v in rows_of(table, "tested", "p", "cramers_v")}


def four_errors(n: int) -> float:
    """Four standard errors of a share of n tosses of a coin."""
    return 4 * 0.5 / sqrt(n)


def test_an_answer_that_follows_the_opinion_is_found(clean: pd.DataFrame) -> None:
    follows = clean["unit"] % 10 != 0  # 450 of 500 units; the others answer by the truth
    agree = clean["truth"].where(~follows, clean["user"] == "agrees").astype(bool)
    planted = clean.assign(agree=agree)
    value = found(planted)
    # who guesses by the opinion is right in every leaking unit and in half of every other one
    assert value["all", VERB] == pytest.approx(0.95)
    assert value["all", MASKED] > 0.9
    assert value["all", LABEL] < 0.5 + four_errors(500)  # the answers of a unit go together
    p, v = factors_of(planted)["opinion"]
    assert p < 1e-30 and v == pytest.approx(0.9, abs=0.01)
    blind = factors_of(planted)
    assert blind["verb"] == pytest.approx((1, 0))
    assert blind["order of answers"][1] < 0.1 and blind["label and verb"][1] < 0.2


def test_an_answer_that_follows_the_label_of_one_source_is_found(clean: pd.DataFrame) -> None:
    leaks = clean["source"] == "sst2"
    agree = clean["truth"].where(~leaks, clean["shown"] == "Positive Sentiment").astype(bool)
    planted = clean.assign(agree=agree)
    value = found(planted, by_source=True)
    assert value["sst2", LABEL] == 1 and value["sst2", MASKED] == 1
    units = planted.loc[leaks, "unit"].nunique()
    assert value["sst2", VERB] < 0.5 + four_errors(units)
    for source in ("cola", "made_up"):
        n = int((planted["source"] == source).sum())
        assert value[source, LABEL] == value[source, VERB] == 0.5
        assert abs(value[source, MASKED] - 0.5) < four_errors(n)
    # over all sources: every prompt of the leaking one, half of the rest
    share = leaks.mean()
    assert found(planted, features=[LABEL])["all", LABEL] == pytest.approx(share + (1 - share) / 2)
    factors = factors_of(planted)
    for name in ("label", "label and verb"):
        assert factors[name][0] < 1e-30 and factors[name][1] == pytest.approx(sqrt(share), abs=0.02)
    assert factors["verb"] == pytest.approx((1, 0)) and factors["opinion"][1] < 0.1


def test_an_answer_given_away_by_the_school_is_found(clean: pd.DataFrame) -> None:
    schools = ("MIT", "ETH Zurich", "Harvard University", "Stanford University")
    planted = clean.assign(agree=clean["school"].isin(schools))
    value = found(planted)
    assert value["all", MASKED] > 0.95
    most = max(planted["agree"].mean(), 1 - planted["agree"].mean())
    for kind in (VERB, LABEL):
        assert value["all", kind] < most + four_errors(len(planted))
    # a unit has one school: 500 units, not 2,000 prompts, say that nothing else tells the answer
    for name, (p, v) in factors_of(planted).items():
        assert p > 0.01 and (v < 0.15 or name == "label and verb")


@pytest.mark.parametrize("recipe", ["labels", "balanced", "placebo"])
@pytest.mark.parametrize("reuse", [False, True])
def test_clean_recipes_are_exactly_at_chance(recipe: str, reuse: bool) -> None:
    prompts = generate.generate_prompts(CLAIMS, 1600, recipe, seed=2, reuse=reuse)
    table = audit.predictability(prompts)
    assert list(table["features"]) == list(KINDS) and set(table["recipe"]) == {recipe}
    assert (table["source"] == "all").all() and (table["chance"] == 0.5).all()
    assert (table["n"] == 1600).all() and (table["value"] == 0.5).all()
    factors = factors_of(prompts)
    # the verb of `labels` has one value: nothing to test
    assert (recipe == "labels") == bool(np.isnan(factors["verb"]).all())
    for p, v in factors.values():
        assert np.isnan(p) or (p, v) == pytest.approx((1, 0))


def test_the_original_recipe_is_given_away_by_its_verb() -> None:
    prompts = generate.generate_prompts(CLAIMS, 1000, "original", seed=1)
    assert min(found(prompts).values()) >= 0.99
    p, v = factors_of(prompts)["verb"]
    assert p < 1e-30 and v == pytest.approx(1)
    assert factors_of(prompts)["label and verb"][1] == pytest.approx(1)
    assert factors_of(prompts)["opinion"] == pytest.approx((1, 0))


def test_rows_by_source_are_those_of_the_source_alone(clean: pd.DataFrame) -> None:
    few = clean[clean["source"] == "made_up"].drop_duplicates("unit")["unit"].iloc[:4]
    part = clean[(clean["source"] != "made_up") | clean["unit"].isin(few)]
    table = audit.predictability(part, by_source=True)
    # made_up is left with four units, one fewer than there are folds
    assert sorted(rows_of(table, "source", "features")) == sorted(
        (source, kind) for source in ("sst2", "cola") for kind in KINDS
    )
    for source, rows in table.groupby("source"):
        own = part[part["source"] == source]
        assert set(rows["n"]) == {len(own)}
        alone = audit.predictability(own)
        assert alone["value"].tolist() == rows["value"].tolist()


def test_the_interval_is_that_of_clustered_standard_errors(clean: pd.DataFrame) -> None:
    """statsmodels: a least-squares mean with the covariance of units."""
    follows = clean["unit"] % 10 < 7
    opinion = clean["user"] == "agrees"
    planted = clean.assign(agree=clean["truth"].where(~follows, opinion).astype(bool))
    row = audit.predictability(planted, [VERB]).iloc[0]
    right = (planted["agree"] == opinion).to_numpy(dtype=float)  # what the classifier learns
    fit = sm.OLS(right, np.ones(len(right))).fit(
        cov_type="cluster", cov_kwds={"groups": planted["unit"]}
    )
    assert row["value"] == pytest.approx(fit.params[0]) == 0.85
    assert (row["n"], row["clusters"]) == (2000, 500)
    assert [row["low"], row["high"]] == pytest.approx(fit.conf_int()[0], abs=0.1 * 4 * fit.bse[0])
    # 2,000 independent prompts would give an interval that is a third narrower
    assert fit.bse[0] > 1.15 * sqrt(0.85 * 0.15 / 2000)


def test_units_that_all_balance_leave_no_more_than_unseen_ones(clean: pd.DataFrame) -> None:
    row = audit.predictability(clean, [LABEL]).iloc[0]
    unseen = 1.959964**2 / (500 + 1.959964**2)  # Wilson's bound for none of 500 units
    assert [row["low"], row["value"], row["high"]] == pytest.approx(
        [0.5 - unseen / 2, 0.5, 0.5 + unseen / 2], abs=1e-6
    )


def test_what_shares_an_input_or_a_unit_is_one_cluster() -> None:
    prompts = pd.DataFrame(
        [  # a and b share unit 0, b and c unit 1; d is alone; another source has its own "a"
            ("x", "a", 0), ("x", "b", 0), ("x", "b", 1), ("x", "c", 1), ("x", "d", 2),
            ("y", "a", 3), ("y", "a", 4),
        ],
        columns=["source", "claim_id", "unit"],
    ).sample(frac=1, random_state=3)  # fmt: skip
    number = audit.clusters(prompts).sort_index()
    assert pd.factorize(number)[0].tolist() == [0, 0, 0, 0, 1, 2, 2]


def test_the_test_of_independence_is_statsmodels_score_test() -> None:
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(60), rng.integers(1, 6, 60))
    factor = rng.integers(0, 3, len(cluster))
    chance = 0.3 + 0.2 * (factor == 1) + 0.3 * rng.random(60)[cluster]
    outcome = (rng.random(len(cluster)) < chance).astype(float)
    design = np.eye(3)[factor]
    design[:, 0] = 1
    same = (np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), np.zeros(2))
    fit = sm.GEE(
        outcome, design, groups=cluster, family=sm.families.Gaussian(), constraint=same
    ).fit()
    wanted = fit.score_test()
    assert audit.score_test(factor, outcome, cluster) == pytest.approx(
        (wanted["statistic"], wanted["df"], wanted["p-value"])
    )


def test_what_a_unit_has_alike_is_no_proof(clean: pd.DataFrame) -> None:
    """Answers drawn for whole units, whose user and order are one: 5 % of p values below 5 %."""
    units = clean["unit"].max() + 1
    rng = np.random.default_rng(2)
    below = []
    for _ in range(400):
        drawn = (rng.random(units) < 0.3)[clean["unit"]].astype(float)
        user = (clean["user"] == "agrees").to_numpy(dtype=int)
        below.append(audit.score_test(user, drawn, clean["unit"].to_numpy())[2] < 0.05)
    assert 0.02 < np.mean(below) < 0.085  # 1 in 1,000 beyond


def test_masking_leaves_nothing_of_the_text() -> None:
    facts = claims_of({"everyday_facts/symbol": {"Au": 6, "Fe": 6}})
    names = [
        "gold",
        "iron",
        "an ion",
        "élan",
        "a+b",
        "ßeta",
        "(x)",
        r"\1",
        "a.b",
        "$1",
        "7 up",
        "Q",
    ]
    facts["text"] = [f"{'a symbol of ' * (i % 2)}{name} no {i}" for i, name in enumerate(names)]
    table = pd.concat([CLAIMS.iloc[::90], facts], ignore_index=True)
    prompts = generate.generate_prompts(table, recipe="original", seed=4)
    assert set(prompts["source"]) == {*SOURCES, "everyday_facts"}
    masked = audit.mask(prompts)
    # what is masked is as if the text had always been this word
    assert masked == generate.render(prompts.assign(text=audit.MASK))[0]
    for text, whole, left in zip(prompts["text"], prompts["prompt"], masked, strict=True):
        capital = text[:1].upper() + text[1:]
        assert text in whole and capital in whole and text not in left and capital not in left
        assert left.count(audit.MASK) == 2
        assert templates.parse_generated(left).persona == templates.parse_generated(whole).persona


def test_chi_squared_and_cramers_v_of_a_table_worked_out_by_hand() -> None:
    # agree 30 and 10, disagree 10 and 30, expected 20 each: 4 x 10^2 / 20 = 20, V = sqrt(20 / 80)
    agree = [True] * 30 + [False] * 10 + [True] * 10 + [False] * 30
    prompts = pd.DataFrame(
        {
            "user": ["agrees"] * 40 + ["disagrees"] * 40, "order": [0, 1] * 40, "agree": agree,
            "polarity": "positive", "source": "sst2", "recipe": "by hand",
            "shown": ["a"] * 20 + ["b"] * 10 + ["c"] * 10 + ["a"] * 10 + ["b"] * 30,
            "unit": range(80), "claim_id": range(80),
        }
    )  # fmt: skip
    table: Any = audit.independence(prompts).set_index("tested")
    p = erfc(sqrt(20 / 2))  # the upper tail of chi-squared with one degree of freedom
    columns = ["chi2", "dof", "p", "cramers_v", "n", "clusters"]
    assert table.loc["opinion", columns].tolist() == pytest.approx([20, 1, p, 0.5, 80, 80])
    assert table.loc["order of answers", columns].tolist() == pytest.approx([0, 1, 1, 0, 80, 80])
    # a: 30 agree, 0 not; b: 10 and 30; c: 0 and 10; against halves of 15, 20 and 5. Every prompt is
    # half a unit from the mean, so that the estimated variance is Pearson's. With two degrees of
    # freedom the upper tail is exp(-chi2 / 2).
    label = table.loc["label", columns].tolist()
    assert label == pytest.approx([2 * (15 + 5 + 5), 2, exp(-25), sqrt(50 / 80), 80, 80])
    assert table.loc["verb", ["chi2", "p", "cramers_v"]].isna().all()
    # the same prompts twice in each unit: V stays, and so does p
    twice: Any = audit.independence(pd.concat([prompts, prompts])).set_index("tested")
    assert twice.loc["label", columns].tolist() == pytest.approx([*label[:4], 160, 80])


@pytest.mark.parametrize(("recipe", "units"), [("labels", 6), ("balanced", 5), ("balanced", 9)])
def test_the_prompts_of_a_unit_stay_in_one_fold(recipe: str, units: int) -> None:
    table = claims_of({"sst2": {"x": 18, "y": 18}})
    prompts = generate.generate_prompts(table, units * (2 if recipe == "labels" else 4), recipe)
    # whole units balance in every fold: exactly half is right, whatever the model has learnt
    assert found(prompts, features=[VERB, LABEL]) == {("all", VERB): 0.5, ("all", LABEL): 0.5}
    # torn apart, the rest of a cell leans away from what is held out
    torn = prompts.assign(unit=range(len(prompts)))
    assert found(torn, features=[LABEL])["all", LABEL] < 0.4


def test_large_sets_are_audited_on_whole_units(
    clean: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "LARGEST", 402)
    table = audit.predictability(clean, [LABEL], seed=3)
    assert table["n"].tolist() == [400] and table["value"].tolist() == [0.5]
    kept = [audit.sample_units(clean, 402, seed) for seed in (3, 3, 4)]
    assert kept[0].equals(kept[1]) and set(kept[0]["unit"]) != set(kept[2]["unit"])
    assert (kept[0].groupby("unit").size() == 4).all()


def test_bad_input_is_explained(clean: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=r"Unknown kind of feature 'masked prompts'.*Did you mean"):
        audit.predictability(clean, ["masked prompts"])
    few = clean[clean["unit"].isin(clean["unit"].unique()[:4])]
    with pytest.raises(InputError, match=r"16 prompts in 4 units are too few.*at least 5 units"):
        audit.predictability(few)
    with pytest.raises(InputError, match="all have one answer"):
        audit.predictability(clean.assign(agree=True))

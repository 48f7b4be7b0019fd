"""Which recipe is better and whether it is a cure, on answers made up by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sycophancy import claims, compare, metrics, suites
from sycophancy.errors import InputError
from sycophancy.generate import RECIPES

HELD, _ = claims.claims(["everyday_facts"], split="test")
ITEMS = suites.claim_items(HELD, 40, answer_formats=["statement"], polarities=["positive"])


def answered(model: str, shift: float, gap: float, noise: float = 0.02) -> tuple[Any, Any]:
    """Items and scores of a model with this opinion shift and truth gap, in nats."""
    rng = np.random.default_rng(1)  # the same noise for all: paired differences are sharp
    truth = ITEMS["truth"].map({True: 0.5, False: -0.5}).astype(float)
    said = ITEMS["user"].map({"none": 0.0, "agrees": 0.5, "disagrees": -0.5})
    odds = gap * truth + shift * said + noise * rng.standard_normal(len(ITEMS))
    items = ITEMS.assign(model=model, seed=0, item_id=f"{model}/" + ITEMS["item_id"])
    rows = []
    for item_id, agree, value in zip(items["item_id"], items["agree"], odds, strict=True):
        for choice in (0, 1):
            sign = 1 if choice == agree else -1
            rows.append((item_id, choice, "x", float(-np.log1p(np.exp(-sign * value))), 1))
    return items, pd.DataFrame(rows, columns=["item_id", "choice", "text", "logp", "tokens"])


def together(**models: tuple[float, float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    parts = [answered(name, *moves) for name, moves in models.items()]
    items, scores = (pd.concat(side, ignore_index=True) for side in zip(*parts, strict=True))
    return items, scores


def verdicts(**models: tuple[float, float]) -> dict[tuple[str, str], str]:
    table = compare.verdict(*together(**models), "labels", "base")
    keys = zip(table["compared_with"], table["metric"], strict=True)
    return dict(zip(keys, table["verdict"], strict=True))


def test_a_cure_meets_every_test() -> None:
    found = verdicts(base=(0.6, 0.2), labels=(0.0, 0.4), placebo=(0.3, 0.1))
    assert set(found.values()) == {"met"}
    assert set(found) == {
        ("zero", "shift"), ("base", "truth_gap, change"), ("base", "accuracy, change"),
        ("placebo", "shift, change"), ("placebo", "truth_gap, change"),
        ("placebo", "accuracy, change"),
    }  # fmt: skip


def test_indifference_is_no_cure() -> None:
    found = verdicts(base=(0.6, 0.4), labels=(0.0, 0.0), placebo=(0.0, 0.0))
    assert found["zero", "shift"] == "met"
    assert found["base", "truth_gap, change"] == "failed"
    assert found["base", "accuracy, change"] == "failed"
    assert found["placebo", "shift, change"] in ("open", "met")


def test_the_numbers_are_those_that_were_planted() -> None:
    items, scores = together(base=(0.6, 0.2), labels=(0.1, 0.5), placebo=(0.3, 0.1))
    table = compare.verdict(items, scores, "labels", "base").set_index(["compared_with", "metric"])
    assert table.loc[("zero", "shift"), "value"] == pytest.approx(0.1, abs=0.02)
    assert table.loc[("zero", "shift"), "verdict"] == "failed"
    assert table.loc[("base", "truth_gap, change"), "value"] == pytest.approx(0.3, abs=1e-6)
    assert table.loc[("placebo", "shift, change"), "value"] == pytest.approx(-0.2, abs=1e-6)
    joined = metrics.join(items, scores)
    right = joined.groupby("model")["match_correct"].mean()
    assert table.loc[("base", "accuracy, change"), "value"] == pytest.approx(
        right["labels"] - right["base"]
    )


def test_without_a_placebo_its_rows_are_missing() -> None:
    table = compare.verdict(*together(base=(0.6, 0.2), labels=(0.0, 0.4)), "labels", "base")
    assert set(table["compared_with"]) == {"zero", "base"}
    with pytest.raises(InputError, match="'balanced' was not measured: there are base, labels"):
        compare.verdict(*together(base=(0.6, 0.2), labels=(0, 0)), "balanced", "base")


def test_every_seed_is_tested_against_the_placebo_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = {
        f"{recipe}{seed}": f"{recipe}, seed {seed}"
        for recipe in ("labels", "placebo")
        for seed in (0, 1)
    }
    monkeypatch.setattr(compare.judging, "short_names", lambda _: short | {"base": "base"})
    moves = {"base": (0.6, 0.2), "labels0": (0.0, 0.5), "labels1": (0.02, 0.4)}
    items, scores = together(**moves, placebo0=(0.3, 0.1), placebo1=(0.2, 0.3))
    table = compare.verdict(items, scores, "labels", "base")
    assert set(table["model"]) == {"labels, seed 0", "labels, seed 1"}
    gaps = table[table["metric"] == "truth_gap, change"].set_index(["model", "compared_with"])
    assert gaps.loc[("labels, seed 0", "placebo, seed 0"), "value"] == pytest.approx(0.4, abs=1e-6)
    assert gaps.loc[("labels, seed 1", "placebo, seed 1"), "value"] == pytest.approx(0.1, abs=1e-6)
    one = compare.verdict(items, scores, "labels, seed 1", "base")
    assert one.equals(table[table["model"] == "labels, seed 1"].reset_index(drop=True))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.04, 0.03, "met"), (0.06, 0.1, "failed"), (-0.3, -0.06, "failed"), (0.0, 0.2, "open")],
)
def test_near_zero_is_within_a_twentieth(low: float, high: float, expected: str) -> None:
    estimate = metrics.Estimate((low + high) / 2, low, high, 10, 10, "bootstrap")
    assert compare.judging.judge_near(estimate) == expected


def development(tmp_path: Path, numbers: dict[str, tuple[float, float]]) -> Path:
    rows = []
    for model, (shift, gap) in numbers.items():
        for suite, away in (("claims", 0.0), ("negated_claims", 9.0)):
            rows += [
                {"model": model, "suite": suite, "metric": "shift", "user": "all", "truth": "all",
                 "value": shift + away},
                {"model": model, "suite": suite, "metric": "truth_gap", "user": "none",
                 "truth": "all", "value": gap},
            ]  # fmt: skip
    content = {"notebook": "05_finetune", "rows": rows}
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    return tmp_path


def test_the_better_recipe_has_the_larger_gap_less_the_shift(tmp_path: Path) -> None:
    numbers = {"base": (0.0, 9.0), "labels": (-0.3, 0.4), "balanced": (0.05, 0.2)}
    table = compare.development(development(tmp_path, numbers))
    assert compare.better(table, ["labels", "balanced"]) == "balanced"
    assert compare.better(table, ["labels"]) == "labels"
    lucky = {"labels, seed 0": (0.0, 0.9), "labels, seed 1": (0.9, 0.0), "balanced": (0.0, 0.2)}
    assert compare.better(compare.development(development(tmp_path, lucky)), [*RECIPES]) == (
        "balanced"  # the mean of labels is 0
    )
    with pytest.raises(InputError, match="None of original was trained"):
        compare.better(table, ["original"])


def test_what_all_models_answered_is_kept() -> None:
    items, scores = together(base=(0.6, 0.2), labels=(0.0, 0.4))
    more = items[items["model"] == "base"].assign(answer_format="cloze")
    more["item_id"] = "cloze/" + more["item_id"]
    both = pd.concat([items[(items["model"] == "base") | (items["user"] != "none")], more])
    copies = scores[scores["item_id"].str.startswith("base/")]
    every = pd.concat([scores, copies.assign(item_id="cloze/" + copies["item_id"])])
    kept, own = compare.common(both, every)
    assert set(kept["answer_format"]) == {"statement"} and "none" not in set(kept["user"])
    assert set(own["item_id"]) == set(kept["item_id"])
    alone = pd.concat([items[items["model"] == "labels"], more])
    with pytest.raises(InputError, match="2 models were asked nothing in the same form"):
        compare.common(alone, every)


def test_a_suite_that_one_model_lacks_is_named() -> None:
    items, scores = together(base=(0.6, 0.2), labels=(0.0, 0.4))
    sums = items[items["model"] == "base"].assign(suite="additions")
    sums["item_id"] = "sums/" + sums["item_id"]
    with pytest.raises(InputError, match=r"labels on additions \(notebook 02_wrong_additions\)"):
        compare.common(pd.concat([items, sums]), scores)


def test_a_trained_model_that_nobody_measured_is_named(tmp_path: Path) -> None:
    for name in ("labels_seed0", "placebo_seed0"):
        (tmp_path / "05_finetune" / name).mkdir(parents=True)
        (tmp_path / "05_finetune" / name / "model.json").write_text("{}")
    folder = tmp_path / "05_finetune"
    compare.check_trained(folder, ["b", "x/05_finetune/labels_seed0@50", f"{folder}/placebo_seed0"])
    with pytest.raises(InputError, match=r"not measured: placebo_seed0\. Measure"):
        compare.check_trained(folder, ["x/05_finetune/labels_seed0", "x/other/placebo_seed0"])


def test_a_missing_filter_is_named() -> None:
    facts = pd.DataFrame(
        [("m", "", "", ""), ("a", "labels", "none", "0"), ("b", "labels", "paired", "0")],
        columns=["model", "recipe", "filter", "seed"],
    )
    found = compare.by_filter(facts, "labels", ["none", "paired"], "m")
    assert list(found["filter"]) == list(found["trained"]) == ["base", "none", "paired"]
    more = pd.DataFrame([("c", "labels", "none", "1")], columns=facts.columns)
    seeds = compare.by_filter(pd.concat([facts, more]), "labels", ["none", "paired"], "m")
    assert list(seeds["trained"]) == ["base", "none, seed 0", "none, seed 1", "paired"]
    with pytest.raises(InputError, match="a and a have filter and seed alike"):
        compare.by_filter(pd.concat([facts, facts.iloc[1:2]]), "labels", ["none"], "m")
    with pytest.raises(InputError, match=r"'labels' and filter 'pick'.*FILTERS=pick"):
        compare.by_filter(facts, "labels", ["pick"], "m")
    with pytest.raises(InputError, match="x is not among what was measured"):
        compare.by_filter(facts, "labels", ["none"], "x")


def test_the_answer_format_is_the_one_trained_in(tmp_path: Path) -> None:
    for name, form in (("a", "cloze"), ("b", "cloze"), ("c", "choices")):
        (tmp_path / name).mkdir()
        facts = {"answer_format": form, "format": "paper" if name == "c" else "chat"}
        (tmp_path / name / "model.json").write_text(json.dumps(facts))
    a, b, c = (str(tmp_path / name) for name in "abc")
    assert compare.answer_format_of(["tiny_random"]) == "statement"
    assert compare.answer_format_of(["tiny_random", a, f"{b}@50"]) == "cloze"
    with pytest.raises(InputError, match=r"answer_format choices and cloze.*say ANSWER_FORMAT"):
        compare.answer_format_of([a, c])
    assert compare.format_of(["tiny_random"], "auto") == "paper"
    assert compare.format_of(["tiny_random", a, b], "auto") == "chat"
    assert compare.format_of([a, c], "paper") == "paper"
    with pytest.raises(InputError, match=r"format chat and paper.*say FORMAT"):
        compare.format_of([a, c], "auto")
    items, scores = together(base=(0.6, 0.2))
    assert compare.trained_format(metrics.summary(items, scores)) == "statement"


def test_laboratory_and_real_models_never_share_a_table() -> None:
    held, _ = claims.claims(["lab_world"], split="test")
    made = suites.claim_items(held, 2, format="lab").assign(model="lab_medium", seed=0)
    real = together(one=(0.5, 1.0))[0]
    compare.apart(real, laboratory=False)
    compare.apart(made, laboratory=True)
    both = pd.concat([real, made], ignore_index=True)
    with pytest.raises(InputError, match=r"lab_medium is a laboratory model.* to LAB_MEASURED"):
        compare.apart(both, laboratory=False)
    with pytest.raises(InputError, match=r"one is no laboratory model.* to MEASURED"):
        compare.apart(both, laboratory=True)

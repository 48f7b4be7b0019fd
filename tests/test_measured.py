"""What was measured: kept where all models met it, named where one lacks it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from sycophancy import claims, compare, metrics, suites
from sycophancy.errors import InputError
from test_compare import write
from test_judging import together


def test_what_all_models_answered_is_kept() -> None:
    items, scores = together(base=(0.6, 0.2), labels=(0.0, 0.4))
    more = items[items["model"] == "base"].assign(answer_format="cloze")
    more["item_id"] = "cloze/" + more["item_id"]
    both = pd.concat([items[(items["model"] == "base") | (items["user"] != "none")], more])
    copies = scores[scores["item_id"].str.startswith("base/")]
    every = pd.concat([scores, copies.assign(item_id="cloze/" + copies["item_id"])])
    again = items[items["model"] == "base"].assign(seed=1)  # the base was asked with more seeds
    again["item_id"] = "again/" + again["item_id"]
    both = pd.concat([both, again])
    every = pd.concat([every, copies.assign(item_id="again/" + copies["item_id"])])
    kept, own = compare.common(both, every)
    assert set(kept["seed"]) == {0}
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
    folder = tmp_path / "05_finetune"
    for name in ("labels_seed0", "placebo_seed0", "labels_seed0.before-1a2b3c4d"):
        (folder / name).mkdir(parents=True)
        (folder / name / "model.json").write_text("{}")
    trained = ["b", f"{folder}/labels_seed0", f"{folder}/placebo_seed0"]
    pd.DataFrame({"model": trained}).to_parquet(folder / "items.parquet")
    (folder / "metrics.json").write_text("{}")
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
    assert compare.trained_format(metrics.summarize(items, scores)) == "statement"


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


def test_claims_and_sums_are_what_all_models_of_a_run_were_asked(tmp_path: Path) -> None:
    items, scores = together(base=(0.6, 0.2), labels=(0.1, 0.4))
    near = items[items["suite"] == items["suite"].iloc[0]].assign(suite="near_additions")
    near["item_id"] = "near/" + near["item_id"]
    again = scores.assign(item_id="near/" + scores["item_id"])
    again = again[again["item_id"].isin(near["item_id"])]
    folder = write(tmp_path / "run", pd.concat([items, near]), pd.concat([scores, again]))
    found, theirs = compare.claims_and_sums([str(folder)], laboratory=False)
    assert set(found["suite"]) == set(items["suite"]) <= {"claims", "additions"}
    assert sorted(found["item_id"]) == sorted(items["item_id"])
    assert set(theirs["item_id"]) == set(items["item_id"])
    assert set(found["model"]) == {"base", "labels"}
    with pytest.raises(InputError, match="base is no laboratory model"):
        compare.claims_and_sums([str(folder)], laboratory=True)

"""Comparisons: what finished runs hold is read once, what is missing is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sycophancy import compare, metrics, runs, suites
from sycophancy.errors import InputError
from test_metrics import Scorer, honest, opinions, score, swayed, sycophant


def tables(items: pd.DataFrame, scorers: dict[str, Scorer]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same items asked of several models, as the measuring notebooks write them."""
    asked, results = [], []
    for model, scorer in scorers.items():
        own = items.assign(model=model, seed=0, item_id=f"{model}/0/" + items["item_id"])
        asked.append(own)
        results.append(score(own, scorer).assign(model=model))
    return pd.concat(asked, ignore_index=True), pd.concat(results, ignore_index=True)


def write(folder: Path, items: pd.DataFrame, scores: pd.DataFrame) -> Path:
    folder.mkdir(parents=True)
    run = runs.Run("02_wrong_additions", folder, {})
    run.save_table("items", items)
    run.save_table("scores", scores)
    runs.write_json(folder / "metrics.json", {"rows": []})
    return folder


def trained(folder: Path, **facts: object) -> str:
    runs.write_json(folder / "model.json", facts)
    return str(folder)


def sums(n: int = 2, formats: tuple[str, ...] = ("statement",)) -> pd.DataFrame:
    return suites.additions(n=n, answer_formats=formats)


def claims() -> pd.DataFrame:
    """Sums again, under the name of the claims suite."""
    items = sums(3)
    return items.assign(
        suite="claims", **{c: "claims/" + items[c] for c in ("item_id", "pair_id", "asked_id")}
    )


def three_tasks() -> pd.DataFrame:
    parts = []
    for task in ("nlp_survey", "philpapers2020", "political_typology"):
        part = opinions(4).assign(suite=task)
        for column in ("item_id", "question_id", "pair_id", "asked_id"):
            part[column] = task + "/" + part[column]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


# --- reading


def test_runs_are_read_as_one_table_that_can_be_measured(tmp_path: Path) -> None:
    one = tables(sums(), {"base": sycophant})
    two = tables(sums(), {"m": honest})
    folders: list[str | Path] = [write(tmp_path / "a", *one), str(write(tmp_path / "b", *two))]
    items, scores = compare.read_measured(folders)
    expected = [pd.concat(pair, ignore_index=True) for pair in zip(one, two, strict=True)]
    assert list(items["item_id"]) == list(expected[0]["item_id"])
    pd.testing.assert_frame_equal(
        metrics.summarize(items, scores), metrics.summarize(*expected), check_dtype=False
    )
    assert "_folder" not in items


def test_what_two_runs_share_is_taken_once(tmp_path: Path) -> None:
    small, large = sums(2), sums(4)  # the smaller sample is part of the larger
    first = write(tmp_path / "a", *tables(small, {"base": swayed}))
    second = write(tmp_path / "b", *tables(large, {"base": swayed, "m": honest}))
    items, scores = compare.read_measured([first, second])
    assert items["item_id"].is_unique and not scores.duplicated(["item_id", "choice"]).any()
    assert len(items) == 2 * len(large) and len(scores) == 4 * len(large)


def test_rounding_is_no_contradiction_but_other_answers_are(tmp_path: Path) -> None:
    items, scores = tables(sums(), {"base": swayed})
    first = write(tmp_path / "a", items, scores)
    near = write(tmp_path / "b", items, scores.assign(logp=scores["logp"] - 0.01))
    read_items, read_scores = compare.read_measured([first, near])
    np.testing.assert_array_equal(read_scores["logp"], scores["logp"])
    assert len(read_items) == len(items)
    far = write(tmp_path / "c", items, scores.assign(logp=scores["logp"] - 0.2))
    with pytest.raises(InputError, match=r"different scores in .*a and .*c: .*Delete the older"):
        compare.read_measured([first, far])
    other = write(tmp_path / "d", items.assign(prompt=items["prompt"] + "?"), scores)
    with pytest.raises(InputError, match=r"different prompts in .*a and .*d"):
        compare.read_measured([first, other])


def test_a_folder_below_the_checkout_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "checkout" / "runs" / "x", *tables(sums(), {"base": honest}))
    monkeypatch.setattr(runs, "repository", lambda: tmp_path / "checkout")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    items, _ = compare.read_measured(["runs/x"])
    assert len(items) == len(sums())


def test_what_has_not_been_run_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "02_wrong_additions@after"
    with pytest.raises(
        InputError,
        match=r"02_wrong_additions@after has not been run: `make reproduce`, or run notebook "
        r"02_wrong_additions with MODEL=",
    ):
        compare.read_measured([folder])
    write(folder, *tables(sums(), {"base": honest}))
    (folder / "scores.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"Cannot read .*scores.parquet"):
        compare.read_measured([folder])
    (folder / "scores.parquet").unlink()
    with pytest.raises(InputError, match=r"02_wrong_additions@after has no scores\.parquet"):
        compare.read_measured([folder])
    (folder / "metrics.json").unlink()
    with pytest.raises(InputError, match=r"no metrics\.json, it did not end"):
        compare.read_measured([folder])
    with pytest.raises(InputError, match="No run folder is given"):
        compare.read_measured([])
    with pytest.raises(InputError, match="give a list"):
        compare.read_measured(str(folder))


def test_every_missing_cell_of_the_grid_is_named() -> None:
    items, _ = tables(sums(), {"base": honest, "m": honest})
    compare.check_grid(items, ["base", "m"], ["additions"])
    with pytest.raises(InputError) as caught:
        compare.check_grid(items, ["base", "new"], ["additions", "nlp_survey", "claims"])
    said = str(caught.value)
    for cell in (
        "base on nlp_survey (notebook 01_opinion_tasks)",
        "base on claims (notebook 10_prior_knowledge)",
        "new on additions (notebook 02_wrong_additions)",
        "new on nlp_survey", "new on claims",
    ):  # fmt: skip
        assert cell in said
    assert "base on additions" not in said


# --- names


def test_names_say_no_more_than_is_needed(tmp_path: Path) -> None:
    base = {"base": "smollm2_135m_instruct", "steps": 60}
    labels = trained(tmp_path / "a@x", **base, recipe="labels", filter="none", seed=0)
    again = trained(tmp_path / "b", **base, recipe="labels", filter="none", seed=1)
    pick = trained(tmp_path / "c", **base, recipe="labels", filter="pick", seed=0)
    placebo = trained(tmp_path / "d", **base, recipe="placebo", filter="none", seed=0)
    assert compare.short_names(["tiny_random", labels, placebo]) == {
        "tiny_random": "tiny_random", labels: "labels", placebo: "placebo"
    }  # fmt: skip
    assert list(compare.short_names([labels, pick]).values()) == [
        "labels, no filter", "labels, pick"
    ]  # fmt: skip
    assert list(compare.short_names([labels, again]).values()) == [
        "labels, seed 0", "labels, seed 1"
    ]  # fmt: skip
    assert list(compare.short_names([labels, again, pick]).values()) == [
        "labels, no filter, seed 0", "labels, no filter, seed 1", "labels, pick"
    ]  # fmt: skip
    assert list(compare.short_names([labels, f"{labels}@20"]).values()) == [
        "labels, 60 steps", "labels, 20 steps"
    ]  # fmt: skip


def test_names_without_facts(tmp_path: Path) -> None:
    nameless = trained(tmp_path / "mine", base="x")
    assert compare.short_names([nameless]) == {nameless: "mine"}
    one, two = (trained(tmp_path / n / "same", base="x") for n in ("a", "b"))
    assert compare.short_names([one, two]) == {one: one, two: two}
    partly = trained(tmp_path / "seeded", base="x", recipe="labels", seed=3)
    plain = trained(tmp_path / "plain", base="x", recipe="labels")
    assert compare.short_names([partly, plain]) == {partly: "labels, seed 3", plain: "labels"}
    assert compare.short_names(["hf://a/b", "gemma3_270m"]) == {
        "hf://a/b": "hf://a/b", "gemma3_270m": "gemma3_270m"
    }  # fmt: skip
    for text in ("{", "[1]"):
        (tmp_path / "mine" / "model.json").write_text(text)
        with pytest.raises(InputError, match=r"mine/model\.json.*train it again"):
            compare.short_names([nameless])


# --- tables


def test_opinion_tasks_are_also_pooled() -> None:
    items, scores = tables(
        pd.concat([three_tasks(), sums()], ignore_index=True), {"b": sycophant, "m": sycophant}
    )
    found = compare.summarize_suites(items, scores)
    pooled = found[found["suite"] == compare.POOLED]
    alone = items[items["suite"].isin(set(three_tasks()["suite"]))]
    direct = metrics.summarize(
        alone.assign(suite=compare.POOLED), scores[scores["item_id"].isin(alone["item_id"])]
    )
    pd.testing.assert_frame_equal(pooled.reset_index(drop=True), direct)
    assert set(pooled["questions"]) == {12} and "additions" not in set(pooled["suite"])
    moved = compare.compare_with_base(items, scores, "b")
    assert set(moved["suite"]) == set(found["suite"]) and (moved["value"] == 0).all()
    one = items[items["suite"].isin(["nlp_survey", "additions"])]
    some = compare.summarize_suites(one, scores[scores["item_id"].isin(one["item_id"])])
    assert set(some["suite"]) == {"nlp_survey", "additions"}


def test_the_table_of_the_intervention(tmp_path: Path) -> None:
    labels = trained(tmp_path / "l", base="b", recipe="labels", seed=4)
    placebo = trained(tmp_path / "p", base="b", recipe="placebo", seed=4)
    original = trained(tmp_path / "o", base="b", recipe="original", seed=4)
    statements = pd.concat([sums(4), claims()], ignore_index=True)
    scorers: dict[str, Scorer] = {placebo: sycophant, labels: swayed, "b": sycophant}
    found = compare.summarize_suites(*tables(statements, {**scorers, original: swayed}))
    views: dict[str, Scorer] = {name: sycophant for name in (placebo, labels, "b")}
    opinion = compare.summarize_suites(*tables(three_tasks(), views))
    found = pd.concat([found, opinion], ignore_index=True)
    table = compare.intervention_table(found, answer_format="statement")
    assert list(table["model"]) == ["b", "original", "labels", "placebo"]
    assert list(table["trained with seed"]) == ["–", "4", "4", "4"]
    assert set(table["seeds"]) == {"0"}
    rows = table.set_index("model")
    assert rows.loc["b", "n"] == "additions 4, claims 3, all_opinion_tasks 12"
    assert rows.loc["original", "n"] == "additions 4, claims 3"
    # a sycophant agrees with whatever its user agrees with; swayed is right whatever is said
    assert str(rows.loc["b", "agrees with wrong sums"]).startswith("100 % [")
    assert str(rows.loc["b", "agrees with wrong sums"]).endswith(", 100]")
    assert str(rows.loc["labels", "agrees with wrong sums"]).startswith("0 % [0, ")
    assert str(rows.loc["labels", "agrees with true sums"]).startswith("100 % [")
    assert rows.loc["b", "shift on wrong sums"] == "+3.00 [+3.00, +3.00]"
    assert rows.loc["labels", "shift on claims"] == "+1.00 [+1.00, +1.00]"
    assert rows.loc["labels", "truth gap on claims"] == "+3.00 [+3.00, +3.00]"
    assert str(rows.loc["b", "opinion tasks: rate"]).startswith("100 %")
    assert rows.loc["b", "opinion tasks: shift"] == "+3.00 [+3.00, +3.00]"
    assert rows.loc["original", "opinion tasks: rate"] == "–"


def test_the_table_leaves_out_what_nobody_measured() -> None:
    found = compare.summarize_suites(*tables(sums(3), {"b": honest, "labels": honest}))
    table = compare.intervention_table(found, answer_format="statement")
    assert list(table.columns) == [
        "model", "shift on wrong sums", "agrees with wrong sums", "agrees with true sums", "n",
        "seeds", "trained with seed",
    ]  # fmt: skip


def test_the_table_refuses_what_it_cannot_tell_apart() -> None:
    found = compare.summarize_suites(*tables(sums(3), {"b": honest}))
    with pytest.raises(InputError, match="answer format 'cloze': the table has statement"):
        compare.intervention_table(found, answer_format="cloze")
    chat = found.assign(format="chat")
    with pytest.raises(InputError, match=r"b has two values of .* on additions: select one format"):
        compare.intervention_table(pd.concat([found, chat]), answer_format="statement")
    tasks = metrics.summarize(*tables(three_tasks(), {"b": sycophant}))
    with pytest.raises(InputError, match="but not all_opinion_tasks: use `summarize_suites`"):
        compare.intervention_table(tasks, answer_format="choices")


def test_model_facts_are_those_of_the_run(tmp_path: Path) -> None:
    name = trained(tmp_path / "r", base="b", recipe="labels", seed=0, rate=1e-4, trained_values=8)
    facts = {"recipe": "labels", "seed": "0", "base": "b", "rate": "0.0001"}
    assert compare.model_facts(name) == facts
    assert compare.model_facts(f"{name}@40")["steps"] == "40"
    assert compare.model_facts("tiny_random") == {}
    assert json.loads((tmp_path / "r" / "model.json").read_text())["trained_values"] == 8

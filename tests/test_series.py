"""Series of runs that differ in one number: which run is which level, and what is drawn of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sycophancy import compare, figures, finetune, metrics, runs
from sycophancy.errors import InputError
from test_compare import sums, tables, trained
from test_metrics import Scorer, honest, sycophant

BASE = "the base"


def run(folder: Path, ratio: float | str = 5.0, limit: int = 0, **facts: object) -> str:
    known = {"recipe": "balanced", "filter": "paired", "seed": 0, "steps": 100, "base": BASE}
    return trained(folder, ratio=ratio, limit=limit, examples=limit or 664, **{**known, **facts})


@pytest.fixture
def measured(tmp_path: Path) -> dict[str, str]:
    ratios = {f"share{share}": (ratio, 0) for share, ratio in ((0, 0), (16, 0.19), (100, "inf"))}
    limits = {f"only{n}": (5.0, n) for n in (16, 64)}
    found = {name: run(tmp_path / name, *given) for name, given in (ratios | limits).items()}
    found["paper"] = run(tmp_path / "paper")
    found["other filter"] = run(tmp_path / "other", filter="none")
    found["other recipe"] = run(tmp_path / "labels", recipe="labels")
    whole = run(tmp_path / "steps", steps=400)
    return found | {"10": f"{whole}@10", "100": f"{whole}@100", "400": whole}


def level_of(measured: dict[str, str], column: str, wanted: list[float]) -> dict[str, float]:
    names = {model: name for name, model in measured.items()}
    models = [BASE, *measured.values()]
    table = compare.levels(models, column, wanted, recipe="balanced", base=BASE)
    assert table["model"].iloc[0] == BASE and np.isnan(table["level"].iloc[0])
    rows = table.iloc[1:]
    return dict(zip(rows["model"].map(names), rows["level"], strict=True))


def test_each_level_is_the_one_run_alike_in_all_else(measured: dict[str, str]) -> None:
    shares = level_of(measured, compare.SHARE, [0, 16, 83, 100])
    assert shares == {"share0": 0, "share16": 16, "paper": 83, "share100": 100}
    examples = level_of(measured, compare.EXAMPLES, [16, 64, 0])
    assert examples == {"only16": 16, "only64": 64, "paper": 664}
    steps = level_of(measured, compare.STEPS, [10, 100, 400])
    assert steps == {"10": 10, "100": 100, "400": 400}


def test_a_level_that_is_missing_or_there_twice_is_named(
    measured: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"share 50 was measured: train it .* RATIO"):
        level_of(measured, compare.SHARE, [0, 50])
    with pytest.raises(InputError, match=r"steps 25 was measured: train it .* CHECKPOINTS"):
        level_of(measured, compare.STEPS, [25])
    again = measured | {"again": run(tmp_path / "again", 0.19)}
    with pytest.raises(InputError, match="have share 16 alike"):
        level_of(again, compare.SHARE, [16])
    seeds = measured | {"share16, seed 1": run(tmp_path / "16b", 0.19, seed=1)}
    seeds |= {"share83, seed 1": run(tmp_path / "83b", seed=1)}
    assert level_of(seeds, compare.SHARE, [16, 83]) == {"share16": 16, "paper": 83}
    del seeds["share16"]  # now seed 1 is the one that both have
    chosen = level_of(seeds, compare.SHARE, [16, 83])
    assert chosen == {"share16, seed 1": 16, "share83, seed 1": 83}
    with pytest.raises(InputError, match=r"levels of share share no training seed.*SEEDS"):
        level_of(seeds, compare.SHARE, [0, 16])
    with pytest.raises(InputError, match="the base is not among"):
        compare.levels(list(measured.values()), compare.SHARE, [0], recipe="balanced", base=BASE)
    with pytest.raises(InputError, match="Unknown series 'ratio'"):
        level_of(measured, "ratio", [0])


def test_levels_that_differ_in_more_than_one_thing_are_named(
    measured: dict[str, str], tmp_path: Path
) -> None:
    longer = measured | {"share100": run(tmp_path / "longer", "inf", steps=400)}
    with pytest.raises(
        InputError, match=r"levels of share differ in steps as well: 100 \(.*400 \("
    ):
        level_of(longer, compare.SHARE, [0, 100])
    hotter = measured | {"only16": run(tmp_path / "hotter", 5.0, 16, rate=0.1)}
    hotter["only64"] = run(tmp_path / "cooler", 5.0, 64, rate=0.01)
    with pytest.raises(InputError, match=r"examples differ in rate as well: 0\.1 .*, 0\.01 "):
        level_of(hotter, compare.EXAMPLES, [16, 64])
    # of a longer run the rate falls later: its checkpoints are not those of a shorter one
    mixed = measured | {"25": run(tmp_path / "another run", steps=200) + "@25"}
    with pytest.raises(InputError, match="levels of steps differ in run as well"):
        level_of(mixed, compare.STEPS, [10, 25, 400])
    other = measured | {"only16": run(tmp_path / "other base", 5.0, 16, base="another")}
    with pytest.raises(InputError, match=r"examples differ in base as well"):
        level_of(other, compare.EXAMPLES, [16, 64])


def claims_and_sums() -> pd.DataFrame:
    """Sums, and the same sums under the name of the claims suite."""
    asked = sums(3)
    named = {c: "claims/" + asked[c] for c in ("item_id", "pair_id", "asked_id", "question_id")}
    claims = asked.assign(suite="claims", **named)
    return pd.concat([asked, claims], ignore_index=True)


def test_measures_are_those_of_honest_and_of_sycophantic_models(tmp_path: Path) -> None:
    cured = run(tmp_path / "cured")
    items, scores = tables(claims_and_sums(), {BASE: sycophant, cured: honest})
    chosen = compare.levels([BASE, cured], compare.SHARE, [83], recipe="balanced", base=BASE)
    table = compare.collect_measures(items, scores, chosen).set_index(
        ["model", "measure", "series"]
    )
    assert table.loc[(cured, "cost", "cost"), "value"] == 0
    assert table.loc[(cured, "claims", "wrong"), "value"] == 1
    assert table.loc[(BASE, "claims", "wrong"), "value"] == 0
    assert table.loc[(BASE, "claims", "right"), "value"] == 1
    assert table.loc[(BASE, "wrong_sums", "agrees"), "value"] == 0
    assert table.loc[(cured, "wrong_sums", "agrees"), "value"] == 1
    assert table.loc[(cured, "true_sums", "none"), "level"] == 83
    assert table.loc[BASE]["level"].isna().all()
    assert table.loc[(BASE, "cost", "cost"), "value"] == 0.5  # half without a user, none with


def test_claims_without_a_user_stand_for_benchmarks_and_rows_stand_beside_the_papers(
    tmp_path: Path,
) -> None:
    cured = run(tmp_path / "cured")
    items, scores = tables(claims_and_sums(), {BASE: sycophant, cured: honest})
    chosen = compare.levels([BASE, cured], compare.SHARE, [83], recipe="balanced", base=BASE)
    table = compare.collect_measures(items, scores, chosen)
    alone = table[(table["measure"] == "claims") & (table["series"] == "none")]
    stand_ins = table[table["measure"] == "benchmarks"]
    assert stand_ins["value"].tolist() == alone["value"].tolist() == [0.5, 1.0]
    rows = compare.beside(table, "{:g} % generated", ("Fig. 11", "Fig. 12"))
    whats = [
        "cost of a wrong user, points", "right on wrong sums, user agrees, %",
        "right on true sums, user agrees, %", "held-out claims, no user, %",
    ]  # fmt: skip
    levels = ("base", "83 % generated")
    assert [row[1] for row in rows] == [f"{level}: {what}" for what in whats for level in levels]
    assert [row[0] for row in rows] == ["Fig. 11"] * 2 + ["Fig. 12"] * 6
    # the sycophant agrees with whoever speaks, and without a user is right by halves
    assert [row[3] for row in rows] == ["50", "0", "0", "100", "100", "100", "50", "100"]
    assert {row[2] for row in rows} == {"–"}


def test_what_a_model_was_never_told_is_left_out(tmp_path: Path) -> None:
    cured = run(tmp_path / "cured")
    items, scores = tables(claims_and_sums(), {BASE: sycophant, cured: honest})
    questions = items["question_id"].unique()
    stated = items["question_id"].map({q: i % 2 == 0 for i, q in enumerate(questions)})
    chosen = compare.levels([BASE, cured], compare.SHARE, [83], recipe="balanced", base=BASE)
    table = compare.collect_measures(items.assign(known=stated.astype("boolean")), scores, chosen)
    claims = items["suite"] == "claims"
    for measure, here in (("cost", claims), ("wrong_sums", ~claims)):
        asked = items.loc[here & stated, "question_id"].nunique()
        assert set(table.loc[table["measure"] == measure, "questions"]) == {asked}


def test_claims_and_sums_count_in_the_format_that_was_trained_in(tmp_path: Path) -> None:
    cured = run(tmp_path / "cured", answer_format="cloze")
    items, scores = tables(sums(3, ("statement", "cloze")), {BASE: sycophant, cured: honest})
    chosen = compare.levels([BASE, cured], compare.SHARE, [83], recipe="balanced", base=BASE)
    table = compare.collect_measures(items, scores, chosen)
    assert set(table["answer_format"]) == {"cloze"}
    assert not table.duplicated(["model", "measure", "series"]).any()


def test_a_model_without_a_suite_is_named(tmp_path: Path) -> None:
    cured = run(tmp_path / "cured")
    items, scores = tables(claims_and_sums(), {BASE: sycophant, cured: honest})
    chosen = compare.levels([BASE, cured], compare.SHARE, [83], recipe="balanced", base=BASE)
    kept = items[(items["model"] == BASE) | (items["suite"] == "claims")]
    with pytest.raises(InputError, match="cured on additions"):
        compare.collect_measures(kept, scores[scores["item_id"].isin(kept["item_id"])], chosen)


def test_benchmarks_are_read_from_notebook_09_by_the_models_whole_names(tmp_path: Path) -> None:
    cured = run(tmp_path / "cured")
    folder = tmp_path / "09_benchmarks"
    folder.mkdir()
    own = runs.Run("09_benchmarks", folder, {"MODEL": f"{BASE}, {cured}"})
    rows = [
        {
            "model": name, "setting": "MMLU, 0 examples", "task": task, "metric": metric,
            "value": value, "low": value - 0.1, "high": value + 0.1, "questions": 40,
        }
        for name, value in ((BASE, 0.25), ("balanced", 0.5))
        for task in (metrics.MACRO, "anatomy")
        for metric in ("accuracy", "chance")
    ]  # fmt: skip
    runs.write_json(folder / "run.json", {"notebook": own.notebook, "parameters": own.parameters})
    runs.write_json(folder / "metrics.json", {"notebook": "09_benchmarks", "rows": rows})
    chosen = compare.levels([BASE, cured], compare.SHARE, [83], recipe="balanced", base=BASE)
    table = compare.benchmark_measures(folder, chosen)
    assert table[["model", "value", "series"]].to_numpy().tolist() == [
        [BASE, 0.25, "MMLU, 0 examples"],
        [cured, 0.5, "MMLU, 0 examples"],
    ]
    unread = {"metric": "unread", "setting": "BBH 3-shot", "task": metrics.MACRO}
    more = [
        rows[0] | unread | {"model": name, "value": v} for name, v in ((BASE, 0), ("balanced", 0.2))
    ]
    more.append(rows[0] | unread | {"setting": "MMLU, 0 examples", "value": 0})  # always read
    runs.write_json(folder / "metrics.json", {"notebook": "09_benchmarks", "rows": rows + more})
    table = compare.benchmark_measures(folder, chosen).set_index(["measure", "series", "model"])
    assert table["value"].to_dict() == {
        ("benchmarks", "MMLU, 0 examples", BASE): 0.25,
        ("benchmarks", "MMLU, 0 examples", cured): 0.5,
        ("unread", "BBH 3-shot", BASE): 0,
        ("unread", "BBH 3-shot", cured): 0.2,
    }
    strange = chosen.assign(model=[BASE, "another"])
    with pytest.raises(InputError, match="another is not among the models"):
        compare.benchmark_measures(folder, strange)
    runs.write_json(folder / "metrics.json", {"notebook": "10_prior_knowledge", "rows": rows})
    with pytest.raises(InputError, match=r"a run of 10_prior_knowledge: give .* 09_benchmarks"):
        compare.benchmark_measures(folder, chosen)


def test_the_figure_draws_every_series_at_its_level_and_the_base_across(tmp_path: Path) -> None:
    folders = [run(tmp_path / "16", 0.19), run(tmp_path / "83")]
    scorers: dict[str, Scorer] = {BASE: sycophant, folders[0]: sycophant, folders[1]: honest}
    items, scores = tables(claims_and_sums(), scorers)
    models = [BASE, *folders]
    chosen = compare.levels(models, compare.SHARE, [16, 83], recipe="balanced", base=BASE)
    table = compare.collect_measures(items, scores, chosen)
    picture = figures.series(table, compare.SHARE)
    axes = [ax for ax in picture.axes if ax.get_visible()]
    assert len(axes) == table["measure"].nunique()
    cost = next(ax for ax in axes if "cost" in ax.get_ylabel())
    drawn = [np.asarray(line.get_data(), float) for line in cost.lines if line.get_marker() == "o"]
    assert np.allclose(drawn[0], [[16, 83], [50, 0]])
    assert list(cost.get_xticks()) == [16, 83]
    labels = [ax.get_ylabel() for ax in axes]
    assert sum("in place of benchmarks" in label for label in labels) == 1
    assert "held-out claims, no user" in picture.get_supxlabel()
    measured = table.assign(series=table["series"].replace(compare.INSTEAD, "MMLU 0-shot"))
    picture = figures.series(measured, compare.SHARE)
    labels = [ax.get_ylabel() for ax in picture.axes]
    assert any(label.startswith("benchmarks") for label in labels)
    with pytest.raises(InputError, match="no measure of a trained model"):
        figures.series(table[table["level"].isna()], compare.SHARE)
    with pytest.raises(InputError, match="called 'rank'"):
        figures.series(table, "rank")


def test_folders_of_runs_tell_what_differs_from_the_paper() -> None:
    assert finetune.run_name("labels", "paired", 1) == "labels_seed1"
    assert finetune.run_name("labels", "none", 0) == "labels_none_seed0"
    assert finetune.run_name("labels", "paired", 0, ratio=0.19) == "labels_ratio0.19_seed0"
    inf = float("inf")
    assert finetune.run_name("labels", "pick", 2, ratio=inf) == "labels_pick_ratioinf_seed2"
    assert finetune.run_name("labels", "paired", 0, limit=64) == "labels_prompts64_seed0"

"""The batch side: profiles, execution, plan, resuming, publishing."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
import yaml
from joblib.externals.loky.backend import context

from sycophancy import finetune, lab, runs
from sycophancy.errors import InputError
from sycophancy.runs import identity, memory
from sycophancy.world import world
from workflow import (
    capacity,
    cells,
    execute,
    grid,
    inputs,
    intervene,
    laboratory,
    plan,
    progress,
    reproduce,
    settings,
    speeds,
    tables,
)

ROOT = Path(__file__).resolve().parents[1]


def test_profiles_give_only_parameters_that_notebooks_declare() -> None:
    assert grid.profile_names() == ["smoke", "laptop", "evening", "overnight", "tpu"]
    for profile in grid.profile_names():
        found, publishes = grid.read_profile(profile)
        assert publishes == (profile != "smoke")
        for key, parameters in found.items():
            assert set(parameters) <= set(grid.default_parameters(cells.notebook_of(key)))


def test_the_laptop_profile_keeps_its_minima() -> None:
    found, _ = grid.read_profile("laptop")
    assert found["02_wrong_additions"]["N"] >= 100
    assert found["01_opinion_tasks"]["N"] == 0  # all of them


COMPARES = re.compile(r"(06|07|08|11|12)_")


@pytest.mark.parametrize("profile", ["smoke", "laptop", "evening", "overnight", "tpu"])
def test_models_that_are_compared_are_measured_by_the_same_notebooks(profile: str) -> None:
    """`compare.common` refuses a suite that one of the models lacks, after hours of measuring."""
    found, _ = grid.read_profile(profile)
    compared = [key for key in found if COMPARES.match(key)]
    assert compared
    for key in compared:
        names = ("MEASURED", "CLAIMS_RUN", "OPINION_RUNS")
        texts = ", ".join(found[key].get(name, "") for name in names)
        models: dict[str, set[str]] = {}
        for cell in re.findall(r"\{runs\}/([\w@]+)", texts):
            measured = {name.strip() for name in found[cell]["MODEL"].split(",")}
            models.setdefault(cells.notebook_of(cell), set()).update(measured)
        first, *others = models.values()
        assert found[key]["BASE"] in first and all(other == first for other in others), key


def test_a_users_model_runs_the_two_measuring_notebooks_and_publishes_nothing() -> None:
    batch = grid.batch("laptop", model="hf://a/b")
    assert list(batch.cells) == ["01_opinion_tasks", "02_wrong_additions"]
    assert {parameters["MODEL"] for parameters in batch.cells.values()} == {"hf://a/b"}
    assert not batch.publishes
    folder = batch.folders["01_opinion_tasks"]
    assert folder == "runs/measure/hf-a-b/laptop/01_opinion_tasks"


def test_settings_reach_the_notebooks_that_know_them() -> None:
    name, value = settings.parse_setting("N=20")
    found, _ = grid.read_profile("laptop", overrides={name: value, "TASKS": "nlp_survey"})
    assert found["02_wrong_additions"]["N"] == 20
    assert found["01_opinion_tasks"]["TASKS"] == "nlp_survey"
    assert "N" not in found["00_start_here"]


def test_a_setting_may_be_for_one_cell() -> None:
    """N is a number of prompts in notebook 03 and of questions where a model is measured."""
    given = dict(map(settings.parse_setting, ["03_generate_data:N=0", "N=20"]))
    found, _ = grid.read_profile("intervene", "a/b", given, "my.csv")
    assert found["03_generate_data"]["N"] == 0
    assert found["10_prior_knowledge"]["N"] == 20
    one = dict([settings.parse_setting("02_wrong_additions@after:N=5")])
    found, _ = grid.read_profile("laptop", overrides=one)
    assert (found["02_wrong_additions"]["N"], found["02_wrong_additions@after"]["N"]) == (100, 5)
    with pytest.raises(InputError, match=r"Unknown cell '02_wrong'.*'02_wrong_additions'"):
        grid.read_profile("laptop", overrides={"02_wrong:N": 5})
    with pytest.raises(InputError, match=r"Unknown parameter of 03_generate_data 'STEPS'"):
        grid.read_profile("laptop", overrides={"03_generate_data:STEPS": 5})


def test_what_is_misspelt_is_refused_before_anything_runs() -> None:
    with pytest.raises(InputError, match=r"Unknown profile 'latop'.*'laptop'"):
        grid.read_profile("latop")
    with pytest.raises(InputError, match=r"Unknown parameter 'FORMT'.*'FORMAT'"):
        grid.read_profile("laptop", overrides={"FORMT": "chat"})
    with pytest.raises(InputError, match="NAME=value"):
        settings.parse_setting("N")
    with pytest.raises(InputError, match=r"Unknown parameter of 00_start_here 'MODLE'.*'MODEL'"):
        execute.execute(
            ROOT / "notebooks" / "00_start_here.ipynb", Path("never.ipynb"), {"MODLE": "x"}
        )
    with pytest.raises(InputError, match="There is no notebook"):
        execute.execute(ROOT / "notebooks" / "99.ipynb", Path("never.ipynb"), {})


def test_prose_may_change_without_a_rerun_and_code_may_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "NOTEBOOKS", tmp_path)
    text = (ROOT / "notebooks" / "00_start_here.ipynb").read_text()
    path = tmp_path / "x.ipynb"

    def digest(content: str) -> str:
        path.write_text(content)
        return grid.read_code("x").code

    base = digest(text)
    assert base == digest(text.replace("five minutes", "six minutes"))
    assert base != digest(text.replace("n=1", "n=2"))


@pytest.mark.notebook
def test_the_plan_counts_what_the_run_will_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path))
    table = plan.plan("smoke", None, {}).set_index("notebook")
    parameters = {
        **grid.read_profile("smoke")[0]["02_wrong_additions"],
        "OUT_DIR": str(tmp_path / "r"),
    }
    execute.execute(
        ROOT / "notebooks" / "02_wrong_additions.ipynb", tmp_path / "out.ipynb", parameters
    )
    cost = json.loads((tmp_path / "r" / "run.json").read_text())["cost"][0]
    items = pd.read_parquet(tmp_path / "r" / "items.parquet")
    assert table.loc["02_wrong_additions", "items"] == len(items)
    assert table.loc["02_wrong_additions", "tokens"] == cost["tokens"]
    assert table.loc["02_wrong_additions", "speed from"] == "a first guess"
    assert (
        plan.plan("smoke", None, {}).set_index("notebook").loc["02_wrong_additions", "speed from"]
        == "1 runs here"
    )


def test_doses_and_cures_of_the_laboratory_are_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path))
    name = "13_the_shortcut"
    given = {**grid.default_parameters(name), "SIZES": "small,medium", "SEEDS": "0,1"}
    given |= {"DOSES": "0,90", "SHARES": "0,50,100", "STEPS": 7}
    rows = plan.trained(name, given, pd.DataFrame())
    assert len(rows) == 2 * 2 * 2  # sizes × seeds × (doses, cures)
    assert [row["model"] for row in rows[:2]] == ["doses of lab_small", "cures of lab_small_tuned"]
    small = lab.RUNGS["small"]
    steps = small.statements + small.bare + small.talk + 2 * small.tuning  # a base, two doses
    # and two recipes with three shares, of 7 steps each
    assert [row["tokens from"].split()[0] for row in rows[:2]] == [f"{steps:,}", "42"]
    assert all(0 < row["minutes"] < 60 for row in rows)
    with pytest.raises(InputError, match="Unknown recipe 'label'"):
        plan.trained(name, {**given, "RECIPES": "label"}, pd.DataFrame())
    with pytest.raises(InputError, match=r"Unknown dose .*30"):
        plan.trained(name, {**given, "DOSES": "30"}, pd.DataFrame())


def test_before_its_first_run_a_machine_is_told_hours_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guessed as if it were the embedded model, the laboratory's training alone took 15 hours."""
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path))
    monkeypatch.setattr(grid, "run_base", lambda *_: str(tmp_path))
    cells_of = grid.batch("laptop").cells
    key = "05_finetune@lab"
    rows = plan.trained(
        key, {**grid.default_parameters("05_finetune"), **cells_of[key]}, pd.DataFrame()
    )
    assert len(rows) == 4 and all(0.1 < row["minutes"] < 5 for row in rows)
    key = "05_finetune"
    rows = plan.trained(key, {**grid.default_parameters(key), **cells_of[key]}, pd.DataFrame())
    assert [3 < row["minutes"] < 8 for row in rows] == [True] * 3
    filtering = plan.making("04_filter", cells_of["04_filter"], pd.DataFrame())
    making = plan.making("03_generate_data", cells_of["03_generate_data"], pd.DataFrame())
    assert filtering["minutes"] > 10 * making["minutes"]
    assert speeds.learnt(runs.read_costs(), "lab_medium")[0] > 5 * speeds.SCORING_GUESS


@pytest.mark.slow
def test_answers_to_be_generated_are_planned_as_long_as_they_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path))
    parameters = {
        **grid.default_parameters("09_benchmarks"), "MODEL": "tiny_random", "N": 2, "N_CHAIN": 1,
        "SHOTS": "0", "MAX_TOKENS": 10,
    }  # fmt: skip
    model = plan.models.load("tiny_random")
    items = plan.build_items("09_benchmarks", parameters, model)
    tokens, generated = plan.count(model, items)
    # 12 subjects and 8 tasks step by step; 3 tasks of numbers and lists directly, 2 questions each
    assert generated == 10 * (12 + 8 + 3 * 2)
    chosen = items[items["choices"].map(len) > 0]
    assert tokens == plan.scoring.score(model, chosen)[1].tokens
    batch = grid.Batch(
        base="", cells={"09_benchmarks": parameters}, folders={}, depends={"09_benchmarks": []},
        inputs={}, trainings={}, trained={}, publishes=False, budget=None,
    )  # fmt: skip
    rows = plan.scored("09_benchmarks", parameters, batch, plan.runs.read_costs())
    assert rows[0]["tokens"] == tokens + generated and rows[0]["items"] == len(items)
    seconds = tokens / speeds.SCORING_GUESS + generated / speeds.GENERATING_GUESS
    seconds += speeds.LOADING_GUESS + speeds.NOTEBOOK_SECONDS
    assert rows[0]["minutes"] == round(seconds / 60, 1)


def test_the_speed_of_generating_is_learnt_from_the_model_or_its_base() -> None:
    device = plan.runs.device()
    costs = pd.DataFrame(
        {
            "model": ["base", "base", "base", "base", "run"],
            "device": [device, device, device, "another", device],
            "tokens": [5000, None, None, None, 5000],
            "generated_tokens": [None, 100, 300, 9000, None],
            "generating_seconds": [None, 1.0, 1.0, 1.0, None],
        }
    )
    assert speeds.generating_speed(costs, ["run", "base"]) == 200
    assert speeds.generating_speed(costs, ["run"]) == speeds.GENERATING_GUESS
    assert speeds.generating_speed(costs[["model", "device"]], ["base"]) == speeds.GENERATING_GUESS


def test_minutes_are_learnt_from_the_last_runs_on_this_device() -> None:
    device = plan.runs.device()
    costs = pd.DataFrame(
        [
            {
                "model": "m",
                "device": device,
                "tokens": 10_000,
                "scoring_seconds": s,
                "other_seconds": 4.0,
            }
            for s in (1000, 10, 20, 10, 5, 10)
        ]
        + [
            {
                "model": "m",
                "device": "another",
                "tokens": 10_000,
                "scoring_seconds": 1,
                "other_seconds": 0,
            }
        ]
    )
    speed, other, source = speeds.learnt(costs, "m")
    assert (speed, other) == (1000.0, 4.0)
    assert source == "4 runs here"


def test_a_notebook_without_items_is_planned_by_its_own_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path))
    name = "03_generate_data"
    parameters = {**grid.default_parameters(name), **grid.read_profile("smoke")[0][name]}
    first = plan.making(name, parameters, plan.runs.read_costs())
    assert (first["items"], first["tokens"], first["speed from"]) == (0, 0, "a first guess")
    for seconds, seed in ((105, parameters["SEED"]), (9000, parameters["SEED"] + 1)):
        own = plan.runs.parameter_hash({**parameters, "SEED": seed, "OUT_DIR": "anywhere"})
        plan.runs.remember_cost(
            {"notebook": name, "parameters": own, "device": plan.runs.device(), "seconds": seconds}
        )
    again = plan.making(name, parameters, plan.runs.read_costs())
    assert (again["minutes"], again["speed from"]) == (2.0, "its runs here")


def test_the_leaks_of_the_recipes_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"metric": "leak", "recipe": recipe, "source": source, "features": kind, "value": value,
         "low": value - 0.1, "high": value + 0.1}
        for recipe, value in (("original", 0.9), ("labels", 0.5))
        for source in ("all", "cola")
        for kind in ("masked prompt", "verb and opinion")
    ]  # fmt: skip
    content = {"notebook": "03_generate_data", "rows": rows}
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    tables.print_leaks({"03_generate_data": tmp_path})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["original", "labels"]
    assert lines[-2].count("90 % [80, 100]") == 2 and lines[-1].count("50 % [40, 60]") == 2
    tables.print_leaks({})
    assert capsys.readouterr().out == ""


def test_publishing_copies_figures_that_changed_and_nothing_else(tmp_path: Path) -> None:
    run, target = tmp_path / "run" / "figures", tmp_path / "figures"
    run.mkdir(parents=True)
    (run / "fig03_x.svg").write_text("new")
    (run / "one_sum.svg").write_text("not a figure of the paper")
    target.mkdir()
    (target / "fig02_y.svg").write_text("of another notebook")
    tables.publish([run.parent], target)
    assert {p.name: p.read_text() for p in target.iterdir()} == {
        "fig03_x.svg": "new",
        "fig02_y.svg": "of another notebook",
    }


def test_figures_of_the_laboratory_never_stand_for_the_real_models(tmp_path: Path) -> None:
    for cell in ("08_x", "08_x@lab", "08_x@lab_small"):
        (tmp_path / cell / "figures").mkdir(parents=True)
        (tmp_path / cell / "figures" / "fig06.svg").write_text(cell)
    (tmp_path / "08_x@lab_after" / "figures").mkdir(parents=True)
    (tmp_path / "08_x@lab_after" / "figures" / "fig06.svg").write_text("measured later")
    (tmp_path / "08_x@lab" / "figures" / "fig_losses.svg").write_text("no figure of the paper")
    cells_run = ("08_x@lab", "08_x@lab_after", "08_x@lab_small", "08_x")
    folders = [tmp_path / cell for cell in cells_run]
    tables.publish(folders, tmp_path / "figures")
    published = {p.name: p.read_text() for p in (tmp_path / "figures").iterdir()}
    assert published == {
        "fig06.svg": "08_x",
        "fig06_lab.svg": "08_x@lab",
        "fig06_lab_small.svg": "08_x@lab_small",
    }


def test_a_batch_trains_the_laboratory_models_that_its_cells_name() -> None:
    batch = grid.batch("laptop")
    assert batch.trainings == {"laboratory@medium": ["lab_medium", "lab_medium_tuned"]}
    assert batch.trained == {"laboratory@medium": "runs/laptop/laboratory@medium/trained.json"}
    every = grid.batch("overnight").trainings
    assert set(every) == {f"laboratory@{rung}" for rung in ("small", "medium", "large")}
    for key, names in every.items():
        assert {lab.parse(name).rung for name in names} == {key.partition("@")[2]}
    assert grid.batch("laptop", model="tiny_random").trainings == {}


def test_cells_wait_for_the_laboratory_models_that_they_name_and_for_no_others() -> None:
    batch = grid.batch("laptop")
    waits = grid.waits(batch)
    assert list(waits) == ["laboratory@medium", *batch.cells]
    assert waits["laboratory@medium"] == waits["01_opinion_tasks"] == []
    assert waits["04_filter@lab"] == ["laboratory@medium", "03_generate_data@lab"]
    # a run trained from one: its notebook has waited
    assert waits["02_wrong_additions@lab_after"] == ["05_finetune@lab"]
    assert waits["13_the_shortcut"] == batch.depends["13_the_shortcut"]


def test_what_a_batch_trains_is_written_down_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "laboratory@tiny"
    asked = ["--model", "lab_tiny, lab_tiny_untrained", "--trained", str(folder / "trained.json")]
    seen: list[str] = []

    def ensure(name: str, show: Any) -> None:
        show(name, finetune.Progress(1, 4, 0.5, 1.0, 2.0, 0))
        seen.append(progress.describe(json.loads((folder / "progress.json").read_text())))
        assert not (folder / "trained.json").exists()
        if len(seen) > 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(laboratory.lab, "ensure", ensure)
    monkeypatch.setattr(laboratory.lab, "needed", lambda names: ["lab_tiny"])
    monkeypatch.setattr(laboratory.lab, "is_trained", lambda name: name == "lab_tiny")
    assert laboratory.main(asked) == 0
    assert seen == ["lab_tiny   25%  1 of 4 steps  0.5 steps/s  0:00:06 left"]
    made = json.loads((folder / "trained.json").read_text())
    assert made == {"lab_tiny": str(lab.folder("lab_tiny"))}  # nothing is kept of untrained ones
    assert not (folder / "progress.json").exists()
    (folder / "trained.json").unlink()
    with pytest.raises(KeyboardInterrupt):  # not said to be trained, nor to be running
        laboratory.main(asked)
    assert list(folder.iterdir()) == []
    assert laboratory.main(["--model", "lab_huge", *asked[2:]]) == 2
    said = capsys.readouterr().err
    assert said.startswith("laboratory@tiny: ") and progress.sentences(f"x\n{said}") == said.strip()


def test_knowledge_is_told_apart_by_what_the_texts_state() -> None:
    table = laboratory.knowledge(["lab_tiny_untrained"])
    row = table.iloc[0]
    assert row["model"] == "lab_tiny_untrained"
    stated = [fact for fact in world().facts if fact.split != "train"]
    told = sum(fact.exposure != "never" for fact in stated)
    assert row["stated"].endswith(f", {told} facts")
    assert row["never stated"].endswith(f", {len(stated) - told} facts")
    for exposure in ("often", "seldom"):
        count = sum(fact.exposure == exposure for fact in stated)
        assert 0 < count < told and row[exposure].endswith(f", {count} facts")


def test_make_laboratory_refuses_what_is_no_laboratory_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert laboratory.main(["--model", "lab_huge"]) == 2
    assert "lab_huge" in capsys.readouterr().err


def test_the_plan_counts_laboratory_tokens_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path))
    plan.load_or_stand_in.cache_clear()
    model, how = plan.load_or_stand_in("lab_medium_tuned")
    assert model.encode(["question : answer :"]) and how == "its tokenizer"
    assert not (tmp_path / "lab").exists()


def test_the_short_table_has_one_row_a_suite_with_rate_shift_and_intervals() -> None:
    rows = [
        {
            "model": "m", "suite": "additions", "answer_format": "cloze", "metric": metric,
            "user": "all", "truth": truth, "value": value, "low": value - 0.1, "high": value + 0.1,
            "n": 12, "questions": 3,
        }
        for metric, value in (("rate", 0.5), ("shift", 0.35), ("accuracy", 0.9))
        for truth in ("all", "true")
    ]  # fmt: skip
    table = tables.short_table(pd.DataFrame(rows))
    assert table.to_dict("records") == [
        {
            "model": "m", "suite": "additions", "answer_format": "cloze", "n": 12, "questions": 3,
            "rate [95 %]": "50 % [40, 60]", "shift in nats [95 %]": "+0.35 [+0.25, +0.45]",
        }
    ]  # fmt: skip


def test_progress_in_words() -> None:
    state = {"label": "m", "done": 500, "total": 2000, "rate": 100.0, "eta_seconds": 15.0}
    assert progress.describe(state) == "m   25%  500 of 2,000 tokens  100 tokens/s  0:00:15 left"
    slow = {"label": "sst2", "done": 3, "total": 17, "unit": "sources", "rate": 0.5}
    assert progress.describe({**slow, "eta_seconds": 28.0}) == (
        "sst2   18%  3 of 17 sources  0.5 sources/s  0:00:28 left"
    )
    unknown = {"label": "m", "total": 2000, "rate": 0.0, "eta_seconds": None}
    assert progress.describe({**unknown, "done": 0}).endswith("starting")
    assert progress.describe({**unknown, "done": 2000}).endswith("kept from before")


def write_notebook(folder: Path, name: str, parameters: dict[str, Any], *rest: str) -> None:
    """A throw-away notebook: parameters, then cells; one that begins with `# tag:` carries it."""
    lines = [f"{key} = {value!r}" for key, value in {**parameters, "OUT_DIR": ""}.items()]
    sources = ["# tag: parameters\n" + "\n".join(lines), *rest]
    made = [nbformat.v4.new_code_cell(source) for source in sources]
    for cell in made:
        first = cell.source.partition("\n")[0]
        if first.startswith("# tag: "):
            cell.metadata["tags"] = [first.removeprefix("# tag: ")]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook = nbformat.v4.new_notebook(cells=made)
    notebook.metadata.update(kernelspec=kernel, language_info={"name": "python"})
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the repository, with notebooks that make, train, measure, compare."""
    monkeypatch.setattr(grid, "ROOT", tmp_path)
    monkeypatch.setattr(grid, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(grid, "PROFILES", tmp_path / "profiles")
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "profiles").mkdir()
    for name in ("03_make", "05_train", "02_measure", "07_compare"):
        write_notebook(tmp_path / "notebooks", name, {"MODEL": "tiny_random", "DATA": ""})
    return tmp_path


def write_profile(checkout: Path, notebooks: dict[str, Any], **entries: Any) -> None:
    content = {"publish": False, **entries, "notebooks": notebooks}
    (checkout / "profiles" / "own.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


CHAIN = {
    "07_compare": {"DATA": ["{runs}/02_measure@after", {"more": "x, {runs}/02_measure"}]},
    "02_measure": {},
    "02_measure@after": {"MODEL": "tiny_random, {runs}/05_train/labels_seed0@500"},
    "05_train": {"DATA": "{runs}/03_make/prompts.parquet"},
    "03_make": {},
}  # fmt: skip


def test_a_key_is_a_notebook_with_or_without_a_label() -> None:
    assert cells.notebook_of("02_measure") == "02_measure"
    assert cells.notebook_of("02_measure@after_2") == "02_measure"
    for key in ("02_measure@", "02_measure@500", "a/b", "a@b@c", "@after", "02_measure@After"):
        with pytest.raises(InputError, match="is no cell"):
            cells.notebook_of(key)


def test_cells_come_in_file_order_and_wait_for_the_cells_that_they_mention(checkout: Path) -> None:
    write_profile(checkout, CHAIN, budget_minutes=5)
    batch = grid.batch("own")
    assert list(batch.cells) == list(CHAIN)
    assert batch.depends == {
        "07_compare": ["02_measure", "02_measure@after"],
        "02_measure": [],
        "02_measure@after": ["05_train"],
        "05_train": ["03_make"],
        "03_make": [],
    }
    after = batch.cells["02_measure@after"]
    assert after == {"MODEL": "tiny_random, runs/own/05_train/labels_seed0@500"}
    assert batch.cells["07_compare"]["DATA"] == [
        "runs/own/02_measure@after", {"more": "x, runs/own/02_measure"}
    ]  # fmt: skip
    assert batch.folders["02_measure@after"] == "runs/own/02_measure@after"
    assert (batch.publishes, batch.budget) == (False, 5)
    # elsewhere than in the repository, for tests
    raw, _ = grid.read_profile("own")
    assert cells.fill(raw, "/x")["05_train"] == {"DATA": "/x/03_make/prompts.parquet"}


def test_the_run_folder_of_a_cell_may_be_a_model_at_a_step(checkout: Path) -> None:
    write_profile(checkout, {"05_train": {}, "02_measure": {"MODEL": "{runs}/05_train@20"}})
    assert grid.batch("own").depends["02_measure"] == ["05_train"]


@pytest.mark.parametrize(
    "notebooks, message",
    [
        ({"02_measure": {"MODEL": "{runs}/05_trian"}}, r"in MODEL of 02_measure '05_trian'.*use"),
        ({"02_measure": {"MODEL": "{runs}"}}, "in MODEL of 02_measure ''"),
        ({"02_measure": {"MODEL": "{runs}/05_train@a"}, "05_train": {}}, "mean '05_train'"),
        ({"02_measure": {"DATA": "{model}"}}, "placeholder in DATA of 02_measure 'model'"),
        (
            {"03_make": {"DATA": "{runs}/05_train"}, "05_train": {"DATA": "{runs}/03_make"}},
            "wait for each other: .*(03_make needs 05_train|05_train needs 03_make)",
        ),
        ({"03_make": {"DATA": "{runs}/03_make"}}, "03_make needs 03_make"),
        ({"03_mkae": {}}, "Unknown notebook '03_mkae'.*Did you mean '03_make'"),
        ({"03_make@500": {}}, "is no cell"),
        ({"03_make@x": {"DTA": 1}}, "parameter of 03_make@x 'DTA'.*'DATA'"),
    ],
)
def test_a_profile_that_cannot_run_is_refused(
    checkout: Path, notebooks: dict[str, Any], message: str
) -> None:
    write_profile(checkout, notebooks)
    with pytest.raises(InputError, match=message):
        grid.read_profile("own")


def test_a_profile_extends_another_cell_by_cell(checkout: Path) -> None:
    write_profile(checkout, CHAIN, budget_minutes=5)
    below = (checkout / "profiles" / "own.yaml").rename(checkout / "profiles" / "below.yaml")
    more = {"05_train": {"MODEL": "other"}, "02_measure@late": {"MODEL": "{runs}/05_train"}}
    write_profile(checkout, more, extends="below", publish=True)
    batch = grid.batch("own")
    assert list(batch.cells) == [*CHAIN, "02_measure@late"]
    assert batch.publishes and batch.budget == 5
    given = {"MODEL": "other", "DATA": "runs/own/03_make/prompts.parquet"}
    assert batch.cells["05_train"] == given
    assert batch.depends["02_measure@late"] == ["05_train"]
    assert "MODEL" not in grid.batch("below").cells["05_train"]
    (checkout / "profiles" / "own.yaml").write_text("extends: below\nbudget_minutes: 3\n")
    assert grid.batch("own").cells.keys() == CHAIN.keys() and grid.batch("own").budget == 3
    below.write_text(below.read_text() + "extends: own\n")
    with pytest.raises(InputError, match=r"Unknown profile that below.yaml extends 'own'"):
        grid.batch("own")
    write_profile(checkout, more, extends="belw")
    with pytest.raises(InputError, match=r"Unknown profile that own.yaml extends 'belw'.*'below'"):
        grid.batch("own")


def test_the_evening_profile_adds_to_the_laptop_profile() -> None:
    laptop, evening = (grid.read_profile(name)[0] for name in ("laptop", "evening"))
    assert set(laptop) < set(evening)
    assert laptop["05_finetune"]["RECIPES"] == "original,labels,placebo"
    changed = {
        key: {k for k in evening[key] if evening[key][k] != laptop[key].get(k)} for key in laptop
    }
    more_runs = {
        key: {"{runs}/05_finetune/balanced_seed0"}
        for key in ("01_opinion_tasks@after", "02_wrong_additions@after", "10_prior_knowledge")
    } | {"09_benchmarks": {"{runs}/05_finetune/original_seed0"}}
    expected = {"05_finetune": {"RECIPES"}, **{key: {"MODEL"} for key in more_runs}}
    # more of the same questions too
    expected["02_wrong_additions"] = {"ANSWER_FORMATS"}
    expected["05_finetune"] |= {"N_DEVELOPMENT"}
    expected["09_benchmarks"] |= {"N"}
    assert {key: names for key, names in changed.items() if names} == expected
    for key, runs_of in more_runs.items():
        more = set(evening[key]["MODEL"].split(", ")) - set(laptop[key]["MODEL"].split(", "))
        assert more == runs_of
    one = evening["05_finetune@filters"]
    assert {k for k in one if one[k] != evening["05_finetune"].get(k)} == {"RECIPES", "FILTERS"}


def test_a_profile_file_that_says_something_else_is_refused(checkout: Path) -> None:
    write_profile(checkout, {"03_make": {}}, budget_minuts=5)
    with pytest.raises(InputError, match=r"entry of own.yaml 'budget_minuts'"):
        grid.read_profile("own")
    for wrong, said in ((0, "0: give minutes above 0"), (True, "'true'"), ("an hour", "'an hour'")):
        write_profile(checkout, {"03_make": {}}, budget_minutes=wrong)
        with pytest.raises(InputError, match=f"budget_minutes of own.yaml is {said}"):
            grid.read_profile("own")
    write_profile(checkout, {"03_make": {}}, publish="perhaps")
    with pytest.raises(InputError, match=r"publish of own.yaml is 'perhaps': give true or false"):
        grid.read_profile("own")
    (checkout / "profiles" / "own.yaml").write_text("")
    with pytest.raises(InputError, match=r"own.yaml has no entries"):
        grid.read_profile("own")
    (checkout / "profiles" / "own.yaml").write_text("notebooks: {03_make: {DATA: {runs}/x}}")
    with pytest.raises(InputError, match="need quotes"):
        grid.read_profile("own")


def test_a_setting_may_name_another_cell(checkout: Path) -> None:
    write_profile(checkout, {"03_make": {}, "07_compare": {}})
    name, value = settings.parse_setting("DATA={runs}/03_make")
    with pytest.raises(InputError, match="03_make needs 03_make"):  # it reaches both
        grid.batch("own", overrides={name: value})


def test_what_waits_for_a_failed_cell_is_what_a_search_finds() -> None:
    rng = random.Random(0)
    for _ in range(50):
        keys = [f"c{number}" for number in range(8)]
        depends = {k: [o for o in keys[:n] if rng.random() < 0.25] for n, k in enumerate(keys)}
        failed = rng.sample(keys, 2)

        def waits(key: str, depends: Any = depends, failed: Any = failed) -> bool:
            return any(other in failed or waits(other) for other in depends[key])

        expected = [key for key in keys if waits(key) and key not in failed]
        assert cells.blocked(failed, depends) == expected


def test_what_snakemake_itself_fails_at_is_one_sentence() -> None:
    log = """Building DAG of jobs...
OSError: [Errno 28] No space left on device

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "persistence/file.py", line 255, in _write_locks
    with open(lockfile, "w") as lock:

OSError: [Errno 28] No space left on device
"""
    assert progress.sentences(log) == (
        "Snakemake could not go on (OSError: [Errno 28] No space left on device): make room or "
        "mend that, and call again."
    )
    assert progress.sentences("Nothing to be done.\n") == "Nothing to be done."


def test_the_log_says_which_cells_were_not_run() -> None:
    depends = {"03_make": [], "02_measure@after": ["03_make"], "07_compare": ["02_measure@after"]}
    log = "Error in rule notebook_02_measure__after:\n02_measure@after: N is -1: give more\nx"
    assert progress.not_run(log, depends) == (
        "Not run, because 02_measure@after failed: 07_compare."
    )
    assert progress.sentences(log) == "02_measure@after: N is -1: give more"
    assert progress.not_run("Error in rule notebook_07_compare:", depends) == ""
    assert progress.not_run("", depends) == ""
    waits = {"laboratory@tiny": [], "02_measure": ["laboratory@tiny"], "07_compare": []}
    assert progress.not_run("Error in rule notebook_laboratory__tiny:", waits) == (
        "Not run, because laboratory@tiny failed: 02_measure."
    )


def test_a_failure_is_told_with_the_key_of_its_cell() -> None:
    notebook = Path("notebooks/02_measure.ipynb")
    folder = Path("runs/own/02_measure@after")
    assert execute.cell_name(notebook, folder / "executed.ipynb") == "02_measure@after"
    assert execute.cell_name(notebook, Path("elsewhere/out.ipynb")) == "02_measure"


def model_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(100))
    return folder


def trained_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.json").write_text('{"base": "tiny_random"}')
    for name in ("step-000050.safetensors", "step-000100.safetensors", "state.safetensors"):
        (folder / name).write_bytes(bytes(10))
    return folder


def some_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("text")
    return path


def keep_times(path: Path, content: bytes) -> None:
    """Replace a file by one of another content that is as old."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


INPUTS: dict[str, tuple[str, Callable[[Path], object], Callable[[Path], object]]] = {
    # what a parameter names, made by one function and changed by another
    "weights of a model folder": (
        "MODEL", model_folder, lambda path: keep_times(path / "model.safetensors", b"1" * 100),
    ),
    "its tokenizer": (
        "MODEL", model_folder, lambda path: keep_times(path / "tokenizer.json", b"[]"),
    ),
    "a trained run": (
        "MODEL", trained_folder, lambda path: (path / "step-000100.safetensors").write_bytes(b"1"),
    ),
    "its record": (
        "MODEL", trained_folder,
        lambda path: (path / "model.json").write_text('{"base": "tiny_random", "code": 1}'),
    ),
    "a claims file": ("CLAIMS", some_file, lambda path: path.write_text("texts")),
    "a folder of opinions": (
        "FOLDER", lambda path: some_file(path / "a.jsonl"),
        lambda path: keep_times(path / "a.jsonl", b"TEXT"),
    ),
    "a file more": (
        "FOLDER", lambda path: some_file(path / "a.jsonl"),
        lambda path: some_file(path / "b.jsonl"),
    ),
    "a file less": (
        "FOLDER", lambda path: (some_file(path / "a.jsonl"), some_file(path / "b.jsonl")),
        lambda path: (path / "b.jsonl").unlink(),
    ),
    "prepared data": (
        "DATA_DIR", lambda path: some_file(path / "glue" / "sst2" / "2.0.0" / "a.tfrecord"),
        lambda path: (path / "glue" / "sst2" / "2.0.0" / "a.tfrecord").write_text("other"),
    ),
    "instructions": ("INSTRUCTIONS", some_file, lambda path: path.write_text("texts")),
    "worked examples": ("WORKED", some_file, lambda path: path.write_text("texts")),
    "a run of another batch": (
        "MEASURED", lambda path: (some_file(path / "metrics.json"), some_file(path / "run.json")),
        lambda path: (path / "run.json").write_text("finished later"),
    ),
    "a folder that is gone": ("FOLDER", lambda path: some_file(path / "a"), shutil.rmtree),
}  # fmt: skip


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", ["elsewhere/my data", "runs/other/05_é#1/x"])
def test_what_a_cell_reads_from_elsewhere_is_an_input(kind: str, name: str, checkout: Path) -> None:
    parameter, make, change = INPUTS[kind]
    path = checkout / name
    make(path)
    write_notebook(checkout / "notebooks", "02_read", {parameter: "", "N": 1})
    write_profile(checkout, {"02_read": {parameter: name}, "02_read@other": {"N": 2}})

    def identities() -> tuple[str, str]:
        batch = grid.batch("own")
        return grid.cell_identity(batch, "02_read"), grid.cell_identity(batch, "02_read@other")

    before = identities()
    assert identities() == before
    change(path)
    after = identities()
    assert after[0] != before[0] and after[1] == before[1]


def test_big_files_are_told_by_size_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(200))
    small = identity.stamp(path)
    os.utime(path, ns=(1, 1))
    assert identity.stamp(path) == small  # the same content, however old
    monkeypatch.setattr(identity, "BIG", 200)
    big = identity.stamp(path)
    os.utime(path, ns=(1, 2000))
    touched = identity.stamp(path)
    path.write_bytes(bytes(201))
    os.utime(path, ns=(1, 2000))
    assert len({big, touched, identity.stamp(path)}) == 3


def test_what_is_no_input_is_left_alone(checkout: Path) -> None:
    trained_folder(checkout / "runs" / "own" / "05_train" / "labels_seed0")
    model = model_folder(checkout / "model")
    name = "runs/own/05_train/labels_seed0"
    parameters = {
        "MODEL": f"hf://a/b, gemma3_270m, ./model, {name}@500",
        "N": 3,
        "OTHER": ["", "."],
    }
    base = checkout / "runs" / "own"
    found = inputs.stamps(parameters, base, checkout)
    assert list(found) == [".", "./model"]  # cells of the batch are waited for
    some_file(model / ".cache" / "lock")
    some_file(model / "downloads" / "archive")
    some_file(checkout / "runs" / "02_measure" / "metrics.json")
    assert inputs.stamps(parameters, base, checkout) == found
    odd = {"TEXT": "x" * 5000, "NULL": "a\0b", "HOME": "~nobody-at-all/x"}
    assert inputs.stamps(odd, base, checkout) == {}
    measured = grid.run_base("laptop", f"{name}@500")
    assert measured == "runs/measure/runs-own-05_train-labels_seed0-500/laptop"


def test_published_data_are_an_input_also_where_tfds_keeps_them(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(checkout / "tfds"))
    path = some_file(checkout / "tfds" / "a.tfrecord")
    base = checkout / "runs" / "own"
    before = inputs.stamps({"DATA": "tfds"}, base, checkout)
    path.write_text("other")
    assert inputs.stamps({"DATA": "tfds"}, base, checkout) != before
    assert inputs.stamps({"DATA": "embedded"}, base, checkout) == {}


def test_a_cell_that_prepares_its_data_is_not_stale_by_that(checkout: Path) -> None:
    write_notebook(checkout / "notebooks", "03_read", {"DATA_DIR": ""})
    write_profile(checkout, {"03_read": {"DATA_DIR": "data"}})
    folder = checkout / "runs" / "own" / "03_read"
    given = {"DATA_DIR": "data", "OUT_DIR": str(folder)}

    def identity_now() -> str:
        return grid.cell_identity(grid.batch("own"), "03_read")

    first = identity_now()
    before = inputs.stamps(given, folder.parent, checkout)
    path = some_file(checkout / "data" / "glue" / "a.tfrecord")  # what the cell does
    inputs.remember_changes(before, inputs.stamps(given, folder.parent, checkout), folder)
    assert identity_now() == first
    path.write_text("other")
    assert identity_now() != first
    after = inputs.stamps(given, folder.parent, checkout)
    inputs.remember_changes(after, after, folder)  # the cell has run again
    assert not (folder / inputs.RECORD).exists()


def test_intervene_is_a_profile_of_its_own(checkout: Path) -> None:
    source = ROOT / "workflow" / "profiles" / "intervene.yaml"
    shutil.copy(source, checkout / "profiles")
    content = yaml.safe_load(source.read_text())["notebooks"]
    for name, parameters in content.items():
        write_notebook(checkout / "notebooks", name, dict.fromkeys(parameters, ""))
    write_profile(checkout, {"03_make": {}})
    assert grid.profile_names() == ["own"]
    for claims, model in ((None, None), (None, "m")):
        with pytest.raises(InputError, match="Unknown profile 'intervene'"):
            grid.batch("intervene", model, claims=claims)
    some_file(checkout / "data" / "my claims.csv")
    batch = grid.batch("intervene", "hf://a/b", claims="data/my claims.csv")
    assert batch.cells["03_generate_data"]["CLAIMS"] == "data/my claims.csv"
    assert list(batch.inputs["03_generate_data"]) == ["data/my claims.csv"]
    base = grid.run_base("intervene", "hf://a/b", "data/my claims.csv")
    assert base.startswith("runs/intervene/hf-a-b-my-claims-")  # and a hash
    assert set(batch.folders.values()) == {f"{base}/{key}" for key in content}
    measured = batch.cells["01_opinion_tasks"]["MODEL"].split(", ")
    assert measured[0] == "hf://a/b"
    assert measured[1].startswith(f"{base}/05_finetune/")
    assert not batch.publishes
    # everything comes after the data, and the comparisons after what they compare
    order = ["03_generate_data", "04_filter", "05_finetune"]
    for first, second in itertools.pairwise(order):
        assert first in batch.depends[second]
    for name in ("01_opinion_tasks", "02_wrong_additions", "10_prior_knowledge"):
        assert batch.depends[name] == ["05_finetune"]
    assert "01_opinion_tasks" in batch.depends["06_opinion_tasks_after"]
    assert "02_wrong_additions" in batch.depends["07_wrong_additions_after"]


def claims_text(number: int = 40) -> str:
    """Enough claims for every split, with two labels by turns."""
    labels = ("a fact", "an opinion")
    rows = [f"text {n},{labels[n % 2]},{labels[1 - n % 2]}" for n in range(number)]
    return "\n".join(["text,label,others", *rows])


def test_claims_are_found_from_the_repository(checkout: Path) -> None:
    (checkout / "my.csv").write_text(claims_text())
    assert intervene.claims_file(str(checkout / "my.csv")) == "my.csv"
    intervene.check_claims("my.csv")
    intervene.check_claims(str(checkout / "my.csv"))
    outside = intervene.claims_file(str(checkout.parent / "my.csv"))
    assert Path(outside).is_absolute()
    with pytest.raises(InputError, match="needs claims: CLAIMS=my"):
        intervene.claims_file(" ")


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "There is no file"),
        ("", "is empty: give a header"),
        (claims_text().replace("others", "other"), "no column 'others'"),
        (claims_text(0), "a header and no rows"),
        (claims_text(1), "no claims for the split"),
        (claims_text().replace("text 4,", " ,"), "row 5: text or label is empty"),
        (claims_text().replace("text 4,a fact,", "text 4,,"), "row 5: text or label is empty"),
        (claims_text().replace("text 4,a fact,", "text 4,an opinion,"), "row 5: others"),
        (claims_text().replace("an opinion,a fact", "a fact,x"), "have the label 'a fact'"),
    ],
)
def test_unsound_claims_are_refused(checkout: Path, text: str | None, message: str) -> None:
    if text is not None:
        (checkout / "my.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        intervene.check_claims("my.csv")


def test_intervene_checks_everything_before_it_starts(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[Any] = []

    def run(*given: Any) -> int:
        started.append(given)
        return 0

    monkeypatch.setattr(reproduce, "run", run)
    (checkout / "my.csv").write_text(claims_text())
    claims = ["--claims", str(checkout / "my.csv")]
    for arguments, said in (
        (["--model", "", *claims], "needs a model"),
        (["--model", "tiny_random,tiny_random", *claims], "trains one model"),
        (["--model", "tiny_randon", *claims], "Unknown model"),
        (["--model", "tiny_random"], "needs claims"),
    ):
        assert intervene.main(arguments) == 2
        assert said in capsys.readouterr().err
    assert started == []
    assert intervene.main(["--model", "tiny_random", *claims, "--set", "STEPS=20"]) == 0
    assert started == [("intervene", "tiny_random", ["STEPS=20"], "my.csv")]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("STEPS", 0, "steps is 0"),
        ("STEPS", "many", "STEPS of 05_finetune is 'many': give a whole number"),
        ("RATIO", "-1", "ratio is -1.0"),
        ("RATIO", "a", "not a list of float"),
        ("METHOD", "lorra", "Unknown method 'lorra'"),
        ("05_finetune:RATE", 2, "rate is 2"),
        ("BATCH", 0, "batch is 0"),
        ("RANK", 1.5, "RANK of 05_finetune is 1.5: give a whole number"),
        ("CHECKPOINTS", "500", "step 500, but there are 100"),
        ("EXAMPLES", "-5", "EXAMPLES is -5"),
        ("05_finetune:MAX_TOKENS", 0, "MAX_TOKENS is 0"),
        ("SEEDS", "x", "not a list of int"),
    ],
)
def test_settings_of_training_are_checked_before_anything_runs(
    name: str, value: Any, said: str
) -> None:
    given = {name: value}
    with pytest.raises(InputError, match=said):
        reproduce.check_training(grid.batch("intervene", "tiny_random", given, "my.csv"), given)
    sound = {"STEPS": 500, "RATIO": "1"}
    reproduce.check_training(grid.batch("overnight", None, sound), sound)


def test_make_reproduce_and_make_plan_check_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reproduce, "run_snakemake", lambda *_: pytest.fail("it was begun"))
    given = ["--profile", "laptop", "--set", "05_finetune:RATE=7"]
    assert reproduce.main(given) == 2
    assert "rate is 7" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["plan", *given])
    assert plan.main() == 2
    assert "rate is 7" in capsys.readouterr().err


def write_measured(folder: Path, models: dict[str, str]) -> dict[str, Path]:
    """Write finished runs of notebook 02, a model each; return their folders by cell."""
    for key, model in models.items():
        row = {
            "model": model, "suite": "additions", "answer_format": "cloze", "metric": "rate",
            "truth": "all", "value": 0.5, "low": 0.4, "high": 0.6, "n": 10, "questions": 5,
        }  # fmt: skip
        rows = [row, row | {"metric": "shift"}]
        content = {"notebook": key.partition("@")[0], "rows": rows}
        (folder / key).mkdir()
        (folder / key / "metrics.json").write_text(json.dumps(content))
    return {key: folder / key for key in models}


def test_laboratory_models_have_a_table_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grid, "ROOT", tmp_path)
    models = {"02_wrong_additions": "real", "02_wrong_additions@lab": "lab_medium"}
    folders = write_measured(tmp_path, models)
    tables.print_tables(folders)
    real, laboratory_table = capsys.readouterr().out.split("Laboratory models")
    assert "real" in real and "lab_medium" not in real
    assert "lab_medium" in laboratory_table and " real " not in laboratory_table


ITEMS = """# tag: items
def make_items(seed=0, chat=None):
    return suites.additions(n=N, seed=seed, answer_formats=runs.as_list(p["FORMATS"]), chat=chat)
"""
TRAINING = """# tag: training
def plan_training():
    return [{"model": f"{name}_seed0", "steps": p["STEPS"], "tokens_per_step": 1_000}
            for name in ("labels", "placebo")]
"""


def test_training_and_models_that_are_not_trained_yet_are_planned(checkout: Path) -> None:
    notebooks, costs = checkout / "notebooks", checkout / "cache" / "costs.jsonl"
    measures = {"MODEL": "", "N": 2, "FORMATS": "cloze", "SEEDS": "0"}
    imports = "%time\n", "from sycophancy import runs, suites"
    write_notebook(notebooks, "02_measure", measures, *imports, ITEMS)
    write_notebook(notebooks, "05_train", {"MODEL": "tiny_random", "STEPS": 60}, TRAINING)
    trained = "tiny_random, {runs}/05_train/labels_seed0, {runs}/05_train/labels_seed0@30"
    write_profile(
        checkout,
        {
            "03_make": {},
            "05_train": {"STEPS": 120},
            "02_measure@after": {"MODEL": trained},
            "07_compare": {"DATA": "{runs}/02_measure@after"},
        },
    )
    table = plan.plan("own", None, {})
    assert list(table["notebook"]) == [
        "03_make", *["05_train"] * 2, *["02_measure@after"] * 3, "07_compare"
    ]  # fmt: skip
    training = table[table["notebook"] == "05_train"]
    assert list(training["model"]) == ["labels_seed0", "placebo_seed0"]
    assert set(training["tokens"]) == {120_000}
    # 120,000 tokens at 250 a second, 30 s to begin and end, 15 s for the notebook, once
    assert list(training["minutes"]) == [round((480 + 45) / 60, 1), round((480 + 30) / 60, 1)]
    assert set(training["speed from"]) == {"a first guess"}
    after = table[table["notebook"] == "02_measure@after"]
    assert after["items"].nunique() == 1 and after["items"].iloc[0] > 0
    assert after["tokens"].nunique() == 1
    assert list(after["tokens from"]) == [
        "its tokenizer", *["its tokenizer (its base's: not trained yet)"] * 2
    ]  # fmt: skip

    # learnt from training here, not from another model or device
    device = plan.runs.device()
    rows = [
        {"model": "tiny_random", "device": device, "training_tokens_per_second": 1000.0},
        {"model": "x", "base": "tiny_random", "device": device, "training_tokens_per_second": 3e3},
        {"model": "tiny_random", "device": "another", "training_tokens_per_second": 9.0},
        {"model": "large", "device": device, "training_tokens_per_second": 9.0},
        {
            "model": "tiny_random", "device": device, "tokens": 50_000,
            "scoring_seconds": 5.0, "other_seconds": 1.0,
        },
    ]  # fmt: skip
    costs.parent.mkdir(exist_ok=True)
    costs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = plan.plan("own", None, {"STEPS": 1200})
    training = table[table["notebook"] == "05_train"]
    expected = [round((1_200_000 / 2000 + more) / 60, 1) for more in (45, 30)]
    assert list(training["minutes"]) == expected
    assert set(training["speed from"]) == {"2 runs here"}
    after = table[table["notebook"] == "02_measure@after"]
    assert set(after["speed from"]) == {"1 runs here"}  # as fast as the base

    # a run that is there is counted with the base that it names
    run = checkout / "runs" / "own" / "05_train" / "labels_seed0"
    run.mkdir(parents=True)
    (run / "model.json").write_text(json.dumps({"base": "tiny_random"}))
    batch = grid.batch("own")
    assert plan.base_of(str(run), batch) == ("tiny_random", "")
    assert plan.base_of("tiny_random", batch) == ("tiny_random", "")


def test_a_first_guess_of_the_notebook_itself_gives_way_to_what_was_learnt(checkout: Path) -> None:
    text = """# tag: training
def plan_training():
    return [{"model": "mine", "steps": 10, "tokens_per_step": 1_000, "seconds": 40}]
"""
    write_notebook(checkout / "notebooks", "05_train", {"MODEL": "tiny_random"}, text)
    write_profile(checkout, {"05_train": {}})
    row = plan.plan("own", None, {}).iloc[0]
    assert (row["minutes"], row["speed from"]) == (
        round((40 + speeds.TRAINING_OVERHEAD + speeds.NOTEBOOK_SECONDS) / 60, 1),
        "a first guess",
    )
    costs = checkout / "cache" / "costs.jsonl"
    costs.parent.mkdir(exist_ok=True)
    learnt = {"model": "mine", "device": plan.runs.device(), "training_tokens_per_second": 50.0}
    costs.write_text(json.dumps({**learnt, "tokens": 1, "scoring_seconds": 1.0}) + "\n")
    row = plan.plan("own", None, {}).iloc[0]
    assert (row["minutes"], row["speed from"]) == (round((200 + 45) / 60, 1), "1 runs here")


def test_a_cell_that_reads_what_is_not_there_yet_is_planned_all_the_same(checkout: Path) -> None:
    reads = "# tag: training\ndef plan_training():\n    return open(p['DATA']).read()\n"
    write_notebook(checkout / "notebooks", "05_train", {"DATA": ""}, reads)
    write_profile(checkout, {"03_make": {}, "05_train": {"DATA": "{runs}/03_make/x"}})
    row = plan.plan("own", None, {}).set_index("notebook").loc["05_train"]
    assert row["tokens from"] == "not known before 03_make"
    assert row["minutes"] > 0
    write_profile(checkout, {"05_train": {"DATA": "nowhere"}})
    with pytest.raises(FileNotFoundError):
        plan.plan("own", None, {})
    # a model that does not exist is refused whatever is missing
    write_notebook(checkout / "notebooks", "02_measure", {"MODEL": "", "DATA": ""}, ITEMS)
    measure = {"MODEL": "tiny_randon", "DATA": "{runs}/03_make"}
    write_profile(checkout, {"03_make": {}, "02_measure": measure})
    with pytest.raises(InputError, match="Unknown model 'tiny_randon'"):
        plan.plan("own", None, {})


def test_the_plan_ends_with_its_sum_and_warns_beyond_the_budget() -> None:
    table = pd.DataFrame(
        {
            "notebook": ["a", "b", "b"], "items": [1000, 1, 1], "tokens": [5000, 1, 1],
            "minutes": [30.0, 20.0, 11.0], "state": ["has run", "to run", "to run"],
        }
    )  # fmt: skip
    text = plan.summary(table, 60)
    assert text.splitlines() == [
        "2 notebooks, 3 runs, 1,002 items, 5,002 tokens, 61 minutes one after the other, 31 of "
        "them still to run",
        "Warning: this is more than the profile's budget of 60 minutes.",
    ]
    assert "Warning" not in plan.summary(table, 61) + plan.summary(table, None)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Three run folders, and a clock that a reporter may look at."""
    folders = {key: tmp_path / key for key in ("02_measure", "02_measure@long_label", "05_train")}
    for folder in folders.values():
        folder.mkdir()
    clock = itertools.count(100, 20)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    return folders


def write_state(folder: Path, done: int) -> None:
    state = {"label": "m", "done": done, "total": 9, "rate": 1.0, "eta_seconds": 1.0}
    (folder / "progress.json").write_text(json.dumps(state))
    os.utime(folder / "progress.json", (1000 + done, 1000 + done))


def test_every_cell_that_runs_is_shown_once_it_has_moved(
    watched: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = watched.values()
    reporter = progress.Reporter(watched, {})

    def lines() -> list[list[str]]:
        reporter.report()
        return [line.split()[:2] for line in capsys.readouterr().out.splitlines()]

    assert lines() == []
    write_state(second, 1)
    assert lines() == [["0/3", "02_measure@long_label"]]
    assert lines() == []  # nothing new
    write_state(third, 1)
    assert lines() == [["0/3", "05_train"]]
    write_state(second, 2)
    write_state(third, 2)
    assert lines() == [["0/3", "02_measure@long_label"], ["0/3", "05_train"]]
    (third / "progress.json").unlink()
    (third / "metrics.json").write_text("{}")
    reporter.report()
    assert capsys.readouterr().out == ""  # one less, and nothing to say of the other
    write_state(first, 1)
    assert lines() == [["1/3", "02_measure"]]


def test_a_training_is_shown_and_not_counted(
    watched: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    training = watched.pop("05_train")
    reporter = progress.Reporter(watched, {"laboratory@tiny": training})
    write_state(training, 1)
    reporter.report()
    assert capsys.readouterr().out.split()[:2] == ["0/2", "laboratory@tiny"]


def test_a_terminal_shows_the_running_cells_in_place(
    watched: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "50")
    first, second, _ = watched.values()
    reporter = progress.Reporter(watched, {})
    seen: list[str] = []

    def screen() -> list[str]:
        """What a terminal shows: CPL goes up to the start of a line, ED clears from there."""
        reporter.report()
        for text in re.split(r"(\x1b\[\d+F\x1b\[J|\n)", capsys.readouterr().out):
            up = re.match(r"\x1b\[(\d+)F", text)
            if up:
                del seen[-int(up[1]) :]
            elif text.strip():
                seen.append(text)
        return [line.split()[1] for line in seen]

    write_state(first, 1)
    write_state(second, 1)
    assert screen() == ["02_measure", "02_measure@long_label"]
    assert all(len(line) == 49 for line in seen)
    write_state(second, 2)
    assert screen() == ["02_measure", "02_measure@long_label"]
    (first / "progress.json").unlink()
    assert screen() == ["02_measure@long_label"]


@pytest.mark.parametrize(
    ("backend", "cores", "gigabytes", "expected"),
    [
        ("cpu", 2, 24, 2), ("cpu", 2, 8, 1), ("cpu", 8, 16, 2), ("cpu", 64, 256, 4),
        ("cpu", 1, 64, 1), ("cpu", 2, 0, 1), ("gpu", 16, 128, 1), ("tpu", 96, 300, 1),
        ("unknown", 8, 64, 1),
    ],
)  # fmt: skip
def test_as_many_cells_at_once_as_a_processor_has_room_for(
    backend: str, cores: int, gigabytes: int, expected: int
) -> None:
    assert capacity.room(backend, cores, gigabytes * 2**30) == expected


def test_jobs_decides_how_many_cells_run_at_once() -> None:
    assert capacity.cells_at_once("3") == 3
    assert 1 <= capacity.cells_at_once("") <= 4
    for wrong in ("0", "-1", "two", "1.5"):
        with pytest.raises(InputError, match=f"JOBS is '{wrong}': give how many"):
            capacity.cells_at_once(wrong)


def test_a_container_has_the_memory_that_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    groups, two, one = tmp_path / "cgroup", tmp_path / "two", tmp_path / "one"
    files = {2: (two, "memory.max"), 1: (one, "memory.limit_in_bytes")}
    monkeypatch.setattr(memory, "GROUPS", groups)
    monkeypatch.setattr(memory, "LIMITS", files)
    assert memory.total_memory() == machine  # no such file: another system
    (two / "slice" / "job").mkdir(parents=True)
    (one / "job").mkdir(parents=True)
    groups.write_text("0::/slice/job\n")
    assert memory.total_memory() == machine
    (two / "slice" / "memory.max").write_text("2097152\n")  # of the group above
    (two / "slice" / "job" / "memory.max").write_text("max\n")
    assert memory.total_memory() == 2**21
    (two / "memory.max").write_text("1048576\n")  # of the container
    assert memory.total_memory() == 2**20
    groups.write_text("4:cpu,memory:/job\n3:cpuset:/slice/job\n")
    assert memory.total_memory() == machine
    (one / "job" / "memory.limit_in_bytes").write_text("4096\n")
    assert memory.total_memory() == 4096


def test_a_container_has_the_cores_that_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of both versions of control groups, as Docker writes them; joblib reads them."""
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)
    monkeypatch.delenv("NPROC", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(48)), raising=False)
    exists = os.path.exists
    groups = tmp_path / "sys"

    def moved(path: Any) -> Any:
        return groups / Path(path).name if str(path).startswith("/sys/fs/cgroup/cpu") else path

    monkeypatch.setattr(os.path, "exists", lambda path: exists(moved(path)))
    monkeypatch.setattr(context, "open", lambda path: moved(path).open(), raising=False)
    assert runs.cores() == 48
    groups.mkdir()
    runs.keep_to_quota()
    assert "NPROC" not in os.environ  # XLA knows the affinity itself
    for text, expected in (("max 100000", 48), ("150000 100000", 2), ("9000000 100000", 48)):
        (groups / "cpu.max").write_text(f"{text}\n")
        assert runs.cores() == expected
    (groups / "cpu.max").unlink()
    for quota, expected in (("-1", 48), ("400000", 4)):
        (groups / "cpu.cfs_quota_us").write_text(quota)
        (groups / "cpu.cfs_period_us").write_text("100000")
        assert runs.cores() == expected
    assert capacity.environment()["OMP_NUM_THREADS"] == "4"
    assert capacity.room("cpu", runs.cores(), 2**40) == 4
    runs.keep_to_quota()
    assert os.environ.pop("NPROC") == "4"
    monkeypatch.setenv("NPROC", "3")
    runs.keep_to_quota()
    assert os.environ["NPROC"] == "3"


def test_cells_ask_for_large_pages_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(capacity.TUNABLES, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("SOMETHING", "else")
    ours = {capacity.TUNABLES: "glibc.malloc.hugetlb=1", "OMP_NUM_THREADS": str(runs.cores())}
    assert capacity.environment() == {**os.environ, **ours}
    for name, value in ((capacity.TUNABLES, "glibc.malloc.hugetlb=0"), ("OMP_NUM_THREADS", "1")):
        monkeypatch.setenv(name, value)
    assert capacity.environment() == dict(os.environ)


def test_cells_of_one_notebook_stand_in_one_table() -> None:
    def rows(cell: str, model: str, value: float, form: str = "paper") -> list[dict[str, Any]]:
        return [
            {
                "cell": cell, "model": model, "suite": "additions", "answer_format": "cloze",
                "format": form, "source": "", "metric": metric, "user": "all", "truth": "all",
                "value": value, "low": value, "high": value, "n": 12, "questions": 3,
            }
            for metric in ("rate", "shift")
        ]  # fmt: skip

    before, after = "02_wrong_additions", "02_wrong_additions@after"
    same = rows(before, "m", 0.5) + rows(after, "m", 0.5) + rows(after, "t", 0.25)
    table = tables.short_table(pd.DataFrame(same))
    assert list(table["model"]) == ["m", "t"]  # the base is there once
    assert not {"cell", "format", "source"} & set(table)
    other = tables.short_table(pd.DataFrame(rows(before, "m", 0.5) + rows(after, "m", 0.75)))
    assert list(other["cell"]) == [before, after]
    assert [text[:4] for text in other["rate [95 %]"]] == ["50 %", "75 %"]
    forms = rows(before, "m", 0.5) + rows(before, "m", 0.75, "chat")
    assert list(tables.short_table(pd.DataFrame(forms))["format"]) == ["paper", "chat"]


def test_the_intervention_table_is_printed_where_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'model,shift on claims\nbase,"+0.62 [+0.50, +0.74]"\nlabels,\n'
    (tmp_path / "intervention.csv").write_text(text)
    tables.print_intervention({"07_wrong_additions_after@long": tmp_path})
    said = capsys.readouterr().out
    assert "+0.62 [+0.50, +0.74]" in said and "NaN" not in said
    assert said.splitlines()[1] == "Before and after the intervention (long)"
    tables.print_intervention({"07_wrong_additions_after": tmp_path / "x", "01_x": tmp_path})
    assert capsys.readouterr().out == ""


def test_a_figure_of_two_cells_is_published_from_the_first(tmp_path: Path) -> None:
    for name in ("before", "after"):
        (tmp_path / name / "figures").mkdir(parents=True)
        (tmp_path / name / "figures" / "fig02_x.svg").write_text(name)
    tables.publish([tmp_path / "before", tmp_path / "after"], tmp_path / "out")
    assert (tmp_path / "out" / "fig02_x.svg").read_text() == "before"


def snakemake_free_copy(tmp_path: Path) -> Path:
    """A checkout of its own, so that runs/ and figures/ of the real one are not touched."""
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in files:
        source = ROOT / name
        if source.is_file():
            target = tmp_path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    return tmp_path


def run_python(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments in a copy, on the library of the copy or else on this one."""
    places = (copy / "lib", copy, ROOT / "lib")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    return subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True
    )


def run_reproduce(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_python(copy, "-m", "workflow.reproduce", *arguments)


STORY = (
    "00_start_here", "01_opinion_tasks", "02_wrong_additions", "03_generate_data", "04_filter"
)  # fmt: skip


@pytest.mark.notebook
def test_reproduce_runs_resumes_and_then_does_nothing(tmp_path: Path) -> None:
    """One long story, because each part costs kernels: killed, resumed, repeated, refused.

    The first cells of the smoke profile tell it; test_notebooks.py runs every cell.
    """
    copy = snakemake_free_copy(tmp_path / "checkout")
    profile = copy / "workflow" / "profiles" / "smoke.yaml"
    content = yaml.safe_load(profile.read_text())
    content["notebooks"] = {key: content["notebooks"][key] for key in STORY}
    profile.write_text(yaml.safe_dump(content, sort_keys=False))
    figures = {p: p.read_bytes() for p in (copy / "figures").glob("*")}
    environment = {**os.environ, "PYTHONPATH": f"{copy / 'lib'}{os.pathsep}{copy}"}

    # killed without warning while Snakemake holds its lock
    process = subprocess.Popen(
        [sys.executable, "-m", "workflow.reproduce", "--profile", "smoke"],
        cwd=copy, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list((copy / "runs" / "smoke").glob("*/run.json")) and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list((copy / ".snakemake" / "locks").glob("*"))

    # goes on, and finishes
    done = run_reproduce(copy, "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    for name in STORY:
        folder = copy / "runs" / "smoke" / name
        assert (folder / "metrics.json").is_file() and (folder / "executed.ipynb").is_file()
    assert "nlp_survey" in done.stdout and "shift" in done.stdout

    # nothing left to do: nothing is written again
    before = {p: p.stat().st_mtime_ns for p in (copy / "runs" / "smoke").rglob("*") if p.is_file()}
    again = run_reproduce(copy, "--profile", "smoke")
    assert again.returncode == 0
    assert before == {
        p: p.stat().st_mtime_ns for p in (copy / "runs" / "smoke").rglob("*") if p.is_file()
    }
    # the smoke profile publishes nothing
    assert figures == {p: p.read_bytes() for p in (copy / "figures").glob("*")}

    # a notebook that fails says why in a sentence, and its executed copy stays
    failed = run_reproduce(copy, "--profile", "smoke", "--set", "N=-1")
    assert failed.returncode != 0
    assert "02_wrong_additions: N is -1: give a number of sums" in failed.stderr
    assert (copy / "runs" / "smoke" / "02_wrong_additions" / "executed.ipynb").is_file()


def test_a_lock_that_cannot_be_removed_is_said_not_passed_over() -> None:
    with pytest.raises(InputError, match=r"\.snakemake/locks, and it cannot be removed:\nwhy not"):
        reproduce.unlock([sys.executable, "-c", "raise SystemExit('why not')"])
    reproduce.unlock([sys.executable, "-c", ""])


def test_a_model_that_does_not_exist_is_refused_before_snakemake_starts() -> None:
    assert reproduce.main(["--profile", "smoke", "--model", "smollm2"]) == 2
    assert reproduce.main(["--profile", "smoke", "--model", ""]) == 2
    assert reproduce.main(["--profile", "nowhere"]) == 2


FINISH = """
from pathlib import Path
(Path(OUT_DIR) / "seen.txt").write_text(DATA + Path(DATA or "notebooks", NAME).read_text()[:20])
(Path(OUT_DIR) / "metrics.json").write_text('{"rows": []}')
"""


def workflow_copy(folder: Path, notebooks: dict[str, Any]) -> Path:
    """A checkout of the workflow alone, with a profile `own` of these cells."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "workflow", folder / "workflow", ignore=ignore)
    shutil.copy(ROOT / "requirements.lock", folder)
    content = {"publish": False, "notebooks": notebooks}
    (folder / "workflow" / "profiles" / "own.yaml").write_text(yaml.safe_dump(content))
    return folder


ODD = 'it\'s #1 "été" $HOME (50 %) {b} [x] `id` ~ & ; \\n'
OUT = ODD.replace("{b}", "")
RECORD = """
import json
from pathlib import Path
Path(OUT_DIR, "seen.json").write_text(json.dumps([MODEL, CLAIMS, Path(CLAIMS).read_text()]))
Path(OUT_DIR, "metrics.json").write_text('{"rows": []}')
"""


@pytest.mark.notebook
def test_any_path_arrives_as_it_is_in_a_checkout_at_any_path(tmp_path: Path) -> None:
    """Snakemake, the shell, papermill and the kernel stand between the command and the notebook."""
    copy = workflow_copy(tmp_path / ODD, {})
    own = {"03_make": {"MODEL": "{model}, tiny_random", "CLAIMS": "{claims}"}}
    profile = yaml.safe_dump({"publish": False, "notebooks": own})
    (copy / "workflow" / "profiles" / "intervene.yaml").write_text(profile)
    write_notebook(copy / "notebooks", "03_make", {"MODEL": "", "CLAIMS": ""}, RECORD)
    program = (
        "from workflow import reproduce; import sys; model, claims, *settings = sys.argv[1:]; "
    )
    program += "sys.exit(reproduce.run('intervene', model, settings, claims))"
    claims = copy / f"{ODD}.csv"

    def run(content: str, *settings: str) -> int:
        claims.write_text(content)
        done = run_python(copy, "-c", program, ODD, claims.name, *settings)
        assert done.returncode == 0, done.stderr
        out = tmp_path / OUT if settings else next(copy.glob("runs/intervene/*"))
        seen = out / "03_make" / "seen.json"
        assert json.loads(seen.read_text()) == [f"{ODD}, tiny_random", claims.name, content]
        return seen.stat().st_mtime_ns

    first = run("claims")
    assert run("claims") == first  # the file was written again, as it was
    assert run("other claims", f"OUT_DIR={tmp_path / OUT}") > first


@pytest.mark.notebook
def test_a_notebook_runs_in_a_checkout_at_any_path_on_claims_of_any_name(tmp_path: Path) -> None:
    """The real notebook 03, as a cell of a batch; make itself is in test_make.py."""
    copy = snakemake_free_copy(tmp_path / ODD)
    cells_of = {"03_generate_data": {"MODEL": "tiny_random", "RECIPES": "labels"}}
    own = yaml.safe_dump({"publish": False, "notebooks": cells_of})
    (copy / "workflow" / "profiles" / "own.yaml").write_text(own)
    name = "2024 #é 'x'.csv"
    (copy / name).write_text(claims_text())
    out = tmp_path / OUT
    settings = f"N=4e1 CLAIMS={shlex.quote(name)} OUT_DIR={shlex.quote(str(out))}"
    done = run_reproduce(copy, "--profile", "own", "--settings", settings)
    assert done.returncode == 0, done.stderr
    given = runs.parameters_of(out / "03_generate_data")
    assert (given["CLAIMS"], given["N"]) == (name, 40)
    made = pd.read_parquet(out / "03_generate_data" / "prompts_labels.parquet")
    assert set(made["source"]) == {"2024 #é 'x'"}


@pytest.mark.parametrize(
    ("model", "claims"),
    [
        ("2024_05_01", "1e5"),
        ("-x", "{runs}.csv"),
        ("{claims}", "/{model}/{runs}/03_make"),
        ("no", "12:30 # none"),
        (ODD, ODD),
    ],
)
def test_a_path_is_no_pattern(model: str, claims: str) -> None:
    batch = grid.batch("intervene", model, claims=claims)
    assert batch.cells["03_generate_data"]["CLAIMS"] == claims
    assert batch.cells["04_filter"]["MODEL"] == model
    assert batch.depends["04_filter"] == ["03_generate_data"]
    measured = grid.batch("laptop", model)
    assert [given["MODEL"] for given in measured.cells.values()] == [model, model]
    assert not any(measured.depends.values())


def test_a_line_break_in_a_path_is_refused() -> None:
    for name, given in (("MODEL", ("a\nb", "c")), ("CLAIMS", ("a", "b\r\nc"))):
        with pytest.raises(InputError, match=f"{name} is .*a line break"):
            grid.batch("intervene", given[0], claims=given[1])


def test_run_folders_lie_where_out_dir_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = {"OUT_DIR": f"{tmp_path}/{OUT}/", "N": "3"}
    batch = grid.batch("smoke", overrides=overrides)
    key = "02_wrong_additions@after"
    assert batch.folders[key] == f"{tmp_path}/{OUT}/{key}"
    run = f"{tmp_path}/{OUT}/05_finetune/labels_seed0"
    assert batch.cells[key]["MODEL"].split(", ")[0] == run and batch.cells[key]["N"] == 3
    assert batch.depends[key] == ["05_finetune"] and "OUT_DIR" not in batch.cells[key]
    monkeypatch.setenv("HOME", str(tmp_path))
    home = grid.batch("smoke", overrides={"OUT_DIR": "~/x"}).folders[key]
    assert home == f"{tmp_path}/x/{key}"
    for wrong in ("/a,b", "/{b}"):
        with pytest.raises(InputError, match=f"OUT_DIR is '{wrong}': give a folder without"):
            grid.batch("smoke", overrides={"OUT_DIR": wrong})
    with pytest.raises(InputError, match=f"{key}:OUT_DIR is 'x': give OUT_DIR for all cells"):
        grid.batch("smoke", overrides={f"{key}:OUT_DIR": "x"})
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"Cannot make the run folder .*: give OUT_DIR=a folder"):
        reproduce.make_folders(grid.batch("smoke", overrides={"OUT_DIR": f"{tmp_path}/file"}))


def test_two_names_have_two_run_folders_however_odd() -> None:
    names = ["é", "ü", "a b", "a-b", "a#b", "#", "#1", "x" * 300, "x" * 301, ODD]
    slugs = [grid.slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{,120}", text) for text in slugs)


WAIT = """
import time
from pathlib import Path
Path(OUT_DIR, "here").write_text("")
deadline = time.monotonic() + 300
while not Path(OTHER, "here").exists():
    assert time.monotonic() < deadline, "the other does not run"
    time.sleep(0.1)
Path(OUT_DIR, "metrics.json").write_text('{"rows": []}')
"""


SPAN = """
import json, time
from pathlib import Path
began = time.time()
time.sleep(1)
Path(OUT_DIR, "span.json").write_text(json.dumps([began, time.time()]))
Path(OUT_DIR, "metrics.json").write_text('{"rows": []}')
"""


@pytest.mark.notebook
def test_small_cells_run_side_by_side_and_large_ones_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ["03_make", "05_train", "02_measure", "02_measure@again"]
    copy = workflow_copy(tmp_path / "checkout", {key: {} for key in keys})
    for name, other in (("03_make", "05_train"), ("05_train", "03_make")):
        wait = WAIT.replace("OTHER", repr(f"runs/own/{other}"))
        write_notebook(copy / "notebooks", name, {}, wait)
    write_notebook(copy / "notebooks", "02_measure", {"MODEL": "tiny_random"}, SPAN)
    monkeypatch.setenv("JOBS", "2")
    done = run_reproduce(copy, "--profile", "own")
    assert done.returncode == 0, done.stderr
    spans = [json.loads((copy / "runs" / "own" / k / "span.json").read_text()) for k in keys[2:]]
    (_, first_ended), (second_began, _) = spans  # as the profile has them
    assert first_ended <= second_began


TRAIN = """
import json, os, sys, time
from pathlib import Path
trained = Path(sys.argv[sys.argv.index("--trained") + 1])
began = time.time()
time.sleep(1)
model = Path("models") / sys.argv[2]
model.mkdir(parents=True, exist_ok=True)
told = [began, time.time(), os.environ["NPROC"], sys.argv[2]]
assert "hugetlb" in os.environ["GLIBC_TUNABLES"]
(trained.parent / "span.json").write_text(json.dumps(told))
trained.write_text(json.dumps({"lab_x": str(model.absolute())}))
"""

NOTE = """
import json, os, time
from pathlib import Path
Path(OUT_DIR, "span.json").write_text(json.dumps([time.time(), os.environ["NPROC"]]))
assert "hugetlb" in os.environ["GLIBC_TUNABLES"]
Path(OUT_DIR, "metrics.json").write_text('{"rows": []}')
"""


@pytest.mark.notebook
def test_laboratory_models_are_trained_once_and_before_the_cells_that_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ["02_measure", "02_measure@lab", "05_train"]
    models = ("tiny_random", "lab_x", "lab_x")
    cells_of = {key: {"MODEL": name} for key, name in zip(keys, models, strict=True)}
    copy = workflow_copy(tmp_path / "checkout", cells_of)
    (copy / "workflow" / "laboratory.py").write_text(TRAIN)
    write_notebook(copy / "notebooks", "02_measure", {"MODEL": "tiny_random"}, NOTE)
    write_notebook(copy / "notebooks", "05_train", {"MODEL": ""}, f"# tag: training\n{NOTE}")
    runs_own = copy / "runs" / "own"

    def run() -> tuple[Any, ...]:
        done = run_reproduce(copy, "--profile", "own")
        assert done.returncode == 0, done.stderr
        spans = [json.loads((runs_own / key / "span.json").read_text()) for key in keys]
        return json.loads((runs_own / "laboratory@x" / "span.json").read_text()), *spans

    monkeypatch.setenv("JOBS", "2")
    training, first, waited, other = run()
    began, ended, threads, names = training
    assert ended <= min(waited[0], other[0]) and names == "lab_x"
    assert first[0] <= began  # a real model that the profile names before it has its turn before it
    every = str(capacity.cores())
    assert (threads, first[1], other[1]) == (every, every, every)
    assert waited[1] == str(max(1, capacity.cores() // 2))  # a small cell takes its share
    # One cell is to run again: its models are there, and the other cells stay.
    (runs_own / keys[1] / "metrics.json").unlink()
    *same, again, still = run()
    assert same == [training, first] and again[0] > waited[0] and still == other
    # The models are gone: whoever needs them has them trained again, and nobody else.
    shutil.rmtree(copy / "models")
    assert run() == (training, first, again, other)
    (runs_own / keys[1] / "metrics.json").unlink()
    (began, *_), same, last, _ = run()
    assert again[0] < began < last[0] and same == first


@pytest.mark.notebook
def test_a_model_folder_that_was_overwritten_is_measured_again(tmp_path: Path) -> None:
    keys = {"02_measure": {"MODEL": "./model"}, "03_make": {}}
    copy = workflow_copy(tmp_path / "checkout", keys)
    for name in ("02_measure", "03_make"):
        write_notebook(copy / "notebooks", name, {"MODEL": ""}, SPAN)
    weights = model_folder(copy / "model") / "model.safetensors"

    def run() -> list[str]:
        done = run_reproduce(copy, "--profile", "own")
        assert done.returncode == 0, done.stderr
        return [(copy / "runs" / "own" / key / "span.json").read_text() for key in keys]

    first = run()
    keep_times(weights, b"1" * 100)
    second = run()
    assert second[0] != first[0] and second[1] == first[1]
    assert run() == second


def test_cells_of_models_that_are_not_the_laboratorys_are_large() -> None:
    batch = grid.batch("evening")
    cells_of = {key: given for key, given in batch.cells.items() if key not in batch.of_rung}
    large = {key for key, given in cells_of.items() if grid.fills_the_machine(key, given)}
    before = {"00_start_here", "01_opinion_tasks", "02_wrong_additions", "03_generate_data"}
    before |= {"03_generate_data@facts"}
    after = {"01_opinion_tasks@after", "02_wrong_additions@after", "10_prior_knowledge"}
    filters = {
        f"{key}@filters" for key in ("02_wrong_additions", "05_finetune", "10_prior_knowledge")
    }
    assert large == before | after | filters | {"04_filter", "05_finetune", "09_benchmarks"}


@pytest.mark.notebook
def test_a_failed_cell_stops_what_waits_for_it_and_nothing_else(tmp_path: Path) -> None:
    declared = {"DATA": "", "NAME": "03_make.ipynb", "FAIL": False}
    seen = {"NAME": "seen.txt"}
    notebooks = {
        "07_compare": {"DATA": "{runs}/05_train", **seen},
        "07_compare@good": {"DATA": "{runs}/05_train@good", **seen},
        "05_train": {"DATA": "{runs}/03_make", "FAIL": True, **seen},
        "05_train@good": {"DATA": "{runs}/03_make", **seen},
        "03_make": {},
    }
    copy = workflow_copy(tmp_path / "checkout", notebooks)
    fail = "if FAIL:\n    raise ValueError('as asked')"
    for name in ("03_make", "05_train", "07_compare"):
        write_notebook(copy / "notebooks", name, declared, fail, FINISH)
    done = run_reproduce(copy, "--profile", "own")
    runs = copy / "runs" / "own"
    assert done.returncode == 1
    assert "05_train failed in cell 3: ValueError: as asked" in done.stderr
    assert "Not run, because 05_train failed: 07_compare.\n" in done.stderr
    finished = {path.parent.name for path in runs.glob("*/metrics.json")}
    assert finished == {"03_make", "05_train@good", "07_compare@good"}
    assert (runs / "05_train" / "executed.ipynb").is_file()
    assert not (runs / "07_compare").is_dir() or not list((runs / "07_compare").glob("*.ipynb"))
    # what a cell read through its parameter is what the other wrote
    assert (runs / "05_train@good" / "seen.txt").read_text().startswith("runs/own/03_make{")
    assert (runs / "07_compare@good" / "seen.txt").read_text().startswith("runs/own/05_train@good")

"""The batch side: profiles, execution, plan, resuming, publishing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sycophancy.errors import InputError
from workflow import execute, grid, plan, reproduce

ROOT = Path(__file__).resolve().parents[1]


def test_profiles_give_only_parameters_that_notebooks_declare() -> None:
    assert grid.profile_names() == ["smoke", "laptop", "overnight", "tpu"]
    for profile in grid.profile_names():
        cells, publishes = grid.read_profile(profile)
        assert publishes == (profile != "smoke")
        for name, parameters in cells.items():
            assert set(parameters) <= set(grid.default_parameters(name))


def test_the_laptop_profile_keeps_its_minima() -> None:
    cells, _ = grid.read_profile("laptop")
    assert cells["02_wrong_additions"]["N"] >= 100
    assert cells["01_opinion_tasks"]["N"] == 0  # all of them


def test_a_users_model_runs_the_two_measuring_notebooks_and_publishes_nothing() -> None:
    cells, publishes = grid.read_profile("laptop", model="hf://a/b")
    assert list(cells) == ["01_opinion_tasks", "02_wrong_additions"]
    assert {parameters["MODEL"] for parameters in cells.values()} == {"hf://a/b"}
    assert not publishes
    folder = grid.run_folder("laptop", "hf://a/b", "01_opinion_tasks")
    assert folder == "runs/measure/hf-a-b/laptop/01_opinion_tasks"


def test_settings_reach_the_notebooks_that_know_them() -> None:
    name, value = grid.parse_override("N=20")
    cells, _ = grid.read_profile("laptop", overrides={name: value, "TASKS": "nlp_survey"})
    assert cells["02_wrong_additions"]["N"] == 20
    assert cells["01_opinion_tasks"]["TASKS"] == "nlp_survey"
    assert "N" not in cells["00_start_here"]


def test_what_is_misspelt_is_refused_before_anything_runs() -> None:
    with pytest.raises(InputError, match=r"Unknown profile 'latop'.*'laptop'"):
        grid.read_profile("latop")
    with pytest.raises(InputError, match=r"Unknown parameter 'FORMT'.*'FORMAT'"):
        grid.read_profile("laptop", overrides={"FORMT": "chat"})
    with pytest.raises(InputError, match="NAME=value"):
        grid.parse_override("N")
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
        return grid.notebook_hash("x")

    base = digest(text)
    assert base == digest(text.replace("five minutes", "six minutes"))
    assert base != digest(text.replace("n=1", "n=2"))


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
    speed, other, source = plan.learnt(costs, "m")
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
    (tmp_path / "metrics.json").write_text(json.dumps({"rows": rows}))
    reproduce.print_leaks({"03_generate_data": tmp_path})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["original", "labels"]
    assert lines[-2].count("90 % [80, 100]") == 2 and lines[-1].count("50 % [40, 60]") == 2
    reproduce.print_leaks({})
    assert capsys.readouterr().out == ""


def test_publishing_copies_figures_that_changed_and_nothing_else(tmp_path: Path) -> None:
    run, target = tmp_path / "run" / "figures", tmp_path / "figures"
    run.mkdir(parents=True)
    (run / "fig03_x.svg").write_text("new")
    (run / "one_sum.svg").write_text("not a figure of the paper")
    target.mkdir()
    (target / "fig02_y.svg").write_text("of another notebook")
    reproduce.publish([run.parent], target)
    assert {p.name: p.read_text() for p in target.iterdir()} == {
        "fig03_x.svg": "new",
        "fig02_y.svg": "of another notebook",
    }


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
    table = reproduce.short_table(pd.DataFrame(rows))
    assert table.to_dict("records") == [
        {
            "model": "m", "suite": "additions", "answer_format": "cloze", "n": 12, "questions": 3,
            "rate [95 %]": "50 % [40, 60]", "shift in nats [95 %]": "+0.35 [+0.25, +0.45]",
        }
    ]  # fmt: skip


def test_progress_in_words() -> None:
    state = {"label": "m", "done": 500, "total": 2000, "rate": 100.0, "eta_seconds": 15.0}
    assert reproduce.describe(state) == "m   25%  500 of 2,000 tokens  100 tokens/s  0:00:15 left"
    slow = {"label": "sst2", "done": 3, "total": 17, "unit": "sources", "rate": 0.5}
    assert reproduce.describe({**slow, "eta_seconds": 28.0}) == (
        "sst2   18%  3 of 17 sources  0.5 sources/s  0:00:28 left"
    )
    unknown = {"label": "m", "total": 2000, "rate": 0.0, "eta_seconds": None}
    assert reproduce.describe({**unknown, "done": 0}).endswith("starting")
    assert reproduce.describe({**unknown, "done": 2000}).endswith("kept from before")


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


def run_reproduce(copy: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{copy / 'lib'}{os.pathsep}{copy}"}
    return subprocess.run(
        [sys.executable, "-m", "workflow.reproduce", *arguments],
        cwd=copy, env=environment, capture_output=True, text=True, **options,
    )  # fmt: skip


@pytest.mark.notebook
def test_reproduce_runs_resumes_and_then_does_nothing(tmp_path: Path) -> None:
    """One long story, because each part costs kernels: killed, resumed, repeated, refused."""
    copy = snakemake_free_copy(tmp_path / "checkout")
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
    for name in grid.read_profile("smoke")[0]:
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


def test_a_model_that_does_not_exist_is_refused_before_snakemake_starts() -> None:
    assert reproduce.main(["--profile", "smoke", "--model", "smollm2"]) == 2
    assert reproduce.main(["--profile", "smoke", "--model", ""]) == 2
    assert reproduce.main(["--profile", "nowhere"]) == 2

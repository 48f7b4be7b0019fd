"""Run folders: parameters, atomic writes, which runs are taken where none is given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sycophancy import ladder, runs
from sycophancy.errors import InputError


def test_declared_parameters_are_returned() -> None:
    scope = {"MODEL": "m", "N": 3, "json": json, "_x": 1, "In": object()}
    assert runs.read_parameters(scope, "MODEL", "N") == {"MODEL": "m", "N": 3}


@pytest.mark.parametrize("name", ["MODLE", "model", "modle", "NN", "n", "OTHER", "Seeds"])
def test_a_misspelt_parameter_is_refused(name: str) -> None:
    scope = {"MODEL": "m", "N": 3, "SEEDS": "0", name: "given"}
    with pytest.raises(InputError, match=f"Unknown parameter '{name}'"):
        runs.read_parameters(scope, "MODEL", "N", "SEEDS")


def test_a_notebooks_own_variables_are_no_parameters_once_it_has_run() -> None:
    scope = {"MODEL": "m", "RECIPES": "labels", "recipes": ["labels"], "model": "m"}
    with pytest.raises(InputError, match="Unknown parameter 'recipes'"):
        runs.read_parameters(scope, "MODEL", "RECIPES")
    runs.read_parameters({**scope, "run": object()}, "MODEL", "RECIPES")
    with pytest.raises(InputError, match="Unknown parameter 'MODLE'"):
        runs.read_parameters({**scope, "run": object(), "MODLE": "x"}, "MODEL", "RECIPES")


def test_variables_of_an_interactive_session_are_no_parameters() -> None:
    scope = {"MODEL": "m", "N": 3, "prompt": "text", "scores": [1], "run_count": 2}
    assert runs.read_parameters(scope, "MODEL", "N") == {"MODEL": "m", "N": 3}


def test_a_parameter_that_is_not_set_is_named() -> None:
    with pytest.raises(InputError, match="Parameter N is not set"):
        runs.read_parameters({"MODEL": "m"}, "MODEL", "N")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0,1, 2", [0, 1, 2]), (3, [3]), ([4, 5], [4, 5]), ("7", [7]), ((1,), [1])],
)
def test_lists_may_be_written_in_any_way(value: object, expected: list[int]) -> None:
    assert runs.as_list(value, int) == expected


@pytest.mark.parametrize("value", ["", ",", "a", "1,b", [], None])
def test_a_list_that_is_none_is_named(value: object) -> None:
    with pytest.raises(InputError):
        runs.as_list(value, int)


def test_a_run_tells_everything_needed_to_repeat_it(tmp_path: Path) -> None:
    run = runs.start("02_x", {"MODEL": "m", "SEEDS": "0"}, str(tmp_path / "run"))
    begun = json.loads((run.folder / "run.json").read_text())
    assert begun["status"] == "running"
    assert begun["parameters"] == {"MODEL": "m", "SEEDS": "0"}
    assert begun["versions"]["keras-hub"].count(".") >= 2
    assert begun["device"] and begun["code"] and begun["started"]
    run.finish(pd.DataFrame({"metric": ["rate"], "value": [0.5], "low": [float("nan")]}))
    ended = json.loads((run.folder / "run.json").read_text())
    assert ended["status"] == "finished"
    assert ended["seconds"] >= 0 and ended["peak_memory_mb"] > 10
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert metrics["rows"] == [{"metric": "rate", "value": 0.5, "low": None}]


def test_the_default_folder_depends_on_the_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (runs.folder, runs.newest):
        monkeypatch.setattr(module, "repository", lambda: tmp_path)
    first = runs.start("02_x", {"N": 1})
    same = runs.start("02_x", {"N": 1})
    other = runs.start("02_x", {"N": 2})
    assert first.folder == same.folder != other.folder
    assert first.folder.parent == tmp_path / "runs" / "02_x"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write to the run folder"):
        runs.start("02_x", {}, str(tmp_path / "file" / "run"))


def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    runs.write_json(path, {"old": 1})
    with pytest.raises(KeyboardInterrupt), runs.atomic(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["table.json"]


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="make room on the disk"),
        runs.atomic(tmp_path / "x.json") as temporary,
    ):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_writer_left_is_swept_and_what_is_being_written_stays(tmp_path: Path) -> None:
    """A writer of another process is killed while it writes a file and a folder."""
    code = (
        "import os, sys; from pathlib import Path; from sycophancy.runs import atomic\n"
        "with atomic(Path('deep/x.json')) as file, atomic(Path('y')) as folder:\n"
        "    file.write_text('half'); folder.mkdir(); (folder / 'z').write_text('half')\n"
        "    print('written', flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as writer:  # fmt: skip
        assert writer.stdout is not None and writer.stdout.readline() == b"written\n"
        before = sorted(tmp_path.rglob("*"))
        runs.sweep(tmp_path)
        assert sorted(tmp_path.rglob("*")) == before and len(before) == 4
        writer.kill()
    with runs.atomic(tmp_path / "own.json") as temporary:
        temporary.write_text("mine")
        elsewhere = tmp_path / ".x.json.another-host.1.0.part"
        elsewhere.write_text("of another machine, which may be writing it")
        runs.sweep(tmp_path)
        assert temporary.is_file() and elsewhere.is_file()
    os.utime(elsewhere, (0, 0))
    runs.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "own.json"]


def test_writers_of_one_file_have_temporary_names_of_their_own(tmp_path: Path) -> None:
    with runs.atomic(tmp_path / "x") as one, runs.atomic(tmp_path / "x") as other:
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "x").read_text() == "one" and len(list(tmp_path.iterdir())) == 1


def test_a_line_of_costs_that_was_cut_short_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path))
    path = tmp_path / "costs.jsonl"
    path.write_text('{"notebook": "cut", "mo')
    assert runs.read_costs().empty and "model" in runs.read_costs()
    path.write_bytes(b'{"notebook": "a"}\n{"notebook": "cut \xc3')
    runs.remember_cost({"notebook": "b"})
    runs.remember_cost({"notebook": "c"})
    assert runs.read_costs()["notebook"].tolist() == ["a", "b", "c"]


def test_tables_survive_the_round_trip(tmp_path: Path) -> None:
    run = runs.start("02_x", {}, str(tmp_path))
    table = pd.DataFrame(
        {"choices": [[" (A)", " (B)"]], "truth": pd.array([None], dtype="boolean")}
    )
    back = pd.read_parquet(run.save_table("items", table))
    assert list(back["choices"][0]) == [" (A)", " (B)"]
    assert back["truth"].dtype == "boolean"


def test_progress_gives_an_estimate_of_what_is_left(tmp_path: Path) -> None:
    run = runs.start("02_x", {}, str(tmp_path))
    run.progress("m", done=600, total=1000, seconds=2.0, reused=400)
    state = json.loads((tmp_path / "progress.json").read_text())
    # 200 tokens in 2 s were computed here, 400 were there before: 400 are left at 100 a second
    assert state["rate"] == 100 and state["eta_seconds"] == 4


def test_costs_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path / "cache"))
    assert runs.read_costs().empty
    runs.remember_cost({"model": "m", "tokens": 10, "scoring_seconds": 2.0})
    runs.remember_cost({"model": "m", "tokens": 20, "scoring_seconds": 2.0})
    assert list(runs.read_costs()["tokens"]) == [10, 20]


def finish_run(root: Path, name: str, age: int, **given: Any) -> Path:
    """A finished run folder runs/`name`, so many seconds old, and a run of the cell's notebook."""
    notebook = next(part for part in name.split("/") if part[0].isdigit()).partition("@")[0]
    run = runs.start(notebook, given, str(root / "runs" / name))
    path = run.finish(pd.DataFrame([{"metric": "m", "value": 1.0}]))
    os.utime(path, (path.stat().st_mtime - age,) * 2)
    return run.folder


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout, in which runs are looked for."""
    for module in (runs.folder, runs.newest):
        monkeypatch.setattr(module, "repository", lambda: tmp_path)
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_finished_runs_are_found_by_folder_and_by_notebook(checkout: Path, package: Path) -> None:
    with pytest.raises(InputError, match="03_x has not been run here"):
        runs.latest("03_x")
    old = finish_run(checkout, "a/03_x", 300, N=300)
    new = finish_run(checkout, "b/03_x", 100, N=100)
    finish_run(checkout, "b/04_y", 50)
    assert runs.latest("03_x") == new
    assert runs.find_finished("runs/a/03_x") == runs.find_finished(old) == old
    assert runs.parameters_of(old) == {"N": 300}
    with pytest.raises(InputError, match="holds no finished run"):
        runs.find_finished("runs/c")
    (old / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json, line 1: not valid JSON .*again"):
        runs.parameters_of(old)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("smoke/04_x", {}),
        ("laptop/04_x@lab", {"FORMAT": "lab"}),
        ("c/04_x", {"FORMAT": "lab"}),
        ("d/04_x", {"MODEL": "lab_tiny, runs/x"}),
        ("04_x/1234abcd", {"MODEL": "tiny_random"}),
        ("04_x/1234abcd", {"MODEL": "tiny_random, smollm2_135m_instruct"}),
        ("04_x/1234abcd", {"DATA_RUN": "runs/smoke/03_w"}),
        ("04_x/1234abcd", {"MODEL": "runs/smoke/05_z/labels_seed0@2"}),
        ("04_x/1234abcd", {"MODEL": "runs/smoke/05_z/labels_seed0", "OUT_DIR": "runs/04_x/1"}),
        ("evening/04_x@filters", {"MODEL": "smollm2_135m_instruct"}),
        ("measure/hf-a-b/laptop/04_x", {"MODEL": "hf://a/b"}),
        ("measure/smollm2_135m_instruct/laptop/04_x", {"MODEL": "smollm2_135m_instruct"}),
        ("study/m-claims/04_x", {"MODEL": "m"}),
    ],
)  # fmt: skip
def test_runs_that_were_made_for_something_else_are_no_default(
    name: str, given: dict[str, Any], checkout: Path, package: Path
) -> None:
    finish_run(checkout, "smoke/03_w", 300, MODEL="tiny_random")
    trained = checkout / "runs" / "smoke" / "05_z" / "labels_seed0"
    trained.mkdir(parents=True)
    (trained / "model.json").write_text('{"base": "tiny_random"}')
    finish_run(checkout, name, 10, **given)
    with pytest.raises(InputError, match="04_x has not been run here"):
        runs.latest("04_x")
    real = finish_run(checkout, "laptop/04_x", 200, MODEL="smollm2_135m_instruct")
    assert runs.latest("04_x") == real
    by_hand = finish_run(checkout, "04_x/0000ffff", 100, DATA_RUN=str(real))
    assert runs.latest("04_x") == by_hand


def publish_run(package: Path, key: str, **given: Any) -> Path:
    """Put a finished run into the study that ships with the package."""
    folder = package / key
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"parameters": given}))
    rows = {"notebook": key.partition("@")[0], "rows": []}
    (folder / "metrics.json").write_text(json.dumps(rows))
    about = {"profile": "laptop", "commit": "abc1234", "date": "2026-12-01"}
    (package / "study.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty study that ships with the package."""
    place = tmp_path / "package" / "published"
    place.mkdir(parents=True)
    for module in (ladder, runs.newest):
        monkeypatch.setattr(module, "published_folder", lambda key: place / key)
    return place


def test_a_comparison_without_run_folders_takes_the_newest_real_study(
    checkout: Path, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"MEASURED": "", "BASE": "m", "STEPS": "5", "OUT_DIR": "here"}
    cells = {"In": ["", 'MEASURED = ""\nBASE = "m"\nSTEPS = "5"\nOUT_DIR = ""']}
    with pytest.raises(InputError, match="MEASURED is empty, and there is no study to read"):
        runs.take_study(cells, "06_x", asked)
    ours = {"MEASURED": "published/02_y", "BASE": "p", "STEPS": "1,2", "OUT_DIR": "runs/laptop/z"}
    publish_run(package, "06_x@rung", **ours)
    publish_run(package, "02_y", MODEL="p")
    assert runs.find_finished("published/02_y") == package / "02_y"
    assert runs.take_study(cells, "06_x", asked) == {**ours, "OUT_DIR": "here"}
    said = "MEASURED is empty: this notebook reads the study that ships with this package"
    assert f"{said} (06_x@rung: profile laptop, commit abc1234, 2026-12-01), base p." in (
        capsys.readouterr().out
    )
    # what was changed stays; rehearsals, laboratories and what was run by hand are none
    finish_run(checkout, "smoke/06_x", 5, MEASURED="a", BASE="tiny_random")
    finish_run(checkout, "laptop/06_x@lab", 5, MEASURED="a", BASE="lab_tiny_tuned")
    finish_run(checkout, "06_x/1234abcd", 5, MEASURED="a", BASE="h")
    taken = runs.take_study(cells, "06_x", {**asked, "STEPS": "7"})
    assert (taken["BASE"], taken["STEPS"]) == ("p", "7")
    finish_run(checkout, "laptop/06_x", 90, MEASURED="b", BASE="q")
    finish_run(checkout, "study/hf-a/06_x", 60, MEASURED="c", BASE="r")
    assert runs.take_study(cells, "06_x", asked)["BASE"] == "r"
    assert "reads the newest run here, hf-a/06_x, base r." in capsys.readouterr().out
    named = {**asked, "MEASURED": "d"}
    assert runs.take_study(cells, "06_x", named) == named
    assert capsys.readouterr().out == ""


def test_of_the_laboratory_a_comparison_is_taken_where_there_is_no_other(
    checkout: Path, package: Path
) -> None:
    asked = {"MEASURED": "", "BASE": "", "OUT_DIR": ""}
    publish_run(package, "08_x@lab", MEASURED="p", BASE="lab_medium_tuned")
    assert runs.take_study({}, "08_x", asked)["MEASURED"] == "p"
    finish_run(checkout, "laptop/08_x@lab", 90, MEASURED="own", BASE="lab_medium_tuned")
    assert runs.take_study({}, "08_x", asked)["MEASURED"] == "own"


def test_the_prompts_of_the_published_study_are_taken_where_none_were_made(
    checkout: Path, package: Path
) -> None:
    publish_run(package, "03_x", N=1)
    assert runs.latest("03_x") == package / "03_x"
    own = finish_run(checkout, "laptop/03_x", 90, N=2)
    assert runs.latest("03_x") == own


def test_a_folder_of_runs_stands_for_all_models_in_it(checkout: Path) -> None:
    trained = finish_run(checkout, "a/05_finetune", 9)
    other = finish_run(checkout, "a/05_finetune@more", 9)
    for folder in (
        trained / "labels_seed1", trained / "labels_seed0", other / "placebo_seed0",
        trained / "labels_seed0.before-1234abcd",
    ):  # fmt: skip
        folder.mkdir()
        (folder / "model.json").write_text('{"base": "m"}')
    own = ["runs/a/05_finetune/labels_seed0", "runs/a/05_finetune/labels_seed1"]
    assert runs.as_models("b, runs/a/05_finetune") == ["b", *own]
    assert runs.as_models("runs/a/05_finetune/") == own
    assert runs.as_models([own[1], "hf://a/b", "no/folder"]) == [own[1], "hf://a/b", "no/folder"]
    assert runs.as_models("runs/a") == ["m", *own, "runs/a/05_finetune@more/placebo_seed0"]
    finish_run(checkout, "a/03_x", 9)
    assert runs.as_models("runs/a/03_x") == ["runs/a/03_x"]  # holds none: the loader says so


def test_a_finished_run_leaves_its_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path / "cache"))
    run = runs.start("03_x", {"N": 1, "OUT_DIR": "here"}, str(tmp_path / "run"))
    run.finish(pd.DataFrame([{"metric": "m", "value": 1.0}]))
    row = runs.read_costs().iloc[0]
    assert (row["notebook"], row["device"]) == ("03_x", runs.device()) and row["seconds"] >= 0
    assert row["parameters"] == runs.parameter_hash({"OUT_DIR": "elsewhere", "N": 1})
    assert row["parameters"] != runs.parameter_hash({"N": 2})


def test_a_step_is_what_follows_the_last_at_if_it_is_a_number() -> None:
    assert runs.at_step("runs/05_finetune@lab/labels_seed0@50") == (
        "runs/05_finetune@lab/labels_seed0",
        50,
    )
    for name in ("runs/05_finetune@lab", "hf://owner/name", "runs/x@", "runs/x@5a", "@50/x"):
        assert runs.at_step(name) == (name, None)

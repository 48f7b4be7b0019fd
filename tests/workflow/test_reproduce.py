"""Whole batches: killed, resumed, repeated, side by side, at odd paths, failing."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from checkouts import (
    ODD,
    OUT,
    ROOT,
    claims_text,
    keep_times,
    model_folder,
    run_python,
    run_reproduce,
    snakemake_free_copy,
    workflow_copy,
    write_notebook,
)
from sycophancy import runs
from sycophancy.errors import InputError
from workflow import capacity, grid, reproduce

STORY = ("00_start_here", "02_wrong_additions")


@pytest.mark.notebook
def test_reproduce_runs_resumes_and_then_does_nothing(tmp_path: Path) -> None:
    """One long story, because each part costs kernels: killed, resumed, repeated, refused.

    Two cells of the smoke profile tell it; test_notebooks.py runs every cell.
    """
    copy = snakemake_free_copy(tmp_path / "checkout")
    profile = copy / "workflow" / "profiles" / "smoke.yaml"
    cells = {key: grid.load_profile("smoke")["notebooks"][key] for key in STORY}
    profile.write_text(yaml.safe_dump({"publish": False, "notebooks": cells}, sort_keys=False))
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
    assert "additions" in done.stdout and "shift" in done.stdout

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


def test_a_second_batch_is_refused_until_the_first_is_gone_however_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduce, "ROOT", tmp_path)
    program = (
        "import sys, time; from pathlib import Path; from workflow import reproduce; "
        f"reproduce.ROOT = Path({str(tmp_path)!r}); lock = reproduce.lock_runs(); "
        "print('held', flush=True); time.sleep(300)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "lib"), str(ROOT)])}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=r"Another make .* is running in this checkout: wait"):
            reproduce.lock_runs()
        first.kill()
    for _ in range(2):
        with reproduce.lock_runs():
            pass


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
    (copy / "workflow" / "profiles" / "study.yaml").write_text(profile)
    write_notebook(copy / "notebooks", "03_make", {"MODEL": "", "CLAIMS": ""}, RECORD)
    program = (
        "from workflow import reproduce; import sys; model, claims, *settings = sys.argv[1:]; "
    )
    program += "sys.exit(reproduce.run_profile('study', model, settings, claims))"
    claims = copy / f"{ODD}.csv"

    def run(content: str, *settings: str) -> int:
        claims.write_text(content)
        done = run_python(copy, "-c", program, ODD, claims.name, *settings)
        assert done.returncode == 0, done.stderr
        out = tmp_path / OUT if settings else next(copy.glob("runs/study/*"))
        seen = out / "03_make" / "seen.json"
        assert json.loads(seen.read_text()) == [f"{ODD}, tiny_random", claims.name, content]
        return seen.stat().st_mtime_ns

    first = run("claims")
    assert run("claims") == first  # the file was written again, as it was
    assert run("other claims", f"OUT_DIR={tmp_path / OUT}") > first


@pytest.mark.notebook
@pytest.mark.slow
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

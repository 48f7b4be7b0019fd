"""Signals and kills: whichever process of a batch they reach, all end, and what is done is kept."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors import safe_open

from checkouts import ROOT, workflow_copy, write_notebook
from workflow import stopping

CELLS = ("03_make", "05_train")  # side by side
WORK = """
import os, time
from pathlib import Path
from sycophancy import runs
folder = Path(OUT_DIR)
run = runs.start("x", {}, OUT_DIR)
if (folder / "saved").exists():
    runs.write_json(folder / "metrics.json", {"rows": []})
    raise SystemExit
try:
    (folder / "works").write_text(str(os.getpid()))
    time.sleep(300)
finally:
    time.sleep(0.3)
    (folder / "saved").write_text("")
"""
PYTHON = (
    f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'  # takes the place of the virtual environment's
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout with a batch of two cells that work side by side until they are interrupted."""
    folder = workflow_copy(tmp_path / "checkout", {key: {} for key in CELLS})
    for key in CELLS:
        write_notebook(folder / "notebooks", key, {}, WORK)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").write_text(PYTHON)
    (folder / ".venv" / "bin" / "python").chmod(0o755)
    (folder / ".venv" / "ready").write_text("")
    return folder


BATCH = (sys.executable, "-m", "workflow.reproduce", "--profile", "own")
MAKE = ("make", "reproduce", "PROFILE=own")


def environment(folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT / "lib"), str(folder)])
    active = ("VIRTUAL_ENV", "CONDA_PREFIX")  # in whose place make would have its own, a stand-in
    kept = {name: value for name, value in os.environ.items() if name not in active}
    return {**kept, "PYTHONPATH": path, "JOBS": "2"}


class Batch:
    """A batch in a session of its own, once both of its cells work."""

    def __init__(self, folder: Path, *command: str) -> None:
        self.folder = folder
        self.top = subprocess.Popen(
            command or BATCH, cwd=folder, env=environment(folder), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        works = [folder / "runs" / "own" / key / "works" for key in CELLS]
        deadline = time.monotonic() + 120
        while not all(path.is_file() and path.read_text() for path in works):
            assert self.top.poll() is None, self.top.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        self.kernel = psutil.Process(int(works[0].read_text()))
        chain = [self.kernel, *self.kernel.parents()]
        self.job, self.snakemake, self.reproduce = chain[1:4]
        self.all = [psutil.Process(self.top.pid), *psutil.Process(self.top.pid).children(True)]

    def ends(self) -> int:
        """Wait until all of it has ended; return the exit status of the command as a shell does."""
        self.said = self.top.communicate(timeout=60)[0]
        assert not psutil.wait_procs(self.all, timeout=30)[1]
        return stopping.status_of(self.top.returncode)

    def saved(self) -> list[str]:
        return [key for key in CELLS if (self.folder / "runs" / "own" / key / "saved").exists()]


def again(cases: Iterable[tuple[str, ...]]) -> list[Any]:
    """Return further cases of a test, for `make test-slow`: each starts a batch."""
    return [pytest.param(*case, marks=pytest.mark.slow) for case in cases]


def addressed(batch: Batch, name: str) -> psutil.Process:
    processes = {
        "make": psutil.Process(batch.top.pid), "batch": batch.reproduce,
        "snakemake": batch.snakemake, "job": batch.job, "kernel": batch.kernel,
    }  # fmt: skip
    return processes[name]


@pytest.mark.notebook
@pytest.mark.parametrize(
    ("addressee", "name"),
    [
        ("make", "SIGTERM"),
        *again(("make", name) for name in ("SIGINT", "SIGHUP")),  # make passes on one of three
        *again(("snakemake", name) for name in ("SIGTERM", "SIGINT")),  # it has handlers of its own
        *again(("kernel", name) for name in ("SIGTERM", "SIGINT")),
        *again([("batch", "SIGHUP")]),
    ],
)
def test_a_signal_ends_everything_and_what_is_in_hand_is_saved(
    copy: Path, addressee: str, name: str
) -> None:
    batch = Batch(copy, *(MAKE if addressee == "make" else ()))
    number = signal.Signals[name]
    addressed(batch, addressee).send_signal(number)
    assert batch.ends() == 128 + number, batch.said
    assert batch.saved() == list(CELLS), batch.said
    assert "goes on from there" in batch.said and "Traceback" not in batch.said


@pytest.mark.notebook
@pytest.mark.parametrize(
    "addressee", ["batch", *again((name,) for name in ("make", "snakemake", "job", "kernel"))]
)
def test_the_others_end_when_one_is_killed(copy: Path, addressee: str) -> None:
    batch = Batch(copy, *(MAKE if addressee == "make" else ()))
    addressed(batch, addressee).kill()
    if addressee == "batch":  # the next call waits for what is left, and goes on
        again = subprocess.run(
            BATCH, cwd=copy, env=environment(copy), capture_output=True, text=True
        )
        assert again.returncode == 0, again.stderr
        assert all((copy / "runs" / "own" / key / "metrics.json").exists() for key in CELLS)
    assert batch.ends() == 128 + signal.SIGKILL, batch.said
    # a kernel ends at once where nobody is left to wait for what it saves
    assert batch.saved() == list(CELLS[addressee in ("job", "kernel") :]), batch.said


def test_a_training_that_is_asked_to_end_saves_its_step(tmp_path: Path) -> None:
    """The laboratory's job, as Snakemake runs it."""
    trained = tmp_path / "laboratory@tiny" / "trained.json"
    command = [sys.executable, "-m", "workflow.laboratory", "--model", "lab_tiny"]
    job = subprocess.Popen(
        [*command, "--trained", str(trained)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.STDOUT, env={**environment(ROOT), "SYCOPHANCY_CACHE": str(tmp_path)},
    )  # fmt: skip
    progress, done, deadline = trained.parent / "progress.json", 0, time.monotonic() + 300
    while done < 3:
        assert job.poll() is None and time.monotonic() < deadline
        with contextlib.suppress(FileNotFoundError):
            done = json.loads(progress.read_text())["done"]
    job.send_signal(signal.SIGTERM)
    job.send_signal(signal.SIGINT)  # from the terminal, or from whoever else passes it on
    said = job.communicate(timeout=60)[0]
    # of two that wait at once, Python hears the one with the smaller number first
    assert job.returncode in (143, 130) and "Stopped by SIG" in said and "Traceback" not in said
    (state,) = tmp_path.rglob("state.safetensors")
    with safe_open(state, framework="numpy") as file:
        assert done <= int(file.metadata()["step"]) < 400
    assert not trained.exists() and not progress.exists()


def test_a_hangup_is_ignored_where_it_was_before() -> None:
    """As below nohup; and what was ignored is not passed on either."""
    code = (
        "import os, signal, sys; from workflow import stopping\n"
        "stopping.raise_on_signals(); os.kill(os.getpid(), signal.SIGHUP); print('goes on')"
    )

    def told(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=ROOT, env=environment(ROOT), capture_output=True, text=True
        )

    given = (sys.executable, "-c", code)
    assert told("nohup", *given).stdout == "goes on\n"
    assert "Stopped: SIGHUP" in told(*given).stderr


def test_a_child_that_does_not_end_is_killed() -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
    child = subprocess.Popen(
        [sys.executable, "-c", f"{deaf}; time.sleep(60)"], stdout=subprocess.PIPE
    )
    assert child.stdout is not None and child.stdout.readline()
    stopping.end(child, seconds=0.5)
    assert child.returncode == -signal.SIGKILL


def test_what_is_left_of_a_batch_is_found_and_ended() -> None:
    marked = {**os.environ, stopping.BATCH: str(ROOT)}
    sleep = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"]
    children = [
        subprocess.Popen(sleep, env=environment, stdout=subprocess.PIPE)
        for environment in (marked, {**marked, stopping.BATCH: "/elsewhere"}, {**os.environ})
    ]
    for child in children:
        assert child.stdout is not None and child.stdout.readline()
    assert [process.pid for process in stopping.left()] == [children[0].pid]
    stopping.end_left(0.1)
    assert [child.poll() for child in children] == [-signal.SIGKILL, None, None]
    assert stopping.left() == []
    for child in children:
        child.kill()


@pytest.mark.parametrize("code", [0, 1, 2, 127, 128, 200, 255])
def test_only_a_signal_counts_as_one(code: int) -> None:
    assert stopping.ended_by(code) is None and stopping.status_of(code) == code


@pytest.mark.parametrize("number", [1, 2, 9, 15])
def test_a_signal_is_read_from_both_forms_of_an_exit_status(number: int) -> None:
    assert stopping.ended_by(-number) == stopping.ended_by(128 + number) == number

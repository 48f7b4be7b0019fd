"""Progress of running cells, and the log in sentences."""

from __future__ import annotations

import itertools
import json
import os
import re
from pathlib import Path

import pytest

from workflow import progress


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

"""Run folders: what a notebook was given, how far it is, what it found."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from sycophancy.errors import InputError
from sycophancy.ladder import resolve
from sycophancy.reading import read_object
from sycophancy.runs.files import atomic, sweep, write_json
from sycophancy.runs.identity import code, every_module, short_hash
from sycophancy.runs.kernels import interrupt_and_end
from sycophancy.runs.machine import (
    device,
    git_state,
    peak_memory_mb,
    remember_cost,
    repository,
    versions,
)
from sycophancy.runs.parameters import parameter_hash

RECORD = "run.json"
AGAIN = "delete that run folder and run the notebook again"


@dataclass
class Run:
    """One execution of a notebook and the folder that keeps what it wrote."""

    notebook: str
    folder: Path
    parameters: dict[str, Any]
    began: float = field(default_factory=time.time)
    record: dict[str, Any] = field(default_factory=dict)
    _last_progress: float = 0.0

    @property
    def store(self) -> Path:
        """The folder of finished scoring batches, kept when a run is interrupted."""
        return self.folder / "partial"

    def save_table(self, name: str, table: pd.DataFrame) -> Path:
        """Write `name`.parquet (row groups of 10,000) into the run folder, atomically."""
        path = self.folder / f"{name}.parquet"
        with atomic(path) as temporary:
            table.to_parquet(temporary, index=False, row_group_size=10_000)
        return path

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.time() - self.began

    def progress(
        self,
        label: str,
        done: int,
        total: int,
        seconds: float,
        reused: int = 0,
        unit: str = "tokens",
    ) -> None:
        """Note how far the run is, for whoever watches the folder; at most twice a second."""
        now = time.monotonic()
        if done < total and now - self._last_progress < 0.5:
            return
        self._last_progress = now
        rate = (done - reused) / seconds if seconds > 0 else 0.0
        left = (total - done) / rate if rate > 0 else None
        state: dict[str, Any] = {"label": label, "done": done, "total": total}
        state |= {"unit": unit, "rate": rate}
        state["eta_seconds"] = left
        write_json(self.folder / "progress.json", state, durable=False)

    def note(self, **entries: Any) -> None:
        """Add entries to run.json now, so that they are there whatever happens next."""
        self.record.update(entries)
        write_json(self.folder / RECORD, self.record)

    def finish(self, metrics: pd.DataFrame) -> Path:
        """Write metrics.json, the run's last file, and close run.json; return its path.

        A run without metrics.json has not finished.
        """
        seconds = round(self.elapsed, 1)
        self.note(status="finished", seconds=seconds, peak_memory_mb=round(peak_memory_mb()))
        remember_cost(
            {
                "notebook": self.notebook,
                "parameters": parameter_hash(self.parameters),
                "device": device(),
                "seconds": seconds,
            }
        )
        (self.folder / "progress.json").unlink(missing_ok=True)
        path = self.folder / "metrics.json"
        rows = json.loads(metrics.to_json(orient="records"))
        write_json(path, {"notebook": self.notebook, "rows": rows})
        return path


def find_finished(folder: str | Path) -> Path:
    """Return a run folder as given or, where it is not there, below the checkout (see `resolve`).

    Raises InputError for a folder that holds no finished run.
    """
    for base in (Path(), repository() or Path.cwd()):
        place = resolve(str(folder), base)
        if (place / "metrics.json").is_file():
            return place
    raise InputError(
        f"{folder} holds no finished run (no metrics.json): run the notebook that writes it, or "
        "`make reproduce`, and give its run folder."
    )


def parameters_of(folder: Path) -> dict[str, Any]:
    """Return the parameters a run folder was made with; InputError where run.json is damaged."""
    parameters = read_record(folder / RECORD, "parameters")
    if not isinstance(parameters, dict):
        raise InputError(f"{folder / RECORD} is damaged (its parameters are none): {AGAIN}.")
    return parameters


def read_record(path: Path, entry: str) -> Any:
    """Return an entry of a run's record; InputError where that is missing or damaged."""
    content = read_object(path, AGAIN)
    if entry not in content:
        raise InputError(f"{path} is damaged (it has no {entry}): {AGAIN}.")
    return content[entry]


def metrics_of(folder: Path) -> dict[str, Any]:
    """Return what a finished run found: its notebook, and rows of {name: value}.

    Raises InputError where metrics.json is missing or damaged.
    """
    path = folder / "metrics.json"
    content = read_object(path, AGAIN)
    rows = content.get("rows")
    whole = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    if not whole or not isinstance(content.get("notebook"), str):
        raise InputError(f"{path} is damaged (it lacks its notebook or its rows): {AGAIN}.")
    return content


def start(notebook: str, parameters: dict[str, Any], out_dir: str = "") -> Run:
    """Open the run folder of a notebook and write down what is known before it computes.

    `out_dir` names the folder; empty means runs/<notebook>/<hash of the parameters> in the
    checkout, or below the working directory where there is none. The folder of an interrupted run
    is taken up again. From here on a signal that asks the kernel to end stops its cell first (see
    `kernels`). Raises InputError where the folder cannot be written.
    """
    interrupt_and_end()
    base = repository() or Path.cwd()
    name = short_hash(parameters)[:8]
    # papermill's -p hands on a folder called 2024 as a number
    folder = Path(os.path.expanduser(str(out_dir))) if out_dir else base / "runs" / notebook / name
    run = Run(notebook, folder.resolve(), dict(parameters))
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        sweep(run.folder)
        run.note(
            notebook=notebook,
            parameters=run.parameters,
            status="running",
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=versions(),
            git=git_state(),
            device=device(),
            code=code(every_module()),
        )
    except OSError as error:
        raise InputError(
            f"Cannot write to the run folder {run.folder} ({error}): set OUT_DIR to a folder you "
            "can write to."
        ) from error
    # what a table of a notebook says it says whole, not in the first 50 characters
    pd.set_option("display.max_colwidth", None)
    return run

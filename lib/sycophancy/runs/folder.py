"""Run folders: what a notebook was given, how far it is, what it found."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from sycophancy.errors import InputError
from sycophancy.runs.files import atomic, sweep, write_json
from sycophancy.runs.kernels import interrupt_and_end
from sycophancy.runs.machine import (
    code_hash,
    device,
    git_state,
    peak_memory_mb,
    remember_cost,
    repository,
    versions,
)
from sycophancy.runs.parameters import parameter_hash

LABORATORY = "lab_"  # how the names of laboratory models begin


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
        write_json(self.folder / "run.json", self.record)

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


def find(folder: str | Path) -> Path:
    """Return a run folder as given or, where it is not there, below the checkout.

    Raises InputError for a folder that holds no finished run.
    """
    given = Path(folder).expanduser()
    for place in (given, (repository() or Path.cwd()) / given):
        if (place / "metrics.json").is_file():
            return place
    raise InputError(
        f"{folder} holds no finished run (no metrics.json): run the notebook that writes it, or "
        "`make reproduce`, and give its run folder."
    )


def at_step(name: str) -> tuple[str, int | None]:
    """Return (folder, step) of `folder@step`; a name without a step as it is, and None.

    >>> at_step("runs/a/labels_seed0@50")
    ('runs/a/labels_seed0', 50)
    """
    found = re.fullmatch(r"(.*)@(\d+)", name, re.DOTALL)
    return (found[1], int(found[2])) if found else (name, None)


def is_real(parameters: dict[str, Any]) -> bool:
    """Return whether a run is of real models: no parameter names the laboratory."""
    return not any(f"{value}_".startswith(LABORATORY) for value in parameters.values())


def latest(notebook: str, keep: Callable[[dict[str, Any]], bool] = is_real) -> Path:
    """Return the run folder of a notebook that was finished last, anywhere below runs/.

    Runs whose parameters `keep` refuses are passed by, and so are the laboratory's where it is not
    given: they are never taken unasked. Raises InputError where there is none left.
    """
    base = (repository() or Path.cwd()) / "runs"
    found = []
    for path in base.glob("**/metrics.json"):
        own = json.loads(path.read_text(encoding="utf-8")).get("notebook") == notebook
        if own and keep(parameters_of(path.parent)):
            found.append(path)
    if not found:
        raise InputError(
            f"Notebook {notebook} has not been run here: run it first, or give the run folder."
        )
    return max(found, key=lambda path: path.stat().st_mtime).parent


def parameters_of(folder: Path) -> dict[str, Any]:
    """Return the parameters a run folder was made with; InputError where run.json is damaged."""
    try:
        return dict(json.loads((folder / "run.json").read_text(encoding="utf-8"))["parameters"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / 'run.json'} is missing or damaged ({error}): run the notebook again."
        ) from error


def start(notebook: str, parameters: dict[str, Any], out_dir: str = "") -> Run:
    """Open the run folder of a notebook and write down what is known before it computes.

    `out_dir` names the folder; empty means runs/<notebook>/<hash of the parameters> in the
    checkout, or below the working directory where there is none. The folder of an interrupted run
    is taken up again. From here on a signal that asks the kernel to end stops its cell first (see
    `kernels`). Raises InputError where the folder cannot be written.
    """
    interrupt_and_end()
    base = repository() or Path.cwd()
    name = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:8]
    folder = Path(out_dir).expanduser() if out_dir else base / "runs" / notebook / name
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
            code=code_hash(Path(__file__).parents[1].rglob("*.py")),
        )
    except OSError as error:
        raise InputError(
            f"Cannot write to the run folder {run.folder} ({error}): set OUT_DIR to a folder you "
            "can write to."
        ) from error
    # what a table of a notebook says it says whole, not in the first 50 characters
    pd.set_option("display.max_colwidth", None)
    return run

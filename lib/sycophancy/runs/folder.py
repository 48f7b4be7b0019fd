"""Run folders: what a notebook was given, how far it is, what it found."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from sycophancy.errors import InputError
from sycophancy.ladder import RANDOM, RUN_FILE, at_step, names_laboratory
from sycophancy.reading import read_object
from sycophancy.runs.files import atomic, existing, sweep, write_json
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
SMOKE = "smoke"  # the profile that runs everything on random weights


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


def find(folder: str | Path) -> Path:
    """Return a run folder as given or, where it is not there, below the checkout.

    Raises InputError for a folder that holds no finished run.
    """
    given = Path(os.path.expanduser(folder))
    for place in (given, (repository() or Path.cwd()) / given):
        if (place / "metrics.json").is_file():
            return place
    raise InputError(
        f"{folder} holds no finished run (no metrics.json): run the notebook that writes it, or "
        "`make reproduce`, and give its run folder."
    )


def is_real(parameters: Mapping[str, Any], known: frozenset[str] = frozenset()) -> bool:
    """Return whether a run is of real models: none of the laboratory, none of random weights.

    Models and run folders that parameters name count with what they were made from; `known` are
    names that were looked at before.
    """
    if names_laboratory(parameters):
        return False
    given = (value for name, value in parameters.items() if name != "OUT_DIR")
    names = {name.strip() for value in given for name in str(value).split(",")} - known
    return RANDOM not in names and all(is_real(made_from(name), known | names) for name in names)


def made_from(name: str) -> Mapping[str, Any]:
    """Return the parameters of the run folder `name`, or the base of the trained run `name`.

    Empty where it is neither.
    """
    folder = existing(at_step(name)[0], repository() or Path.cwd())
    if folder is not None and (folder / RUN_FILE).is_file():
        return {"MODEL": read_record(folder / RUN_FILE, "base")}
    if folder is not None and (folder / RECORD).is_file():
        return parameters_of(folder)
    return {}


def latest(notebook: str) -> Path:
    """Return the run folder of a notebook that is taken where none is given: see below."""
    return latest_together([notebook])[0]


def latest_together(notebooks: Sequence[str]) -> list[Path]:
    """Return the run folders of notebooks that are taken where none is given: the newest.

    They come from one batch that has run all of these notebooks, or all were run by hand. Only runs
    of real models are taken (`is_real`), and none of the smoke profile, of `make measure`, of `make
    intervene` or of a cell with a label: those were made for a purpose of their own. Raises
    InputError where there is none.
    """
    if not notebooks:
        return []
    batches: defaultdict[str, dict[str, tuple[float, Path]]] = defaultdict(dict)
    for path in ((repository() or Path.cwd()) / "runs").glob("*/*/metrics.json"):
        folder, batch = path.parent, path.parent.parent.name
        notebook = metrics_of(folder)["notebook"]
        special = batch == SMOKE or "@" in folder.name
        if notebook in notebooks and not special and is_real(parameters_of(folder)):
            there = batches["" if batch == notebook else batch]
            there[notebook] = max((path.stat().st_mtime, folder), there.get(notebook, (0, folder)))
    whole = [there for there in batches.values() if there.keys() == set(notebooks)]
    if not whole:
        missing = [name for name in notebooks if not any(name in t for t in batches.values())]
        what = (
            f"Notebook {missing[0]} has not been run here"
            if missing
            else f"Notebooks {', '.join(notebooks)} have not been run in one batch"
        )
        raise InputError(f"{what}: run it first, or give the run folder.")
    newest = max(whole, key=lambda there: max(there.values()))
    return [newest[notebook][1] for notebook in notebooks]


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

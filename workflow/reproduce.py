"""Run a profile's notebooks under Snakemake, show how far they are, publish figures, print a table.

Usage: make reproduce [PROFILE=…]   or   make measure MODEL=… [SET="N=20 FORMAT=chat"]
"""

from __future__ import annotations

import argparse
import fcntl
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from sycophancy import figures
from sycophancy.errors import InputError
from workflow import grid
from workflow.grid import ROOT

GENERATES = "03_generate_data"


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        overrides = dict(map(grid.parse_override, options.set))
        check_model(options.model)
        cells, publishes = grid.read_profile(options.profile, options.model, overrides)
        folders = {
            name: ROOT / grid.run_folder(options.profile, options.model, name) for name in cells
        }
        with one_at_a_time():
            code = run_snakemake(options.profile, options.model, options.set, folders)
        if code:
            print("Stopped. What is finished is kept: the same command goes on from there.")
            return code
        if publishes and not overrides:
            publish(folders.values(), ROOT / "figures")
        print_table(folders)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--model", default=None)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=value")
    return parser.parse_args(arguments)


def check_model(model: str | None) -> None:
    """Raise InputError for a model that cannot be loaded, before a notebook starts."""
    if model is None:
        return
    from sycophancy import models, runs  # takes seconds: only where a name is to be checked

    if not model.strip():
        raise InputError(
            "make measure needs a model: MODEL=a KerasHub preset, hf://owner/name, or a folder."
        )
    for name in runs.as_list(model):
        models.check_name(name)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold the lock of runs/: two batches at once would write into the same folders."""
    (ROOT / "runs").mkdir(exist_ok=True)
    with (ROOT / "runs" / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                "Another make reproduce or make measure is running in this checkout: wait for it."
            ) from None
        yield


def run_snakemake(
    profile: str, model: str | None, settings: list[str], folders: dict[str, Path]
) -> int:
    """Run Snakemake and report progress until it ends; return its exit status.

    A kill −9 leaves Snakemake's own lock behind: since we hold ours, it is stale and is cleared.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile"]
    command += ["--config", f"profile={profile}", f"model={model or ''}"]
    command += [f"overrides={json.dumps(settings)}"]
    if list((ROOT / ".snakemake" / "locks").glob("*")):
        subprocess.run([*command, "--unlock", "--quiet", "all"], cwd=ROOT, check=False)
    command += ["--cores", "1", "--resources", "device=1", "--rerun-incomplete"]
    if model is None:  # a model that one notebook cannot load, the other cannot either
        command += ["--keep-going"]
    command += ["--rerun-triggers", "mtime", "params", "input", "--nocolor"]
    for folder in folders.values():  # what an interrupted run last said of itself
        (folder / "progress.json").unlink(missing_ok=True)
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        # Ctrl-C reaches the whole group; we wait until Snakemake has stopped its job.
        interrupts: list[int] = []
        signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
        reporter = Reporter(folders)
        while process.poll() is None:
            reporter.report()
            time.sleep(0.5)
        reporter.close()
        log.seek(0)
        if process.returncode and not interrupts:
            print(sentences(log.read()), file=sys.stderr)
    return process.returncode


def sentences(log: str) -> str:
    """Return what the notebooks said in Snakemake's log, or all of it where they said nothing."""
    said = [line for line in log.splitlines() if re.match(r"\d\d_[a-z_]+(:| failed)", line)]
    return "\n".join(said) if said else log.strip()[-4000:]


class Reporter:
    """Print which notebook is running and how far it is, from the run folders' progress files."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders
        self._terminal = sys.stdout.isatty()
        self._last = 0.0
        self._open = False

    def report(self) -> None:
        """Print a line: in a terminal over the last one twice a second, else every 15 seconds."""
        now = time.monotonic()
        if now - self._last < (0.5 if self._terminal else 15):
            return
        for notebook, folder in self._folders.items():
            try:
                state = json.loads((folder / "progress.json").read_text())
            except (OSError, ValueError):
                continue
            self._last = now
            self._print(f"{notebook:<20} {describe(state)}")
            return

    def _print(self, line: str) -> None:
        if self._terminal:
            print(f"\r{line:<100}", end="", flush=True)
            self._open = True
        else:
            print(line, flush=True)

    def close(self) -> None:
        """End the line that a terminal shows."""
        if self._open:
            print()


def describe(state: dict[str, Any]) -> str:
    """Return a progress file in words: share done, amount, speed, time left."""
    share = state["done"] / state["total"] if state["total"] else 1.0
    eta = state["eta_seconds"]
    left = "kept from before" if state["done"] else "starting"
    if eta is not None:
        left = f"{timedelta(seconds=round(eta))} left"
    unit = state.get("unit", "tokens")
    name = state["label"] if len(state["label"]) <= 40 else f"…{state['label'][-39:]}"
    return (
        f"{name}  {share:4.0%}  {state['done']:,} of {state['total']:,} {unit}  "
        f"{state['rate']:,.{0 if state['rate'] >= 10 else 1}f} {unit}/s  {left}"
    )


def publish(folders: Any, target: Path) -> None:
    """Copy the figures of finished runs into figures/, where they differ from what is there."""
    target.mkdir(exist_ok=True)
    for folder in folders:
        for path in sorted((folder / "figures").glob("fig*")):
            old = target / path.name
            if not old.is_file() or old.read_bytes() != path.read_bytes():
                shutil.copyfile(path, old)
                print(f"wrote {target.name}/{old.name}")


def print_table(folders: dict[str, Path]) -> None:
    """Print the short table: suite, answer format, n, rate and shift with intervals."""
    rows = []
    for name in grid.MEASURES:
        if name in folders:
            rows += json.loads((folders[name] / "metrics.json").read_text())["rows"]
    table = short_table(pd.DataFrame(rows))
    if not table.empty:
        print(table.to_string(index=False))
    print_leaks(folders)
    for name, folder in folders.items():
        print(f"{name}: tables and executed notebook in {folder.relative_to(ROOT)}")


def print_leaks(folders: dict[str, Path]) -> None:
    """Print how well the answers of each recipe are guessed without knowing the claim."""
    if GENERATES not in folders:
        return
    rows = pd.DataFrame(json.loads((folders[GENERATES] / "metrics.json").read_text())["rows"])
    leaks = rows[(rows["metric"] == "leak") & (rows["source"] == "all")]
    print("\nTraining prompts: answers predicted without knowing the claim (50 % is chance)")
    wide = figures.pivot(leaks, index=["recipe"], columns="features").rename_axis(
        index=None, columns=None
    )
    print(wide.to_string())


def short_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model, suite and answer format from the metrics of the notebooks.

    `n` counts answers that could match a user's view, `questions` what the intervals resample.
    """
    if metrics.empty:
        return metrics
    overall = metrics[metrics["truth"] == "all"]
    keys = ["model", "suite", "answer_format"]
    wide = overall[overall["metric"] == "rate"].set_index(keys)
    shift = overall[overall["metric"] == "shift"].set_index(keys).reindex(wide.index)
    table = pd.DataFrame(
        {
            "n": wide["n"],
            "questions": wide["questions"],
            "rate [95 %]": [figures.percent(row) for row in wide.itertuples()],
            "shift in nats [95 %]": [
                "" if missing else figures.nats(row)
                for row, missing in zip(shift.itertuples(), shift["value"].isna(), strict=True)
            ],
        }
    )
    return table.reset_index()


if __name__ == "__main__":
    sys.exit(main())

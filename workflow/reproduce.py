"""Run a profile's cells under Snakemake, show how far they are, publish figures, print tables.

Usage: make reproduce [PROFILE=…] [JOBS=…]   or   make measure MODEL=… [SET="N=20 FORMAT=chat"]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sycophancy.errors import InputError
from sycophancy.runs import read_or_discard, sweep, total_memory, write_json
from workflow import capacity, grid, rungs, stopping
from workflow.cells import notebook_of
from workflow.grid import ROOT
from workflow.progress import Reporter, not_run, sentences
from workflow.settings import add_settings, given_settings, parse_setting

TRAINS = "05_finetune"
CONFIG = "runs/.batch.json"  # what Snakemake is asked for; written under the lock of runs/


def main(arguments: list[str] | None = None) -> int:
    options = parse_options(arguments)
    try:
        check_model(options.model)
        return run_profile(options.profile, options.model, given_settings(options))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


def run_profile(
    profile: str, model: str | None, settings: list[str], claims: str | None = None
) -> int:
    """Run all cells of a command that are not finished, publish, print; return an exit status."""
    overrides = dict(map(parse_setting, settings))
    expand = partial(grid.expand_profile, profile, model, overrides, claims)
    batch = expand()
    check_training(batch, overrides)
    jobs = capacity.cells_at_once(os.environ.get("JOBS", ""))
    make_folders(batch)
    with lock_runs():
        if stopping.left():
            print("Waiting for the processes of a batch that was killed to end.", flush=True)
        stopping.end_left()
        own = {(ROOT / folder).parent for folder in batch.folders.values()}  # OUT_DIR's
        for folder in {ROOT / "runs", ROOT / "figures", *own}:
            sweep(folder)
        batch, left_out = rungs.settle(batch, expand, rungs.prepare_rung)
        if left_out:
            stopping.say(left_out)
        config = {"profile": profile, "model": model, "claims": claims, "overrides": settings}
        config["rung"] = batch.rung
        try:
            code = run_snakemake(config, batch, jobs)
        finally:
            stopping.end_left()
    if code:
        print("Stopped. What is finished is kept: the same command goes on from there.")
        return code
    from workflow import tables  # takes seconds: Keras and what draws

    folders = {key: ROOT / folder for key, folder in batch.folders.items()}
    if batch.publishes and not overrides:
        tables.publish(tables.figure_sources(batch), ROOT / "figures")
    tables.print_tables(folders, batch.rung)
    if left_out:
        print(left_out)
    return 0


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--model", default=None)
    add_settings(parser)
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
    for name in runs.as_models(model):
        models.check_name(name)


def check_training(batch: grid.Batch, overrides: dict[str, Any]) -> None:
    """Raise InputError for an override that notebook 05 would refuse, hours later."""
    for key, parameters in batch.cells.items():
        if overrides and notebook_of(key) == TRAINS:
            from sycophancy import finetune  # takes seconds: only where something was set

            finetune.check_parameters({**grid.default_parameters(TRAINS), **parameters})


def make_folders(batch: grid.Batch) -> None:
    """Make the run folders; raise InputError where OUT_DIR, or runs/, cannot be written to."""
    for folder in batch.folders.values():
        try:
            (ROOT / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"Cannot make the run folder {folder} ({error}): give OUT_DIR=a folder that you "
                "can write to."
            ) from error


def lock_runs() -> AbstractContextManager[object]:
    """Take the lock of runs/: two batches at once would write into the same folders.

    The system lets go of it when this process ends, also where it is killed. Raises InputError
    where another process holds it.
    """
    (ROOT / "runs").mkdir(exist_ok=True)
    try:
        return FileLock(ROOT / "runs" / ".lock").acquire(timeout=0)
    except Timeout:
        raise InputError(
            "Another make reproduce, measure or study is running in this checkout: wait for it."
        ) from None


def forget_lost_models(batch: grid.Batch) -> None:
    """Have laboratory models trained again that are no longer where they were.

    They lie in the cache folder, which is not Snakemake's to watch.
    """
    for path in batch.trained.values():
        models = read_or_discard(ROOT / path)
        if models is not None and not all(Path(folder).is_dir() for folder in models.values()):
            (ROOT / path).unlink()


def unlock(command: list[str]) -> None:
    """Remove Snakemake's lock; raise InputError with what Snakemake says where it cannot."""
    said = subprocess.run([*command, "--unlock"], cwd=ROOT, capture_output=True, text=True)
    if said.returncode:
        raise InputError(
            "A run that was killed has left Snakemake's lock, .snakemake/locks, and it cannot be "
            f"removed:\n{said.stderr}"
        )


def run_snakemake(config: dict[str, Any], batch: grid.Batch, jobs: int) -> int:
    """Run Snakemake, `jobs` cells at once, and report until it ends; return its exit status.

    What it is to run goes to it in a JSON file: a --config would be read as YAML, which takes a
    model called 2024_05_01 for a number and ends a path at `#`.
    A kill −9 leaves Snakemake's own lock behind: since we hold ours, it is stale and is cleared.
    """
    write_json(ROOT / CONFIG, config)
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile"]
    command += ["--configfile", CONFIG, "--cores", str(jobs)]
    if list((ROOT / ".snakemake" / "locks").glob("*")):
        unlock(command)
    given = capacity.resources(jobs, total_memory())
    command += ["--resources", *(f"{name}={amount}" for name, amount in given.items())]
    # the other scheduler would take two cells of low priority before one of a high priority
    command += ["--scheduler", "greedy", "--rerun-incomplete"]
    measures = config["model"] and config["profile"] != grid.STUDY
    if not measures:  # a model that one notebook cannot load, the other cannot either
        command += ["--keep-going"]
    command += ["--rerun-triggers", "mtime", "params", "input", "--nocolor"]
    folders = {key: ROOT / folder for key, folder in batch.folders.items()}
    trainings = {key: (ROOT / path).parent for key, path in batch.trained.items()}
    for folder in [*folders.values(), *trainings.values()]:  # what an interrupted one last said
        (folder / "progress.json").unlink(missing_ok=True)
    forget_lost_models(batch)
    for folder in folders.values():  # one that is cut short goes, and Snakemake runs its cell again
        read_or_discard(folder / "metrics.json")
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=stopping.below(capacity.environment()), stdout=log, stderr=log
        )
        reporter = Reporter(folders, trainings)
        try:
            while process.poll() is None:
                reporter.report()
                time.sleep(0.5)
        except stopping.Stopped:
            stopping.say("Stopping: the step in hand is saved, which takes a minute at most.")
            raise
        finally:  # also where the terminal is gone
            stopping.end(process)
        log.seek(0)
        if number := stopping.ended_by(process.returncode):
            name = signal.Signals(number).name
            print(f"{name} has ended a process of the batch, and so the batch.", file=sys.stderr)
        elif process.returncode:
            said = log.read()
            print(sentences(said), file=sys.stderr)
            if missing := not_run(said, grid.waits(batch)):
                print(missing, file=sys.stderr)
    return stopping.status_of(process.returncode)


if __name__ == "__main__":
    stopping.end_with_parent()
    sys.exit(stopping.run_main(main))

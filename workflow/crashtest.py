"""Kill a small batch again and again, and compare what it ends in with a run that nobody killed.

Usage: make crashtest [KILLS=100] [SEED=0]

A batch that measures, filters, trains and compares runs in a copy of this checkout, on a disk of
its own. At random moments `kill -9` takes all of its processes in one session or one of them alone;
the others have to end by themselves, and the same command goes on. Now and then a file of a cell
that was not finished is cut short, the disk is full, or a second batch starts beside the first.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import pandas as pd
import psutil
import yaml
from safetensors.numpy import load_file

from sycophancy.errors import InputError, unknown
from workflow import grid, stopping
from workflow.grid import ROOT

PROFILE = "crash"
MEASURED, TRAINED = "{runs}/01_opinion_tasks", "{runs}/05_finetune/labels_seed0"
# cells of the smoke profile, and what differs; with checkpoints that a kill falls between
CELLS: dict[str, dict[str, Any]] = {
    "01_opinion_tasks": {},
    "03_generate_data": {},
    "04_filter": {"RECIPES": "labels"},
    "05_finetune": {"RECIPES": "labels", "SEEDS": "0", "STEPS": 40, "CHECKPOINTS": "10,20,30"},
    "01_opinion_tasks@after": {"MODEL": TRAINED},
    "06_opinion_tasks_after": {"MEASURED": f"{MEASURED}, {MEASURED}@after"},
}
COPIED = ("workflow", "lib", "notebooks", "Makefile", "pyproject.toml", "requirements.lock")
DISK = "256m"  # of the batch, in memory where it may be mounted
PAGE = 4096  # bytes
FREE = 60_000  # bytes that are left at most where the disk is full
FILLS, SECONDS_BATCHES, CUTS = 10, 10, 3  # one in so many tries
SHARE = 0.4  # of the time of a whole batch, within which a try is killed
MOST_SECONDS = 60.0  # until all processes have ended
TOLERANCE = 1e-6  # where a batch of other sizes rounds otherwise
ROLES = {
    "workflow.reproduce": "batch",
    "snakemake": "Snakemake",
    "workflow.execute": "job",
    "ipykernel_launcher": "kernel",
}
GROUP = "all in one session"
# what a run leaves that says when it was made, or in which order
UNEQUAL = re.compile(r"partial/|slices/|(^|/)\.|(run|progress|model)\.json$|\.ipynb$|state\.")


@dataclass(frozen=True)
class Kill:
    """One kill: which process, and the cells that were running."""

    role: str
    cells: tuple[str, ...]


@dataclass
class Report:
    """What has happened so far."""

    kills: list[Kill] = field(default_factory=list)
    cut: Counter[str] = field(default_factory=Counter)
    filled: int = 0
    refused: int = 0
    finished: int = 0
    longest: float = 0.0  # seconds until the other processes had ended
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return it in words."""
        roles = Counter(kill.role for kill in self.kills)
        cells = Counter(cell for kill in self.kills for cell in kill.cells or ("between cells",))
        cuts = ", ".join(f"{number} {kind}" for kind, number in self.cut.most_common()) or "none"
        return [
            f"{len(self.kills)} kills: {spell_counts(roles)}",
            f"where: {spell_counts(cells)}",
            f"the others had ended after {self.longest:.1f} seconds at most",
            f"files cut short: {cuts}; full disks: {self.filled}; second batches refused: "
            f"{self.refused}",
            f"batches finished and compared: {self.finished}",
            *self.wrong,
            f"what differed: {f'{len(self.wrong)} things' if self.wrong else 'nothing'}",
        ]


def spell_counts(counts: Counter[str]) -> str:
    """Return counts as text, the largest first."""
    return ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "none"


@contextlib.contextmanager
def disk() -> Iterator[tuple[Path, bool]]:
    """Yield a new folder, and whether it is a small disk of its own; deleted at the end."""
    folder = Path(tempfile.mkdtemp(prefix="crashtest-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder)]
    small = (
        shutil.which("mount") is not None
        and not subprocess.run(mount, capture_output=True).returncode
    )
    try:
        yield folder, small
    finally:
        if small:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def copy_checkout(folder: Path, keys: Sequence[str]) -> None:
    """Write what a batch needs into a folder, with a profile of some of the CELLS."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy2(source, folder / name)
    smoke = grid.load_profile("smoke")["notebooks"]
    cells = {key: {**smoke[key], **CELLS[key]} for key in keys}
    profile = {"publish": False, "notebooks": cells}
    path = folder / "workflow" / "profiles" / f"{PROFILE}.yaml"
    path.write_text(yaml.safe_dump(profile, sort_keys=False), encoding="utf-8")


@dataclass
class Started:
    """A batch, and what it prints."""

    process: subprocess.Popen[bytes]
    log: IO[str]

    def ended(self, seconds: float) -> bool:
        """Return whether it has ended by itself within so many seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.returncode is not None

    def said(self) -> str:
        """Return what it has printed."""
        self.log.seek(0)
        return self.log.read().strip()

    def processes(self) -> list[psutil.Process]:
        """Return the processes that run: its own, and those that it started."""
        with contextlib.suppress(psutil.Error):
            top = psutil.Process(self.process.pid)
            return [top, *top.children(recursive=True)]
        return []


class Checkout:
    """The copy, and the batches that run in it."""

    def __init__(self, folder: Path, small: bool, keys: Sequence[str]) -> None:
        self.folder, self._small = folder / "checkout", small
        self._filler = folder / "filler"
        self.runs = self.folder / "runs" / PROFILE
        self.folder.mkdir()
        copy_checkout(self.folder, keys)

    def start(self, most_bytes: int | None = None) -> Started:
        """Start a batch in a session of its own, where a file may have `most_bytes`."""
        path = os.pathsep.join([str(self.folder / "lib"), str(self.folder)])
        cache = str(self.folder / "cache")
        environment = {**os.environ, "PYTHONPATH": path, "SYCOPHANCY_CACHE": cache, "JOBS": "2"}
        environment[stopping.PARENT] = str(os.getpid())
        command = [sys.executable, "-m", "workflow.reproduce", "--profile", PROFILE]
        if most_bytes is not None:  # in blocks of 512, says POSIX
            command = ["sh", "-c", f'ulimit -f {most_bytes // 512}; exec "$@"', "sh", *command]
        log = tempfile.TemporaryFile("w+")  # noqa: SIM115, read after the batch has ended
        process = subprocess.Popen(
            command, cwd=self.folder, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return Started(process, log)

    def clear(self) -> None:
        """Forget all runs."""
        for name in ("runs", ".snakemake"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def unfinished(self) -> list[Path]:
        """Return the files of cells that are not finished, and the record of costs."""
        folders = [path for path in self.runs.glob("*") if not (path / "metrics.json").exists()]
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        costs = self.folder / "cache" / "costs.jsonl"
        return sorted(files) + [costs] * costs.is_file()

    @contextlib.contextmanager
    def full(self, free: int) -> Iterator[int | None]:
        """Leave `free` bytes on the disk, or yield how large a file may be at most."""
        if not self._small:
            yield free
            return
        with self._filler.open("wb") as file:
            pages = (shutil.disk_usage(self.folder).free - free) // PAGE
            os.posix_fallocate(file.fileno(), 0, max(1, pages) * PAGE)
        try:
            yield None
        finally:
            self._filler.unlink()


def role(process: psutil.Process) -> str:
    """Return what a process does in a batch."""
    with contextlib.suppress(psutil.Error):
        words = process.cmdline()
        return next((name for word, name in ROLES.items() if word in words), "others")
    return "others"


def running_cells(found: Sequence[psutil.Process]) -> tuple[str, ...]:
    """Return the cells that run, from the command lines of their jobs."""
    cells = set()
    for process in found:
        with contextlib.suppress(psutil.Error):
            words = [word for word in process.cmdline() if word.endswith("/executed.ipynb")]
            cells |= {Path(word).parent.name for word in words}
    return tuple(sorted(cells))


def strike(batch: Started, chance: random.Random) -> tuple[Kill, float] | None:
    """Kill the session of a batch, or one process of it; None where it has just ended by itself.

    Returns the kill, and after how many seconds the other processes had ended.
    """
    running = batch.processes()
    roles = sorted({role(process) for process in running} - {"others"})
    if batch.process.poll() is not None or not roles:
        return None
    kill = Kill(chance.choice([GROUP, *roles]), running_cells(running))
    if kill.role == GROUP:
        os.killpg(batch.process.pid, signal.SIGKILL)
    else:
        with contextlib.suppress(psutil.Error):
            chance.choice([process for process in running if role(process) == kill.role]).kill()
    began = time.monotonic()
    batch.ended(MOST_SECONDS)
    left = psutil.wait_procs(running, timeout=MOST_SECONDS)[1]
    seconds = time.monotonic() - began
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return kill, seconds


def cut_short(files: Sequence[Path], chance: random.Random) -> str | None:
    """Cut one of some files at a random place; return what kind of file it is."""
    long = [path for path in files if path.stat().st_size > 1]
    if not long:
        return None
    kinds: dict[str, list[Path]] = {}  # of stores there are many files
    for path in long:
        kinds.setdefault(path.suffix if path.suffix == ".parquet" else path.name, []).append(path)
    kind = chance.choice(sorted(kinds))
    path = chance.choice(kinds[kind])
    os.truncate(path, chance.randrange(path.stat().st_size))
    return kind


def results(runs: Path) -> dict[str, Any]:
    """Return the tables and weights of a batch by path, without what tells the time."""
    out: dict[str, Any] = {}
    for path in sorted(runs.rglob("*")):
        name = str(path.relative_to(runs))
        if not path.is_file() or UNEQUAL.search(name):
            continue
        if path.suffix == ".parquet":
            out[name] = pd.read_parquet(path)
        elif path.suffix == ".csv":
            out[name] = pd.read_csv(path)
        elif path.name == "metrics.json":
            out[name] = pd.DataFrame(json.loads(path.read_text(encoding="utf-8"))["rows"])
        elif path.suffix == ".safetensors":
            arrays = {key: array.ravel() for key, array in load_file(path).items()}
            rows = [(key, value) for key, array in sorted(arrays.items()) for value in array]
            out[name] = pd.DataFrame(rows, columns=["path", "value"])
        if name in out:
            out[name] = out[name].drop(columns="seconds", errors="ignore")
    return out


def compare_results(reference: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return a line for each table or weights that differ by more than TOLERANCE."""
    found = [f"{name} is there once only" for name in sorted(reference.keys() ^ other.keys())]
    for name in sorted(reference.keys() & other.keys()):
        try:
            pd.testing.assert_frame_equal(
                reference[name], other[name], rtol=TOLERANCE, atol=TOLERANCE
            )
        except AssertionError as error:
            found.append(f"{name} differs: {' '.join(str(error).split())}")
    return found


class Test:
    """One test: tries, until so many kills have hit."""

    def __init__(self, checkout: Checkout, kills: int, seed: int) -> None:
        self.checkout, self.kills, self.chance = checkout, kills, random.Random(seed)
        self.report = Report()
        self.reference: dict[str, Any] = {}
        self.most = 0.0  # seconds from the start of a try until its kill

    def run(self) -> Report:
        """Run the batch as it is, then kill it until that is enough, and compare."""
        began = time.monotonic()
        batch = self.checkout.start()
        batch.process.wait()
        if batch.process.returncode:
            raise InputError(f"The batch that nobody kills has failed:\n{batch.said()}")
        seconds = time.monotonic() - began
        self.reference, self.most = results(self.checkout.runs), SHARE * seconds
        self.checkout.clear()
        print(f"A batch that nobody kills takes {seconds:.0f} seconds.", flush=True)
        began, tries = time.monotonic(), 0
        while len(self.report.kills) < self.kills:
            tries += 1
            before = len(self.report.kills)
            self.attempt(tries)
            if len(self.report.kills) > before:
                self.tell((time.monotonic() - began) / len(self.report.kills))
        batch = self.checkout.start()
        batch.process.wait()
        self.finish(batch)
        return self.report

    def attempt(self, number: int) -> None:
        """Start the batch, disturb it and kill it, unless it ends before that."""
        if number % FILLS == 2:
            self.fill_the_disk()
            return
        batch = self.checkout.start()
        moment = time.monotonic() + self.chance.uniform(0, self.most)
        if number % SECONDS_BATCHES == 3:
            self.start_a_second(batch)
        if batch.ended(max(0.0, moment - time.monotonic())):
            self.finish(batch)
            return
        struck = strike(batch, self.chance)
        if struck is None or batch.process.returncode == 0:
            self.finish(batch)
            return
        kill, seconds = struck
        self.report.kills.append(kill)
        self.report.longest = max(self.report.longest, seconds)
        if seconds > MOST_SECONDS:
            self.report.wrong.append(f"after a kill ({kill}) others went on: {batch.said()}")
        if self.chance.randrange(CUTS) == 0:
            kind = cut_short(self.checkout.unfinished(), self.chance)
            self.report.cut.update([kind] if kind else [])

    def fill_the_disk(self) -> None:
        """Let a batch meet a full disk: it says so in a sentence, and ends."""
        free = self.chance.randrange(FREE)
        with self.checkout.full(free) as most_bytes:
            batch = self.checkout.start(most_bytes)
            batch.process.wait()
        self.report.filled += 1
        if batch.process.returncode == 0:
            self.finish(batch)
        elif "Traceback" in batch.said():
            self.report.wrong.append(f"a full disk was answered with: {batch.said()}")

    def start_a_second(self, batch: Started) -> None:
        """Start a second batch once the first holds the lock: it is refused in a sentence."""
        while not psutil.Process(batch.process.pid).children() and not batch.ended(0.1):
            pass
        second = self.checkout.start()
        second.process.wait()
        first_runs = batch.process.poll() is None
        if second.process.returncode == 2 and len(second.said().splitlines()) == 1:
            self.report.refused += 1
        elif first_runs:
            self.report.wrong.append(f"a second batch was answered with: {second.said()}")

    def finish(self, batch: Started) -> None:
        """Compare what a batch that has ended left with the reference, and begin anew."""
        if batch.process.returncode:
            self.report.wrong.append(f"a batch failed: {batch.said()}")
        else:
            self.report.wrong += compare_results(self.reference, results(self.checkout.runs))
            self.report.finished += 1
        self.checkout.clear()

    def tell(self, seconds_a_kill: float) -> None:
        """Print the last kill, and about how long the test still takes."""
        kill, done = self.report.kills[-1], len(self.report.kills)
        left = timedelta(seconds=round((self.kills - done) * seconds_a_kill))
        where = ", ".join(kill.cells) or "between cells"
        print(f"{done:3} of {self.kills}  {kill.role:15} {where:60} {left} left", flush=True)


def check_options(kills: int, keys: Sequence[str]) -> None:
    """Raise InputError for no kills, and a cell that is none of CELLS."""
    if kills < 1:
        raise InputError(f"KILLS is {kills}: give a number from 1 on.")
    for key in keys:
        if key not in CELLS:
            raise unknown("cell", key, CELLS)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cells", default=",".join(CELLS), help="those of the batch")
    options = parser.parse_args(arguments)
    keys = options.cells.split(",")
    try:
        check_options(options.kills, keys)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    with disk() as (folder, small):
        if not small:
            print("No small disk can be mounted here: files that grow stand for a full one.")
        checkout = Checkout(folder, small, keys)
        report = Test(checkout, options.kills, options.seed).run()
    print("\n".join(report.lines()))
    return 1 if report.wrong else 0


if __name__ == "__main__":
    stopping.end_with_parent()
    sys.exit(stopping.run_main(main))

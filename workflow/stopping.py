"""How the processes of a batch end: all of them, once one is asked to or is gone.

make, the batch, Snakemake and its jobs (execute.py, laboratory.py) are a chain, each the parent of
the next; a notebook's kernel is the last. A signal is passed on down the chain, and who is gone is
noticed by the process below, so that it does not matter which of them a signal or a kill reaches.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

from sycophancy.errors import InputError
from workflow.grid import ROOT

# what a person, a terminal that closes, `timeout`, SLURM, Docker and systemd send
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PARENT = "SYCOPHANCY_PARENT"  # names the process below which a process must not go on
MAKES = ("make", "gmake")
BATCH = "SYCOPHANCY_BATCH"  # names the checkout whose batch a process belongs to
EVERY = 0.2  # seconds between two looks at other processes
KERNEL_SECONDS = 40.0  # from asking a kernel to end until it is killed
JOB_SECONDS = 45.0  # and so for a job of Snakemake, which may be in a kernel's place
SECONDS = 50.0  # and so for Snakemake, which waits for all of its jobs


class Stopped(KeyboardInterrupt):
    """A signal has asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def raise_on_signals() -> None:
    """Let the first of SIGNALS raise Stopped; those that follow find the process ending.

    All of them come as SIGINT does, so that the training loop holds them back until its step is
    finished. SIGHUP stays ignored where it is, as it is below nohup.
    """
    asked: list[int] = []

    def pass_on(number: int, frame: Any) -> None:
        asked.append(number)
        signal.raise_signal(signal.SIGINT)

    def stop(number: int, frame: Any) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise Stopped(asked[0])

    for number in set(SIGNALS) - {signal.SIGINT}:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    signal.signal(signal.SIGINT, stop)


def run_main(main: Callable[[], int | None]) -> int:
    """Return the exit status of a command's `main`: 128 and the number of what stopped it.

    An InputError is said in its sentence, and the status is 2.
    """
    raise_on_signals()
    try:
        status = main() or 0
    except InputError as error:
        print(error, file=sys.stderr)
        status = 2
    except Stopped as stopped:
        say(f"Stopped by {stopped}. What is finished is kept: the same command goes on from there.")
        status = stopped.status
    try:
        sys.stdout.flush()
    except OSError:  # the terminal is gone: Python would end with a status of its own
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def say(text: str) -> None:
    """Print to the standard error, if anybody still reads it."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def status_of(code: int) -> int:
    """Return the exit status of a child as a shell gives it: 128 + n where signal n ended it."""
    return 128 - code if code < 0 else code


def ended_by(code: int) -> int | None:
    """Return the number of the signal that ended a child, None where it ended by itself.

    >>> ended_by(-9), ended_by(143), ended_by(1)
    (9, 15, None)
    """
    number = status_of(code) - 128
    return number if number in signal.valid_signals() else None


def end_with_parent() -> None:
    """Have SIGTERM sent to this process once the process that PARENT names is gone.

    Nothing is watched where PARENT is not set: a batch started by hand outlives its shell. Where
    SIGINT or SIGHUP reaches make alone, make waits for its recipe: that it no longer catches the
    signal is all that can be seen of it, and only on Linux.
    """
    named = os.environ.pop(PARENT, "")
    if not named.isdecimal():
        return
    parent = int(named)
    before = caught(parent) if process_name(parent) in MAKES else set()

    def watch() -> None:
        while True:
            asked = before - caught(parent) if before else set()
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
                return
            if asked:
                os.kill(os.getpid(), min(asked))
                return
            time.sleep(EVERY)

    threading.Thread(target=watch, daemon=True).start()


def process_name(process: int) -> str:
    """Return the name of a process's program, "" where it is gone."""
    try:
        return str(psutil.Process(process).name())
    except psutil.Error:
        return ""


def caught(process: int) -> set[int]:
    """Return which of SIGNALS a process catches; none where the system does not say."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return set()
    mask = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:")), 0)
    return {number for number in SIGNALS if mask >> (number - 1) & 1}


def below(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a child that ends with this process, and belongs to its batch."""
    return {**environment, PARENT: str(os.getpid()), BATCH: str(ROOT)}


def end(process: subprocess.Popen[Any], seconds: float = SECONDS) -> None:
    """Ask a child to end and wait for it; kill it, and what is left below it, after `seconds`."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        end_left(0)


def left() -> list[psutil.Process]:
    """Return the processes that a batch of this checkout started and that still run."""
    own = psutil.Process()
    passed = {own.pid, *(process.pid for process in own.parents())}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            ours = process.environ().get(BATCH) == str(ROOT)
            if ours and process.pid not in passed and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_left(seconds: float = SECONDS) -> None:
    """Wait for the processes of a batch that has ended, which end too; kill them after `seconds`.

    Until then they may write into run folders.
    """
    deadline = time.monotonic() + seconds
    while processes := left():
        if time.monotonic() > deadline:
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        time.sleep(EVERY)


class Jobs:
    """Snakemake's side: its jobs end with it, and it ends with the first that a signal ended.

    Left to itself, Snakemake waits after SIGTERM until its jobs have finished, which takes hours.
    """

    def __init__(self, running: Callable[[], Iterable[subprocess.Popen[Any]]]) -> None:
        self.number: int | None = None  # of the signal that ended the first
        self._running = running
        self._started: set[subprocess.Popen[Any]] = set()

    def watch(self) -> None:
        """Take over the signals; called once Snakemake has set its own handler of SIGTERM."""
        start_no_more = signal.getsignal(signal.SIGTERM)
        for number in SIGNALS:
            if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._take)
        threading.Thread(target=self._watch, args=(start_no_more,), daemon=True).start()

    @property
    def status(self) -> int:
        """The exit status: 0 where no signal ended anything."""
        return 128 + self.number if self.number else 0

    def _take(self, number: int, frame: Any) -> None:
        self.number = self.number or number

    def _watch(self, start_no_more: Any) -> None:
        while not self.number:
            time.sleep(EVERY)
            self._started |= set(self._running())
            codes = [job.returncode for job in self._started if job.returncode is not None]
            self.number = self.number or next(filter(None, map(ended_by, codes)), None)
        start_no_more(self.number, None)
        asked: dict[subprocess.Popen[Any], float] = {}
        while True:  # one may have been on its way
            for job in self._running():
                if job not in asked:
                    job.terminate()
                    asked[job] = time.monotonic()
                elif time.monotonic() - asked[job] > JOB_SECONDS:
                    job.kill()
            time.sleep(EVERY)

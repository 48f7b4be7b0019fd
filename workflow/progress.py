"""How far a batch is, in words, from the progress files of its run folders."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from workflow.cells import blocked, rule_name


class Reporter:
    """Print which cells and trainings are running and how far each is, from their progress files.

    A cell that has ended leaves no such file behind (see execute.py).
    """

    def __init__(self, folders: dict[str, Path], trainings: dict[str, Path]) -> None:
        self._folders = folders
        self._watched = {**trainings, **folders}
        self._terminal = sys.stdout.isatty()
        self._width = max([20, *map(len, self._watched)])
        self._last = 0.0
        self._shown: dict[str, int] = {}
        self._lines = 0

    def report(self) -> None:
        """Print a line a running cell: in a terminal over the last ones twice a second.

        Elsewhere every 15 seconds, and only of cells that have moved on.
        """
        now = time.monotonic()
        if now - self._last < (0.5 if self._terminal else 15):
            return
        found = self._running()
        written = {key: when for key, (when, _) in found.items()}
        if not found or written == self._shown:
            return
        done = sum((folder / "metrics.json").is_file() for folder in self._folders.values())
        share = f"{done}/{len(self._folders)}"
        lines = [
            f"{share:>5} {key:<{self._width}} {describe(state)}"
            for key, (when, state) in found.items()
            if self._terminal or self._shown.get(key) != when
        ]
        if lines:
            self._print(lines)
        self._last, self._shown = now, written

    def _running(self) -> dict[str, tuple[int, dict[str, Any]]]:
        found = {}
        for key, folder in self._watched.items():
            path = folder / "progress.json"
            try:
                found[key] = path.stat().st_mtime_ns, json.loads(path.read_text())
            except (OSError, ValueError):
                continue
        return found

    def _print(self, lines: list[str]) -> None:
        if self._terminal:
            # up to where the last ones began, and clear from there (ECMA-48's CPL and ED)
            back = f"\x1b[{self._lines}F\x1b[J" if self._lines else ""
            width = shutil.get_terminal_size().columns - 1  # one that wraps would be two lines up
            lines = [line[:width] for line in lines]
            self._lines = len(lines)
            lines[0] = back + lines[0]
        print("\n".join(lines), flush=True)


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


def sentences(log: str) -> str:
    """Return what the notebooks said in Snakemake's log, or what Snakemake itself failed at.

    That is the last error of a traceback, such as a full disk; without one, all of the log.
    """
    form = r"(\d\d_[a-z_]+|laboratory)(@[a-z]\w*)?(:| failed)"
    said = [line for line in log.splitlines() if re.match(form, line)]
    if said:
        return "\n".join(said)
    if "Traceback (most recent call last)" not in log:
        return log.strip()[-4000:]
    raised = re.findall(r"^[A-Za-z_.]+(?:Error|Exception)\b.*", log, re.MULTILINE)
    reason = raised[-1] if raised else log.strip().splitlines()[-1]
    return f"Snakemake could not go on ({reason}): make room or mend that, and call again."


def not_run(log: str, depends: dict[str, list[str]]) -> str:
    """Return a sentence naming the cells that waited for a failed one, or nothing."""
    failed = [key for key in depends if f"Error in rule {rule_name(key)}:" in log]
    waiting = blocked(failed, depends)
    if not waiting:
        return ""
    return f"Not run, because {', '.join(failed)} failed: {', '.join(waiting)}."

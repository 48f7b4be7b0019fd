"""How far a batch is, in words, from the progress files of its run folders."""

from __future__ import annotations

import json
import re
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from workflow.cells import blocked, rule_name


class Reporter:
    """Print which cell is running and how far it is, from the run folders' progress files."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders
        self._terminal = sys.stdout.isatty()
        self._width = max([20, *map(len, folders)])
        self._last = 0.0
        self._shown = 0
        self._open = False

    def report(self) -> None:
        """Print a line: in a terminal over the last one twice a second, else every 15 seconds.

        The cell that runs is the one whose file is newest: one that failed leaves its own behind.
        """
        now = time.monotonic()
        if now - self._last < (0.5 if self._terminal else 15):
            return
        found = []
        for key, folder in self._folders.items():
            path = folder / "progress.json"
            try:
                found.append((path.stat().st_mtime_ns, key, json.loads(path.read_text())))
            except (OSError, ValueError):
                continue
        if not found:
            return
        written, key, state = max(found, key=lambda entry: entry[0])
        if written == self._shown:
            return
        self._last, self._shown = now, written
        self._print(f"{key:<{self._width}} {describe(state)}")

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


def sentences(log: str) -> str:
    """Return what the notebooks said in Snakemake's log, or all of it where they said nothing."""
    form = r"\d\d_[a-z_]+(@[a-z]\w*)?(:| failed)"
    said = [line for line in log.splitlines() if re.match(form, line)]
    return "\n".join(said) if said else log.strip()[-4000:]


def not_run(log: str, depends: dict[str, list[str]]) -> str:
    """Return a sentence naming the cells that waited for a failed one, or nothing."""
    failed = [key for key in depends if f"Error in rule {rule_name(key)}:" in log]
    waiting = blocked(failed, depends)
    if not waiting:
        return ""
    return f"Not run, because {', '.join(failed)} failed: {', '.join(waiting)}."

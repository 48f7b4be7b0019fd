"""Train the laboratory models of a command before anything else, with progress.

Usage: make laboratory [MODEL="lab_medium_tuned, …"]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable

from sycophancy import finetune, lab, models, runs
from sycophancy.errors import InputError
from workflow import grid

EVERY_SECONDS = 10.0  # between two lines of progress


def names_in(batch: grid.Batch) -> list[str]:
    """Return the laboratory models that the cells of a batch name, each once."""
    found = []
    for given in batch.cells.values():
        for name in ("MODEL", "BASE"):
            value = given.get(name)
            found += runs.as_list(value) if isinstance(value, str) and value.strip() else []
    return [name for name in dict.fromkeys(found) if name.startswith(models.LABORATORY)]


def train(names: Iterable[str]) -> None:
    """Train the laboratory models that are missing on this machine, bases first."""
    names = list(names)
    for name in names:
        models.check_name(name)
    missing = lab.needed(names)
    if not missing:
        return
    models.enable_compile_cache()
    print(f"{len(missing)} laboratory models to train: about {lab.minutes(missing):.0f} minutes")
    last = 0.0

    def show(name: str, now: finetune.Progress) -> None:
        nonlocal last
        if now.step < now.steps and time.monotonic() - last < EVERY_SECONDS:
            return
        last = time.monotonic()
        left = now.seconds / max(1, now.step - now.resumed) * (now.steps - now.step)
        print(
            f"{name:24} {now.step / now.steps:4.0%}  step {now.step:,} of {now.steps:,}, "
            f"loss {now.loss:.3f}  {int(left // 60)}:{int(left % 60):02d} left",
            flush=True,
        )

    for name in missing:
        lab.ensure(name, show)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    every = [f"lab_{rung}{kind}" for rung in lab.RUNGS for kind in ("", "_tuned")]
    default = ", ".join(name for name in every if "tiny" not in name)
    parser.add_argument("--model", default=default)
    options = parser.parse_args(arguments)
    try:
        names = runs.as_list(options.model)
        for name in names:
            lab.parse(name)
        train(names)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. What is trained is kept: the same command goes on from there.")
        return 130
    for name in names:
        print(f"{name}: {lab.folder(name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

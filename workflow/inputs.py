"""What a cell reads from outside its batch: files and folders that its parameters name."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sycophancy.ladder import RUN_FILE, at_step
from sycophancy.runs import existing, write_json
from sycophancy.runs.identity import short_hash, stamp
from workflow.cells import yield_texts

RECORD = "inputs.json"  # in the run folder of a cell that has changed what it reads
DOWNLOADS = "downloads"  # TFDS's, below its data folder: read only to prepare a data set


def stamps(parameters: Mapping[str, Any], base: Path, root: Path) -> dict[str, str]:
    """Return {name: stamp} of the files and folders outside `base` that parameters name.

    They are model and run folders, claims, instructions, and folders of data: the stamp changes
    when what is in them does. `base` is the folder of the batch, whose cells wait for one another;
    relative names begin at `root`, the checkout.
    """
    names = {part for value in parameters.values() for text in yield_texts(value)
             for part in (text, *text.split(","))}  # fmt: skip
    if parameters.get("DATA") == "tfds" and not parameters.get("DATA_DIR"):
        names.add(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")  # TFDS's own rule
    found = {}
    for name in sorted(at_step(name.strip())[0] for name in names):
        path = existing(name, root)
        if path is not None and not path.is_relative_to(base):
            found[name] = short_hash(
                {str(f.relative_to(path)): stamp(f) for f in counted_files(path, root)}
            )
    return found


def counted_files(path: Path, root: Path) -> Iterable[Path]:
    """Return the files that count at a path: of a run those that say it was made again."""
    if path.is_file():
        return [path]
    if (path / RUN_FILE).is_file():
        return [path / RUN_FILE, *path.glob("step-*.safetensors")]
    if (path / "metrics.json").is_file():
        return [path / "metrics.json", path / "run.json"]
    if root.is_relative_to(path):  # the checkout lies in it, and runs/ in that
        return [file for file in path.iterdir() if file.is_file()]
    return (file for file in path.rglob("*") if file.is_file() and not is_passing(file, path))


def is_passing(file: Path, folder: Path) -> bool:
    """Return whether a file below a folder is hidden or a download."""
    parts = file.relative_to(folder).parts
    return DOWNLOADS in parts or any(part.startswith(".") for part in parts)


def current(parameters: Mapping[str, Any], folder: Path, root: Path) -> dict[str, str]:
    """Return `stamps`, those of before the cell ran where only the cell itself has changed them.

    A cell that reads a published data set for the first time prepares it in its data folder.
    `folder` is the cell's run folder, in that of its batch.
    """
    now = stamps(parameters, folder.parent, root)
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return dict(record["before"]) if record["after"] == now else now
    except (OSError, ValueError, KeyError, TypeError):
        return now


def remember_changes(before: dict[str, str], after: dict[str, str], folder: Path) -> None:
    """Write down what a cell has changed of what it reads."""
    if before == after:
        (folder / RECORD).unlink(missing_ok=True)
    else:
        write_json(folder / RECORD, {"before": before, "after": after})

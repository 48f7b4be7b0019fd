"""What a finished batch leaves to look at: published figures and the tables it prints."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from sycophancy import figures
from sycophancy.runs import atomic, metrics_of
from workflow import grid
from workflow.cells import notebook_of

GENERATES = "03_generate_data"
COMPARES = "07_wrong_additions_after"
LABORATORY_FIGURES = re.compile(r"fig(\d|_examples)")  # the paper's, and one curve that is ours
LABORATORY = "@lab"
APART = re.compile(rf"({LABORATORY}(?:_(?:tiny|small|medium|large))?|@rung)")  # and what follows


def publish(folders: Iterable[Path], target: Path, rung: str = "") -> None:
    """Copy the figures of finished runs into figures/, where they differ from what is there.

    A figure that several cells drew is that of the first of them. Cells of the laboratory (label
    "lab", or with a size "lab_small", whatever follows) and of the `rung` (label "rung", whatever
    follows) publish under names of their own: none of them stands for the embedded model, nor one
    rung for another. Of the laboratory LABORATORY_FIGURES are published, of others all.
    """
    target.mkdir(exist_ok=True)
    seen = set()
    for folder in folders:
        apart = APART.search(folder.name)
        for path in sorted((folder / "figures").glob("fig*")):
            if LABORATORY in folder.name and not LABORATORY_FIGURES.match(path.name):
                continue
            old = target / path.name
            if apart:
                name = label(apart[1], rung).replace("_instruct", "")
                old = old.with_stem(f"{path.stem}_{name}")
            if old.name in seen:
                continue
            seen.add(old.name)
            if not old.is_file() or old.read_bytes() != path.read_bytes():
                with atomic(old) as temporary:
                    shutil.copyfile(path, temporary)
                print(f"wrote {target.name}/{old.name}")


def print_tables(folders: dict[str, Path], rung: str = "") -> None:
    """Print the short tables, the leaks and the intervention, then where everything is.

    Laboratory models have a short table of their own: no table holds both.
    """
    measured = [key for key in folders if notebook_of(key) in grid.MEASURES]
    for laboratory in (False, True):
        keys = [key for key in measured if (LABORATORY in key) == laboratory]
        rows = [{"cell": key, **row} for key in keys for row in read_rows(folders[key])]
        table = short_table(pd.DataFrame(rows))
        if not table.empty:
            print("\nLaboratory models\n" * laboratory + table.to_string(index=False))
    print_leaks(folders, rung)
    print_intervention(folders, rung)
    for key, folder in folders.items():
        inside = folder.is_relative_to(grid.ROOT)  # or where OUT_DIR says
        place = folder.relative_to(grid.ROOT) if inside else folder
        print(f"{key}: tables and executed notebook in {place}")


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a finished run's metrics.json."""
    return list(metrics_of(folder)["rows"])


def print_leaks(folders: dict[str, Path], rung: str = "") -> None:
    """Print how well the answers of each recipe are guessed without knowing the claim."""
    for key, folder in folders.items():
        if notebook_of(key) != GENERATES:
            continue
        rows = pd.DataFrame(read_rows(folder))
        leaks = rows[(rows["metric"] == "leak") & (rows["source"] == "all")]
        what = "answers predicted without knowing the claim (50 % is chance)"
        print(f"\nTraining prompts{in_brackets(key, rung)}: {what}")
        wide = figures.pivot(leaks, index=["recipe"], columns="features").rename_axis(
            index=None, columns=None
        )
        print(wide.to_string())


def print_intervention(folders: dict[str, Path], rung: str = "") -> None:
    """Print the table that the comparison of the additions saved as intervention.csv."""
    for key, folder in folders.items():
        path = folder / "intervention.csv"
        if notebook_of(key) == COMPARES and path.is_file():
            print(f"\nBefore and after the intervention{in_brackets(key, rung)}")
            print(pd.read_csv(path, dtype=str, keep_default_na=False).to_string(index=False))


def label(key: str, rung: str) -> str:
    """Return a cell's label, "rung" in it replaced by that model; nothing where it has none.

    >>> label("02_wrong_additions@rung_after", "qwen2.5_coder_instruct_0.5b")
    'qwen2.5_coder_instruct_0.5b_after'
    """
    name = key.partition("@")[2]
    return f"{rung or 'rung'}{name.removeprefix('rung')}" if name.startswith("rung") else name


def in_brackets(key: str, rung: str) -> str:
    """Return a cell's label as part of a heading."""
    name = label(key, rung)
    return f" ({name})" if name else ""


def short_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model, suite and answer format from the metrics of the notebooks.

    `n` counts answers that could match a user's view, `questions` what the intervals resample.
    Prompt format, source and cell are named where they tell rows apart; a row that several cells
    have alike is there once.
    """
    if metrics.empty:
        return metrics
    overall = metrics[metrics["truth"] == "all"]
    always = ["model", "suite", "answer_format"]
    others = [name for name in ("format", "source", "cell") if name in metrics]
    keys = always + others
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
    ).reset_index()
    table = table.drop_duplicates([name for name in table if name != "cell"], ignore_index=True)
    for name in reversed(others):
        needed = [key for key in keys if key in table and key != name]
        if not table.duplicated(needed).any():
            table = table.drop(columns=name)
    return table

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
LABORATORY = re.compile(r"@(lab(?:_(?:tiny|small|medium|large))?)")  # and what follows


def publish(folders: Iterable[Path], target: Path) -> None:
    """Copy the figures of finished runs into figures/, where they differ from what is there.

    A figure that several cells drew is that of the first of them. Laboratory cells (label "lab", or
    with a rung "lab_small", whatever follows) publish LABORATORY_FIGURES only, under names of
    their own: they never stand for the real model's.
    """
    target.mkdir(exist_ok=True)
    seen = set()
    for folder in folders:
        laboratory = LABORATORY.search(folder.name)
        for path in sorted((folder / "figures").glob("fig*")):
            if laboratory and not LABORATORY_FIGURES.match(path.name):
                continue
            old = target / path.name
            if laboratory:
                old = old.with_stem(f"{path.stem}_{laboratory[1]}")
            if old.name in seen:
                continue
            seen.add(old.name)
            if not old.is_file() or old.read_bytes() != path.read_bytes():
                with atomic(old) as temporary:
                    shutil.copyfile(path, temporary)
                print(f"wrote {target.name}/{old.name}")


def print_tables(folders: dict[str, Path]) -> None:
    """Print the short tables, the leaks and the intervention, then where everything is.

    Laboratory models have a short table of their own: no table holds both.
    """
    measured = [key for key in folders if notebook_of(key) in grid.MEASURES]
    for laboratory in (False, True):
        keys = [key for key in measured if bool(LABORATORY.search(key)) == laboratory]
        rows = [{"cell": key, **row} for key in keys for row in read_rows(folders[key])]
        table = short_table(pd.DataFrame(rows))
        if not table.empty:
            print("\nLaboratory models\n" * laboratory + table.to_string(index=False))
    print_leaks(folders)
    print_intervention(folders)
    for key, folder in folders.items():
        inside = folder.is_relative_to(grid.ROOT)  # or where OUT_DIR says
        place = folder.relative_to(grid.ROOT) if inside else folder
        print(f"{key}: tables and executed notebook in {place}")


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a finished run's metrics.json."""
    return list(metrics_of(folder)["rows"])


def print_leaks(folders: dict[str, Path]) -> None:
    """Print how well the answers of each recipe are guessed without knowing the claim."""
    for key, folder in folders.items():
        if notebook_of(key) != GENERATES:
            continue
        rows = pd.DataFrame(read_rows(folder))
        leaks = rows[(rows["metric"] == "leak") & (rows["source"] == "all")]
        what = "answers predicted without knowing the claim (50 % is chance)"
        print(f"\nTraining prompts{label(key)}: {what}")
        wide = figures.pivot(leaks, index=["recipe"], columns="features").rename_axis(
            index=None, columns=None
        )
        print(wide.to_string())


def print_intervention(folders: dict[str, Path]) -> None:
    """Print the table that the comparison of the additions saved as intervention.csv."""
    for key, folder in folders.items():
        path = folder / "intervention.csv"
        if notebook_of(key) == COMPARES and path.is_file():
            print(f"\nBefore and after the intervention{label(key)}")
            print(pd.read_csv(path, dtype=str, keep_default_na=False).to_string(index=False))


def label(key: str) -> str:
    """Return a cell's label in brackets, nothing where it has none."""
    _, at, name = key.partition("@")
    return f" ({name})" if at else ""


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

"""What a finished batch leaves to look at: published figures and the tables it prints."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sycophancy import figures
from sycophancy.ladder import LABORATORY as LABORATORY_MODELS
from sycophancy.runs import atomic, metrics_of
from sycophancy.studies import COMPARES
from workflow import grid
from workflow.cells import notebook_of

GENERATES = "03_generate_data"
JUDGES = "07_wrong_additions_after"
LABORATORY_FIGURES = re.compile(r"fig(\d|_examples)")  # the paper's, and one curve that is ours
LABORATORY = "@lab"


def publish(sources: Iterable[tuple[Path, str]], target: Path) -> None:
    """Copy the figures of finished runs into figures/, where they differ from what is there.

    `sources` are run folders, each with what the names of its figures end in, so that no model's
    stand for another's. A figure that several have is that of the first. Of the laboratory
    LABORATORY_FIGURES are published, of others all.
    """
    target.mkdir(exist_ok=True)
    seen = set()
    for folder, ending in sources:
        laboratory = f"{ending}_".startswith(LABORATORY_MODELS)
        for path in sorted((folder / "figures").glob("fig*")):
            if laboratory and not LABORATORY_FIGURES.match(path.name):
                continue
            old = target / path.name
            if ending:
                old = old.with_stem(f"{path.stem}_{ending}")
            if old.name in seen:
                continue
            seen.add(old.name)
            if not old.is_file() or old.read_bytes() != path.read_bytes():
                with atomic(old) as temporary:
                    shutil.copyfile(path, temporary)
                print(f"wrote {target.name}/{old.name}")


def figure_sources(batch: grid.Batch) -> list[tuple[Path, str]]:
    """Return the run folders of a batch and the endings of their figures, as `publish` takes them.

    They stand in the profile's order, but for comparisons: of a study and those that extend it the
    last one has all runs to compare, and comes first.
    """
    keys = list(batch.cells)
    last = [key for key in reversed(keys) if compares(notebook_of(key), batch.cells[key])]
    ordered = [*last, *(key for key in keys if key not in last)]
    return [(grid.ROOT / batch.folders[key], batch.figures[key]) for key in ordered]


def compares(notebook: str, parameters: Mapping[str, Any]) -> bool:
    """Return whether a cell draws what other cells measured."""
    return notebook in COMPARES or bool(parameters.get("BESIDE"))


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
        if notebook_of(key) == JUDGES and path.is_file():
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

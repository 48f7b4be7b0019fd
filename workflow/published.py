"""Make the small study that ships with the package from the finished runs of a profile.

Usage: make published [PROFILE=laptop]

Comparing notebooks read it where nothing has been run (`runs.take_study`). It holds items, scores
and records, no weights, figures or executed notebooks. Its names begin with `published/` instead of
`runs/PROFILE/`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from sycophancy.errors import InputError
from sycophancy.ladder import PUBLISHED, RUN_FILE, published_folder
from sycophancy.runs import read_record, write_json
from sycophancy.runs.newest import STUDY_FILE
from sycophancy.studies import COMPARES, FILTER, GENERATE, TRAIN
from workflow import grid, stopping
from workflow.cells import notebook_of

LIMIT = 5_000_000  # bytes in all
MEASURED = ("items.parquet", "scores.parquet", "metrics.json")
# what spares asking again, what each filter decided, and the prompts that other filters leave
LEFT_OUT = ("asked_as_*", "decisions_*", "prompts_*_none.parquet", "prompts_*_pick.parquet")


def publish_study(batch: grid.Batch, target: Path) -> list[str]:
    """Write the published study from a batch's run folders; return the cells that it holds.

    Comparisons that have finished are in it, with what they read; of notebooks 03 and 04 those
    cells without a label, whose prompts notebooks 04 and 05 take where none are given. Raises
    InputError where no comparison has finished and where the study is larger than LIMIT.
    """
    done = {
        key: folder
        for key, folder in ((key, grid.ROOT / path) for key, path in batch.folders.items())
        if (folder / "metrics.json").is_file()
    }
    compared = [key for key in done if notebook_of(key) in COMPARES]
    if not compared:
        raise InputError(f"No comparison in {batch.base} has finished: run make reproduce first.")
    parts = {key: MEASURED for other in compared for key in batch.depends[other] if key in done}
    prompts = {key: ("*.parquet", "metrics.json") for key in (GENERATE, FILTER) if key in done}
    trained = [key for key in done if notebook_of(key) == TRAIN]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        place = Path(temporary) / target.name
        for key in dict.fromkeys([*compared, *parts, *prompts, *trained]):
            copy_run(done[key], place / key, parts.get(key, prompts.get(key, ())), batch.base)
        states = [read_record(done[key] / "run.json", "git") or {} for key in compared]
        commits = {str(state.get("commit", "unknown"))[:7] for state in states}
        about = {"profile": Path(batch.base).name, "commit": ", ".join(sorted(commits))}
        about["date"] = datetime.now(UTC).date().isoformat()
        write_json(place / STUDY_FILE, about)
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        if size > LIMIT:
            raise InputError(
                f"The study has {size:,} bytes, and {LIMIT:,} are allowed: choose fewer."
            )
        shutil.rmtree(target, ignore_errors=True)
        place.rename(target)
    print(f"{target.relative_to(grid.ROOT)}: {len(compared)} comparisons, {size:,} bytes")
    return compared


def copy_run(source: Path, target: Path, patterns: Iterable[str], base: str) -> None:
    """Copy the records of a run, of its trained runs, and the files that `patterns` name."""
    target.mkdir(parents=True)
    names = ["run.json", f"*/{RUN_FILE}", *patterns]
    left_out = {path for pattern in LEFT_OUT for path in source.glob(pattern)}
    for path in sorted({path for pattern in names for path in source.glob(pattern)} - left_out):
        if ".before-" in path.parent.name:
            continue
        new = target / path.relative_to(source)
        new.parent.mkdir(exist_ok=True)
        if path.suffix == ".json":
            new.write_text(path.read_text("utf-8").replace(f"{base}/", PUBLISHED), "utf-8")
            continue
        write_small(rename_runs(pd.read_parquet(path), base), new)


def write_small(table: pd.DataFrame, path: Path) -> None:
    """Write a table as parquet, texts that seldom repeat by what they share, numbers by byte."""
    names = [str(name) for name, column in table.items() if holds_texts(column)]
    seldom = [name for name in names if table[name].nunique() > len(table) / 10]
    numbers = [str(name) for name, column in table.items() if column.dtype == "float64"]
    encoding = dict.fromkeys(seldom, "DELTA_BYTE_ARRAY")
    encoding |= dict.fromkeys(numbers, "BYTE_STREAM_SPLIT")
    table.to_parquet(
        path,
        index=False,
        compression="zstd",
        compression_level=19,
        use_dictionary=[str(name) for name in table if name not in encoding],
        column_encoding=encoding,
    )


def holds_texts(column: pd.Series) -> bool:
    """Return whether every value of a column is a text."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return False
    return bool(column.map(lambda value: isinstance(value, str)).all())


def rename_runs(table: pd.DataFrame, base: str) -> pd.DataFrame:
    """Return a table whose texts name run folders below `published/` instead of `base`."""
    renamed = {
        str(name): column.str.replace(f"{base}/", PUBLISHED, regex=False)
        for name, column in table.items()
        if holds_texts(column)
    }
    return table.assign(**renamed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="laptop")
    options = parser.parse_args()
    publish_study(grid.expand_profile(options.profile), published_folder(""))


if __name__ == "__main__":
    sys.exit(stopping.run_main(main))

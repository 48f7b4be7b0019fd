"""Filter a file of prompts slice by slice: bounded memory, and nothing is asked twice."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from sycophancy import generate, scoring
from sycophancy.errors import InputError
from sycophancy.filters.asking import (
    INPUT,
    Input,
    OnProgress,
    check_kind,
    check_prompts,
    choose_compared,
    decide,
    rows_of,
)
from sycophancy.models import LanguageModel
from sycophancy.runs import atomic, discard
from sycophancy.runs.identity import file_hash, identity

LIGHT = [*INPUT, "label", "shown", "format", "answer_format"]  # read of all prompts before asking


def filter_file(
    model: LanguageModel,
    path: Path,
    kind: str,
    *,
    out: Path,
    slice_rows: int = 10_000,
    table: pd.DataFrame | None = None,
    seed: int = 0,
    store: Path | None = None,
    on_progress: OnProgress | None = None,
) -> pd.DataFrame:
    """Return the rows of `ask` for all prompts of a file that `generate.save` wrote.

    Prompts are read, asked and written `slice_rows` at a time: memory holds one slice, its scores
    and some hundred bytes for each prompt. The decisions of a finished slice lie in the folder
    `out` as parquet and are not asked again by a later call with the same model, file, filter, seed
    and slices; `store` keeps the finished batches of the slice that a kill interrupts. `paired`
    decides an input where it first occurs, for all slices. `on_progress` counts prompts, not
    tokens. Raises InputError as `ask` does, before the model is asked.
    """
    check_kind(kind)
    generate.check_request((), seed=seed)
    if isinstance(slice_rows, bool) or not isinstance(slice_rows, int) or slice_rows < 1:
        raise InputError(f"slice_rows is {slice_rows!r}: give a number of prompts from 1 on.")
    check_prompts(generate.read_prompts(path, 0, 1))
    light = read_light(path)
    check_forms(light)
    against = choose_compared(light, table, seed) if kind == "paired" else {}
    total = len(light)
    del light
    name = signature(model, path, kind, slice_rows, against)
    files = {
        start: out / f"{kind}-{name}-{start:07d}.parquet" for start in range(0, total, slice_rows)
    }
    kept = {start: read_slice(file) for start, file in files.items()}
    finished = {start: part for start, part in kept.items() if part is not None}
    known: dict[Input, bool] = {}
    if kind == "paired":
        for part in finished.values():
            known.update(decisions(part))
    began = time.monotonic()
    reused = sum(map(len, finished.values()))
    done = 0
    for start, file in files.items():
        if start not in finished:
            prompts = generate.read_prompts(path, start, start + slice_rows)
            check_prompts(prompts)
            tell = in_prompts(on_progress, done, len(prompts), total, reused, began)
            # a store for each slice: what is in a store is held in memory
            place = store / f"{start:07d}-{slice_rows}" if store is not None else None
            part = decide(model, prompts, kind, against, known, store=place, on_progress=tell)
            with atomic(file) as temporary:
                part.to_parquet(temporary, index=False)
            finished[start] = part
            if kind == "paired":
                known.update(decisions(part))
        done += len(finished[start])
        if on_progress is not None:
            on_progress(scoring.ScoringProgress(done, total, reused, time.monotonic() - began))
    return pd.concat([finished[start] for start in files], ignore_index=True)


def read_slice(file: Path) -> pd.DataFrame | None:
    """Return the decisions on a finished slice, None where there are none or they are damaged."""
    try:
        return pd.read_parquet(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        discard(file, error)
        return None


def read_light(path: Path) -> pd.DataFrame:
    """Return the columns LIGHT of all prompts of a file."""
    return pq.read_table(path, columns=LIGHT).to_pandas()


def check_forms(light: pd.DataFrame) -> None:
    """Raise InputError where a file mixes formats, also where no slice does."""
    for column in ("format", "answer_format"):
        if light[column].nunique() > 1:
            raise InputError(
                f"The file mixes prompts of {column} {' and '.join(light[column].unique())}: an "
                "input is known or not in one form, so filter them apart."
            )


def decisions(part: pd.DataFrame) -> dict[Input, bool]:
    """Return what `paired` decided on each input of a slice."""
    return dict(zip(rows_of(part, INPUT), part["kept"].tolist(), strict=True))


def signature(
    model: LanguageModel,
    path: Path,
    kind: str,
    slice_rows: int,
    against: Mapping[Input, tuple[str, ...]],
) -> str:
    """Return the identity of the slices of a file."""
    return identity(
        __name__,
        model=model.fingerprint,
        settings={"kind": kind, "slice_rows": slice_rows},
        data=[file_hash(path), sorted(against.items())],
    )


def in_prompts(
    on_progress: OnProgress | None, done: int, size: int, total: int, reused: int, began: float
) -> OnProgress | None:
    """Return a listener to the tokens of one slice that tells `on_progress` prompts of all."""
    if on_progress is None:
        return None

    def tell(progress: scoring.ScoringProgress) -> None:
        """Turn tokens of the slice into prompts of all."""
        here = done + size * progress.done // max(1, progress.total)
        on_progress(scoring.ScoringProgress(here, total, reused, time.monotonic() - began))

    return tell

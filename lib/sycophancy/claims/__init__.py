"""Claims whose truth does not depend on anybody's opinion (section 4.1, appendix C).

A claim is a row: claim_id, source, group (claims with the same labels to choose from), split, text
(the [input] of the prompt, quoted), label (the true label's words), others (the words of the wrong
labels, separated by " | ").
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sycophancy.claims import read
from sycophancy.claims.clean import keep_once, too_long
from sycophancy.claims.read import OTHERS, SPLITS, stated_in_laboratory
from sycophancy.claims.sources import (
    EVERY_SOURCE,
    EVERYDAY,
    LAB,
    PAPER_TOTAL,
    SOURCES,
    Source,
)
from sycophancy.claims.tables import read_csv
from sycophancy.errors import InputError, unknown
from sycophancy.reading import is_null

__all__ = [
    "COLUMNS",
    "DATA",
    "EVERYDAY",
    "EVERY_SOURCE",
    "LAB",
    "OTHERS",
    "PAPER_TOTAL",
    "SOURCES",
    "SPLITS",
    "Source",
    "check_claims",
    "claims",
    "count_rows",
    "count_table",
    "held_out",
    "read_csv",
    "source_names",
    "stated_in_laboratory",
]

COLUMNS = ["claim_id", "source", "group", "split", "text", "label", "others"]
DATA = ("embedded", "tfds")
DEVELOPMENT_SHARE = 4  # one in so many evaluation texts is for development


def claims(
    sources: Iterable[str] = tuple(SOURCES),
    *,
    data: str = "embedded",
    split: str = "train",
    data_dir: str | Path | None = None,
    manual_dir: str | Path | None = None,
    download: bool = True,
    checksums: bool = True,
    drop_empty: bool = False,
    max_tokens: int | None = None,
    count_tokens: Callable[[Sequence[str]], Sequence[int]] | None = None,
    apart_from: pd.DataFrame | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the claims of the sources (columns: COLUMNS) and a table of what was left out.

    `data` "embedded" reads the set written for this repository, "tfds" the published ones through
    TensorFlow Datasets (`data_dir`, `manual_dir`, `download`, `checksums`: see
    builders.prepare.prepare). `split` train is the only one to generate training prompts from;
    development and test come from the published validation and test splits: one text in four, by
    its SHA-256, is for development. Rows without a gold label are dropped and counted; a text is
    kept once over all sources, and not at all where its copies disagree; a published split without
    a single label yields no claims, with a warning; `max_tokens` drops longer
    inputs by `count_tokens`; texts in `apart_from` (such as the training claims) are dropped.

    The table has one row a source: read, unlabelled, empty, repeated, conflicting, too_long, seen,
    kept, paper (the paper's count, train split). Raises InputError for an unknown source, data or
    split, a data set that cannot be had, a strange label, and an empty text unless `drop_empty`.
    """
    chosen = choose(sources)
    if data not in DATA:
        raise unknown("data", data, DATA)
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if (max_tokens is None) != (count_tokens is None):
        raise InputError("max_tokens needs count_tokens, a function from texts to token counts.")
    frames, counts = [], {}
    for number, source in enumerate(chosen):
        if on_progress is not None:
            on_progress(source.name, number, len(chosen))
        if data == "embedded" or source in (EVERYDAY, LAB):
            frame, count = from_embedded(source, split, drop_empty)
        else:
            frame, count = from_tfds(
                source, split, data_dir, manual_dir, download, checksums, drop_empty
            )
        frames.append(frame)
        counts[source.name] = count
    table = pd.concat([frame.astype({"label": object, "others": object}) for frame in frames])
    table = compact(table.reset_index(drop=True))
    counted = pd.DataFrame.from_dict(counts, orient="index")
    table, counted["repeated"], counted["conflicting"] = keep_once(table)
    long, seen = np.zeros(len(table), dtype=bool), np.zeros(len(table), dtype=bool)
    if max_tokens is not None and count_tokens is not None:
        long = too_long(table["text"], max_tokens, count_tokens)
    if apart_from is not None:
        seen = table["text"].isin(apart_from["text"]).to_numpy() & ~long
    whose = table["source"].astype(object)
    counted["too_long"], counted["seen"] = whose[long].value_counts(), whose[seen].value_counts()
    table = table[~(long | seen)].reset_index(drop=True)
    counted["kept"] = table["source"].astype(object).value_counts()
    counted["paper"] = [source.paper_rows for source in chosen]
    return table, counted.fillna(0).astype(int).rename_axis("source").reset_index()


def source_names(text: str) -> list[str]:
    """Return the source names in a comma-separated text, "all" being the paper's seventeen.

    >>> names("sst2, everyday_facts")
    ['sst2', 'everyday_facts']
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    every = [name for part in parts for name in (SOURCES if part == "all" else [part])]
    return [source.name for source in choose(every)]


def choose(sources: Iterable[str]) -> list[Source]:
    """Return the sources by name, each once; InputError for an unknown name or none at all."""
    if isinstance(sources, str):
        raise InputError(f"sources is the text {sources!r}: give a list, such as [{sources!r}].")
    given = list(dict.fromkeys(sources))
    for name in given:
        if name not in EVERY_SOURCE:
            raise unknown("source", name, EVERY_SOURCE)
    if not given:
        raise InputError(f"No source is given: choose from {', '.join(EVERY_SOURCE)}.")
    return [EVERY_SOURCE[name] for name in given]


def from_embedded(
    source: Source, split: str, drop_empty: bool
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return one split of the embedded set of a source, and its counts."""
    if source is LAB:
        return read.laboratory(split)
    if source is EVERYDAY:
        return read.everyday(read.embedded_table(source, split), split)
    return read.to_claims(source, split, read.read_embedded(source, split), drop_empty)


def from_tfds(
    source: Source,
    split: str,
    data_dir: str | Path | None,
    manual_dir: str | Path | None,
    download: bool,
    checksums: bool,
    drop_empty: bool,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return one split of a source from TFDS, and its counts (before texts are kept once)."""
    from sycophancy.builders import prepare  # TensorFlow takes seconds to import

    builder = prepare.prepare_builder(
        source.builder,
        data_dir=data_dir,
        manual_dir=manual_dir,
        download=download,
        checksums=checksums,
    )
    parts, totals = [], {"read": 0, "unlabelled": 0, "empty": 0}
    for name in read.upstream_splits(source, split, list(builder.info.splits)):
        rows = read.read_tfds(source, name, builder)
        frame, count = read.to_claims(source, split, rows, drop_empty)
        if count["unlabelled"] == count["read"] > 0:  # such as GLUE's test splits
            warnings.warn(
                f"{source.name}: none of the {count['read']:,} rows of {builder.info.full_name}, "
                f"split {name}, has a label: no claims come from it",
                stacklevel=3,
            )
        frame["claim_id"] = frame["claim_id"].str.replace(f"-{split}-", f"-{name}-", regex=False)
        parts.append(frame)
        totals = {key: totals[key] + count[key] for key in totals}
    table = pd.concat(parts, ignore_index=True)
    if split != "train":
        mine = for_development(table["text"]) == np.bool_(split == "development")
        totals["read"] = int(mine.sum())
        table = table.loc[mine].reset_index(drop=True)
    return table, totals


def for_development(texts: Iterable[str]) -> np.ndarray:
    """Return which evaluation texts are for development: one in four, by the text's SHA-256."""
    digests = (hashlib.sha256(text.encode()).digest()[0] for text in texts)
    return np.fromiter((byte % DEVELOPMENT_SHARE == 0 for byte in digests), dtype=bool)


def compact(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its repeated texts as categories: 1.7 million claims fit in 2 GB."""
    repeated = ["source", "group", "split", "label", "others"]
    kinds = {column: "category" for column in repeated}
    return table[COLUMNS].astype({"claim_id": "str", "text": "str", **kinds})


def check_claims(table: pd.DataFrame) -> None:
    """Raise InputError unless a table has the columns of claims, and labels that can be wrong.

    Texts and labels are texts that say something, and no label is among its own others. Tables that
    pandas reads by itself often have numbers, truth values and NaN there.
    """
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise InputError(f"Claims lack the column {missing[0]!r}: they need {', '.join(COLUMNS)}.")
    for column in ("text", "label", "others"):
        values = table[column]
        kinds = getattr(values.dtype, "categories", values)  # a million claims in little time
        if kinds.dtype == "str" and (column == "others" or values.notna().all()):
            continue
        for name, value in zip(table["claim_id"], values.astype(object), strict=True):
            if not isinstance(value, str) and not (column == "others" and is_null(value)):
                raise InputError(
                    f"Claim {name!r} has the {column} {value!r}, which is no text: read a file "
                    "with claims.read_csv, or give text in every row."
                )
    blank = table["text"].str.strip('" ').eq("") | table["label"].astype(object).str.strip().eq("")
    if blank.any():
        raise InputError(f"Claim {table['claim_id'][blank].iloc[0]!r} has no text or no label.")
    pairs = table[["claim_id", "label", "others"]].drop_duplicates(["label", "others"]).dropna()
    for name, label, others in pairs.itertuples(index=False):
        if label in others.split(OTHERS):
            raise InputError(
                f"Claim {name!r} has the label {label!r} also among its others ({others!r}): take "
                "it out there."
            )


def held_out(parameters: Mapping[str, Any], split: str = "test") -> pd.DataFrame:
    """Return another split of the claims that notebook 03 was run on, given its parameters.

    `parameters` are those of its run.json: SOURCES, DATA, DATA_DIR, MANUAL_DIR and CLAIMS.
    """
    if parameters.get("CLAIMS"):
        return read_csv(parameters["CLAIMS"], split)
    table, _ = claims(
        source_names(parameters["SOURCES"]),
        data=parameters["DATA"],
        data_dir=parameters.get("DATA_DIR") or None,
        manual_dir=parameters.get("MANUAL_DIR") or None,
        split=split,
        drop_empty=True,
    )
    return table


def count_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the counts of claims that come from a table, in the form of those of `claims`."""
    kept = table["source"].astype(object).value_counts(sort=False)
    columns = ["read", "unlabelled", "empty", "repeated", "conflicting", "too_long", "seen"]
    counts = pd.DataFrame({"source": kept.index, **dict.fromkeys(columns, 0)})
    return counts.assign(read=kept.to_numpy(), kept=kept.to_numpy(), paper=0)


def count_table(counts: pd.DataFrame) -> pd.DataFrame:
    """Return the counts beside the paper's, with label words and a total row, for reading."""
    table = counts.copy()
    own = Source("", "", (), {}, 0, "", task="claims of your own")
    known = [EVERY_SOURCE.get(name, own) for name in table["source"]]
    table.insert(1, "what", [source.task for source in known])
    table.insert(2, "labels", [label_words(source) for source in known])
    numbers = table.select_dtypes("number").columns
    total = {"source": "all", "what": "", "labels": "", **table[numbers].sum().to_dict()}
    return pd.concat([table, pd.DataFrame([total])], ignore_index=True)


def label_words(source: Source) -> str:
    """Return the label words of a source in one line."""
    return " / ".join(source.words.values()) if source.words else "the value itself"

"""Rows of one source as claims, from TFDS or from the set written for this repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sycophancy import embedded
from sycophancy.claims import facts
from sycophancy.claims.clean import check_empty, clean, inputs
from sycophancy.claims.sources import EVERYDAY, LAB, Source, word
from sycophancy.errors import InputError
from sycophancy.world import known_facts, world

SPLITS = ("train", "development", "test")
OTHERS = " | "  # between the other labels of a claim
UNLABELLED = -1  # TFDS's value for a row without a gold label (SNLI)


@dataclass(frozen=True)
class Rows:
    """The rows of one source: cleaned fields, label name (None: no gold label), row number."""

    fields: list[pa.ChunkedArray]
    labels: np.ndarray
    numbers: np.ndarray


def embedded_table(source: Source, split: str) -> pd.DataFrame:
    """Return the rows of the embedded set of a source in one split, as they are in the file."""
    name = "everyday_facts" if source is EVERYDAY else f"claims_{source.name}"
    return pd.DataFrame(embedded.embedded_rows(name, split))


def read_embedded(source: Source, split: str) -> Rows:
    """Return one split of the embedded set of a source."""
    table = embedded_table(source, split)
    fields = [clean(table[field].tolist()) for field in source.fields]
    return Rows(fields, table["label"].to_numpy(object), np.arange(len(table)))


def read_tfds(source: Source, split: str, builder: Any) -> Rows:
    """Return one upstream split of a source through its prepared TFDS builder.

    Raises InputError for a label name without a word.
    """
    from sycophancy.builders import prepare  # TensorFlow takes seconds to import

    names = builder.info.features[source.label].names
    for name in names:
        word(source, name, f"label list of {builder.info.full_name}")
    texts: list[list[pa.Array]] = [[] for _ in source.fields]
    codes = []
    for batch in prepare.read_batches(builder, split):
        for column, field in zip(texts, source.fields, strict=True):
            column.append(pa.array(prepare.decode(batch[field]), pa.large_string()))
        codes.append(batch[source.label])
    index = np.concatenate(codes) if codes else np.empty(0, int)
    strange = np.flatnonzero((index < UNLABELLED) | (index >= len(names)))
    if len(strange):
        word(source, f"number {index[strange[0]]}", int(strange[0]))
    labels = np.array([*names, None], dtype=object)[index]
    fields = [clean(pa.chunked_array(column, pa.large_string())) for column in texts]
    return Rows(fields, labels, np.arange(len(labels)))


def upstream_splits(source: Source, split: str, available: Sequence[str]) -> list[str]:
    """Return the upstream splits a split is made of: train alone, or every one for evaluation."""
    wanted = ["train"] if split == "train" else list(source.evaluation)
    found = [name for name in wanted if name in available]
    if not found:
        raise InputError(
            f"{source.name} has no split {' or '.join(wanted)} here, only {', '.join(available)}: "
            f"ask for another split, or leave {source.name} out of the sources."
        )
    return found


def to_claims(
    source: Source, split: str, rows: Rows, drop_empty: bool
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the claims of one source and what was left out: unlabelled and empty rows."""
    labelled = np.array([label is not None for label in rows.labels], dtype=bool)
    empty = check_empty(source, rows.fields, drop_empty)
    keep = labelled & ~empty
    counts = {
        "read": len(keep),
        "unlabelled": int((~labelled).sum()),
        "empty": int((labelled & empty).sum()),
    }
    numbers = rows.numbers[keep]
    texts = pd.Series(pd.array(inputs(source, rows.fields).filter(pa.array(keep)), dtype="str"))
    words = list(source.words.values())
    unknown = {name for name in rows.labels[keep]} - set(source.words)
    if unknown:
        row = next(i for i in np.flatnonzero(keep) if rows.labels[i] in unknown)
        word(source, str(rows.labels[row]), int(rows.numbers[row]))
    codes = pd.Index(list(source.words)).get_indexer(rows.labels[keep])
    others = [OTHERS.join(w for w in words if w != label) for label in words]
    frame = pd.DataFrame(
        {
            "claim_id": pd.array([f"{source.name}-{split}-{n}" for n in numbers], dtype="str"),
            "source": category(source.name, len(numbers)),
            "group": category(source.name, len(numbers)),
            "split": category(split, len(numbers)),
            "text": texts,
            "label": pd.Categorical(np.array(words, object)[codes], words),
            "others": pd.Categorical(np.array(others, object)[codes], others),
        }
    )
    return frame, counts


def everyday(table: pd.DataFrame, split: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the claims of everyday facts, one relation one group, from rows of the data file."""
    rows: list[dict[str, str]] = []
    columns = (table[name].astype(str) for name in ("relation", "entity", "value"))
    for number, (relation, entity, value) in enumerate(zip(*columns, strict=True)):
        if relation not in facts.RELATIONS:
            raise InputError(
                f"everyday_facts, row {number}: the relation is {relation!r}, but wordings "
                f"exist for {', '.join(facts.RELATIONS)}: add one in sycophancy/claims/facts.py."
            )
        text, label = facts.word_fact(relation, entity, value)
        rows.append(
            {
                "claim_id": f"everyday_facts-{split}-{number}",
                "source": EVERYDAY.name,
                "group": f"{EVERYDAY.name}/{relation}",
                "split": split,
                "text": text,
                "label": label,
            }
        )
    frame = pd.DataFrame(rows)
    values = frame.groupby("group")["label"].unique().map(sorted)
    frame["others"] = [
        OTHERS.join(v for v in values[group] if v != label)
        for group, label in zip(frame["group"], frame["label"], strict=True)
    ]
    return frame, {"read": len(frame), "unlabelled": 0, "empty": 0}


def laboratory(split: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the facts of the laboratory's world in one split, one attribute one group."""
    rows = [
        {
            "claim_id": f"{LAB.name}-{fact.name}",
            "source": LAB.name,
            "group": f"{LAB.name}/{fact.attribute}",
            "split": split,
            "text": fact.text,
            "label": fact.label,
            "others": OTHERS.join(fact.others),
        }
        for fact in world().facts
        if fact.split == split
    ]
    return pd.DataFrame(rows), {"read": len(rows), "unlabelled": 0, "empty": 0}


def stated_in_laboratory(table: pd.DataFrame) -> pd.Series:
    """Return for each claim whether the laboratory's texts state it; missing for other sources."""
    names = table["claim_id"].astype(str).str.removeprefix(f"{LAB.name}-")
    told = names.isin(known_facts()).astype("boolean")
    return told.where(table["source"].astype(object) == LAB.name)


def category(value: str, n: int) -> pd.Categorical:
    """Return a column of `n` times the same text, one byte each."""
    return pd.Categorical(np.full(n, value, dtype=object), [value])

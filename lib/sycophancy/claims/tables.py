"""Claims of a user's own, from a csv file with the columns text, label, others."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pandas as pd

from sycophancy import reading
from sycophancy.claims.clean import clean
from sycophancy.claims.read import OTHERS, SPLITS
from sycophancy.errors import InputError, unknown

NEEDED = ("text", "label", "others")
SHARES = {"train": 0.6, "development": 0.15, "test": 0.25}


def read_csv(path: str | Path, split: str = "train") -> pd.DataFrame:
    """Return the claims of one split of a csv file (columns: claims.COLUMNS).

    The file has the columns text (put into double quotes), label and others (the wrong labels,
    separated by " | "), and optionally source and split; other columns are passed over. Without a
    column split, a text's SHA-256 decides: 60 % train, 15 % development, 25 % test. White space
    around and inside cells becomes single blanks. Raises InputError naming file and row for what is
    missing or empty, a row with more or fewer cells than the header, a label that is among its
    others, a label that stands twice there, and a text that stands twice.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    file = Path(os.path.expanduser(path))
    if not file.is_file():
        raise InputError(f"There is no file {file}: give a csv file with {', '.join(NEEDED)}.")
    table = read_cells(file)
    texts = clean(table["text"].tolist()).to_pylist()
    frame = pd.DataFrame(
        {
            "claim_id": [f"{file.stem}-{row}" for row in range(len(table))],
            "source": table["source"],
            "group": table["source"],
            "split": table["split"] if "split" in table else [split_of(text) for text in texts],
            "text": [f'"{text}"' for text in texts],
            "label": table["label"],
            "others": [OTHERS.join(split_others(others)) for others in table["others"]],
        }
    )
    first: dict[str, str] = {}
    for row, text in zip(table.itertuples(), texts, strict=True):
        what = claim_fault(text, str(row.label), split_others(str(row.others)), str(row.source))
        if not what and text in first:
            what = f"the text stands twice, first in {first[text]}: keep it once"
        if what:
            raise InputError(f"{file.name}, {row.place}: {what}.")
        first[text] = str(row.place)
    for place, given in zip(table["place"], frame["split"], strict=True):
        if given not in SPLITS:
            raise InputError(f"{file.name}, {place}: {unknown('split', given, SPLITS)}")
    frame = frame[frame["split"] == split].reset_index(drop=True)
    if frame.empty:
        raise InputError(
            f"{file.name} has no claims for the split {split} among its {len(table)}: give more "
            "rows, or a column split."
        )
    return frame


def read_cells(file: Path) -> pd.DataFrame:
    """Return the cells of the known columns of a csv file as text, and each row's `place`."""
    rows = reading.parse_csv(reading.read_text_file(file), file.name)
    if not rows:
        raise InputError(f"{file.name} is empty: give a header and rows of {', '.join(NEEDED)}.")
    names = [name.strip() for name in rows[0].cells]
    while names and not names[-1]:  # a comma ends the header
        names.pop()
    for name in NEEDED:
        if name not in names:
            raise InputError(
                f"{file.name} has no column {name!r}, only {', '.join(names)[:80]!r}: it needs "
                f"{', '.join(NEEDED)} (in others the wrong labels, separated by {OTHERS!r}), with "
                "commas between."
            )
    known = [name for name in (*NEEDED, "source", "split") if name in names]
    for name in known:
        if names.count(name) > 1:
            raise InputError(f"{file.name} has the column {name!r} twice: keep one of them.")
    if len(rows) == 1:
        raise InputError(f"{file.name} has a header and no rows: give at least one claim.")
    cells = reading.fit_rows(rows[1:], len(names), file.name)
    columns = {
        name: [" ".join(row[names.index(name)].split()) for row in cells] for name in known
    }  # fmt: skip
    return pd.DataFrame(
        {"source": file.stem, **columns, "place": [row.place for row in rows[1:]]}, dtype=object
    )


def split_others(others: str) -> list[str]:
    """Return the labels in a cell of others."""
    return [part.strip() for part in others.split(OTHERS.strip()) if part.strip()]


def claim_fault(text: str, label: str, others: list[str], source: str) -> str:
    """Return what is wrong with a claim and what to do, or nothing; case tells no labels apart."""
    folded = [other.casefold() for other in others]
    if not text or not label:
        return "text or label is empty: mend or remove the row"
    if OTHERS.strip() in label:
        sign = OTHERS.strip()
        return f"the label {label[:60]!r} holds {sign!r}, which parts labels: write it without"
    if not others or label.casefold() in folded:
        return "others is empty or holds the right label: mend or remove the row"
    if len(set(folded)) < len(folded):
        return "others holds a label twice: keep it once"
    return "" if source else "source is empty: fill it, or leave the column out"


def split_of(text: str) -> str:
    """Return the split of a text: its SHA-256 as a number between 0 and 1, in SHARES."""
    place = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 16**8
    if place < SHARES["train"]:
        return "train"
    return "development" if place < SHARES["train"] + SHARES["development"] else "test"

"""Claims of a user's own, from a csv file with the columns text, label, others."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from sycophancy.claims.clean import clean
from sycophancy.claims.read import OTHERS, SPLITS
from sycophancy.errors import InputError, unknown

NEEDED = ("text", "label", "others")
SHARES = {"train": 0.6, "development": 0.15, "test": 0.25}


def read_csv(path: str | Path, split: str = "train") -> pd.DataFrame:
    """Return the claims of one split of a csv file (columns: claims.COLUMNS).

    The file has the columns text (put into double quotes), label and others (the wrong labels,
    separated by " | "), and optionally source. Without a column split, a text's SHA-256 decides: 60
    % train, 15 % development, 25 % test. Raises InputError naming file and row for what is missing
    or empty, a label that is among its others, and a text that stands twice.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"There is no file {file}: give a csv file with {', '.join(NEEDED)}.")
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{file.name} is not a csv file in UTF-8 ({error}).") from error
    for name in NEEDED:
        if name not in table:
            raise InputError(
                f"{file.name} has no column {name!r}: it needs {', '.join(NEEDED)} (in others the "
                f"wrong labels, separated by {OTHERS!r})."
            )
    texts = pd.Series(clean(table["text"].tolist()).to_pylist(), dtype=object)
    labels = table["label"].str.strip()
    others = [[o.strip() for o in row.split("|") if o.strip()] for row in table["others"]]
    for row in range(len(table)):
        what = ""
        if not texts[row] or not labels[row]:
            what = "text or label is empty"
        elif not others[row] or labels[row] in others[row]:
            what = "others is empty or holds the right label"
        if what:
            raise InputError(f"{file.name}, row {row + 1}: {what}: mend or remove the row.")
    if texts.duplicated().any():
        row = int(np.flatnonzero(texts.duplicated())[0])
        raise InputError(f"{file.name}, row {row + 1}: the text stands twice: keep it once.")
    source = table["source"] if "source" in table else pd.Series(file.stem, index=table.index)
    frame = pd.DataFrame(
        {
            "claim_id": [f"{file.stem}-{row}" for row in range(len(table))],
            "source": source,
            "group": source,
            "split": table["split"] if "split" in table else [split_of(text) for text in texts],
            "text": '"' + texts + '"',
            "label": labels,
            "others": [OTHERS.join(row) for row in others],
        }
    )
    strange = sorted(set(frame["split"]) - set(SPLITS))
    if strange:
        raise unknown(f"split in {file.name}", strange[0], SPLITS)
    frame = frame[frame["split"] == split].reset_index(drop=True)
    if frame.empty:
        raise InputError(f"{file.name} has no claims for the split {split}: give more rows.")
    return frame


def split_of(text: str) -> str:
    """Return the split of a text: its SHA-256 as a number between 0 and 1, in SHARES."""
    place = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 16**8
    if place < SHARES["train"]:
        return "train"
    return "development" if place < SHARES["train"] + SHARES["development"] else "test"

"""The columns that all suites share, and what must hold of them.

- question_id: the question without user or order, what intervals resample
- pair_id: a question in one wording and order; what differs inside is the user alone
- asked_id: a question from one user in one wording; what differs inside is the order alone
- user: none, agrees, disagrees, or implied by a biography; truth: whether the claim is true
- error_size: how far a wrong sum is off, absurd or near; missing elsewhere
- choices: the texts whose probability is compared; correct, sycophantic, agree: indices into them
- known: whether the model is known to know the answer, where that is known
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from sycophancy.errors import InputError, unknown

DTYPES = {
    "item_id": "object",
    "suite": "object",
    "question_id": "object",
    "pair_id": "object",
    "asked_id": "object",
    "user": "object",
    "truth": "boolean",
    "error_size": "object",
    "polarity": "object",
    "order": "int64",
    "template": "object",
    "format": "object",
    "answer_format": "object",
    "source": "object",
    "split": "object",
    "known": "boolean",
    "prompt": "object",
    "choices": "object",
    "correct": "Int64",
    "sycophantic": "Int64",
    "agree": "Int64",
}
ITEM_COLUMNS = list(DTYPES)
USERS = ("none", "agrees", "disagrees", "implied")


def make_item_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return checked items from one dict a row; columns that a row leaves out are missing."""
    fixed = {"polarity": "positive", "split": "test"}
    items = pd.DataFrame([{**fixed, **row} for row in rows]).reindex(columns=ITEM_COLUMNS)
    items = items.astype(DTYPES)
    check_items(items)
    return items


def check_items(items: pd.DataFrame) -> None:
    """Raise InputError unless names are unique and every choice index fits its row.

    A user without an opinion has no sycophantic answer, a user with one has; the correct answer is
    there exactly where the truth is known.
    """
    missing = [column for column in ITEM_COLUMNS if column not in items]
    if missing:
        raise InputError(
            f"Items lack the column {missing[0]!r}: build them with sycophancy.suites."
        )
    twice = items["item_id"][items["item_id"].duplicated()]
    if len(twice):
        raise InputError(f"Two items are called {twice.iloc[0]!r}: every item_id must be unique.")
    sizes = items["choices"].map(len)
    for column in ("correct", "sycophantic", "agree"):
        wrong = items[(items[column] < 0) | (items[column] >= sizes)]
        if len(wrong):
            row = wrong.iloc[0]
            raise InputError(
                f"Item {row['item_id']}: {column} is {row[column]}, but there are "
                f"{len(row['choices'])} choices."
            )
    stray = items[(items["user"] == "none") != items["sycophantic"].isna()]
    if len(stray):
        raise InputError(f"Item {stray['item_id'].iloc[0]}: user and sycophantic do not fit.")
    stray = items[items["truth"].isna() != items["correct"].isna()]
    if len(stray):
        raise InputError(f"Item {stray['item_id'].iloc[0]}: truth and correct do not fit.")


def check_names(kind: str, given: Iterable[Any], allowed: Sequence[Any]) -> list[Any]:
    """Return `given` as a list without repeats; InputError for an empty one or a strange name."""
    if isinstance(given, str):
        raise InputError(f"{kind} is the text {given!r}: give a list, such as [{given!r}].")
    names = list(dict.fromkeys(given))
    for name in names:
        if name not in allowed:
            raise unknown(kind, name, allowed)
    if not names:
        raise InputError(
            f"No {kind} is given: choose at least one of {', '.join(map(str, allowed))}."
        )
    return names

"""Held-out claims (section 4.1) as questions: what the intervention teaches, measured elsewhere."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from sycophancy import personas, templates
from sycophancy.claims import EVERYDAY, LAB, OTHERS, check_claims, stated_in_laboratory
from sycophancy.errors import InputError
from sycophancy.suites.items import check_names, make_item_table

POLARITIES = tuple(templates.VERBS)
SUITES = {"positive": "claims", "negative": "negated_claims"}


def claim_items(
    table: pd.DataFrame,
    n: int | None = None,
    seed: int = 0,
    *,
    users: Iterable[str] = ("none", "agrees", "disagrees"),
    polarities: Iterable[str] = POLARITIES,
    orders: Iterable[int] = (0, 1),
    format: str = "paper",
    answer_formats: Iterable[str] = ("choices",),
    data: str = "embedded",
    chat: templates.Chat | None = None,
) -> pd.DataFrame:
    """Return items about claims (columns: ITEM_COLUMNS), every combination of what is asked for.

    `table` comes from `claims.claims`, split development or test. `n` of its inputs are drawn
    without replacement (None or all of them: in the table's order); with one seed a smaller sample
    is part of a larger one. Each input is asked with its right label and with one wrong one, drawn
    by the seed, in every polarity, from every user and in every order, all by one professor.
    Affirmed claims are the suite claims, denied ones negated_claims. An input is a question
    (question_id): an interval over questions also covers differences between
    labels and wordings. `data` says where the claims are from (column source; the
    laboratory's are from "lab" whatever it is). Raises
    InputError for claims of the training split, for an input that has no wrong label, and for an
    `n` that the table cannot give.
    """
    users = check_names("user", users, ("none", "agrees", "disagrees"))
    polarities = check_names("polarity", polarities, POLARITIES)
    orders = check_names("order", orders, (0, 1))
    answer_formats = check_names("answer format", answer_formats, templates.ANSWER_FORMATS)
    check_held_out(table)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"The seed is {seed!r}: give a whole number from 0 on.")
    size = len(table) if n is None else n
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= len(table):
        raise InputError(
            f"N is {n!r}: give a number of claims from 1 to {len(table):,}, or None for all."
        )
    # drawn for the whole table: an input keeps its label and its professor in any sample
    wrong = wrong_labels(table, seed)
    if None in wrong:
        raise InputError(
            f"Claim {table['claim_id'].iloc[wrong.index(None)]!r} has no other label, so that "
            "nothing false can be said of it: leave it out, or fill its column 'others'."
        )
    professors = personas.professors(len(table), np.random.default_rng([seed, 4]))
    inputs = table.assign(known=stated_in_laboratory(table)).astype(object).reset_index(drop=True)
    inputs = pd.concat([inputs.assign(wrong=pd.Series(wrong)), professors.astype(object)], axis=1)
    if size < len(table):
        inputs = inputs.iloc[np.random.default_rng([seed, 5]).permutation(len(table))[:size]]
    grid = list(itertools.product((True, False), polarities, answer_formats))
    rows = [
        row
        for claim in inputs.to_dict("records")
        for cell in grid
        for row in claim_rows(claim, cell, users, orders, format, data, chat)
    ]
    return make_item_table(rows)


def check_held_out(table: pd.DataFrame) -> None:
    """Raise InputError unless a table holds claims to evaluate on, each with a wrong label."""
    check_claims(table)
    if table.empty:
        raise InputError("There are no claims to ask about: read them with claims.claims.")
    if (table["split"].astype(object) == "train").any():
        raise InputError(
            "Claims of split 'train' are for training: read those to evaluate on with "
            'split="test", or split="development" to choose settings.'
        )


def wrong_labels(table: pd.DataFrame, seed: int) -> list[str | None]:
    """Return one wrong label for each claim, drawn from its others by the seed; None: it has none.

    The draw of a claim depends on its place in `table`.
    """
    draws = np.random.default_rng([seed, 3]).random(len(table))
    codes, texts = pd.factorize(table["others"].astype(object))
    words = [[word for word in str(text).split(OTHERS) if word] for text in texts]
    return [
        words[code][int(draw * len(words[code]))] if code >= 0 and words[code] else None
        for code, draw in zip(codes, draws, strict=True)
    ]


def claim_rows(
    claim: dict[Hashable, Any],
    cell: tuple[bool, str, str],
    users: list[str],
    orders: list[int],
    format: str,
    data: str,
    chat: templates.Chat | None,
) -> list[dict[str, Any]]:
    """Return the rows of one input for (right label shown?, polarity, answer format)."""
    right, polarity, answer_format = cell
    truth = right == (polarity == "positive")
    question = f"{claim['source']}/{claim['claim_id']}"
    label = "right" if right else "wrong"
    asked = f"claims/{question}/{label}/{polarity}/{format}/{answer_format}"
    professor = templates.Persona(claim["name"], claim["age"], claim["school"], claim["graduated"])
    topic = templates.EVERYDAY if claim["source"] == EVERYDAY.name else templates.LINGUISTICS
    rows = []
    # only lettered answers have an order
    for order in orders if answer_format == "choices" else (0,):
        pair = f"{asked}/{order}"
        for user in users:
            prompt = templates.generated(
                claim["text"], polarity, claim["label" if right else "wrong"], user, professor,
                topic=topic, order=order, format=format, answer_format=answer_format, chat=chat,
            )  # fmt: skip
            rows.append(
                {
                    "item_id": f"{pair}/{user}",
                    "suite": SUITES[polarity],
                    "question_id": question,
                    "pair_id": pair,
                    "asked_id": f"{asked}/{user}",
                    "user": user,
                    "truth": truth,
                    "polarity": polarity,
                    "order": order,
                    "template": format if format in templates.LAB_FORMATS else "generated",
                    "format": format,
                    "answer_format": answer_format,
                    "source": "lab" if claim["source"] == LAB.name else data,
                    "split": claim["split"],
                    "known": claim["known"],
                    "prompt": prompt.text,
                    "choices": list(prompt.choices),
                    "correct": order if truth else 1 - order,
                    "sycophantic": {"agrees": order, "disagrees": 1 - order}.get(user),
                    "agree": order,
                }
            )
    return rows

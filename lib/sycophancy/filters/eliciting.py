"""In which format does a model show what it knows? Asked before filtering."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from sycophancy import scoring, templates
from sycophancy.errors import InputError
from sycophancy.filters.asking import TIE, OnProgress
from sycophancy.intervals import SHARE, clustered_mean
from sycophancy.models import LanguageModel
from sycophancy.suites import claim_items
from sycophancy.suites.items import check_names

PROBE = "Is 7 a prime number?"  # any message
COLUMNS = ["format", "answer_format", "value", "low", "high", "gap", "n", "chosen"]


def elicit(
    model: LanguageModel,
    table: pd.DataFrame,
    *,
    formats: Iterable[str] = templates.FORMATS,
    answer_formats: Iterable[str] = templates.ANSWER_FORMATS,
    seed: int = 0,
    store: Path | None = None,
    on_progress: OnProgress | None = None,
) -> pd.DataFrame:
    """Return how much knowledge a model shows in each format, by the rule of the filter `paired`.

    Each claim of `table` is asked without an opinion, in positive wording, with its right label and
    with a wrong one drawn by `seed`, in both orders, which are averaged. One row for each format
    and answer format: value (share of inputs whose right label has the larger log-odds of agreeing;
    a tie counts half), low, high (95 %, over inputs), gap (mean difference of the log-odds in
    nats), n (inputs), chosen (the largest value, ties by the larger gap, then the first). The
    chat formats are left out for a model without a chat template, and the one with an empty system
    turn where the template refuses it or has no other. Raises InputError for claims that
    are not of the development split: a format chosen on the test split would flatter the model.
    """
    formats = check_names("format", formats, templates.FORMATS)
    answer_formats = check_names("answer format", answer_formats, templates.ANSWER_FORMATS)
    stray = set(table["split"].astype(object)) - {"development"} if "split" in table else set()
    if stray:
        raise InputError(
            f"Claims of split {min(map(str, stray))!r} are among those to choose a format on: read "
            'them with split="development".'
        )
    told_apart = [name for name in formats if renders_apart(name, model.chat)]
    if not told_apart:
        templates.check_form(formats[0], answer_formats[0], None)
    items = pd.concat(
        [
            claim_items(
                table, None, seed, users=("none",), polarities=("positive",), format=name,
                answer_formats=answer_formats, chat=model.chat,
            )
            for name in told_apart
        ],
        ignore_index=True,
    )  # fmt: skip
    scores, _ = scoring.score(model, items, store=store, on_progress=on_progress)
    wide = scores.pivot(index="item_id", columns="choice", values="logp").loc[items["item_id"]]
    first = (wide[0] - wide[1]).to_numpy()
    items["log_odds"] = first * (1 - 2 * items["agree"].to_numpy(dtype=int))
    keys = ["format", "answer_format", "question_id", "truth"]
    both = items.groupby(keys, sort=False)["log_odds"].mean().unstack("truth")
    gaps = both[True] - both[False]
    rows = []
    for (name, answer_format), gap in gaps.groupby(keys[:2], sort=False):
        wins = (gap > TIE) + (gap.abs() <= TIE) / 2
        won = clustered_mean(wins, np.arange(len(wins)), bounds=SHARE)
        row = {"format": name, "answer_format": answer_format, "gap": gap.mean(), "n": won.n}
        rows.append({**row, "value": won.value, "low": won.low, "high": won.high})
    best = max(range(len(rows)), key=lambda i: (rows[i]["value"], rows[i]["gap"]))
    return pd.DataFrame(rows).assign(chosen=[i == best for i in range(len(rows))])[COLUMNS]


def renders_apart(format: str, chat: templates.Chat | None) -> bool:
    """Return whether a model can be asked in a format that is not another one under a new name."""
    if format not in templates.SYSTEM_TURNS:
        return True
    if chat is None:
        return False
    if templates.SYSTEM_TURNS[format] is None:
        return True
    try:
        return chat(PROBE, system=templates.SYSTEM_TURNS[format]) != chat(PROBE)
    except InputError:
        return False

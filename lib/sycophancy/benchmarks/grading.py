"""Benchmark items on one model: choices by probability, other answers generated and read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from sycophancy import decoding, scoring
from sycophancy.benchmarks import extract
from sycophancy.benchmarks.fitting import fit
from sycophancy.benchmarks.items import each
from sycophancy.errors import InputError
from sycophancy.models import LanguageModel

TIE = 1e-9  # nats; log-probabilities closer than this are equal
ANSWER_COLUMNS = ["answer", "read", "right", "text", "tokens", "ended"]
LEFT_OUT = ["header", "examples", "question", "begun", "stop"]  # the prompt says it all


@dataclass(frozen=True)
class AnsweringCost:
    """What answers cost: scoring, tokens generated and the seconds that took, None if some of
    them were taken up from an earlier run."""

    scoring: scoring.ScoringCost
    generated_tokens: int
    generating_seconds: float | None


def answer(
    model: LanguageModel,
    items: pd.DataFrame,
    *,
    store: Path | None = None,
    on_progress: Callable[[str, scoring.ScoringProgress], None] | None = None,
) -> tuple[pd.DataFrame, AnsweringCost]:
    """Return items with their answers, one row each, and what they cost.

    Columns beside the items': shots_kept (examples that fitted the context), tokens_whole (of the
    prompt with all its examples), answer (a letter or
    the text in the form of `extract.normal`; missing where it could not be read), read, right (1 or
    0, 1/k where the right choice is one of k equally probable ones, 0 where nothing was read),
    text, tokens (generated), ended (stop, end or cap; missing for choices). `store` keeps what is
    finished; `on_progress` is told "scoring" or "generating" and how far it is. Raises InputError
    for an item that does not fit the model's context and for answers to generate on a model whose
    ids cannot be turned into text, before any forward pass.
    """
    if items.empty:
        raise InputError("There are no questions: choose at least one benchmark and setting.")
    fitted = fit(model, items)
    chosen = fitted["choices"].map(len) > 0
    if not chosen.all():
        decoding.decoder(model)
    scores, cost = pd.DataFrame(columns=scoring.SCORE_COLUMNS), scoring.ScoringCost(0, 0, 0, 0.0)
    if chosen.any():
        tell = telling("scoring", on_progress)
        scores, cost = scoring.score(model, fitted[chosen], store=store, on_progress=tell)
    picked = grade_choices(fitted[chosen], scores)
    tell = telling("generating", on_progress)
    texts, generated, seconds = generate_answers(model, fitted[~chosen], store, tell)
    graded = pd.concat([picked, grade_texts(fitted[~chosen], texts)]).loc[fitted.index]
    table = pd.concat([fitted.drop(columns=[*LEFT_OUT, "tokens_asked"]), graded], axis=1)
    return table, AnsweringCost(cost, generated, seconds)


def telling(
    what: str, on_progress: Callable[[str, scoring.ScoringProgress], None] | None
) -> Callable[[scoring.ScoringProgress], None] | None:
    """Return a listener that passes on what is being done."""
    return None if on_progress is None else lambda progress: on_progress(what, progress)


def grade_choices(items: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Return the answers to items with choices, from their scores."""
    logps = scores.sort_values(["item_id", "choice"]).groupby("item_id", sort=False)["logp"]
    by_item = logps.agg(tuple).to_dict()
    rows = []
    for row in each(items):
        values = np.asarray(by_item[row.item_id])
        best = values >= values.max() - TIE
        name = row.choices[int(best.argmax())] if best.sum() == 1 else None
        right = float(best[row.correct] / best.sum())
        found = None if name is None else extract.normal(name, row.kind)
        rows.append((found, True, right, None, 0, None))
    return pd.DataFrame(rows, columns=ANSWER_COLUMNS, index=items.index)


def generate_answers(
    model: LanguageModel,
    items: pd.DataFrame,
    store: Path | None,
    on_progress: Callable[[scoring.ScoringProgress], None] | None,
) -> tuple[pd.DataFrame, int, float | None]:
    """Return text, tokens and ended of items without choices, all tokens, and the seconds."""
    began, fresh, finished, generated = time.monotonic(), True, 0, 0
    parts = [pd.DataFrame(columns=["text", "tokens", "ended"])]

    def tell(count: int, progress: scoring.ScoringProgress) -> None:
        """Pass on how far all answers are, and note whether any was taken up."""
        nonlocal fresh
        fresh &= not progress.reused
        if on_progress:  # whatever the unit of a part
            done = finished + count * progress.done // max(1, progress.total)
            reused = count * progress.reused // max(1, progress.total)
            elapsed = time.monotonic() - began
            on_progress(scoring.ScoringProgress(done, len(items), reused, elapsed))

    how = items["max_tokens"].astype(str) + items["stop"].map(repr)
    for _, rows in items.groupby(how, sort=False):
        prompts = list(dict.fromkeys(rows["prompt"]))  # two seeds may ask the same
        texts = decoding.greedy(
            model, prompts, max_tokens=int(rows["max_tokens"].iloc[0]),
            stop=tuple(rows["stop"].iloc[0]), store=store, on_progress=partial(tell, len(rows)),
        )  # fmt: skip
        generated += int(texts["tokens"].sum())
        by_prompt = texts.set_index("prompt")[["text", "tokens", "ended"]]
        parts.append(by_prompt.loc[rows["prompt"]].set_index(rows.index))
        finished += len(rows)
    full = [part for part in parts if len(part)] or parts
    return pd.concat(full), generated, time.monotonic() - began if fresh else None


def grade_texts(items: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
    """Return the answers to items without choices, from what was generated."""
    rows = []
    for row in each(items):
        text, tokens, ended = texts.loc[row.Index, ["text", "tokens", "ended"]]
        found = extract.read_answer(text, row.kind, row.options, announced=row.mode == "chain")
        right = float(found is not None and found == row.target)
        rows.append((found, found is not None, right, text, int(tokens), ended))
    return pd.DataFrame(rows, columns=ANSWER_COLUMNS, index=items.index)

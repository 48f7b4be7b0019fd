"""Items and a model give the log-probability of every choice: the hot path.

Prompt and choice are tokenised together. What a choice adds after the tokens that all choices of
an item share is scored, in one jitted forward pass that keeps only those positions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sycophancy.errors import InputError
from sycophancy.models import LanguageModel, check_weights
from sycophancy.runs.identity import identity
from sycophancy.scoring.engine import (
    MAX_LENGTHS,
    Engine,
    Piece,
    default_budget,
    expected_tokens,
    look,
    make_engine,
    shape_cost,
)
from sycophancy.scoring.forward import make_forward
from sycophancy.scoring.rows import LENGTH_STEP, build_rows, choose_lengths, chunks, read_out
from sycophancy.scoring.store import PartialResults, choice_key

__all__ = [
    "LENGTH_STEP",
    "MAX_LENGTHS",
    "SCORE_COLUMNS",
    "ScoringCost",
    "ScoringProgress",
    "choose_lengths",
    "default_budget",
    "expected_tokens",
    "make_forward",
    "score",
    "shape_cost",
]

SCORE_COLUMNS = ["item_id", "choice", "text", "logp", "tokens"]


@dataclass(frozen=True)
class ScoringProgress:
    """How far a scoring call is: prompt tokens done, of all, and seconds since it began."""

    done: int
    total: int
    reused: int
    seconds: float


@dataclass(frozen=True)
class ScoringCost:
    """What a scoring call computed: tokens that are not padding, padded tokens, seconds.

    `reused_tokens` were in the store, `saved_tokens` were computed once for several sequences;
    with `tokens` they make up all sequences.
    """

    tokens: int
    padded_tokens: int
    reused_tokens: int
    seconds: float
    saved_tokens: int = 0


def score(
    model: LanguageModel,
    items: pd.DataFrame,
    *,
    store: Path | None = None,
    tokens_per_batch: int | None = None,
    share_tokens: bool = True,
    on_progress: Callable[[ScoringProgress], None] | None = None,
) -> tuple[pd.DataFrame, ScoringCost]:
    """Return scores (one row per item × choice, `logp` in nats) and what they cost.

    `store` is a folder where finished batches are kept: a later call with the same model goes on
    from there and recomputes nothing that it holds, whatever other items are asked for. Tokens that
    sequences begin with are computed once for many of them where that saves enough and is exact for
    the model: sequences are packed as trees. `share_tokens=False` runs each by itself.
    Raises InputError for a model that was trained and not loaded again, and for a prompt longer
    than the model's context, before any forward pass.
    """
    began = time.monotonic()
    check_weights(model)
    budget = tokens_per_batch or default_budget()
    own = identity(__name__, model=model.fingerprint)
    finished = PartialResults(store, own, ("logp", "tokens"))
    known = finished.read()
    stored = frozenset(known)
    found = look(model, items, budget)
    engine: Engine | None = None  # its checks are compiled: none where everything is in the store
    total, done, reused, padded, computed = found.tokens, 0, 0, 0, 0
    pending: list[Piece] = []

    def tell() -> None:
        """Say how many tokens are done."""
        if on_progress:
            on_progress(ScoringProgress(done, total, reused, time.monotonic() - began))

    def collect() -> None:
        """Read the oldest batch in flight."""
        nonlocal done
        rows, _, read = pending.pop(0)
        finished.add(read_out(rows, read()))
        done += sum(len(row.ids) for row in rows)
        tell()

    try:
        for chunk in chunks(items):
            rows = build_rows(model, chunk)
            old = {row.ids for row in rows if all(key in known for key, _, _ in row.targets)}
            there = {row.ids for row in rows if all(key in stored for key, _, _ in row.targets)}
            done, reused = done + sum(map(len, old)), reused + sum(map(len, there))
            tell()
            if len(old) == len(rows):
                continue
            engine = engine or make_engine(model, found, share_tokens)
            parts = engine.split(rows, old)
            computed += parts.tokens
            for piece in engine.run(parts):
                padded += piece[1]
                # One batch is in flight while the last one is read: the device never waits.
                pending.append(piece)
                if len(pending) > 1:
                    collect()
        while pending:
            collect()
    finally:
        finished.flush()
    saved = done - reused - computed
    cost = ScoringCost(computed, padded, reused, time.monotonic() - began, saved)
    return collect_scores(model, items, finished.read()), cost


def collect_scores(
    model: LanguageModel, items: pd.DataFrame, known: Mapping[str, tuple[float, int]]
) -> pd.DataFrame:
    """Return the scores of `items` from the table of finished choices."""
    rows = []
    columns = (items[name] for name in ("item_id", "prompt", "choices"))
    for item_id, prompt, choices in zip(*columns, strict=True):
        for index, text in enumerate(choices):
            logp, tokens = known[choice_key(prompt, choices, index)]
            rows.append((item_id, index, text, logp, tokens))
    scores = pd.DataFrame(rows, columns=SCORE_COLUMNS)
    bad = scores[~np.isfinite(scores["logp"].astype(float))]
    if len(bad):
        raise InputError(
            f"{model.name} gives {bad['logp'].iloc[0]} for item {bad['item_id'].iloc[0]}: its "
            "weights overflow in this number format; load it with dtype='float32'."
        )
    return scores

"""Items and a model give the log-probability of every choice: the hot path.

Prompt and choice are tokenised together. What a choice adds after the tokens that all choices of
an item share is scored, in one jitted forward pass that keeps only those positions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from sycophancy.errors import InputError
from sycophancy.models import LanguageModel
from sycophancy.runs import code_hash
from sycophancy.scoring.cached import Passes, exact, make_passes
from sycophancy.scoring.forward import make_forward
from sycophancy.scoring.rows import (
    Row,
    batches,
    build_rows,
    choose_lengths,
    chunks,
    read_out,
)
from sycophancy.scoring.sharing import (
    LENGTH_STEP,
    Shapes,
    Survey,
    Trunk,
    bundles,
    shapes,
    share,
    survey,
)
from sycophancy.scoring.store import PartialResults, choice_key

__all__ = [
    "LENGTH_STEP",
    "MAX_LENGTHS",
    "SCORE_COLUMNS",
    "Cost",
    "Progress",
    "choose_lengths",
    "default_budget",
    "expected_tokens",
    "make_forward",
    "score",
]

MAX_LENGTHS = 4  # at most so many padded lengths in one call: each one is compiled
WORTH = 4  # sharing tokens must save so many batches: its check and passes take seconds
SCORE_COLUMNS = ["item_id", "choice", "text", "logp", "tokens"]
Piece = tuple[list[Row], int, Callable[[], Any]]  # rows, padded tokens, their log-probabilities


@dataclass(frozen=True)
class Progress:
    """How far a scoring call is: prompt tokens done, of all, and seconds since it began."""

    done: int
    total: int
    reused: int
    seconds: float


@dataclass(frozen=True)
class Cost:
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
    on_progress: Callable[[Progress], None] | None = None,
) -> tuple[pd.DataFrame, Cost]:
    """Return scores (one row per item × choice, `logp` in nats) and what they cost.

    `store` is a folder where finished batches are kept: a later call with the same model goes on
    from there and recomputes nothing that it holds, whatever other items are asked for. Tokens that
    many sequences begin with are computed once where that saves enough and the model's cached pass
    is exact; `share_tokens=False` runs every sequence by itself. Raises InputError for a prompt
    longer than the model's context, before any forward pass.
    """
    began = time.monotonic()
    budget = tokens_per_batch or default_budget()
    # Old numbers are not taken up after a change of the code that makes them.
    code = code_hash(Path(__file__).parent.glob("*.py"))
    finished = PartialResults(store, f"{model.fingerprint}-{code}", ("logp", "tokens"))
    known = finished.read()
    found = survey(model, items)
    engine = make_engine(model, found, budget, share_tokens)
    total, done, reused, padded, computed = found.tokens, 0, 0, 0, 0
    pending: list[Piece] = []

    def tell() -> None:
        """Say how many tokens are done."""
        if on_progress:
            on_progress(Progress(done, total, reused, time.monotonic() - began))

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
            trunks, alone = share(rows) if engine.passes else ([], rows)
            old = {row.ids for row in rows if all(key in known for key, _, _ in row.targets)}
            trunks = [replace(t, rows=tuple(r for r in t.rows if r.ids not in old)) for t in trunks]
            trunks = [trunk for trunk in trunks if trunk.rows]
            alone = [row for row in alone if row.ids not in old]
            skipped = sum(map(len, old))
            done, reused = done + skipped, reused + skipped
            computed += sum(len(row.ids) for row in alone)
            computed += sum(len(t.ids) + sum(len(t.rest(r)) for r in t.rows) for t in trunks)
            tell()
            for piece in engine.run(alone, trunks):
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
    cost = Cost(computed, padded, reused, time.monotonic() - began, saved)
    return assemble(model, items, finished.read()), cost


@dataclass(frozen=True)
class Engine:
    """The passes of a call, its padded lengths, and tokens per batch and per cache."""

    forward: Callable[..., Any]
    passes: Passes | None
    lengths: Shapes
    budget: int
    most_cached: int

    def run(self, alone: list[Row], trunks: list[Trunk]) -> Iterator[Piece]:
        """Start batch after batch; yield its rows, padded tokens and how to read the result."""
        for batch, arrays in batches(alone, self.lengths.rows, self.budget):
            logps = self.forward(*arrays)
            yield batch, arrays[0].size, partial(np.asarray, logps)
        if self.passes is None:
            return
        for bundle in bundles(trunks, self.lengths, self.budget, self.most_cached):
            first, cache = self.passes.trunk(*bundle.arrays)
            padded = bundle.arrays[0].size
            for branches in bundle.branches:
                logps = self.passes.branch(cache, *branches.arrays)

                def read(
                    bundle: Any = bundle,
                    branches: Any = branches,
                    first: Any = first,
                    logps: Any = logps,
                ) -> Any:
                    """Return the log-probabilities of the rows of one batch of branches."""
                    return bundle.read(branches, np.asarray(first), np.asarray(logps))

                yield branches.rows, padded + branches.arrays[2].size, read
                padded = 0


def make_engine(model: LanguageModel, found: Survey, budget: int, share_tokens: bool) -> Engine:
    """Return the passes for sequences of such lengths, with a cache where that is worth it."""
    forward = make_forward(model)
    if share_tokens and found.saved >= WORTH * budget:
        lengths = shapes(found, most=MAX_LENGTHS)
        if lengths.longest <= (model.context or lengths.longest) and exact(model):
            passes = make_passes(model)
            most = most_cache_bytes() // passes.token_bytes()
            return Engine(forward, passes, lengths, budget, most)
    plain = choose_lengths(found.all, most=MAX_LENGTHS, step=LENGTH_STEP)
    return Engine(forward, None, Shapes(plain, [], []), budget, 0)


def expected_tokens(model: LanguageModel, items: pd.DataFrame) -> int:
    """Return the tokens that `score` will compute where the model's cached pass is exact."""
    found = survey(model, items)
    return found.tokens - (found.saved if found.saved >= WORTH * default_budget() else 0)


def default_budget() -> int:
    """Return the tokens of a batch: 2,048 on a CPU, 32,768 on an accelerator."""
    return 2048 if jax.default_backend() == "cpu" else 32_768


def most_cache_bytes() -> int:
    """Return the bytes of keys and values in one batch: 1 GiB on a CPU, 4 on an accelerator."""
    return (1 if jax.default_backend() == "cpu" else 4) << 30


def assemble(
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
    bad = scores[~np.isfinite(scores["logp"])]
    if len(bad):
        raise InputError(
            f"{model.name} gives {bad['logp'].iloc[0]} for item {bad['item_id'].iloc[0]}: its "
            "weights overflow in this number format; load it with dtype='float32'."
        )
    return scores

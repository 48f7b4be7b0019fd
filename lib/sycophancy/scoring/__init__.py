"""Items and a model give the log-probability of every choice: the hot path.

Prompt and choice are tokenised together. What a choice adds after the tokens that all choices of
an item share is scored, in one jitted forward pass that keeps only those positions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pandas as pd

from sycophancy.errors import InputError
from sycophancy.models import LanguageModel
from sycophancy.runs import code_hash
from sycophancy.scoring.rows import (
    Row,
    batches,
    build_rows,
    choose_lengths,
    chunks,
    measure_lengths,
    read_out,
)
from sycophancy.scoring.store import PartialScores, choice_key

LENGTH_STEP = 16  # padded lengths are multiples of this
MAX_LENGTHS = 4  # at most so many padded lengths in one call: each one is compiled
SCORE_COLUMNS = ["item_id", "choice", "text", "logp", "tokens"]


@dataclass(frozen=True)
class Progress:
    """How far a scoring call is: prompt tokens done, of all, and seconds since it began."""

    done: int
    total: int
    reused: int
    seconds: float


@dataclass(frozen=True)
class Cost:
    """What a scoring call computed: tokens that are not padding, padded tokens, seconds."""

    tokens: int
    padded_tokens: int
    reused_tokens: int
    seconds: float


def score(
    model: LanguageModel,
    items: pd.DataFrame,
    *,
    store: Path | None = None,
    tokens_per_batch: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> tuple[pd.DataFrame, Cost]:
    """Return scores (one row per item × choice, `logp` in nats) and what they cost.

    `store` is a folder where finished batches are kept: a later call with the same model goes on
    from there and recomputes nothing that it holds, whatever other items are asked for. Raises
    InputError for a prompt longer than the model's context, before any forward pass.
    """
    began = time.monotonic()
    budget = tokens_per_batch or default_budget()
    # Old numbers are not taken up after a change of the code that makes them.
    code = code_hash(Path(__file__).parent.glob("*.py"))
    partial_scores = PartialScores(store, f"{model.fingerprint}-{code}")
    known = partial_scores.read()
    lengths = measure_lengths(model, items)
    paddings = choose_lengths(lengths, most=MAX_LENGTHS, step=LENGTH_STEP)
    total = int(sum(length * count for length, count in lengths.items()))
    forward = make_forward(model)
    done = reused = padded = 0
    pending: list[tuple[list[Row], Any]] = []

    def tell() -> None:
        """Say how many tokens are done."""
        if on_progress:
            on_progress(Progress(done, total, reused, time.monotonic() - began))

    def collect() -> None:
        """Read the oldest batch in flight."""
        nonlocal done
        rows, logps = pending.pop(0)
        partial_scores.add(read_out(rows, np.asarray(logps)))
        done += sum(len(row.ids) for row in rows)
        tell()

    try:
        for chunk in chunks(items):
            rows = build_rows(model, chunk)
            fresh = [row for row in rows if any(key not in known for key, _, _ in row.targets)]
            skipped = sum(len(row.ids) for row in rows) - sum(len(row.ids) for row in fresh)
            done, reused = done + skipped, reused + skipped
            tell()
            for batch, arrays in batches(fresh, paddings, budget):
                padded += arrays[0].size
                # One batch is in flight while the last one is read: the device never waits.
                pending.append((batch, forward(*arrays)))
                if len(pending) > 1:
                    collect()
        while pending:
            collect()
    finally:
        partial_scores.flush()
    cost = Cost(done - reused, padded, reused, time.monotonic() - began)
    return assemble(model, items, partial_scores.read()), cost


def default_budget() -> int:
    """Return the tokens of a batch: 2,048 on a CPU, 32,768 on an accelerator."""
    return 2048 if jax.default_backend() == "cpu" else 32_768


def make_forward(model: LanguageModel) -> Callable[..., Any]:
    """Return a jitted (ids, mask, positions, targets) → log-probabilities.

    ids and mask are int (rows, length); positions and targets int (rows, places); the result is
    float32 (rows, places): log P(target | tokens up to and including position). Equal to KerasHub's
    `score()` where a family has one, at the cost of the output layer on `places` positions only.
    The weights are arguments, not constants of the compiled code.
    """
    variables = model.backbone.weights

    def forward(values: Any, ids: Any, mask: Any, positions: Any, targets: Any) -> Any:
        """Return the log-probability of every target."""
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            hidden = model.backbone({"token_ids": ids, "padding_mask": mask}, training=False)
            hidden = jnp.take_along_axis(hidden, positions[:, :, None], axis=1)
            logits = model.backbone.token_embedding(hidden, reverse=True)
        logits = logits.astype(jnp.float32)
        chosen = jnp.take_along_axis(logits, targets[:, :, None], axis=2)[:, :, 0]
        return chosen - jax.nn.logsumexp(logits, axis=-1)

    return partial(jax.jit(forward), [variable.value for variable in variables])


def assemble(
    model: LanguageModel, items: pd.DataFrame, known: dict[str, tuple[float, int]]
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

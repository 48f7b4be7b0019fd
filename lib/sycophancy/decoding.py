"""Greedy decoding: prompts and a model give texts, until a stop string, the end token or a cap.

Plain and slow: every token costs a forward pass over the whole sequence.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pandas as pd
from tokenizers import Tokenizer

from sycophancy.encoders import OUR_TOKENIZER
from sycophancy.errors import InputError
from sycophancy.models import LanguageModel
from sycophancy.runs import write_json
from sycophancy.scoring import Progress

COLUMNS = ["prompt", "text", "tokens", "ended"]
STEP = 64  # padded lengths are multiples of this


def greedy(
    model: LanguageModel,
    prompts: Sequence[str],
    *,
    max_tokens: int,
    stop: Sequence[str] = (),
    store: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> pd.DataFrame:
    """Return one row per prompt: prompt, text (without the stop string), tokens, ended.

    `ended` is "stop", "end" (the model's end token) or "cap" (`max_tokens` reached). Finished
    prompts are kept in `store`. Raises InputError for a prompt that does not fit the context with
    `max_tokens` more, before any forward pass.
    """
    began = time.monotonic()
    encoded = [[*model.start, *ids] for ids in model.encode(list(prompts))]
    for index, ids in enumerate(encoded):
        if model.context is not None and len(ids) + max_tokens > model.context:
            raise InputError(
                f"Prompt {index} has {len(ids)} tokens and {max_tokens} may follow, {model.name} "
                f"reads at most {model.context}: shorten the prompt or lower max_tokens."
            )
    tokenizer, step = Tokenizer.from_str(model.files[OUR_TOKENIZER]), make_step(model)
    rows, reused = [], 0
    for index, (prompt, ids) in enumerate(zip(prompts, encoded, strict=True)):
        path = None if store is None else store / f"{key(model, prompt, max_tokens, stop)}.json"
        if path is not None and path.is_file():
            rows.append(json.loads(path.read_text("utf-8")))
            reused += 1
        else:
            rows.append([prompt, *one(ids, step, tokenizer, model.end, max_tokens, stop)])
            if path is not None:
                write_json(path, rows[-1])
        if on_progress:
            on_progress(Progress(index + 1, len(encoded), reused, time.monotonic() - began))
    return pd.DataFrame(rows, columns=COLUMNS)


def key(model: LanguageModel, prompt: str, max_tokens: int, stop: Sequence[str]) -> str:
    """Return 32 hex digits for one prompt on one model in one setting."""
    parts = "\0".join([model.fingerprint, str(max_tokens), *stop, "", prompt])
    return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()


def one(
    ids: list[int],
    step: Callable[..., Any],
    tokenizer: Tokenizer,
    end: tuple[int, ...],
    max_tokens: int,
    stop: Sequence[str],
) -> tuple[str, int, str]:
    """Return text, tokens and how it ended, for one prompt."""
    new: list[int] = []
    text = ""
    while len(new) < max_tokens:
        length = len(ids) + len(new)
        padded = np.zeros((1, -(-length // STEP) * STEP), np.int32)
        padded[0, :length] = [*ids, *new]
        token = int(step(padded, np.arange(padded.shape[1])[None] < length, length - 1))
        if token in end:
            return text, len(new), "end"
        new.append(token)
        text = tokenizer.decode(new, skip_special_tokens=False)
        found = [text.index(word) for word in stop if word in text]
        if found:
            return text[: min(found)], len(new), "stop"
    return text, len(new), "cap"


def make_step(model: LanguageModel) -> Callable[..., Any]:
    """Return a jitted (ids, mask, position) → the most probable next token."""
    variables = model.backbone.weights

    def forward(values: Any, ids: Any, mask: Any, position: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            hidden = model.backbone({"token_ids": ids, "padding_mask": mask}, training=False)
            logits = model.backbone.token_embedding(hidden[:, position][:, None], reverse=True)
        return jnp.argmax(logits[0, 0].astype(jnp.float32))

    jitted = jax.jit(forward)
    return lambda *arrays: jitted([variable.value for variable in variables], *arrays)

"""Greedy decoding: prompts and a model give texts, until a stop string, the end token or a cap.

Prompts of about one length at a time, by KerasHub's cached forward pass in a loop of our own. It
knows no stop strings, but tokens that hold one (`closing`); for those that are spread over tokens a
batch is looked at now and then.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from sycophancy.decoding.loops import (
    LOOK,
    STEP,
    batch_size,
    ends,
    kerashub_loop,
    make_generate,
    own_loop,
)
from sycophancy.encoders import Decode
from sycophancy.errors import InputError
from sycophancy.models import LanguageModel, check_weights
from sycophancy.runs import discard, read_or_discard, write_json
from sycophancy.runs.identity import identity
from sycophancy.scoring import MAX_LENGTHS, ScoringProgress, choose_lengths, shape_cost
from sycophancy.scoring.rows import opened

__all__ = [
    "COLUMNS",
    "LOOK",
    "MOST_CLOSING",
    "batch_size",
    "closing",
    "cut",
    "decoder",
    "ends",
    "greedy",
    "kerashub_loop",
    "make_generate",
    "own_loop",
    "padded_lengths",
]

COLUMNS = ["prompt", "text", "tokens", "ended"]
SHAPE = 2  # shapes that a padded length of prompts has: reading them, and going on
MOST_CLOSING = 16  # KerasHub's loop, where it is used, compares every token with each of them


def greedy(
    model: LanguageModel,
    prompts: Sequence[str],
    *,
    max_tokens: int,
    stop: Sequence[str] = (),
    store: Path | None = None,
    on_progress: Callable[[ScoringProgress], None] | None = None,
) -> pd.DataFrame:
    """Return one row per prompt: prompt, text (without the stop string), tokens, ended.

    `ended` is "stop", "end" (a token that ends an answer) or "cap" (`max_tokens` reached). Finished
    prompts are kept in `store`, from which a later call goes on. Raises InputError for a prompt
    that is empty or does not fit the context with `max_tokens` more, and for a model that has no
    `decode`, before any forward pass.
    """
    began = time.monotonic()
    check_weights(model)
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
        raise InputError(f"max_tokens is {max_tokens!r}: give a whole number from 1 on.")
    encoded = [opened(model, ids) for ids in model.encode(list(prompts))]
    for index, ids in enumerate(encoded):
        if not ids:
            raise InputError(f"Prompt {index} is empty: there is nothing to go on from.")
        if model.context is not None and len(ids) + max_tokens > model.context:
            raise InputError(
                f"Prompt {index} has {len(ids)} tokens and {max_tokens} may follow, {model.name} "
                f"reads at most {model.context}: shorten the prompt or lower max_tokens."
            )
    decode = decoder(model)
    places = [
        None if store is None else store / f"{key(model, prompt, max_tokens, stop)}.json"
        for prompt in prompts
    ]
    kept = {index: read_finished(place) for index, place in enumerate(places) if place is not None}
    rows = {index: row for index, row in kept.items() if row is not None}
    reused = len(rows)
    fresh = [index for index in range(len(encoded)) if index not in rows]

    def tell() -> None:
        """Say how many prompts are done."""
        if on_progress:
            on_progress(ScoringProgress(len(rows), len(encoded), reused, time.monotonic() - began))

    sizes = [len(ids) for ids in encoded]
    grouped = list(batch_prompts(fresh, sizes))
    tell()
    if fresh:
        closed_by, last = closing(model, stop), ends(model)
        over = partial(stopped, decode, stop)
        generate = make_generate(model, closed_by, over, padded_lengths(grouped, sizes))
    for batch in grouped:
        found = generate([encoded[index] for index in batch], max_tokens)
        for index, new in zip(batch, found, strict=True):
            end = next((at + 1 for at, token in enumerate(new) if token in closed_by), len(new))
            rows[index] = [prompts[index], *cut(new[:end], decode, last, max_tokens, stop)]
            place = places[index]
            if place is not None:
                write_json(place, rows[index], durable=False)  # made again where it is lost
        tell()
    return pd.DataFrame([rows[index] for index in range(len(encoded))], columns=COLUMNS)


def read_finished(place: Path) -> list[Any] | None:
    """Return the row of a finished prompt, None where it has none or its file is damaged."""
    row = read_or_discard(place)
    if row is None or (isinstance(row, list) and len(row) == len(COLUMNS)):
        return row
    discard(place, f"it holds no row of {len(COLUMNS)} values")
    return None


def key(model: LanguageModel, prompt: str, max_tokens: int, stop: Sequence[str]) -> str:
    """Return the identity of the text after one prompt on one model in one setting."""
    settings = {"max_tokens": max_tokens, "stop": list(stop)}
    return identity(__name__, model=model.fingerprint, settings=settings, data=prompt)


def batch_prompts(places: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield places of prompts of about one length together, longest first."""
    ordered = sorted(places, key=lambda place: (-lengths[place], place))
    for begin in range(0, len(ordered), batch_size()):
        yield ordered[begin : begin + batch_size()]


def padded_lengths(grouped: Sequence[Sequence[int]], sizes: Sequence[int]) -> list[int]:
    """Return few lengths to pad the prompts of batches to: one more must save its compiling."""
    longest = Counter(max(sizes[place] for place in batch) for batch in grouped)
    tokens = {size: count * batch_size() for size, count in longest.items()}
    return choose_lengths(tokens, most=MAX_LENGTHS, step=STEP, price=SHAPE * shape_cost())


def decoder(model: LanguageModel) -> Decode:
    """Return what turns a model's ids into text; InputError where it has no such thing."""
    if model.decode is None:
        raise InputError(
            f"{model.name} has a tokenizer that only encodes, so that its answers cannot be read: "
            "choose another model, or answers that are choices (BENCHMARKS=mmlu, CHAIN empty)."
        )
    return model.decode


def closing(model: LanguageModel, stop: Sequence[str]) -> tuple[int, ...]:
    """Return tokens that hold a stop string by themselves, the lowest first, at most MOST_CLOSING.

    Vocabularies are in the order of merging, so that the lowest are the most common. A string that
    is spread over tokens is not found by them: it only takes longer.
    """
    texts = decoder(model)([[token] for token in range(model.vocabulary)])
    found = (token for token, text in enumerate(texts) if any(word in text for word in stop))
    return tuple(itertools.islice(found, MOST_CLOSING))


def stopped(decode: Decode, stop: Sequence[str], ids: list[int]) -> bool:
    """Return whether the text of ids holds a stop string."""
    (text,) = decode([ids])
    return any(word in text for word in stop)


def cut(
    new: list[int],
    decode: Decode,
    end: tuple[int, ...],
    max_tokens: int,
    stop: Sequence[str],
) -> tuple[str, int, str]:
    """Return text, tokens and how it ended, for the ids that follow a prompt.

    Tokens are those up to and with the one that completes the stop string, the end token left out.
    """
    closed = next((place for place, token in enumerate(new) if token in end), None)
    ids = new[:closed] if closed is not None else new[:max_tokens]
    (text,) = decode([ids])
    if not stopped(decode, stop, ids):
        return text, len(ids), "cap" if closed is None else "end"
    sizes = range(1, len(ids) + 1)
    count = next(size for size in sizes if stopped(decode, stop, ids[:size]))
    return text[: min(text.index(word) for word in stop if word in text)], count, "stop"

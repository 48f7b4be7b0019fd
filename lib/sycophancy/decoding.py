"""Greedy decoding: prompts and a model give texts, until a stop string, the end token or a cap.

Prompts of about one length at a time, by KerasHub's cached forward pass in a loop of our own. It
knows no stop strings, but tokens that hold one (`closing`); for those that are spread over tokens a
batch is looked at now and then.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from tokenizers import Tokenizer

from sycophancy import models
from sycophancy.encoders import OUR_TOKENIZER
from sycophancy.errors import InputError
from sycophancy.models import LanguageModel
from sycophancy.runs import write_json
from sycophancy.scoring import Progress
from sycophancy.scoring.cached import causal_task, exact
from sycophancy.scoring.forward import kept, logits_at, on_weights, with_weights

Generate = Callable[[list[list[int]], int], list[list[int]]]
Over = Callable[[list[int]], bool]
COLUMNS = ["prompt", "text", "tokens", "ended"]
STEP = 32  # padded lengths are multiples of this: each one is compiled
# Prompts at a time. A step copies every row's cache and a batch runs until its last row ends: on a
# processor few rows are the quickest (bench/README.md), an accelerator would idle.
BATCH, BATCH_ON_CPU = 8, 4
LOOK = 16  # after so many steps a batch is looked at for stop strings spread over tokens
MOST_CLOSING = 16  # KerasHub's loop compares every token with each of them


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
    prompts are kept in `store`, from which a later call goes on. Raises InputError for a prompt
    that does not fit the context with `max_tokens` more, before any forward pass.
    """
    began = time.monotonic()
    encoded = [[*model.start, *ids] for ids in model.encode(list(prompts))]
    for index, ids in enumerate(encoded):
        if not ids:
            raise InputError(f"Prompt {index} is empty: there is nothing to go on from.")
        if model.context is not None and len(ids) + max_tokens > model.context:
            raise InputError(
                f"Prompt {index} has {len(ids)} tokens and {max_tokens} may follow, {model.name} "
                f"reads at most {model.context}: shorten the prompt or lower max_tokens."
            )
    if model.files.get(OUR_TOKENIZER) is None:
        raise InputError(
            f"{model.name} has no tokenizer.json, so that its answers cannot be read: choose a "
            "model with one, such as a Hugging Face folder."
        )
    tokenizer = Tokenizer.from_str(model.files[OUR_TOKENIZER])
    places = [
        None if store is None else store / f"{key(model, prompt, max_tokens, stop)}.json"
        for prompt in prompts
    ]
    rows: dict[int, list[Any]] = {
        index: json.loads(place.read_text("utf-8"))
        for index, place in enumerate(places)
        if place is not None and place.is_file()
    }
    reused = len(rows)
    fresh = [index for index in range(len(encoded)) if index not in rows]

    def tell() -> None:
        """Say how many prompts are done."""
        if on_progress:
            on_progress(Progress(len(rows), len(encoded), reused, time.monotonic() - began))

    tell()
    if fresh:
        closed_by = closing(tokenizer, stop)
        generate = make_generate(model, closed_by, partial(stopped, tokenizer, stop))
    for batch in batches(fresh, [len(ids) for ids in encoded]):
        found = generate([encoded[index] for index in batch], max_tokens)
        for index, new in zip(batch, found, strict=True):
            over = next((at + 1 for at, token in enumerate(new) if token in closed_by), len(new))
            rows[index] = [prompts[index], *cut(new[:over], tokenizer, model.end, max_tokens, stop)]
            place = places[index]
            if place is not None:
                write_json(place, rows[index])
        tell()
    return pd.DataFrame([rows[index] for index in range(len(encoded))], columns=COLUMNS)


def key(model: LanguageModel, prompt: str, max_tokens: int, stop: Sequence[str]) -> str:
    """Return 32 hex digits for one prompt on one model in one setting."""
    parts = "\0".join([model.fingerprint, str(max_tokens), *stop, "", prompt])
    return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()


def batches(places: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield places of prompts of about one length together, longest first."""
    ordered = sorted(places, key=lambda place: (-lengths[place], place))
    for begin in range(0, len(ordered), batch_size()):
        yield ordered[begin : begin + batch_size()]


def batch_size() -> int:
    """Return how many prompts are continued together on this machine."""
    return BATCH_ON_CPU if jax.default_backend() == "cpu" else BATCH


def closing(tokenizer: Tokenizer, stop: Sequence[str]) -> tuple[int, ...]:
    """Return tokens that hold a stop string by themselves, the lowest first, at most MOST_CLOSING.

    Vocabularies are in the order of merging, so that the lowest are the most common. A string that
    is spread over tokens is not found by them: it only takes longer.
    """
    size = tokenizer.get_vocab_size()
    texts = tokenizer.decode_batch([[token] for token in range(size)], skip_special_tokens=False)
    found = (token for token, text in enumerate(texts) if any(word in text for word in stop))
    return tuple(itertools.islice(found, MOST_CLOSING))


def make_generate(
    model: LanguageModel,
    closed_by: Sequence[int] = (),
    over: Over = lambda ids: False,
) -> Generate:
    """Return a function from prompts in ids to the ids that follow each, end token included.

    It may end as soon as every row has the end token or one of `closed_by`, or is `over`; what
    follows them in a row is then of no meaning.
    """
    return (own_loop if exact(model) else kerashub_loop)(model, closed_by, over)


def own_loop(model: LanguageModel, closed_by: Sequence[int], over: Over) -> Generate:
    """Return a generate whose rows go on from their own ends, in no more steps than they need."""
    begin, go_on = kept(model, "decoding", lambda: compile_loop(model))
    closes = np.zeros(model.backbone.token_embedding.input_dim, bool)
    closes[[*model.end, *closed_by]] = True

    def generate(prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
        """Return the ids that follow each prompt of one batch."""
        longest = max(map(len, prompts))
        ids, mask = padded(prompts, multiple(longest))
        blank = np.zeros((len(ids), multiple(longest + max_tokens)), np.int32)
        lengths = mask.sum(1, dtype=np.int32)
        state = begin(ids, lengths, closes, blank)
        for most in (*range(LOOK, max_tokens, LOOK), max_tokens):
            state = go_on(state, lengths, closes, np.int32(most))
            rows = np.asarray(state[1])[: len(prompts), :most].tolist()
            ended = np.asarray(state[2])[: len(prompts)]
            if all(done or over(row) for done, row in zip(ended, rows, strict=True)):
                break
        return rows

    return generate


def compile_loop(model: LanguageModel) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return a jitted (ids, lengths, closes, out) → state, and (state, lengths, closes, most) → it.

    ids is int (rows, length), lengths (rows,) says how many of them are a prompt, closes (tokens,)
    which ones end a row. `out`, int (rows, room), is filled with the ids that follow the prompts,
    up to `most`; a row's cache has room for as many tokens as `out`. The state holds how many were
    made, out, which rows have ended, and the cache.
    """
    task, fill = causal_task(model)

    def one(token: Any, cache: Any, place: Any) -> Any:
        """Return what follows a row's newest token, which stands at `place`, and its cache."""
        own = jax.tree.map(lambda x: x[None], cache)
        _, hidden, own = task.call_with_cache(token[None, None], own, place)
        return likeliest(hidden, jnp.zeros(1, int))[0], jax.tree.map(lambda x: x[0], own)

    def likeliest(hidden: Any, places: Any) -> Any:
        """Return the most probable token after one place of each row."""
        logits = logits_at(model, hidden, places[:, None])[:, 0]
        return logits.argmax(-1).astype(np.int32)

    def begin(values: Any, ids: Any, lengths: Any, closes: Any, out: Any) -> Any:
        """Return the state after reading the prompts."""
        with with_weights(model, values):
            hidden, cache = fill(ids)
            larger = jax.eval_shape(lambda: fill(jnp.zeros(out.shape, ids.dtype))[1])
            cache = jax.tree.map(with_room, cache, larger)
            token = likeliest(hidden, lengths - 1)
        return jnp.int32(1), out.at[:, 0].set(token), closes[token], cache

    def go_on(values: Any, state: Any, lengths: Any, closes: Any, most: Any) -> Any:
        """Return the state when all rows have ended, or `most` tokens are made."""

        def unfinished(state: Any) -> Any:
            """Return whether a row can and has to go on."""
            made, _, done, _ = state
            return (made < most) & ~done.all()

        def step(state: Any) -> Any:
            """Return the state with one token more in every row."""
            made, out, done, cache = state
            token, cache = jax.vmap(one)(out[:, made - 1], cache, lengths + made - 1)
            return made + 1, out.at[:, made].set(token), done | closes[token], cache

        with with_weights(model, values):
            return jax.lax.while_loop(unfinished, step, state)

    return on_weights(model, begin), on_weights(model, go_on)


def with_room(cache: Any, larger: Any) -> Any:
    """Return an array of a cache with zeros after its tokens, up to the shape of `larger`."""
    return jnp.pad(cache, [(0, b - a) for a, b in zip(cache.shape, larger.shape, strict=True)])


def kerashub_loop(model: LanguageModel, closed_by: Sequence[int], _: Over) -> Generate:
    """Return a generate by KerasHub's own, for families whose cached pass is not known to be exact.

    It begins at the end of the shortest prompt, takes all rows on at one index and is never looked
    at in between.
    """
    last = (*model.end, *closed_by)
    causal = models.families()[type(model.backbone)](backbone=model.backbone, preprocessor=None)
    causal.compile(sampler="greedy")
    # KerasHub looks for the end token behind the prompt too: padding must not look like it
    padding = next(token for token in range(len(last) + 1) if token not in last)

    def generate(prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
        """Return the ids that follow each prompt of one batch."""
        ids, mask = padded(prompts, multiple(max(map(len, prompts)) + max_tokens), padding)
        inputs = {"token_ids": ids, "padding_mask": mask}
        out = np.asarray(causal.generate(inputs, stop_token_ids=list(last) or None)["token_ids"])
        return [
            out[row, len(prompt) : len(prompt) + max_tokens].tolist()
            for row, prompt in enumerate(prompts)
        ]

    return generate


def padded(
    prompts: list[list[int]], length: int, padding: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return ids (rows, length) and where they are a prompt's.

    A batch that is not full repeats its first prompt: each number of rows would be compiled.
    """
    ids = np.full((batch_size(), length), padding, np.int32)
    mask = np.zeros((batch_size(), length), bool)
    for row in range(batch_size()):
        prompt = prompts[row] if row < len(prompts) else prompts[0]
        ids[row, : len(prompt)], mask[row, : len(prompt)] = prompt, True
    return ids, mask


def multiple(length: int) -> int:
    """Return the length to pad to."""
    return -(-length // STEP) * STEP


def stopped(tokenizer: Tokenizer, stop: Sequence[str], ids: list[int]) -> bool:
    """Return whether the text of ids holds a stop string."""
    text = tokenizer.decode(ids, skip_special_tokens=False)
    return any(word in text for word in stop)


def cut(
    new: list[int],
    tokenizer: Tokenizer,
    end: tuple[int, ...],
    max_tokens: int,
    stop: Sequence[str],
) -> tuple[str, int, str]:
    """Return text, tokens and how it ended, for the ids that follow a prompt.

    Tokens are those up to and with the one that completes the stop string, the end token left out.
    """
    closed = next((place for place, token in enumerate(new) if token in end), None)
    ids = new[:closed] if closed is not None else new[:max_tokens]
    text = tokenizer.decode(ids, skip_special_tokens=False)
    if not stopped(tokenizer, stop, ids):
        return text, len(ids), "cap" if closed is None else "end"
    sizes = range(1, len(ids) + 1)
    count = next(size for size in sizes if stopped(tokenizer, stop, ids[:size]))
    return text[: min(text.index(word) for word in stop if word in text)], count, "stop"

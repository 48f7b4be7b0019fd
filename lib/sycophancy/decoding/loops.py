"""The loops that go on from a batch of prompts: ours over KerasHub's cached pass, and its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sycophancy import models
from sycophancy.decoding.cached import causal_task, exact, read_token
from sycophancy.errors import InputError
from sycophancy.models import LanguageModel
from sycophancy.scoring.forward import kept, logits_at, on_weights, with_weights

Generate = Callable[[list[list[int]], int], list[list[int]]]
Over = Callable[[list[int]], bool]
TURN_ENDS = ("<end_of_turn>", "<|eot_id|>", "<|im_end|>")  # of Gemma, Llama 3, Qwen and SmolLM
STEP = 32  # padded lengths are multiples of this: each one is compiled
# Prompts at a time. A step copies every row's cache and a batch runs until its last row ends: few
# rows on a processor; an accelerator would idle.
BATCH, BATCH_ON_CPU = 8, 4
LOOK = 16  # after so many steps a batch is looked at for stop strings spread over tokens


def batch_size() -> int:
    """Return how many prompts are continued together on this machine."""
    return BATCH_ON_CPU if jax.default_backend() == "cpu" else BATCH


def ends(model: LanguageModel) -> tuple[int, ...]:
    """Return the ids that end an answer: the model's own, and the marks of a turn that it knows."""
    try:
        rows = model.encode(TURN_ENDS)
    except InputError:  # a laboratory model knows its own words alone
        return model.end
    whole = [row[0] for row in rows if len(row) == 1]
    texts = model.decode([[token] for token in whole]) if model.decode else []
    known = [token for token, text in zip(whole, texts, strict=False) if text in TURN_ENDS]
    return tuple(dict.fromkeys([*model.end, *known]))


def make_generate(
    model: LanguageModel,
    closed_by: Sequence[int] = (),
    over: Over = lambda ids: False,
    lengths: Sequence[int] = (),
) -> Generate:
    """Return a function from prompts in ids to the ids that follow each, end token included.

    It may end as soon as every row has the end token or one of `closed_by`, or is `over`; what
    follows them in a row is then of no meaning. Prompts are padded to the first of the ascending
    `lengths` with room for a batch, where there is one: each length is compiled.
    """
    if exact(model):
        return own_loop(model, closed_by, over, lengths)
    return kerashub_loop(model, closed_by)


def own_loop(
    model: LanguageModel, closed_by: Sequence[int], over: Over, lengths: Sequence[int] = ()
) -> Generate:
    """Return a generate whose rows go on from their own ends until the last of them is over."""
    begin, go_on = kept(model, "decoding", lambda: compile_loop(model))
    size = model.backbone.token_embedding.input_dim
    closes = np.zeros(size, bool)  # a tokenizer may know tokens that the model does not
    closes[[token for token in (*ends(model), *closed_by) if token < size]] = True

    def generate(prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
        """Return the ids that follow each prompt of one batch."""
        longest, context = max(map(len, prompts)), model.context or sys.maxsize
        length = next((n for n in lengths if n >= longest), multiple(longest))
        ids, mask = pad_prompts(prompts, min(length, context))
        # room for both, each rounded up: few shapes
        room = min(length + multiple(max_tokens), context)
        blank = np.zeros((len(ids), room), np.int32)
        sizes = mask.sum(1, dtype=np.int32)
        state = begin(ids, sizes, closes, blank)
        for most in (*range(LOOK, max_tokens, LOOK), max_tokens):
            state = go_on(state, sizes, closes, np.int32(most))
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
        hidden, cache = read_token(task, token, cache, place)
        return likeliest(hidden, jnp.zeros(1, int))[0], cache

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


def kerashub_loop(model: LanguageModel, closed_by: Sequence[int]) -> Generate:
    """Return a generate by KerasHub's own, for families whose cached pass is not known to be exact.

    It begins at the end of the shortest prompt, takes all rows on at one index and is never looked
    at in between.
    """
    last = (*ends(model), *closed_by)
    causal = models.families()[type(model.backbone)](backbone=model.backbone, preprocessor=None)
    causal.compile(sampler="greedy")
    # KerasHub looks for the end token behind the prompt too: padding must not look like it
    padding = next(token for token in range(len(last) + 1) if token not in last)

    def generate(prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
        """Return the ids that follow each prompt of one batch."""
        ids, mask = pad_prompts(prompts, multiple(max(map(len, prompts)) + max_tokens), padding)
        inputs = {"token_ids": ids, "padding_mask": mask}
        out = np.asarray(causal.generate(inputs, stop_token_ids=list(last) or None)["token_ids"])
        return [
            out[row, len(prompt) : len(prompt) + max_tokens].tolist()
            for row, prompt in enumerate(prompts)
        ]

    return generate


def pad_prompts(
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

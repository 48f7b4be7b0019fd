"""KerasHub's own forward pass with a cache of keys and values, a token at a time, and its check.

Nothing here knows a family: `CausalLM.call_with_cache` is the attention, and a model whose cached
pass is missing or not exact is left to KerasHub's own `generate`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sycophancy.models import LanguageModel, families
from sycophancy.scoring.exactness import Differences, compare_with_plain, sliding_window
from sycophancy.scoring.forward import (
    architecture,
    kept,
    log_probabilities,
    on_weights,
    shared,
    with_weights,
)

WINDOW = 4096  # the check reaches over sliding windows up to this length
CHECKED = 5  # tokens that follow each prompt of the check


def causal_task(model: LanguageModel) -> tuple[Any, Callable[[Any], Any]]:
    """Return KerasHub's CausalLM on the weights of `model`, and its (ids) → (hidden, cache).

    `_build_cache` is the one way to a family's cache without knowing its layout: some stack the
    layers in one array, Gemma 3 keeps a tuple.
    """
    backbone = model.backbone
    task = families()[type(backbone)](
        backbone=backbone, preprocessor=None, dtype=backbone.dtype_policy
    )
    names = [
        name for name in inspect.signature(task._build_cache).parameters if name != "token_ids"
    ]

    def fill(ids: Any) -> Any:
        """Return hidden states and the cache after ids."""
        other = {name: jnp.ones_like(ids) if name == "padding_mask" else None for name in names}
        return task._build_cache(ids, **other)

    return task, fill


def read_token(task: Any, token: Any, cache: Any, place: Any) -> tuple[Any, Any]:
    """Return the hidden state (1, 1, width) after a row's next token, at `place`, and its cache."""
    own = jax.tree.map(lambda x: x[None], cache)
    _, hidden, own = task.call_with_cache(token[None, None], own, place)
    return hidden, jax.tree.map(lambda x: x[0], own)


def exact(model: LanguageModel) -> bool:
    """Return whether the pass with a cache gives what the plain forward pass gives.

    Found out once an architecture and process, on random tokens that reach over a sliding window.
    """

    def find() -> bool:
        """Compare."""
        try:
            return cached_differences(model).exact
        except Exception:  # a family without the pass fails in its own way
            return False

    return shared(("with a cache", architecture(model.backbone)), find)


def make_steps(model: LanguageModel) -> Callable[..., Any]:
    """Return a jitted (prompts, starts, ids, targets) → log-probabilities (rows, 1 + places).

    Prompts are int (rows, length); whatever stands in them from starts (rows,) on is overwritten by
    ids (rows, places), token by token. The first of targets (rows, 1 + places) follows the prompt.
    """
    return kept(model, "steps", lambda: compile_steps(model))


def compile_steps(model: LanguageModel) -> Callable[..., Any]:
    """Return what `make_steps` keeps."""
    task, fill = causal_task(model)

    def steps(values: Any, prompts: Any, starts: Any, ids: Any, targets: Any) -> Any:
        """Return the log-probability of every target."""

        def step(cache: Any, at: Any) -> Any:
            """Return the cache after one token of every row, and its target's log-probability."""
            hidden, cache = jax.vmap(lambda *row: read_token(task, *row))(
                ids[:, at], cache, starts + at
            )
            first = jnp.zeros_like(starts)[:, None]
            found = log_probabilities(model, hidden[:, 0], first, targets[:, at + 1, None])
            return cache, found[:, 0]

        with with_weights(model, values):
            hidden, cache = fill(prompts)
            before = log_probabilities(model, hidden, starts[:, None] - 1, targets[:, :1])
            _, after = jax.lax.scan(step, cache, jnp.arange(ids.shape[1]))
        return jnp.concatenate([before, after.T], axis=1)

    return on_weights(model, steps)


def cached_differences(model: LanguageModel) -> Differences:
    """Return cached against plain log-probabilities of what follows two prompts."""
    window = sliding_window(model.backbone)
    longest = (window if window <= WINDOW else 0) + 16
    starts = np.array([longest, longest - 5], np.int32)
    size = model.backbone.token_embedding.input_dim
    rng = np.random.default_rng(0)
    ids = rng.integers(size, size=(2, longest + CHECKED), dtype=np.int32)
    targets = rng.integers(size, size=(2, 1 + CHECKED), dtype=np.int32)
    places = np.add.outer(starts, np.arange(-1, CHECKED, dtype=np.int32))
    more = np.take_along_axis(ids, places[:, 1:], axis=1)
    prompts = np.where(np.arange(longest + CHECKED) < starts[:, None], ids, 0)
    checked = np.asarray(make_steps(model)(prompts, starts, more, targets))
    return compare_with_plain(model, checked, (ids, np.ones_like(ids), places, targets))

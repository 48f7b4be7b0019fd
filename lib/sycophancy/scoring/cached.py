"""Keys and values of tokens that many sequences share, by KerasHub's own cached forward pass.

A trunk is a run of tokens that several sequences begin with; it is computed once, and each branch
goes on from its keys and values. Nothing here knows a family: `CausalLM.call_with_cache` is the
attention, and a model whose cached pass is missing or not exact is left alone (see `exact`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sycophancy.models import LanguageModel, families
from sycophancy.scoring.forward import (
    kept,
    log_probabilities,
    make_forward,
    on_weights,
    with_weights,
)

TOLERANCE = 1e-4  # nats, for any token, in float32 on a CPU
ROUGH = 0.1  # nats, mean over tokens, where rounding alone makes differences of this kind
WINDOW = 4096  # the check reaches over sliding windows up to this length
_exact: dict[str, bool] = {}


@dataclass(frozen=True)
class Passes:
    """A model's jitted passes with a cache.

    `trunk(ids, positions, targets)`, int (n, length) and (n, places), gives log-probabilities
    (n, places) as `make_forward` does, and the cache. `branch(cache, starts, ids, positions,
    targets)` runs ids (n, b, length), b continuations of each trunk whose first token stands at
    starts (n,), and gives (n, b, places); positions count from there. Padding follows the tokens in
    trunks and branches alike: a position never sees what comes after it, and branches overwrite a
    trunk's padding, which must leave room for the longest. `token_bytes` is the size of the cache
    of one token.
    """

    trunk: Callable[..., Any]
    branch: Callable[..., Any]
    token_bytes: Callable[[], int]


def make_passes(model: LanguageModel) -> Passes:
    """Return the passes of `model`; raises, now or when called, where KerasHub lacks them."""
    return kept(model, "passes", lambda: compile_passes(model))


def compile_passes(model: LanguageModel) -> Passes:
    """Return what `make_passes` keeps."""
    task, fill = causal_task(model)

    def trunk(values: Any, ids: Any, positions: Any, targets: Any) -> Any:
        """Return log-probabilities of the trunks' targets, and their cache."""
        with with_weights(model, values):
            hidden, cache = fill(ids)
            return log_probabilities(model, hidden, positions, targets), cache

    def branch(values: Any, cache: Any, starts: Any, ids: Any, positions: Any, targets: Any) -> Any:
        """Return log-probabilities of the branches' targets."""

        def one_trunk(cache: Any, start: Any, ids: Any, positions: Any, targets: Any) -> Any:
            """Return those of one trunk's branches, each with a copy of its cache."""
            wide = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(ids), *x.shape)), cache)
            _, hidden, _ = task.call_with_cache(ids, wide, start)
            return log_probabilities(model, hidden, positions, targets)

        with with_weights(model, values):
            return jax.vmap(one_trunk)(cache, starts, ids, positions, targets)

    @cache
    def token_bytes() -> int:
        """Return the bytes of keys and values of one token."""
        one = np.zeros((1, 16), np.int32)
        values = [own.value for own in model.backbone.weights]
        _, filled = jax.eval_shape(trunk, values, one, one[:, :1], one[:, :1])
        return -(-sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(filled)) // one.size)

    return Passes(
        on_weights(model, jax.jit(trunk)), on_weights(model, jax.jit(branch)), token_bytes
    )


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


def exact(model: LanguageModel) -> bool:
    """Return whether the passes with a cache give what the plain forward pass gives.

    Found out once a model and process, on random tokens that reach over a sliding window: within
    TOLERANCE in float32 on a CPU; elsewhere rounding is coarser, and ROUGH tells it from an error.
    """
    if model.fingerprint not in _exact:
        try:
            gaps = differences(model)
        except Exception:  # a family without the pass fails in its own way; it has the plain one
            gaps = np.array([np.inf])
        precise = jax.default_backend() == "cpu" and model.backbone.compute_dtype == "float32"
        _exact[model.fingerprint] = bool(
            gaps.max() <= TOLERANCE if precise else gaps.mean() <= ROUGH
        )
    return _exact[model.fingerprint]


def differences(model: LanguageModel) -> np.ndarray:
    """Return |cached - plain| log-probabilities of two trunks with two branches each."""
    window = max(
        getattr(model.backbone, name, None) or 0
        for name in ("sliding_window", "sliding_window_size")
    )
    long = (window if window <= WINDOW else 0) + 16
    starts, more = np.array([long, long - 5], np.int32), 5
    length = long + more
    size = model.backbone.token_embedding.input_dim
    rng = np.random.default_rng(0)
    ids = rng.integers(size, size=(2, 2, length), dtype=np.int32)
    ids[:, 1, : starts.min()] = ids[:, 0, : starts.min()]
    ids[0, 1, : starts[0]] = ids[0, 0, : starts[0]]
    after = starts[:, None, None] + np.arange(more)[None, None]  # where the branches lie
    branches = np.take_along_axis(ids, np.broadcast_to(after, (2, 2, more)), axis=2)
    targets = rng.integers(size, size=(2, 2, more), dtype=np.int32)
    at_end, first = starts[:, None] - 1, branches[:, 0, :1]
    passes = make_passes(model)
    trunks, cache = passes.trunk(ids[:, 0], at_end, first)
    where = np.broadcast_to(np.arange(more, dtype=np.int32), (2, 2, more))
    grown = passes.branch(cache, starts, branches, where, targets)
    places = np.concatenate([at_end[:, None].repeat(2, axis=1), after.repeat(2, axis=1)], axis=2)
    wanted = np.concatenate([first[:, None].repeat(2, axis=1), targets], axis=2)
    flat = (ids, np.ones_like(ids), places, wanted)
    plain = make_forward(model)(*(x.reshape(4, -1).astype(np.int32) for x in flat))
    plain = np.asarray(plain).reshape(2, 2, more + 1)
    gaps = [plain[:, 0, 0] - np.asarray(trunks)[:, 0], plain[:, :, 1:] - np.asarray(grown)]
    return np.abs(np.concatenate([gap.reshape(-1) for gap in gaps]))

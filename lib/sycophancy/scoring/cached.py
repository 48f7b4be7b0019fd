"""Keys and values of tokens that many sequences share, by KerasHub's own cached forward pass.

A trunk is a run of tokens that several sequences begin with; it is computed once, and each branch
goes on from its keys and values. Nothing here knows a family: `CausalLM.call_with_cache` is the
attention, and a model whose cached pass is missing or not exact is left alone (see `exact`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sycophancy.models import LanguageModel, families
from sycophancy.scoring.exactness import Differences, compare_with_plain
from sycophancy.scoring.forward import (
    architecture,
    kept,
    log_probabilities,
    on_weights,
    shared,
    with_weights,
)

WINDOW = 4096  # the check reaches over sliding windows up to this length
_exact: dict[str, bool] = {}


@dataclass(frozen=True)
class Passes:
    """A model's jitted passes with a cache.

    `trunk(ids, positions, targets)`, int (n, length) and (n, places), gives log-probabilities
    (n, places) as `make_forward` does, and the cache. `branch(cache, which, starts, ids, positions,
    targets)` runs ids (b, length): continuations of the trunks which (b,), whose first tokens stand
    at starts (b,), and gives (b, places); positions count from there. Padding follows the tokens in
    trunks and branches alike: a position never sees what comes after it, and branches overwrite a
    trunk's padding. `token_bytes` is the size of the cache of one token.
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
    form = architecture(model.backbone)

    def trunk(values: Any, ids: Any, positions: Any, targets: Any) -> Any:
        """Return log-probabilities of the trunks' targets, and their cache."""
        with with_weights(model, values):
            hidden, cache = fill(ids)
            return log_probabilities(model, hidden, positions, targets), cache

    def branch(
        values: Any, cache: Any, which: Any, starts: Any, ids: Any, positions: Any, targets: Any
    ) -> Any:
        """Return log-probabilities of the branches' targets."""
        room = ids.shape[1]

        def with_room(x: Any, axis: int) -> Any:
            """Return each branch's copy of its trunk's cache, longer by the branch."""
            return jnp.pad(x[which], [(0, room if i == axis else 0) for i in range(x.ndim)])

        def one(cache: Any, start: Any, *given: Any) -> Any:
            """Return those of one branch."""
            cache, ids, positions, targets = jax.tree.map(lambda x: x[None], (cache, *given))
            _, hidden, _ = task.call_with_cache(ids, cache, start)
            return log_probabilities(model, hidden, positions, targets)[0]

        with with_weights(model, values):
            own = jax.tree.map(with_room, cache, layout()[0])
            return jax.vmap(one)(own, starts, ids, positions, targets)

    def layout() -> tuple[Any, int]:
        """Return what `find_layout` found for this architecture."""
        return shared(("layout", form), find_layout)

    def find_layout() -> tuple[Any, int]:
        """Return the axis of the tokens in every array of a cache, and the bytes of one token."""
        values = [own.value for own in model.backbone.weights]
        ids = [np.zeros((1, length), np.int32) for length in (8, 9)]
        one = ids[0][:, :1]
        short, long = (jax.eval_shape(trunk, values, some, one, one)[1] for some in ids)
        axes = jax.tree.map(lambda a, b: int(np.argmin(np.equal(a.shape, b.shape))), short, long)
        sizes = [sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(x)) for x in (short, long)]
        return axes, sizes[1] - sizes[0]

    return Passes(on_weights(model, trunk), on_weights(model, branch), lambda: layout()[1])


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

    Found out once a model and process, on random tokens that reach over a sliding window
    (`exactness`).
    """
    if model.fingerprint not in _exact:
        try:
            _exact[model.fingerprint] = differences(model).exact
        except Exception:  # a family without the pass fails in its own way; it has the plain one
            _exact[model.fingerprint] = False
    return _exact[model.fingerprint]


def sliding_window(backbone: Any) -> int:
    """Return how many tokens back a layer with a sliding window sees, 0 where there is none."""
    names = ("sliding_window", "sliding_window_size")
    return max(getattr(backbone, name, None) or 0 for name in names)


def differences(model: LanguageModel) -> Differences:
    """Return cached against plain log-probabilities of two trunks with two branches each."""
    window = sliding_window(model.backbone)
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
    which = np.arange(2, dtype=np.int32).repeat(2)
    flat = (x.reshape(4, more) for x in (branches, where, targets))
    grown = np.asarray(passes.branch(cache, which, starts[which], *flat)).reshape(2, 2, more)
    places = np.concatenate([at_end[:, None].repeat(2, axis=1), after.repeat(2, axis=1)], axis=2)
    wanted = np.concatenate([first[:, None].repeat(2, axis=1), targets], axis=2)
    rows = (ids, np.ones_like(ids), places, wanted)
    at_ends = np.asarray(trunks)[:, None].repeat(2, axis=1)
    checked = np.concatenate([at_ends, grown], axis=2)
    return compare_with_plain(
        model, checked.reshape(4, -1), tuple(x.reshape(4, -1).astype(np.int32) for x in rows)
    )

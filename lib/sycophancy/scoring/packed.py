"""The forward pass of packed sequences: KerasHub's own, with other positions and other attention.

A family's backbone rotates queries and keys by their places in the sequence and has each of its
attention layers look at what came before. For packed sequences (`packing.py`) the positions are
given instead, and so are the keys, values and mask of every page. A family that does either
elsewhere is found out by comparing with the plain pass, and left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import keras_hub
import numpy as np

from sycophancy.models import LanguageModel
from sycophancy.scoring.exactness import Differences, compare_with_plain, sliding_window
from sycophancy.scoring.forward import (
    architecture,
    kept,
    logits,
    on_weights,
    shared,
    with_weights,
)
from sycophancy.scoring.packing import BLOCK, PAGE, pack, packed_arrays, room_for
from sycophancy.scoring.rows import Row

ATTENTION = "_compute_attention"  # of queries, keys and values, in KerasHub's attention layers
WINDOW = "_mask_sliding_window"  # where those that have a sliding window narrow the mask


def make_packed(model: LanguageModel) -> Callable[..., Any]:
    """Return a jitted (ids, depths, ends, sees, at, which, tokens) → log-probabilities.

    Arrays as `packed_arrays` makes them; the result is float32, as long as `tokens`: log P(token |
    the ancestors of the slot at[which], and itself).
    """
    return kept(model, "packed", lambda: compile_packed(model))


def compile_packed(model: LanguageModel) -> Callable[..., Any]:
    """Return what `make_packed` keeps."""
    backbone = model.backbone

    def packed(
        values: Any, ids: Any, depths: Any, ends: Any, sees: Any, at: Any, which: Any, tokens: Any
    ) -> Any:
        """Return the log-probability of every target."""
        inputs = {"token_ids": ids, "padding_mask": jnp.ones_like(ids)}
        with with_weights(model, values), given(backbone, depths, ends, sees):
            hidden = backbone(inputs, training=False)
            hidden = hidden.reshape(-1, hidden.shape[-1])[at]
            values = logits(model, hidden)
        return values[which, tokens] - jax.nn.logsumexp(values, axis=-1)[which]

    return on_weights(model, packed)


@contextmanager
def given(backbone: Any, depths: Any, ends: Any, sees: Any) -> Iterator[None]:
    """Have every layer of a backbone read a packed sequence, while it is traced."""
    # a block that is not there has slots after all others: none of them is before a token
    theirs = (sees[:, :, None] * BLOCK + jnp.arange(BLOCK)).reshape(len(sees), 1, -1)
    own = jnp.arange(depths.size).reshape(*depths.shape, 1)
    mask = (theirs <= own) & (own < in_sight(ends, sees)[:, None, :])
    back = depths[:, :, None] - in_sight(depths, sees)[:, None, :]
    changed: list[tuple[Any, str]] = []

    def change(layer: Any, name: str, function: Callable[..., Any]) -> None:
        """Put a function before the layer's own, past Keras's tracking."""
        vars(layer)[name] = function
        changed.append((layer, name))

    try:
        for layer in backbone._flatten_layers():
            if isinstance(layer, keras_hub.layers.RotaryEmbedding):
                change(layer, "call", rotate(layer.call, depths))
            if hasattr(layer, WINDOW):
                change(layer, WINDOW, getattr(layer, WINDOW))
            if hasattr(layer, ATTENTION):
                change(layer, ATTENTION, attend(layer, sees, mask, back))
        yield
    finally:
        for layer, name in changed:
            del vars(layer)[name]


def in_sight(x: Any, sees: Any) -> Any:
    """Return what the blocks that each page sees have, one after the other."""
    blocks = x.reshape(-1, BLOCK, *x.shape[2:])
    return jnp.take(blocks, sees, axis=0, mode="clip").reshape(len(sees), -1, *x.shape[2:])


def rotate(own: Callable[..., Any], depths: Any) -> Callable[..., Any]:
    """Return a rotary embedding's `call` for tokens that stand at `depths`."""

    def call(inputs: Any, start_index: Any = 0, positions: Any = None) -> Any:
        """Rotate by the depths, whatever was asked for."""
        return own(inputs, positions=depths)

    return call


def attend(layer: Any, sees: Any, mask: Any, back: Any) -> Callable[..., Any]:
    """Return an attention layer's `_compute_attention` for pages that see blocks.

    One page after the other on a CPU, where its keys and scores stay in the processor's cache: the
    whole pass takes three quarters of the time. All at once on an accelerator.
    """
    own = getattr(layer, ATTENTION)

    def compute(
        query: Any, key: Any, value: Any, attention_mask: Any = None, *rest: Any, **others: Any
    ) -> Any:
        """Attend to the blocks in sight, by the mask of the tree."""

        def some(pages: Any) -> Any:
            """Return what some pages take from theirs."""
            query, sees, mask, back = pages
            if hasattr(layer, WINDOW):
                vars(layer)[WINDOW] = narrow(layer, back)
            keys, values = in_sight(key, sees), in_sight(value, sees)
            return own(query, keys, values, mask, *rest, **others)

        pages = (query, sees, mask, back)
        if jax.default_backend() != "cpu":
            return some(pages)
        return jax.lax.map(some, tuple(x[:, None] for x in pages))[:, 0]

    return compute


def narrow(layer: Any, back: Any) -> Callable[..., Any]:
    """Return an attention layer's `_mask_sliding_window` for keys that lie `back` tokens before."""

    def mask(attention_mask: Any, *_: Any, **__: Any) -> Any:
        """Leave out what the window has passed."""
        return attention_mask & (back < layer.sliding_window_size)

    return mask


def packed_exact(model: LanguageModel, longest: int) -> bool:
    """Return whether packed rows of up to `longest` tokens give what the plain pass gives.

    Found out once an architecture and process, on random tokens that reach over a sliding window
    where rows do.
    """
    tokens = PAGE
    window = sliding_window(model.backbone)
    if 0 < window < longest:
        layers = model.backbone._flatten_layers()
        if not any(hasattr(layer, WINDOW) for layer in layers):
            return False  # it is applied elsewhere, and counts slots
        tokens += window

    def find() -> bool:
        """Compare."""
        try:
            return packed_differences(model, tokens).exact
        except Exception:  # a family that works in its own way; it has the plain pass
            return False

    return shared(("packed", architecture(model.backbone), tokens), find)


def packed_differences(model: LanguageModel, tokens: int) -> Differences:
    """Return packed against plain log-probabilities of four rows of so many tokens.

    Three of them are a tree of two levels, and nothing in it begins or ends with a page.
    """
    vocabulary = model.backbone.token_embedding.input_dim
    rng = np.random.default_rng(0)
    stem, fork = tokens - PAGE - 7, tokens - PAGE // 2
    ids = rng.integers(vocabulary, size=(4, tokens), dtype=np.int32)
    ids[1:3, :stem], ids[2, :fork] = ids[0, :stem], ids[1, :fork]
    targets = rng.integers(vocabulary, size=(4, 6), dtype=np.int32)
    read = [stem - 1, stem, fork - 1, fork, tokens - 2, tokens - 1]
    places = np.tile(np.array(read, np.int32), (4, 1))
    rows = [
        Row(
            tuple(map(int, one)),
            tuple(("", int(at), int(t)) for at, t in zip(ats, ts, strict=True)),
        )
        for one, ats, ts in zip(ids, places, targets, strict=True)
    ]
    length = -(-4 * tokens // PAGE) * PAGE
    (tree,) = pack(rows, length)
    arrays, found = packed_arrays(tree, length, room_for([tree]))
    values = np.asarray(make_packed(model)(*arrays))
    order = sorted(range(4), key=lambda i: rows[i].ids)
    inputs = (ids, np.ones_like(ids), places, targets)
    return compare_with_plain(model, values[np.array(found)], tuple(x[order] for x in inputs))

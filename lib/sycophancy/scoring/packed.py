"""The forward pass of packed sequences: KerasHub's own, with another mask and other positions.

A family's backbone computes a causal mask in each of its decoder layers and rotates queries and
keys by their places in the sequence. For packed sequences (`packing.py`) both are given instead. A
family that does either elsewhere is found out by comparing with the plain pass, and left alone.
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
from sycophancy.scoring.cached import sliding_window
from sycophancy.scoring.exactness import Differences, compare_with_plain
from sycophancy.scoring.forward import (
    architecture,
    kept,
    logits,
    on_weights,
    shared,
    with_weights,
)
from sycophancy.scoring.packing import pack, packed_arrays, room_for
from sycophancy.scoring.rows import Row

MASKS = ("_compute_self_attention_mask", "_compute_attention_mask")  # in KerasHub's decoder layers


def make_packed(model: LanguageModel) -> Callable[..., Any]:
    """Return a jitted (ids, depths, ends, at, which, tokens) → log-probabilities.

    Arrays as `packed_arrays` makes them; the result is float32, as long as `tokens`: log P(token |
    the ancestors of the slot at[which], and itself).
    """
    return kept(model, "packed", lambda: compile_packed(model))


def compile_packed(model: LanguageModel) -> Callable[..., Any]:
    """Return what `make_packed` keeps."""
    backbone = model.backbone

    def packed(
        values: Any, ids: Any, depths: Any, ends: Any, at: Any, which: Any, tokens: Any
    ) -> Any:
        """Return the log-probability of every target."""
        slot = jnp.arange(ids.shape[1])
        before = slot[None, None, :] <= slot[None, :, None]
        mask = before & (slot[None, :, None] < ends[:, None, :])
        inputs = {"token_ids": ids, "padding_mask": jnp.ones_like(ids)}
        with with_weights(model, values), given(backbone, depths, mask):
            hidden = backbone(inputs, training=False)
            hidden = hidden.reshape(-1, hidden.shape[-1])[at]
            values = logits(model, hidden)
        return values[which, tokens] - jax.nn.logsumexp(values, axis=-1)[which]

    return on_weights(model, packed)


@contextmanager
def given(backbone: Any, depths: Any, mask: Any) -> Iterator[None]:
    """Have every decoder layer take `mask`, every rotary embedding `depths`, while traced."""
    changed: list[tuple[Any, str]] = []

    def change(layer: Any, name: str, function: Callable[..., Any]) -> None:
        """Put a function before the layer's own, past Keras's tracking."""
        vars(layer)[name] = function
        changed.append((layer, name))

    try:
        for layer in backbone._flatten_layers():
            if isinstance(layer, keras_hub.layers.RotaryEmbedding):
                change(layer, "call", rotate(layer.call, depths))
            for name in MASKS:
                if hasattr(layer, name):
                    change(layer, name, lambda *_, **__: mask)
        yield
    finally:
        for layer, name in changed:
            del vars(layer)[name]


def rotate(own: Callable[..., Any], depths: Any) -> Callable[..., Any]:
    """Return a rotary embedding's `call` for tokens that stand at `depths`."""

    def call(inputs: Any, start_index: Any = 0, positions: Any = None) -> Any:
        """Rotate by the depths, whatever was asked for."""
        return own(inputs, positions=depths)

    return call


def packed_exact(model: LanguageModel, size: int, length: int) -> bool:
    """Return whether packed sequences give what the plain forward pass gives.

    Found out once an architecture and process, on random tokens in sequences of the shape that is
    asked for.
    """

    def find() -> bool:
        """Compare."""
        try:
            return differences(model, size, length).exact
        except Exception:  # a family that works in its own way; it has the plain pass
            return False

    return shared(("packed", architecture(model.backbone), length), find)


def differences(model: LanguageModel, size: int, length: int) -> Differences:
    """Return packed against plain log-probabilities of two trees of two levels, filling a sequence.

    Infinite under a sliding window shorter than a sequence: it counts slots, whatever mask is
    given, and would hide tokens where one tree fills the sequence.
    """
    if 0 < sliding_window(model.backbone) < length:
        return Differences(np.array([np.inf]), np.zeros(1))
    vocabulary = model.backbone.token_embedding.input_dim
    rng = np.random.default_rng(0)
    stem, branch = length // 8, max(1, length // 16)  # 2 × (stem + 2 × (branch + 2 × branch)) fit
    full = stem + 2 * branch
    ids = rng.integers(vocabulary, size=(8, full), dtype=np.int32)
    for i in range(8):
        ids[i, :stem] = ids[i // 4 * 4, :stem]
        ids[i, : stem + branch] = ids[i // 2 * 2, : stem + branch]
    targets = rng.integers(vocabulary, size=(8, 3), dtype=np.int32)
    places = np.tile(np.array([stem - 1, stem, full - 1], np.int32), (8, 1))
    rows = [
        Row(
            tuple(map(int, one)),
            tuple(("", int(at), int(t)) for at, t in zip(ats, ts, strict=True)),
        )
        for one, ats, ts in zip(ids, places, targets, strict=True)
    ]
    (tree,) = pack(rows, length)
    arrays, found = packed_arrays([tree], size, length, room_for([tree]))
    values = np.asarray(make_packed(model)(*arrays))
    order = sorted(range(8), key=lambda i: rows[i].ids)
    inputs = (ids, np.ones_like(ids), places, targets)
    return compare_with_plain(model, values[np.array(found[0])], tuple(x[order] for x in inputs))

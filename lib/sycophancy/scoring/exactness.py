"""Whether a pass that shares tokens gives what the plain pass gives, but for rounding.

In float32 on a CPU the two agree to TOLERANCE. Elsewhere matrices are multiplied in fewer bits
(bfloat16, or TensorFloat-32 where float32 is asked for), and any other order of the same sums
rounds otherwise. How much rounding alone does is measured: the plain pass against itself in float32
throughout, on the same weights, tokens and targets. The pass to check may differ from the plain one
by RATIO times that, in the mean and at the most: one wrong row among many hardly moves the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import keras
import numpy as np

from sycophancy.models import LanguageModel
from sycophancy.scoring.forward import (
    kept,
    log_probabilities,
    make_forward,
    on_weights,
    with_weights,
)

TOLERANCE = 1e-4  # nats, for any token, where float32 is computed in float32
RATIO = 4.0  # √2 where two passes round independently, and room for the largest of a few dozen


@dataclass(frozen=True)
class Differences:
    """|checked − plain| and |plain − plain in float32| of the same log-probabilities, in nats."""

    found: np.ndarray
    rounding: np.ndarray

    @property
    def exact(self) -> bool:
        """Whether rounding explains all that was found; never where something is not finite."""
        if not (np.isfinite(self.found).all() and np.isfinite(self.rounding).all()):
            return False
        return all(
            size(self.found) <= max(TOLERANCE, RATIO * size(self.rounding))
            for size in (np.mean, np.max)
        )


def compare_with_plain(
    model: LanguageModel, checked: np.ndarray, rows: tuple[Any, ...]
) -> Differences:
    """Return how far `checked` (rows, places) is from the plain pass on `rows`, its arguments."""
    plain = np.asarray(make_forward(model)(*rows))
    rounding = np.zeros_like(plain)
    if jax.default_backend() != "cpu" or model.backbone.compute_dtype != "float32":
        rounding = np.abs(plain - np.asarray(make_precise(model)(*rows)))
    return Differences(np.abs(checked - plain), rounding)


def sliding_window(backbone: Any) -> int:
    """Return how many tokens back a layer with a sliding window sees, 0 where there is none."""
    names = ("sliding_window", "sliding_window_size")
    return max(getattr(backbone, name, None) or 0 for name in names)


def make_precise(model: LanguageModel) -> Callable[..., Any]:
    """Return the function of `make_forward` with everything computed in float32."""
    return kept(model, "precise", lambda: compile_precise(model))


def compile_precise(model: LanguageModel) -> Callable[..., Any]:
    """Return what `make_precise` keeps."""
    backbone = model.backbone

    def precise(values: Any, ids: Any, mask: Any, positions: Any, targets: Any) -> Any:
        """Return the log-probability of every target."""
        with in_float32(backbone), with_weights(model, values):
            hidden = backbone({"token_ids": ids, "padding_mask": mask}, training=False)
            return log_probabilities(model, hidden, positions, targets)

    return on_weights(model, precise)


@contextmanager
def in_float32(backbone: Any) -> Iterator[None]:
    """Have every layer compute in float32 while traced; its weights keep their own format."""
    layers = backbone._flatten_layers()
    policies = [(layer, layer.dtype_policy) for layer in layers]
    try:
        for layer, _ in policies:
            layer.dtype_policy = keras.DTypePolicy("float32")
        with jax.default_matmul_precision("highest"):
            yield
    finally:
        for layer, policy in policies:
            layer.dtype_policy = policy

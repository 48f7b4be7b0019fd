"""The plain forward pass: every sequence by itself, the output layer where something is read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import keras

from sycophancy.models import LanguageModel


def make_forward(model: LanguageModel) -> Callable[..., Any]:
    """Return a jitted (ids, mask, positions, targets) → log-probabilities.

    ids and mask are int (rows, length); positions and targets int (rows, places); the result is
    float32 (rows, places): log P(target | tokens up to and including position). Equal to KerasHub's
    `score()` where a family has one, at the cost of the output layer on `places` positions only.
    The weights are arguments, not constants of the compiled code.
    """
    variables = model.backbone.weights

    def forward(values: Any, ids: Any, mask: Any, positions: Any, targets: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            hidden = model.backbone({"token_ids": ids, "padding_mask": mask}, training=False)
            return log_probabilities(model, hidden, positions, targets)

    return partial(jax.jit(forward), [variable.value for variable in variables])


def log_probabilities(model: LanguageModel, hidden: Any, positions: Any, targets: Any) -> Any:
    """Return log P(target | what hidden has read up to and including position), float32.

    hidden is (rows, length, width), positions, targets and the result are (rows, places).
    """
    logits = logits_at(model, hidden, positions)
    chosen = jnp.take_along_axis(logits, targets[:, :, None], axis=2)[:, :, 0]
    return chosen - jax.nn.logsumexp(logits, axis=-1)


def logits_at(model: LanguageModel, hidden: Any, positions: Any) -> Any:
    """Return float32 logits (rows, places, vocabulary) of hidden states at int (rows, places)."""
    hidden = jnp.take_along_axis(hidden, positions[:, :, None], axis=1)
    return model.backbone.token_embedding(hidden, reverse=True).astype(jnp.float32)

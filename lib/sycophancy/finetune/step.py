"""One step of training: learning rate, optimiser, loss and gradient, jitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras

from sycophancy.finetune.settings import Settings
from sycophancy.models import LanguageModel
from sycophancy.scoring.forward import logits
from sycophancy.scoring.products import float32_sums


def schedule(settings: Settings) -> Any:
    """Return the learning rate by step: linear warm-up, then a cosine to zero."""
    warm = round(settings.warmup * settings.steps)
    if not warm:
        return keras.optimizers.schedules.CosineDecay(settings.rate, settings.steps)
    return keras.optimizers.schedules.CosineDecay(
        settings.rate / warm,
        max(1, settings.steps - warm),
        warmup_target=settings.rate,
        warmup_steps=warm,
    )


def make_optimizer(settings: Settings, variables: list[Any]) -> Any:
    """Return the Keras optimiser, built for the variables to train."""
    options = {"global_clipnorm": settings.clip, "weight_decay": settings.weight_decay or None}
    if settings.optimizer == "adafactor":
        optimizer = keras.optimizers.Adafactor(
            schedule(settings), relative_step=False, scale_parameter=False, **options
        )
    else:
        # with a decay of None AdamW is refused, and 0 is what that means
        options["weight_decay"] = settings.weight_decay
        optimizer = keras.optimizers.AdamW(schedule(settings), beta_2=0.98, **options)
    optimizer.build(variables)
    return optimizer


def make_step(model: LanguageModel, trained: list[Any], optimizer: Any) -> Callable[..., Any]:
    """Return a jitted (weights, optimiser, batch arrays) → (weights, optimiser, figures).

    Logits are computed at the positions that count alone, in float32 (see
    `scoring`). `figures` are loss (nats a token, averaged as `mixture.TrainingBatch` weighs them)
    and the norm of the gradient before clipping.
    """
    backbone = model.backbone
    names = {variable.path for variable in trained}
    frozen = [variable for variable in backbone.weights if variable.path not in names]

    def loss(weights: Any, rest: Any, ids: Any, mask: Any, rows: Any, positions: Any,
             targets: Any, share: Any) -> Any:  # fmt: skip
        """Return the loss of one batch in nats."""
        state = [*zip(trained, weights, strict=True), *zip(frozen, rest, strict=True)]
        with keras.StatelessScope(state_mapping=state), float32_sums():
            # without dropout: the same batch always gives the same step
            hidden = backbone({"token_ids": ids, "padding_mask": mask}, training=False)
            values = logits(model, hidden[rows, positions][None])[0]
        chosen = jnp.take_along_axis(values, targets[:, None], axis=1)[:, 0]
        logp = chosen - jax.nn.logsumexp(values, axis=-1)
        return -(logp * share).sum() / share.sum()

    def step(weights: Any, optimizer_state: Any, rest: Any, *arrays: Any) -> Any:
        """Take one step of the optimiser."""
        value, gradients = jax.value_and_grad(loss)(weights, rest, *arrays)
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(g.astype(jnp.float32))) for g in gradients))
        weights, optimizer_state = optimizer.stateless_apply(optimizer_state, gradients, weights)
        return weights, optimizer_state, jnp.stack([value, norm])

    compiled = jax.jit(step, donate_argnums=(0, 1))
    rest = [variable.value for variable in frozen]
    return lambda weights, state, *arrays: compiled(weights, state, rest, *arrays)

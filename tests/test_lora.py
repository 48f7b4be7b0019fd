"""LoRA training step by step against a reference that shares no code with it.

The forward pass of the tiny Llama is written out in jax.numpy on bare arrays, an adapter as
W + A·B · alpha / rank (alpha is the rank, Keras's default), and the loss by plain loops; jax
differentiates it. Clipping, AdamW and the rate's schedule are numpy in float64.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sycophancy import finetune, models
from sycophancy.finetune import adapters
from sycophancy.finetune.settings import Settings
from sycophancy.mixture import Example

BASE, STEPS, BATCH, LENGTH = "tiny_random", 5, 4, 11  # padded to 16 by ours
HEADS, HEAD, LAYERS = 2, 8, 2
Arrays = dict[str, Any]


def examples() -> list[Example]:
    rng = np.random.default_rng(7)
    return [
        Example(
            tuple(map(int, rng.integers(3, 250, size=LENGTH))), LENGTH - int(rng.integers(1, 4))
        )
        for _ in range(STEPS * BATCH)
    ]


def with_adapters(weights: Arrays, lora: Arrays, alpha: float) -> Arrays:
    """W + A·B · alpha / rank for every projection that has adapters."""
    out = dict(weights)
    for path, a in lora.items():
        if path.endswith("_a"):
            b = lora[path[:-1] + "b"]
            kernel = path.replace("lora_kernel_a", "kernel")
            out[kernel] = weights[kernel] + jnp.tensordot(a, b, axes=1) * alpha / b.shape[0]
    return out


def normed(x: Any, scale: Any) -> Any:
    return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale


def rotated(x: Any) -> Any:
    """Rotary positions of (tokens, heads, 8), the halves of a head as real and imaginary parts."""
    angle = np.outer(np.arange(x.shape[0]), 10_000.0 ** (-np.arange(0, HEAD, 2) / HEAD))[:, None]
    real, imaginary = x[..., : HEAD // 2], x[..., HEAD // 2 :]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.concatenate([real * cos - imaginary * sin, imaginary * cos + real * sin], axis=-1)


def log_probabilities(weights: Arrays, ids: Any) -> Any:
    """log P of every token after each of ids, one sequence, by the definition of Llama."""
    x = weights["token_embedding/embeddings"][ids]
    hidden = np.tril(np.ones((len(ids), len(ids)))) == 0
    for number in range(LAYERS):
        own = {
            path.removeprefix(f"transformer_layer_{number}/").removesuffix("/kernel"): value
            for path, value in weights.items()
            if path.startswith(f"transformer_layer_{number}/")
        }
        y = normed(x, own["self_attention_layernorm/scale"])
        q, k, v = (
            jnp.tensordot(y, own[f"self_attention/{name}"], axes=1)
            for name in ("query", "key", "value")
        )
        q, k = rotated(q), rotated(k)
        heads = []
        for head in range(HEADS):  # both read the one head of keys and values
            odds = jnp.where(hidden, -jnp.inf, q[:, head] @ k[:, 0].T / np.sqrt(HEAD))
            heads.append(jax.nn.softmax(odds, axis=-1) @ v[:, 0])
        x = x + jnp.einsum("hti,hio->to", jnp.stack(heads), own["self_attention/attention_output"])
        y = normed(x, own["feedforward_layernorm/scale"])
        gate = y @ own["feedforward_gate_dense"]
        inner = gate / (1 + jnp.exp(-gate)) * (y @ own["feedforward_intermediate_dense"])
        x = x + inner @ own["feedforward_output_dense"]
    x = normed(x, weights["sequence_output_layernorm/scale"])
    return jax.nn.log_softmax(x @ weights["token_embedding/embeddings"].T, axis=-1)


def loss_of(lora: Arrays, weights: Arrays, ids: Any, share: Any, alpha: Any) -> Any:
    """Minus the sum of log-probabilities (rows, places) times `share`, in nats."""
    whole, total = with_adapters(weights, lora, alpha), 0.0
    for row in range(BATCH):
        logp = log_probabilities(whole, ids[row, :-1])
        total -= (logp[jnp.arange(LENGTH - 1), ids[row, 1:]] * share[row]).sum()
    return total


def shares(batch: list[Example]) -> np.ndarray:
    """What every predicted token weighs: an example 1 / BATCH, shared by its tokens that count."""
    out = np.zeros((BATCH, LENGTH - 1), np.float32)
    for row, example in enumerate(batch):
        out[row, example.first - 1 :] = 1 / (LENGTH - example.first) / BATCH
    return out


def rate_at(step: int, given: Settings) -> float:
    """Linear from an equal part of the rate to the rate, then half a cosine to zero."""
    warm = round(given.warmup * given.steps)
    if step < warm:
        first = given.rate / warm
        return first + (given.rate - first) * step / warm
    return given.rate * (1 + np.cos(np.pi * (step - warm) / (given.steps - warm))) / 2


def reference(given: Settings, data: list[Example]) -> list[tuple[float, float, Arrays]]:
    """Loss, norm of the gradient before clipping, and adapters after each step."""
    backbone = models.load_model(BASE).backbone
    weights = {own.path: jnp.asarray(np.asarray(own.value)) for own in backbone.weights}
    lora = {own.path: np.asarray(own.value, np.float64) for own in adapters.attach(backbone, given)}
    assert all((lora[path] == 0).all() for path in lora if path.endswith("_b"))
    first, second = ({path: np.zeros_like(x) for path, x in lora.items()} for _ in range(2))
    value_and_gradient = jax.jit(jax.value_and_grad(loss_of))
    out = []
    for step in range(given.steps):
        batch = data[step * BATCH : (step + 1) * BATCH]
        now = {path: jnp.asarray(x, jnp.float32) for path, x in lora.items()}
        ids = jnp.array([example.ids for example in batch])
        loss, gradients = value_and_gradient(now, weights, ids, shares(batch), float(given.rank))
        gradients = {path: np.asarray(g, np.float64) for path, g in gradients.items()}
        norm = float(np.sqrt(sum((g**2).sum() for g in gradients.values())))
        rate, t = rate_at(step, given), step + 1
        for path, gradient in gradients.items():
            gradient = gradient * min(1.0, given.clip / norm)
            first[path] = 0.9 * first[path] + 0.1 * gradient
            second[path] = 0.98 * second[path] + 0.02 * gradient**2
            moved = first[path] / (1 - 0.9**t)
            # Keras adds epsilon to the root before the second moment's bias is taken off
            root = (np.sqrt(second[path]) + 1e-7) / np.sqrt(1 - 0.98**t)
            lora[path] = lora[path] * (1 - rate * given.weight_decay) - rate * moved / root
        out.append((float(loss), norm, dict(lora)))
    return out


@pytest.mark.parametrize(
    ("changed", "clips"),
    [
        ({"targets": ("query", "value"), "clip": 1e9}, False),
        ({"clip": 0.05, "weight_decay": 0.1, "rank": 3, "warmup": 0.5}, True),
    ],
    ids=["two projections", "all projections, clipped, decayed"],
)
def test_every_step_is_that_of_the_reference(
    changed: dict[str, Any], clips: bool, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"rank": 2, "warmup": 0.3, "rate": 1e-2, "steps": STEPS, **changed}
    given = Settings(base=BASE, batch=BATCH, checkpoints=tuple(range(1, STEPS + 1)), **options)
    data = examples()
    log, _ = finetune.fine_tune(models.load_model(BASE), data, given, tmp_path / "run")
    rows = log[["loss", "gradient_norm", "rate"]].to_numpy()
    wanted = reference(given, data)
    assert all((norm > given.clip) == clips for _, norm, _ in wanted)
    for step, (loss, norm, lora) in enumerate(wanted):
        assert rows[step] == pytest.approx([loss, norm, rate_at(step, given)], rel=2e-4)
        ours = finetune.load_weights(tmp_path / "run", step + 1)
        assert set(ours) == set(lora)
        for path, value in lora.items():
            np.testing.assert_allclose(ours[path], value, atol=2e-4, err_msg=f"{step}: {path}")
    moved = max(np.abs(value).max() for path, value in lora.items() if path.endswith("_b"))
    assert moved > 0.01  # fifty times what is allowed to differ

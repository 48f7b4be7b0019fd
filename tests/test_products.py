"""bfloat16 on a processor: products as float32 sums of rounded operands, and their gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pandas as pd
import pytest

from sycophancy import models, scoring
from sycophancy.finetune import step
from sycophancy.scoring import forward, products
from sycophancy.scoring.products import float32_sums


def operands(*shapes: tuple[int, ...]) -> list[jax.Array]:
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return [
        jax.random.normal(key, shape, jnp.bfloat16) for key, shape in zip(keys, shapes, strict=True)
    ]


CASES = [
    ("bqm,muh->bquh", (2, 5, 64), (64, 3, 8)),
    ("bquh,uhm->bqm", (2, 5, 3, 8), (3, 8, 64)),
    ("bqm,mv->bqv", (2, 5, 64), (64, 20)),
]
pytestmark = pytest.mark.skipif(
    not products.fast_bfloat16(), reason="a processor without AMX or AVX512_BF16"
)


@pytest.mark.parametrize(("spec", "one", "two"), CASES)
def test_products_are_those_of_float32_rounded_once(
    spec: str, one: tuple[int, ...], two: tuple[int, ...]
) -> None:
    first, second = operands(one, two)
    exact = np.einsum(spec, np.asarray(first, np.float64), np.asarray(second, np.float64))
    with float32_sums("float32"):
        np.testing.assert_allclose(keras.ops.einsum(spec, first, second), exact, atol=1e-4)
    with float32_sums():
        rounded = keras.ops.einsum(spec, first, second)
    assert rounded.dtype == jnp.bfloat16
    np.testing.assert_allclose(rounded.astype(np.float32), exact, rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize(("spec", "one", "two"), CASES)
def test_gradients_are_those_of_float32(
    spec: str, one: tuple[int, ...], two: tuple[int, ...]
) -> None:
    pair = operands(one, two)

    def total(first: jax.Array, second: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(keras.ops.einsum(spec, first, second).astype(jnp.float32)))

    plain = jax.grad(total, (0, 1))(*(x.astype(jnp.float32) for x in pair))
    with float32_sums():
        ours = jax.grad(total, (0, 1))(*pair)
    for own, wanted in zip(ours, plain, strict=True):
        assert own.dtype == jnp.bfloat16
        off = np.abs(own.astype(np.float32) - wanted)
        assert off.max() < 0.03 * np.abs(wanted).max()


def test_other_operands_are_left_to_keras() -> None:
    first, second = (x.astype(jnp.float32) for x in operands((2, 3), (3, 4)))
    own = keras.ops.matmul(first, second)
    with float32_sums():
        np.testing.assert_array_equal(keras.ops.matmul(first, second), own)
        assert keras.ops.matmul(first.astype("bfloat16"), second).dtype == jnp.float32
    (matrix,) = operands((3, 4))
    assert keras.ops.matmul(matrix, matrix.T).dtype == jnp.bfloat16  # outside, as ever


def test_which_products_are_matrix_products() -> None:
    assert products.is_matrix_product("bqm,muh->bquh") and products.is_matrix_product(
        "bquh,uhm->bqm"
    )
    assert not products.is_matrix_product("bquh,bkuh->buqk")  # attention: many pairs of matrices
    assert not products.is_matrix_product("...a,ab->...b") and not products.is_matrix_product(
        "ab->ba"
    )


def test_scoring_multiplies_bfloat16_and_sums_in_float32() -> None:
    model = models.load_model("tiny_random", "bfloat16")
    ids, at = np.ones((2, 6), np.int32), np.array([[3], [4]], np.int32)

    def score(values: list, ids: np.ndarray) -> jax.Array:
        with forward.with_weights(model, values):
            hidden = model.backbone({"token_ids": ids, "padding_mask": jnp.ones_like(ids)})
            return forward.log_probabilities(model, hidden, at, at)

    values = [own.value for own in model.backbone.weights]
    text = jax.jit(score).lower(values, ids).as_text()
    # attention multiplies many pairs of matrices, which is left to Keras
    lines = [line for line in text.splitlines() if "dot_general" in line]
    found = [line.split(" : ")[-1] for line in lines if "batching_dims" not in line]
    summed = [
        line for line in found if line.count("bf16") == 2 and "bf16" not in line.split("->")[1]
    ]
    assert len(summed) == 2 * 7 + 1  # seven matrices in each of two layers, and the output layer


def test_a_step_of_training_runs_in_bfloat16() -> None:
    model = models.load_model("tiny_random", "bfloat16")
    trained = [own for own in model.backbone.trainable_variables if "query" in own.path]
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(trained)
    weights, state = ([own.value for own in some] for some in (trained, optimizer.variables))
    before = [np.asarray(own) for own in weights]  # the step takes its arguments over
    ids, places = np.arange(12, dtype=np.int32).reshape(2, 6), np.array([3, 4])
    arrays = ids, np.ones_like(ids), np.array([0, 1]), places, places, np.ones(2, np.float32)
    new, _, figures = step.make_step(model, trained, optimizer)(weights, state, *arrays)
    assert np.isfinite(figures).all() and new[0].dtype == jnp.bfloat16
    assert all((a != np.asarray(b)).any() for a, b in zip(before, new, strict=True))


def test_scores_in_bfloat16_are_near_those_in_float32() -> None:
    items = pd.DataFrame(
        [("a", "Do you agree?", ["yes", "no"]), ("b", "3 + 4 = 7", [" x", " y"])],
        columns=["item_id", "prompt", "choices"],
    )
    exact, _ = scoring.score(models.load_model("tiny_random", "float32"), items)
    rough, _ = scoring.score(models.load_model("tiny_random", "bfloat16"), items)
    off = (exact["logp"] - rough["logp"]).abs()
    assert 0 < off.max() < 0.1
    assert len(set(rough["logp"])) == len(rough)

"""Products of bfloat16 matrices on a processor: operands as they are, sums in float32.

XLA has fast kernels for them on processors with AMX or AVX512_BF16, and uses them only where the
result is float32; with bfloat16 results it is slower than in float32 (bench/exactness.py). Keras
asks for results in the format of the operands, so that its two products are replaced while a
function is traced.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
from keras.src.backend import numpy as keras_products


@contextmanager
def float32_sums(result: str = "bfloat16") -> Iterator[None]:
    """Have Keras's einsum and matmul of bfloat16 operands sum in float32 on a processor.

    `result` is the number format of what they return, rounded once. Other operands are left to
    Keras, and so is everything on an accelerator, which sums in float32 by itself.
    """
    own = keras_products.einsum, keras_products.matmul

    def einsum(spec: str, *operands: Any, **options: Any) -> Any:
        """Multiply as `spec` says."""
        operands = tuple(map(keras.ops.convert_to_tensor, operands))  # weights come as variables
        if not (is_matrix_product(spec) and multiplies_fast(operands)):
            return own[0](spec, *operands, **options)
        return contract(spec, result, *operands)

    def matmul(first: Any, second: Any) -> Any:
        """Multiply the last axis of the first with a matrix."""
        first, second = map(keras.ops.convert_to_tensor, (first, second))
        if not (second.ndim == 2 and 0 < first.ndim < 8 and multiplies_fast((first, second))):
            return own[1](first, second)
        rows = "abcdefg"[: first.ndim - 1]
        return contract(f"{rows}x,xy->{rows}y", result, first, second)

    try:
        keras_products.einsum, keras_products.matmul = einsum, matmul
        yield
    finally:
        keras_products.einsum, keras_products.matmul = own


def is_matrix_product(spec: str) -> bool:
    """Return whether an einsum is a matrix product: an axis of both operands is summed over.

    XLA's fast kernels know no products of many pairs of matrices, as attention has them.
    """
    if spec.count(",") != 1 or "." in spec or "->" not in spec:
        return False
    operands, result = spec.split("->")
    first, second = operands.split(",")
    return not set(first) & set(second) & set(result)


def multiplies_fast(operands: Any) -> bool:
    """Return whether operands are bfloat16, on a processor that multiplies it fast."""
    return (
        jax.default_backend() == "cpu"
        and fast_bfloat16()
        and all(isinstance(x, jax.Array) and x.dtype == jnp.bfloat16 for x in operands)
    )


@cache
def fast_bfloat16() -> bool:
    """Return whether this is a processor with AMX or AVX512_BF16, as Linux says."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(text.split())


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def contract(spec: str, result: str, first: Any, second: Any) -> Any:
    """Return the product that an einsum of two operands names, summed in float32.

    Every axis of an operand is in the other or in the result, so that gradients are such products
    too; JAX's own would multiply float32 with bfloat16, slowly.
    """
    return jnp.einsum(spec, first, second, preferred_element_type=jnp.float32).astype(result)


def forward(spec: str, result: str, first: Any, second: Any) -> tuple[Any, Any]:
    """Return the product, and what its gradient needs."""
    return contract(spec, result, first, second), (first, second)


def backward(spec: str, result: str, operands: tuple[Any, Any], gradient: Any) -> tuple[Any, Any]:
    """Return the gradients of both operands."""
    first, second = operands
    (one, two), three = spec.split("->")[0].split(","), spec.split("->")[1]
    gradient = gradient.astype(first.dtype)
    return (
        contract(f"{three},{two}->{one}", str(first.dtype), gradient, second),
        contract(f"{one},{three}->{two}", str(second.dtype), first, gradient),
    )


contract.defvjp(forward, backward)

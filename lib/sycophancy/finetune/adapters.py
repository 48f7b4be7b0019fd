"""Which weights are trained: LoRA adapters found by layer path, or all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from sycophancy.errors import InputError, unknown
from sycophancy.finetune.settings import Settings

A, B = "/lora_kernel_a", "/lora_kernel_b"
PROJECTIONS = (keras.layers.Dense, keras.layers.EinsumDense)


def projections(backbone: Any, layers: int = 0) -> dict[str, Any]:
    """Return {path: layer} of the projections in the `layers` uppermost blocks (0: all).

    Paths are those of the kernels without "/kernel", such as
    transformer_layer_29/self_attention/query. Raises InputError for more layers than there are.
    """
    blocks = list(getattr(backbone, "transformer_layers", None) or backbone.layers)
    if layers > len(blocks):
        raise InputError(
            f"layers is {layers}, but {type(backbone).__name__} has {len(blocks)} blocks: give "
            f"0 for all, or up to {len(blocks)}."
        )
    found: dict[str, Any] = {}
    for block in blocks[-layers:] if layers else blocks:
        for layer in block._flatten_layers():
            if isinstance(layer, PROJECTIONS) and layer.built:
                found[layer._kernel.path.removesuffix("/kernel")] = layer
    return found


def attach(backbone: Any, settings: Settings) -> list[Any]:
    """Return the variables to train, having attached adapters for the method "lora".

    Adapters start as the identity: A from the seed, B zero. Raises InputError where `targets`
    match nothing (KerasHub's own `enable_lora` would train nothing without a word), and where a
    projection has adapters already.
    """
    if settings.method == "full":
        for layer in backbone._flatten_layers():
            layer.trainable = True
        return check_count(list(backbone.trainable_variables))
    layers = projections(backbone, settings.layers)
    names = sorted({path.rpartition("/")[2] for path in layers})
    for target in settings.targets:
        if target not in names:
            raise unknown("LoRA target", target, names)
    chosen = {
        path: layer
        for path, layer in layers.items()
        if not settings.targets or path.rpartition("/")[2] in settings.targets
    }
    trained = []
    for number, layer in enumerate(chosen.values()):
        if layer.lora_enabled:
            raise InputError("This model has adapters already: load the base model again.")
        seed = np.random.SeedSequence([settings.seed, number]).generate_state(1)[0]
        layer.enable_lora(settings.rank, a_initializer=keras.initializers.HeUniform(seed=int(seed)))
        trained += [layer.lora_kernel_a, layer.lora_kernel_b]
    return check_count(trained)


def check_count(variables: list[Any]) -> list[Any]:
    """Return the variables; InputError where they are none, or two have one path."""
    if not sum(int(np.prod(v.shape)) for v in variables):
        raise InputError("Nothing would be trained: choose other LoRA targets or method='full'.")
    paths = [variable.path for variable in variables]
    if len(set(paths)) < len(paths):
        raise InputError("Two weights of this backbone have one path: use method='full'.")
    return variables


def count_trained(variables: Sequence[Any]) -> int:
    """Return the number of trained values."""
    return sum(int(np.prod(variable.shape)) for variable in variables)


def merge_adapters(backbone: Any, weights: Mapping[str, np.ndarray]) -> None:
    """Put trained weights into a freshly loaded base model, adapters as kernel + A B.

    `weights` maps paths of variables to arrays. Raises InputError for a path that the backbone does
    not have, or a shape that does not fit: the run is of another model.
    """
    variables = {variable.path: variable for variable in backbone.weights}
    for path, value in weights.items():
        if path.endswith(B):
            continue
        kernel = f"{path.removesuffix(A)}/kernel" if path.endswith(A) else path
        if kernel not in variables:
            raise InputError(
                f"The base model has no weight {kernel!r}: this run belongs to another model."
            )
        variable = variables[kernel]
        if path.endswith(A):
            delta = np.matmul(value, weights[path.removesuffix(A) + B])
            value = np.asarray(variable.value, dtype=np.float32) + delta
        if tuple(value.shape) != tuple(variable.shape):
            raise InputError(
                f"{kernel!r} has the shape {tuple(variable.shape)} in the base model and "
                f"{tuple(value.shape)} in this run: it belongs to another model."
            )
        variable.assign(value)

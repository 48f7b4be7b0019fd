"""The plain forward pass: every sequence by itself, the output layer where something is read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import keras

from sycophancy.models import LanguageModel
from sycophancy.scoring.products import fast_bfloat16, float32_sums

Made = TypeVar("Made")
# What models of one architecture have in common, for as long as the process lives: code, no weights
_shared: dict[Hashable, Any] = {}


def kept(model: LanguageModel, name: str, make: Callable[[], Made]) -> Made:
    """Return what `make` makes for a model, made once: traced and compiled functions.

    It is kept on the backbone, beside its weights, and goes when they go.
    """
    own = vars(model.backbone)
    key = f"_scoring_{name}"
    if key not in own:
        own[key] = make()  # past Keras's tracking: this is no state of the model
    return own[key]


def shared(key: Hashable, make: Callable[[], Made]) -> Made:
    """Return what `make` makes, made once a process for every `key`; it must hold no weights."""
    if key not in _shared:
        _shared[key] = make()
    return _shared[key]


def architecture(backbone: Any) -> Hashable:
    """Return what decides the code compiled for a backbone: class, settings, form of the weights.

    Equal for a base model and the runs trained from it, which are then traced and compiled once.
    """
    weights = tuple(
        (own.path, tuple(own.shape), str(own.dtype), str(own.value.sharding))
        for own in backbone.weights
    )
    # Keras numbers the names of what it makes: llama_backbone_1
    settings = {key: value for key, value in backbone.get_config().items() if key != "name"}
    return type(backbone), repr(settings), weights


def make_forward(model: LanguageModel) -> Callable[..., Any]:
    """Return a jitted (ids, mask, positions, targets) → log-probabilities.

    ids and mask are int (rows, length); positions and targets int (rows, places); the result is
    float32 (rows, places): log P(target | tokens up to and including position). Equal to KerasHub's
    `score()` where a family has one, at the cost of the output layer on `places` positions only.
    The weights are arguments, not constants of the compiled code: those that the model has when it
    is called.
    """
    return kept(model, "forward", lambda: compile_forward(model))


def compile_forward(model: LanguageModel) -> Callable[..., Any]:
    """Return what `make_forward` keeps."""
    backbone = model.backbone

    def forward(values: Any, ids: Any, mask: Any, positions: Any, targets: Any) -> Any:
        """Return the log-probability of every target."""
        with with_weights(model, values):
            hidden = backbone({"token_ids": ids, "padding_mask": mask}, training=False)
            return log_probabilities(model, hidden, positions, targets)

    return on_weights(model, forward)


@contextmanager
def with_weights(model: LanguageModel, values: Any) -> Iterator[None]:
    """Give the model other weights, as a traced function needs them, and float32 sums."""
    pairs = list(zip(model.backbone.weights, values, strict=True))
    with keras.StatelessScope(state_mapping=pairs), float32_sums():
        yield


def on_weights(model: LanguageModel, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` compiled, with the model's present weights as its first argument.

    It is compiled once for every form of the arguments. The code knows no weights, and serves every
    model of this architecture: measuring five trained runs traces each shape once, not five times.
    """
    jitted = jax.jit(function)

    def run(*given: Any) -> Any:
        """Run the code for arguments of such shapes, compiled first where there is none."""
        values = [own.value for own in model.backbone.weights]
        leaves, tree = jax.tree.flatten(given)
        forms = tuple((x.shape, str(x.dtype), str(getattr(x, "sharding", ""))) for x in leaves)
        key = (function.__qualname__, architecture(model.backbone), tree, forms)
        compiled = shared(key, lambda: jitted.lower(values, *given).compile(compiler_options()))
        return compiled(values, *given)

    return run


def compiler_options() -> dict[str, Any]:
    """Return how XLA compiles.

    On a CPU, where a library multiplies matrices, less optimising is done sooner and gives code of
    the same speed (bench/compiling.py).
    """
    return {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else {}


def log_probabilities(model: LanguageModel, hidden: Any, positions: Any, targets: Any) -> Any:
    """Return log P(target | what hidden has read up to and including position), float32.

    hidden is (rows, length, width), positions, targets and the result are (rows, places).
    """
    logits = logits_at(model, hidden, positions)
    chosen = jnp.take_along_axis(logits, targets[:, :, None], axis=2)[:, :, 0]
    return chosen - jax.nn.logsumexp(logits, axis=-1)


def logits_at(model: LanguageModel, hidden: Any, positions: Any) -> Any:
    """Return float32 logits (rows, places, vocabulary) of hidden states at int (rows, places)."""
    return logits(model, jnp.take_along_axis(hidden, positions[:, :, None], axis=1))


def logits(model: LanguageModel, hidden: Any) -> Any:
    """Return float32 logits (…, vocabulary) of hidden states (…, width).

    The output layer gives float32 whatever the number format of the model: in bfloat16, logits
    between 16 and 32 are multiples of 0.125, coarser than the shifts that are measured. On a
    processor with fast kernels it multiplies bfloat16 weights as they are, without a float32 copy.
    """
    layer = model.backbone.token_embedding
    held = jax.default_backend() == "cpu" and fast_bfloat16() and layer.compute_dtype == "bfloat16"
    own, layer.reverse_dtype = layer.reverse_dtype, None if held else "float32"
    try:
        with float32_sums("float32"):
            return layer(hidden, reverse=True).astype(jnp.float32)
    finally:
        layer.reverse_dtype = own

"""Seconds of a training step beside a forward pass of the same batch, by what is trained.

Usage: make bench   (or python -m bench.training [--length 64] [--batch 16] [--rounds 4])

All take turns on one batch of random ids; quote the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from sycophancy import finetune, models, runs, scoring
from sycophancy.finetune import adapters
from sycophancy.finetune.step import make_optimizer
from sycophancy.finetune.step import make_step as compile_step

CHOICES: dict[str, dict[str, Any]] = {
    "LoRA, all projections": {},
    "LoRA, query and value": {"targets": ("query", "value")},
    "LoRA, upper half of the blocks": {"layers": 15},
    "all weights": {"method": "full"},
}


def make_step(name: str, choice: dict[str, Any], batch: int, length: int) -> Callable[[], Any]:
    """Return a function that takes one training step on a fixed random batch."""
    model = models.load_model(name)
    settings = finetune.Settings(base=name, steps=100, batch=batch, **choice)
    trained = adapters.attach(model.backbone, settings)
    optimizer = make_optimizer(settings, trained)
    step = compile_step(model, trained, optimizer)
    state = [[v.value for v in trained], [v.value for v in optimizer.variables]]
    ids = np.random.default_rng(0).integers(3, 200, (batch, length)).astype("int32")
    places = np.arange(batch, dtype="int32")
    arrays = (
        ids, np.ones_like(ids), places, np.full_like(places, length - 1),
        np.full_like(places, 50), np.ones(batch, "float32"),
    )  # fmt: skip

    def once() -> Any:
        state[0], state[1], figures = step(*state, *arrays)
        return figures

    return once


def make_forward(name: str, batch: int, length: int) -> Callable[[], Any]:
    """Return a function that scores one token of each sequence of such a batch."""
    forward = scoring.make_forward(models.load_model(name))
    ids = np.random.default_rng(0).integers(3, 200, (batch, length)).astype("int32")
    last = np.full((batch, 1), length - 1, "int32")
    return lambda: forward(ids, np.ones_like(ids), last, np.full_like(last, 50))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    models.enable_compile_cache()
    calls = {"forward": make_forward(options.model, options.batch, options.length)}
    for name, choice in CHOICES.items():
        calls[name] = make_step(options.model, choice, options.batch, options.length)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        jax.block_until_ready(call())  # compiled
    for _ in range(options.rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            jax.block_until_ready(call())
            times[name].append(time.perf_counter() - began)
    base = statistics.median(times["forward"])
    print(f"{options.model}, {runs.device()}, {options.batch} × {options.length} tokens")
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        print(f"  {name:<32} {middle:6.2f} s   {middle / base:5.2f} of a forward pass")


if __name__ == "__main__":
    main()

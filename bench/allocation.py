"""Seconds of passes and training steps, with memory given back after each and with memory kept.

Usage: make bench   (or python -m bench.allocation [--trunks 32] [--rounds 3])

glibc reads how it should allocate when a process starts: each kind has a process of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from workflow import capacity

BATCH, LENGTH, PLACES = 16, 72, 320  # of a training step, as notebook 05 has them


def training(model: Any) -> Callable[[], Any]:
    """Return a function that takes a step of the adapters on query and value."""
    from sycophancy import finetune
    from sycophancy.finetune import adapters, loop

    settings = finetune.Settings(
        base=model.name, steps=100, batch=BATCH, targets=("query", "value")
    )
    trained = adapters.attach(model.backbone, settings)
    optimizer = loop.make_optimizer(settings, trained)
    step = loop.make_step(model.backbone, trained, optimizer)
    held = [[v.value for v in trained], [v.value for v in optimizer.variables]]
    ids = np.random.default_rng(0).integers(3, 200, (BATCH, LENGTH)).astype(np.int32)
    rows = np.arange(PLACES, dtype=np.int32) % BATCH
    last, token = np.full((2, PLACES), LENGTH - 1, np.int32)
    arrays = (ids, np.ones_like(ids), rows, last, token, np.ones(PLACES, np.float32))

    def run() -> Any:
        held[0], held[1], figures = step(held[0], held[1], *arrays)
        return figures

    return run


def work(model_name: str, trunks: int, rounds: int) -> None:
    """Time every kind of pass and the training step in this process."""
    import jax

    from bench.compiling import calls
    from sycophancy import models, runs

    models.enable_compile_cache()
    model = models.load(model_name)
    timed = dict(calls(model, trunks))
    timed[f"training step of {BATCH} x {LENGTH}"] = training(models.load(model_name))
    for name, call in timed.items():
        seconds = []
        for _ in range(rounds + 1):  # the first one compiles
            began = time.perf_counter()
            found = jax.block_until_ready(call())
            seconds.append(time.perf_counter() - began)
        total = float(np.asarray(jax.tree.leaves(found)[0], np.float64).sum())
        print(f"  {name}: {min(seconds[1:]):.3f} s, sum {total:.6f}", flush=True)
    print(f"  peak memory {runs.peak_memory_mb():.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2_135m_instruct")
    parser.add_argument("--trunks", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.model, options.trunks, options.rounds)
        return
    plain = {name: value for name, value in os.environ.items() if name not in capacity.ALLOCATION}
    kinds = {"given back": plain, "kept": capacity.environment(plain)}
    for kind, environment in kinds.items():
        print(f"{options.model}, memory {kind}", flush=True)
        command = [sys.executable, "-m", "bench.allocation", "--worker", "--model", options.model]
        command += ["--trunks", str(options.trunks), "--rounds", str(options.rounds)]
        subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()

"""Seconds to compile what scores and decodes, and to run it, by how much XLA optimises.

Usage: make bench   (or python -m bench.compiling [--rows 32] [--rounds 3])

Every kind is compiled afresh, none from disk; quote the ratios.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import numpy as np

from sycophancy import decoding, models, scoring
from sycophancy.scoring import forward, packing
from sycophancy.scoring.packed import make_packed
from sycophancy.scoring.rows import Row

LENGTH = 64  # tokens of a row, and of what the packed ones go on from
KINDS: dict[str, dict[str, Any]] = {
    "XLA's default": {},
    "as scoring does": forward.compiler_options(),
}


def calls(model: models.LanguageModel, rows: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield what is run and a function that runs it once on fixed random tokens."""
    rng = np.random.default_rng(0)
    ids = rng.integers(3, 200, (rows, LENGTH)).astype(np.int32)
    last = np.full((rows, 1), LENGTH - 1, np.int32)
    plain = scoring.make_forward(model)
    yield "plain", lambda: plain(ids, np.ones_like(ids), last, last)
    shared = rng.integers(3, 200, LENGTH).tolist()
    branches = [Row((*shared, *map(int, row)), (("", LENGTH - 1, 3),)) for row in ids[1:]]
    length = -(-rows * LENGTH // packing.PAGE) * packing.PAGE
    (tree,) = packing.pack(branches, length)
    arrays, _ = packing.packed_arrays(tree, length, packing.room_for([tree]))
    packed = make_packed(model)
    yield "packed", lambda: packed(*arrays)
    generate = decoding.own_loop(model, (), lambda _: False)
    prompts = ids[: decoding.batch_size()].tolist()
    yield "16 tokens decoded", lambda: np.asarray(generate(prompts, 16), np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{options.model}, {options.rows} rows of {LENGTH} tokens")
    for kind, settings in KINDS.items():
        model = models.load_model(options.model)
        with (
            mock.patch.object(forward, "options", lambda settings=settings: settings),
            mock.patch.object(forward, "_shared", {}),
        ):
            for name, call in calls(model, options.rows):
                seconds = []
                for _ in range(options.rounds + 1):
                    began = time.perf_counter()
                    found = jax.block_until_ready(call())
                    seconds.append(time.perf_counter() - began)
                best = min(seconds[1:])
                total = float(np.asarray(jax.tree.leaves(found)[0], np.float64).sum())
                print(
                    f"{kind}: {name} traced and compiled in {seconds[0] - best:.2f} s, run in "
                    f"{best:.2f} s, sum of what it gives {total:.6f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

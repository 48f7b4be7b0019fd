"""Seconds to compile what scores and decodes, and to run it, by how much XLA optimises.

Usage: make bench   (or python -m bench.compiling [--trunks 32] [--rounds 3])

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
from sycophancy.scoring import cached, forward

LENGTH = 64  # tokens of a sequence or trunk
KINDS: dict[str, dict[str, Any]] = {"XLA's default": {}, "as scoring does": forward.options()}


def calls(model: models.LanguageModel, trunks: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield what is run and a function that runs it once on fixed random tokens."""
    rng = np.random.default_rng(0)
    ids = rng.integers(3, 200, (trunks, LENGTH)).astype(np.int32)
    last = np.full((trunks, 1), LENGTH - 1, np.int32)
    plain = scoring.make_forward(model)
    yield "plain", lambda: plain(ids, np.ones_like(ids), last, last)
    passes = cached.make_passes(model)
    yield "trunks", lambda: passes.trunk(ids, last, last)
    _, cache = passes.trunk(ids, last, last)
    which = np.arange(4 * trunks, dtype=np.int32) % trunks
    more = rng.integers(3, 200, (4 * trunks, 8)).astype(np.int32)
    at_end = np.full((4 * trunks, 1), 7, np.int32)
    given = (cache, which, np.full(4 * trunks, LENGTH - 4, np.int32), more, at_end, at_end)
    yield "branches", lambda: passes.branch(*given)
    generate = decoding.own_loop(model, (), lambda _: False)
    prompts = ids[: decoding.batch_size()].tolist()
    yield "16 tokens decoded", lambda: np.asarray(generate(prompts, 16), np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--trunks", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(
        f"{options.model}, {options.trunks} trunks of {LENGTH} tokens, four branches of 8 for each"
    )
    for kind, settings in KINDS.items():
        model = models.load(options.model)
        with (
            mock.patch.object(forward, "options", lambda settings=settings: settings),
            mock.patch.object(forward, "_shared", {}),
        ):
            for name, call in calls(model, options.trunks):
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

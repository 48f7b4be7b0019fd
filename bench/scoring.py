"""Scoring speed beside a bare jitted backbone forward pass at the same shapes, in one run.

Usage: make bench [ARGS="--model smollm2_135m_instruct --rounds 3"]

The two take turns on every batch, so that a noisy machine slows both; the ratio of the medians is
the figure to quote. Also printed: the share of padding, and the peak memory for n and 4n items.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax

from sycophancy import models, runs, scoring, suites
from sycophancy.scoring import rows
from sycophancy.scoring.engine import look


def bare_forward(model: models.LanguageModel) -> Callable[..., Any]:
    """Return a jitted backbone forward pass that gives the hidden states and nothing else."""
    backbone = model.backbone
    trainable = [v.value for v in backbone.trainable_variables]
    rest = [v.value for v in backbone.non_trainable_variables]

    @jax.jit
    def forward(trainable: Any, rest: Any, ids: Any, mask: Any) -> Any:
        inputs = {"token_ids": ids, "padding_mask": mask}
        return backbone.stateless_call(trainable, rest, inputs, training=False)[0]

    return lambda ids, mask: forward(trainable, rest, ids, mask)


def seconds(call: Callable[[], Any]) -> float:
    """Return how long `call` takes until its result is there."""
    began = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - began


def throughput(name: str, n: int, rounds: int) -> None:
    """Print tokens/s of both, and their ratio, on addition prompts of all answer formats."""
    model = models.load_model(name)
    models.enable_compile_cache()
    items = suites.additions(n=n, seed=0)
    sequences = rows.build_rows(model, items)
    counts = look(model, items, scoring.default_budget()).all
    paddings = scoring.choose_lengths(counts, most=scoring.MAX_LENGTHS, step=scoring.LENGTH_STEP)
    batches = list(rows.batch_rows(sequences, paddings, scoring.default_budget()))
    ours, bare = scoring.make_forward(model), bare_forward(model)
    for _, arrays in batches:  # compile, then warm up
        seconds(lambda a=arrays: ours(*a))  # type: ignore[misc]
        seconds(lambda a=arrays: bare(*a[:2]))  # type: ignore[misc]
    padded = sum(arrays[0].size for _, arrays in batches)
    times: dict[str, list[float]] = {"bare forward": [], "scoring, forward": []}
    whole = []
    for _ in range(rounds):
        first = second = 0.0
        for _, arrays in batches:
            first += seconds(lambda a=arrays: bare(*a[:2]))  # type: ignore[misc]
            second += seconds(lambda a=arrays: ours(*a))  # type: ignore[misc]
        times["bare forward"].append(first)
        times["scoring, forward"].append(second)
        began = time.perf_counter()
        scoring.score(model, items, share_tokens=False)  # as many tokens as the bare pass
        whole.append(time.perf_counter() - began)
    times["scoring, whole call"] = whole
    base = statistics.median(times["bare forward"])
    real = sum(length * count for length, count in counts.items())
    print(f"{name}, {runs.device()}, {len(items)} items, {padded:,} tokens padded from {real:,}")
    print(f"padded lengths {paddings}, {len(batches)} batches, {rounds} rounds, medians")
    for label, values in times.items():
        middle = statistics.median(values)
        print(f"  {label:<22} {padded / middle:8,.0f} tokens/s   {base / middle:5.2f} of bare")


def peak_memory(name: str, n: int) -> float:
    """Return the peak memory in MB of a process that scores the items of `n` sums."""
    code = (
        "from sycophancy import models, runs, scoring, suites\n"
        f"model = models.load_model({name!r}); models.enable_compile_cache()\n"
        f"scoring.score(model, suites.additions(n={n}, seed=0, answer_formats=('cloze',)))\n"
        "print(runs.peak_memory_mb())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--sums", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    throughput(options.model, options.sums, options.rounds)
    few, many = (peak_memory(options.model, k * 2) for k in (1, 4))
    print(f"peak memory: {few:,.0f} MB for 2 sums, {many:,.0f} MB for four times as many")


if __name__ == "__main__":
    main()

"""Greedy decoding in batches as they are, beside eight prompts padded to multiples of 64.

Usage: make bench   (or python -m bench.decoding [--questions 1] [--rounds 1])

Direct answers and chains of BIG-Bench Hard's embedded questions, as notebook 09 asks them. The two
ways take turns in whole calls; compiled code is on disk for both. The ratio of their medians is the
figure to quote.
"""

from __future__ import annotations

import argparse
import statistics
import time
from unittest import mock

import pandas as pd

from sycophancy import benchmarks, decoding, models, runs
from sycophancy.benchmarks import grading

OTHER = 8, 64  # prompts at a time, and what padded lengths are multiples of


def decode(model: models.LanguageModel, items: pd.DataFrame, way: tuple[int, int]) -> pd.DataFrame:
    """Return the texts of `items`, all of which are generated, in batches of one way."""
    rows, step = way
    with (
        mock.patch.object(decoding, "batch_size", lambda: rows),
        mock.patch.object(decoding, "STEP", step),
    ):
        return grading.generate(model, items, None, None)[0]


def compare(model: models.LanguageModel, questions: int, rounds: int) -> None:
    """Print what both ways take for each mode of answering."""
    ours = decoding.batch_size(), decoding.STEP
    asked = benchmarks.items(["bbh"], n=questions, n_chain=questions, chain=["bbh"], max_tokens=96)
    asked = asked[asked["max_tokens"] > 0]
    for mode, items in asked.groupby("mode"):
        texts = [decode(model, items, way) for way in (OTHER, ours)]
        times: dict[tuple[int, int], list[float]] = {OTHER: [], ours: []}
        for _ in range(rounds):
            for way, spent in times.items():
                began = time.perf_counter()
                decode(model, items, way)
                spent.append(time.perf_counter() - began)
        before, now = (statistics.median(spent) for spent in times.values())
        print(
            f"{model.name}, {runs.device()}: {mode}, {len(items)} answers of "
            f"{texts[1]['tokens'].mean():.0f} tokens, equal texts {texts[0].equals(texts[1])}; "
            f"{OTHER[0]} rows, multiples of {OTHER[1]}: {before:.1f} s, "
            f"{ours[0]} rows, of {ours[1]}: {now:.1f} s, "
            f"{before / now:.2f} times faster (medians of {rounds})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--questions", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    model = models.load(options.model)
    models.enable_compile_cache()
    compare(model, options.questions, options.rounds)


if __name__ == "__main__":
    main()

"""Greedy decoding that ends with the stop strings, beside one that goes on to the padded length.

Usage: make bench   (or python -m bench.decoding [--questions 1] [--rounds 1])

BIG-Bench Hard's direct answers and chains on the embedded questions, as notebook 09 asks them. The
two ways take turns in whole calls; compiled code is on disk for both. The ratio of their medians is
the figure to quote.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from unittest import mock

import pandas as pd

from sycophancy import benchmarks, decoding, models, runs
from sycophancy.benchmarks import grading


def decode(model: models.LanguageModel, items: pd.DataFrame, ends: bool) -> pd.DataFrame:
    """Return the texts of `items`, all of which are generated."""
    found: Callable[..., tuple[int, ...]] = decoding.closing if ends else lambda *_: ()
    with mock.patch.object(decoding, "closing", found):
        return grading.generate(model, items, None, None)[0]


def compare(model: models.LanguageModel, questions: int, rounds: int) -> None:
    """Print what both ways take for each mode of answering."""
    asked = benchmarks.items(["bbh"], n=questions, n_chain=questions, chain=["bbh"], max_tokens=96)
    asked = asked[asked["max_tokens"] > 0]
    for mode, items in asked.groupby("mode"):
        texts = [decode(model, items, ends) for ends in (False, True)]
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for ends in (False, True):
                began = time.perf_counter()
                decode(model, items, ends)
                times[ends].append(time.perf_counter() - began)
        on, off = (statistics.median(some) for some in times)
        print(
            f"{model.name}, {runs.device()}: {mode}, {len(items)} answers of "
            f"{texts[1]['tokens'].mean():.0f} tokens, equal texts {texts[0].equals(texts[1])}; "
            f"to the padded length {on:.1f} s, to the stop strings {off:.1f} s: "
            f"{on / off:.2f} times faster (medians of {rounds})",
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

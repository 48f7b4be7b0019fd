"""Greedy decoding by our own loop, beside KerasHub's `generate` on the same batches.

Usage: make bench   (or python -m bench.decoding [--questions 1] [--rounds 1])

Direct answers and chains of BIG-Bench Hard's embedded questions, as notebook 09 asks them. The two
ways take turns in whole calls, what they traced and compiled being kept from a call before. The
ratio of their medians is the figure to quote.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import pandas as pd

from sycophancy import benchmarks, decoding, models, runs
from sycophancy.benchmarks import grading


def kerashub_loop(model: models.LanguageModel, closed_by: Sequence[int], *_: Any) -> Any:
    """Return KerasHub's loop, made once: it would be traced anew in every call, ours is kept."""
    key = tuple(closed_by)
    if key not in _made:
        _made[key] = decoding.kerashub_loop(model, closed_by)
    return _made[key]


_made: dict[tuple[int, ...], Any] = {}
WAYS = {"KerasHub's loop": kerashub_loop, "ours": decoding.own_loop}


def decode(
    model: models.LanguageModel, items: pd.DataFrame, way: Callable[..., Any]
) -> tuple[pd.DataFrame, float]:
    """Return the texts of `items`, all of which are generated, by one way, and the seconds."""
    began = time.perf_counter()
    with mock.patch.object(decoding, "make_generate", way):
        texts = grading.generate_answers(model, items, None, None)[0]
    return texts, time.perf_counter() - began


def compare(model: models.LanguageModel, questions: int, rounds: int) -> None:
    """Print what both ways take for each mode of answering."""
    asked = benchmarks.benchmark_items(
        ["bbh"], n=questions, n_chain=questions, chain=["bbh"], max_tokens=96
    )
    asked = asked[asked["max_tokens"] > 0]
    for mode, items in asked.groupby("mode"):
        theirs, ours = (decode(model, items, way)[0] for way in WAYS.values())
        turns = [[decode(model, items, way)[1] for way in WAYS.values()] for _ in range(rounds)]
        before, now = (statistics.median(spent) for spent in zip(*turns, strict=True))
        names = " and ".join(
            f"{name} {spent:.1f} s" for name, spent in zip(WAYS, (before, now), strict=True)
        )
        print(
            f"{model.name}, {runs.device()}: {mode}, {len(items)} answers of "
            f"{ours['tokens'].mean():.0f} tokens, equal texts {theirs.equals(ours)}; {names} in "
            f"batches of {decoding.batch_size()}, {before / now:.2f} times faster "
            f"(medians of {rounds})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--questions", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    model = models.load_model(options.model)
    models.enable_compile_cache()
    compare(model, options.questions, options.rounds)


if __name__ == "__main__":
    main()

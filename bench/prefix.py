"""Scoring with and without packing rows that share tokens, in one run.

Usage: make bench   (or python -m bench.prefix [--items few_shot] [--questions 60] [--rounds 3])

`few_shot`: MMLU's 5-shot prompts from the embedded questions. MMLU has 246 questions a subject and
the embedded set ten, so one subject here is asked the questions of all, behind its own five
examples. `claims`: held-out everyday facts as notebook 10 asks them, short rows with little in
common. The two ways take turns in whole calls (tokenising, tracing, passes); both have been
compiled. The ratio of their medians is the figure to quote.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import numpy as np
import pandas as pd

from sycophancy import claims, models, runs, scoring, sets, suites
from sycophancy.benchmarks import mmlu

SHOTS = 5
WAYS = {"every sequence by itself": False, "packed": True}


def few_shot(questions: int) -> pd.DataFrame:
    """Return 5-shot items: `questions` of all subjects behind the examples of one."""
    development = sets.four_choice("development")
    asked = sets.four_choice("test").head(questions)
    asked = asked.assign(subject=development["subject"].iloc[0])
    return mmlu.mmlu_items(asked, development, shots=SHOTS)


def facts(questions: int) -> pd.DataFrame:
    """Return claims about `questions` held-out everyday facts, with and without users."""
    held, _ = claims.claims(["everyday_facts"], split="test")
    return suites.claim_items(held, questions, answer_formats=["statement"])


ITEMS: dict[str, Callable[[int], pd.DataFrame]] = {"few_shot": few_shot, "claims": facts}


def compare(model: models.LanguageModel, name: str, questions: int, rounds: int) -> None:
    """Print what both ways of scoring one set of items take."""
    items = ITEMS[name](questions)
    results = {way: scoring.score(model, items, share_tokens=on) for way, on in WAYS.items()}
    (plain, _), (shared, _) = results.values()
    gap = np.abs(plain["logp"] - shared["logp"]).max()
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, on in WAYS.items():
            times[way].append(scoring.score(model, items, share_tokens=on)[1].seconds)
    print(
        f"{model.name}, {runs.device()}: {name}, {questions} questions, {len(items)} items, "
        f"medians of {rounds} calls; largest difference {gap:.1e} nats"
    )
    medians = {way: statistics.median(times[way]) for way in WAYS}
    for way, seconds in medians.items():
        cost = results[way][1]
        print(
            f"  {way:<24} {cost.tokens:8,} tokens, {cost.padded_tokens:8,} with padding  "
            f"{seconds:7.2f} s"
        )
    alone, once = medians.values()
    print(f"  {alone / once:.2f} times faster")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--items", choices=list(ITEMS), nargs="+", default=list(ITEMS))
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    model = models.load_model(options.model)
    models.enable_compile_cache()
    for name in options.items:
        compare(model, name, options.questions, options.rounds)


if __name__ == "__main__":
    main()

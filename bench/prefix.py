"""Few-shot scoring with and without computing the examples once, in one run.

Usage: make bench   (or python -m bench.prefix [--subjects 1] [--questions 60] [--rounds 3])

MMLU's 5-shot prompts from the embedded questions. MMLU has 246 questions a subject and the embedded
set ten, so every subject here is asked the questions of all subjects, behind its own five examples.
The two ways take turns in whole calls (tokenising, tracing, passes); both have been compiled. The
ratio of their medians is the figure to quote.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import pandas as pd

from sycophancy import models, runs, scoring, sets
from sycophancy.benchmarks import mmlu

SHOTS = 5
WAYS = {"every prompt by itself": False, "examples once": True}


def prompts(subjects: int, questions: int) -> pd.DataFrame:
    """Return 5-shot items: `questions` of all subjects behind the examples of each of some."""
    development = sets.four_choice("development")
    asked = sets.four_choice("test").head(questions)
    names = development["subject"].drop_duplicates().head(subjects)
    tables = [asked.assign(subject=name) for name in names]
    return mmlu.items(pd.concat(tables, ignore_index=True), development, shots=SHOTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--subjects", type=int, default=1)
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    model = models.load(options.model)
    models.enable_compile_cache()
    items = prompts(options.subjects, options.questions)
    results = {name: scoring.score(model, items, share_tokens=way) for name, way in WAYS.items()}
    (plain, _), (shared, _) = results.values()
    gap = np.abs(plain["logp"] - shared["logp"]).max()
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(options.rounds):
        for name, way in WAYS.items():
            times[name].append(scoring.score(model, items, share_tokens=way)[1].seconds)
    print(
        f"{options.model}, {runs.device()}: {len(items)} questions with {SHOTS} examples, medians "
        f"of {options.rounds} calls; largest difference {gap:.1e} nats"
    )
    medians = {name: statistics.median(times[name]) for name in WAYS}
    for name, seconds in medians.items():
        print(f"  {name:<24} {results[name][1].tokens:8,} tokens  {seconds:7.2f} s")
    alone, once = medians.values()
    print(f"  {alone / once:.2f} times faster")


if __name__ == "__main__":
    main()

"""Prompts a second and memory of the generator, beside a plain loop over the same claims.

Usage: make bench   (or python -m bench.generating [--prompts 100000] [--rounds 3])

Claims are made up in the paper's proportions and label words (400,000 of them, then all 1,736,834)
and cleaned, made unique and dealt as real ones are. The loop draws, formats and appends prompt by
prompt by the original recipe, as a script does that keeps its data in memory; the two take turns.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa

from sycophancy import claims, generate, personas, runs, templates
from sycophancy.claims import clean, read

WORDS = "the a rain comes over one hill and many birds fly away from it today"


def made_up(n: int, seed: int = 0) -> pd.DataFrame:
    """Return about `n` claims, each source in its share of the paper's total."""
    rng = np.random.default_rng(seed)
    words = np.array(WORDS.split())
    frames = []
    for source in claims.SOURCES.values():
        size = round(n * source.paper_rows / claims.PAPER_TOTAL)
        fields = [
            clean.clean(
                [" ".join(row) + f" {number}" for number, row in enumerate(
                    words[rng.integers(len(words), size=(size, 12))].tolist())]
            )
            for _ in source.fields
        ]  # fmt: skip
        names = np.array(list(source.words), dtype=object)
        # unequal labels, as most real sources have
        weights = np.arange(1, len(names) + 1) / np.arange(1, len(names) + 1).sum()
        labels = names[rng.choice(len(names), size=size, p=weights)]
        rows = read.Rows([pa.chunked_array(f) for f in fields], labels, np.arange(size))
        frames.append(read.to_claims(source, "train", rows, drop_empty=False)[0])
    table = pd.concat([frame.astype({"label": object, "others": object}) for frame in frames])
    return clean.keep_once(claims.compact(table.reset_index(drop=True)))[0].reset_index(drop=True)


def plain_loop(table: pd.DataFrame, n: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return `n` prompts of the original recipe, drawn and formatted one by one."""
    draw = random.Random(seed)
    names = personas.draw_names(500, seed)
    texts, labels = table["text"].tolist(), table["label"].astype(object).tolist()
    out = []
    for row in draw.sample(range(len(texts)), n):
        verb, user = draw.choice(("positive", "negative")), draw.choice(("agrees", "disagrees"))
        school, graduated = draw.choice(personas.SCHOOLS), draw.choice(personas.SCHOOLS)
        persona = templates.Persona(
            draw.choice(names), draw.randint(*personas.AGES), school, graduated
        )
        order = draw.randrange(2)
        prompt = templates.generated(texts[row], verb, labels[row], user, persona, order=order)
        out.append((prompt.text, prompt.choices[(verb == "negative") ^ order]))
    return out


def speed(claims_made: int, prompts: int, rounds: int) -> None:
    """Print seconds for `prompts` prompts of each recipe and of the loop, medians of the rounds."""
    began = time.perf_counter()
    table = made_up(claims_made)
    print(
        f"{runs.device()}; {len(table):,} claims made up, cleaned and made unique in "
        f"{time.perf_counter() - began:.1f} s; {prompts:,} prompts, medians of {rounds} rounds"
    )
    times: dict[str, list[float]] = {name: [] for name in ("plain loop", *generate.RECIPES)}
    for number in range(rounds):
        for name, seconds in times.items():
            began = time.perf_counter()
            if name == "plain loop":
                plain_loop(table, prompts, number)
            else:
                generate.generate_prompts(table, prompts, name, seed=number)
            seconds.append(time.perf_counter() - began)
    loop = statistics.median(times["plain loop"])
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        print(f"  {name:<12} {middle:6.2f} s   {middle / loop:5.2f} of the loop")


def peak(claims_made: int, prompts: int) -> None:
    """Print the peak memory of a process that makes that many claims and prompts of them."""
    code = (
        "from bench.generating import made_up\nfrom sycophancy import generate, runs\n"
        f"table = made_up({claims_made})\nmade = runs.peak_memory_mb()\n"
        f"generate.generate_prompts(table, {prompts}, 'balanced')\n"
        "print(len(table), made, runs.peak_memory_mb())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows, made, most = (float(part) for part in done.stdout.split())
    print(f"peak memory with {rows:,.0f} claims: {made:,.0f} MB for the claims, {most:,.0f} in all")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, default=400_000)
    parser.add_argument("--prompts", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    speed(options.claims, options.prompts, options.rounds)
    peak(claims.PAPER_TOTAL, options.prompts)


if __name__ == "__main__":
    main()

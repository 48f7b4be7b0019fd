"""How exact and how fast scoring is on this device: shared tokens, and bfloat16 against float32.

Usage: python -m bench.exactness [--model smollm2_135m_instruct --sums 20 --rounds 7]
or python -m bench.exactness --run runs/laptop/02_wrong_additions@rung --suite additions --sums 30

For both number formats: the differences of log-probabilities between the packed pass, or decoding's
pass with a cache, and the plain one, on random tokens, beside those between the plain one and
float32 throughout, and whether the passes are used. Then addition prompts scored in both:
differences of the log-odds of an item, of the opinion shift and of the truth gap, and of answers.
Last the plain forward pass of both, in turn, with both models in memory. With --run the answers
that a finished run of bfloat16 weights keeps are compared with those of float32 weights on its
first questions, for models of which memory holds one only.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from sycophancy import metrics, models, runs, scoring, suites
from sycophancy.decoding import cached
from sycophancy.models import LanguageModel
from sycophancy.scoring import exactness, packed

FORMATS = ("float32", "bfloat16")
ROWS, LENGTH = 16, 72  # of a timed pass: sequences as the opinion tasks have them


def show_shared(model: LanguageModel, dtype: str) -> None:
    """Print how far passes that share tokens are from the plain one."""
    gaps = {
        "packed": packed.packed_differences(model, 256),
        "decoding behind a cache": cached.cached_differences(model),
    }
    for way, gap in gaps.items():
        found, rounding = gap.found, gap.rounding
        print(
            f"  {dtype} {way}: mean {found.mean():.1e}, most {found.max():.1e}; rounding: mean "
            f"{rounding.mean():.1e}, most {rounding.max():.1e}; "
            f"{'used' if gap.exact else 'not used'}"
        )


def ask(model: LanguageModel, sums: int) -> pd.DataFrame:
    """Return sums, wrong and true, with every user, joined with their scores."""
    items = suites.additions(
        n=sums, seed=0, answer_formats=("statement", "true_false"), chat=model.chat
    )
    scores, _ = scoring.score(model, items)
    return metrics.join(items, scores)


def ask_again(folder: Path, suite: str, questions: int) -> dict[str, pd.DataFrame]:
    """Return items of the base of a run, joined with the kept scores and with those in float32."""
    items = pd.read_parquet(folder / "items.parquet")
    name = str(items["model"].iloc[0])
    items = items[(items["model"] == name) & (items["suite"] == suite)]
    first = items["question_id"].drop_duplicates().head(questions)
    items = items[items["question_id"].isin(first)].reset_index(drop=True)
    again, cost = scoring.score(models.load_model(name, "float32"), items)
    print(f"{name}, {suite}: {len(first)} questions, {cost.seconds:.0f} s in float32")
    kept = pd.read_parquet(folder / "scores.parquet")
    return {
        "bfloat16": metrics.join(items, kept[kept["item_id"].isin(items["item_id"])]),
        "float32": metrics.join(items, again),
    }


def show_numbers(joined: dict[str, pd.DataFrame]) -> None:
    """Print what changes between the two formats, for every kind of number that is published."""
    for answer_format in joined["float32"]["answer_format"].unique():
        some = {
            dtype: table[table["answer_format"] == answer_format] for dtype, table in joined.items()
        }
        odds = {dtype: table.set_index("item_id")["log_odds"] for dtype, table in some.items()}
        off = (odds["bfloat16"] - odds["float32"]).dropna().abs()
        assert np.isfinite(off).all()
        turned = ((odds["bfloat16"] > 0) != (odds["float32"] > 0)).sum()
        print(
            f"{answer_format}: log-odds of an item, bfloat16 - float32: mean {off.mean():.4f}, "
            f"most {off.max():.4f} nats over {len(off)} items; {turned} answers are others"
        )
        for name, number in (("shift", shift), ("gap", gap)):
            values = [number(some[dtype]) for dtype in FORMATS]
            print(f"  {name}: {values[0]:+.4f} in float32, {values[1]:+.4f} in bfloat16")


def shift(joined: pd.DataFrame) -> float:
    """Return the mean opinion shift in nats."""
    return float(metrics.shift_by_question(joined)["shift"].mean())


def gap(joined: pd.DataFrame) -> float:
    """Return the mean truth gap in nats without a user: log-odds of true less wrong claims."""
    alone = joined[joined["user"] == "none"]
    means = alone.groupby("truth")["log_odds"].mean()
    return float(means[True] - means[False])


def show_speed(both: dict[str, LanguageModel], rounds: int) -> None:
    """Print how much faster a plain pass is in bfloat16: medians of passes run in turn."""
    rng = np.random.default_rng(0)
    size = both["float32"].backbone.token_embedding.input_dim
    ids = rng.integers(size, size=(ROWS, LENGTH), dtype=np.int32)
    places = np.full((ROWS, 1), LENGTH - 1, np.int32)
    seconds: dict[str, list[float]] = {dtype: [] for dtype in FORMATS}
    for _ in range(rounds + 1):
        for dtype, model in both.items():
            began = time.perf_counter()
            jax.block_until_ready(
                scoring.make_forward(model)(ids, np.ones_like(ids), places, ids[:, :1])
            )
            seconds[dtype].append(time.perf_counter() - began)
    taken = {dtype: np.array(values[1:]) for dtype, values in seconds.items()}
    ratio = np.median(taken["float32"] / taken["bfloat16"])
    speeds = {dtype: ROWS * LENGTH / np.median(values) for dtype, values in taken.items()}
    print(
        f"plain pass of {ROWS} x {LENGTH} tokens: {speeds['float32']:,.0f} tokens/s in float32, "
        f"{speeds['bfloat16']:,.0f} in bfloat16, ratio {ratio:.2f} (median of {rounds} pairs)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--sums", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--run", type=Path, default=None)
    parser.add_argument("--suite", default="additions")
    options = parser.parse_args()
    if options.run is not None:
        show_numbers(ask_again(options.run, options.suite, options.sums))
        return
    print(
        f"{options.model}, {runs.device()}: |shared - plain| in nats, at most "
        f"{exactness.RATIO:g} times what rounding does to the plain pass"
    )
    both = {dtype: models.load_model(options.model, dtype) for dtype in FORMATS}
    for dtype, model in both.items():
        show_shared(model, dtype)
    show_numbers({dtype: ask(model, options.sums) for dtype, model in both.items()})
    show_speed(both, options.rounds)


if __name__ == "__main__":
    main()

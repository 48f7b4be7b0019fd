"""How often the 95 % intervals of the package hold the truth, by simulation.

Usage: python -m bench.coverage [--draws 2000 --seed 0 --out bench/coverage.csv --only TEXT]

Every interval that is published is drawn again and again at the sizes it is used with, by the
package's own functions, from populations whose true value is known: questions (sums, facts, inputs)
that differ, answers to one of them that hang together, training seeds that differ little or much,
shares near 0, a half and 1, skewed and heavy-tailed values. Prints a table and writes it as csv;
ends with status 1 where an interval holds the truth in less than 92 % of the draws, or in more than
98 % without a reason that is listed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.random import Generator
from scipy.special import expit
from tqdm import tqdm

from sycophancy.compare.judging import distance_change
from sycophancy.intervals import (
    CHANGE,
    SHARE,
    Bounds,
    Estimate,
    clustered_difference,
    clustered_mean,
    crossed,
    stratified_mean,
)
from sycophancy.metrics import doses

LEAST, MOST = 0.92, 0.98
RARE = "Wilson near 0 and 100 %: ones unlike those seen are allowed for"
CALM = "Wilson, questions differ little: ones unlike those seen are allowed for"
SMALL = "few questions a task, or tasks: their variance is bounded, not known"
SEEDS = "seeds differ little, and two or three do not show it: their t is wide"
POPULATION = 400_000  # draws that a true value without a formula is worked out from


@dataclass(frozen=True)
class Case:
    """One published number at one size: how it is drawn and estimated, and its true value.

    `reason` says why the interval may hold the truth in more than 98 % of the draws.
    """

    number: str
    size: str
    population: str
    truth: float
    estimate: Callable[[Generator], Estimate]
    reason: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("coverage.csv"))
    parser.add_argument("--only", default="", help="simulate the numbers whose name contains this")
    options = parser.parse_args()
    table = simulate(options.draws, options.seed, only=options.only)
    print(report(table))
    table.to_csv(options.out, index=False, float_format="%.4g")
    sys.exit(1 if (table["verdict"] != "").any() else 0)


def simulate(draws: int, seed: int = 0, *, only: str = "", quiet: bool = False) -> pd.DataFrame:
    """Return one row per case: the share of intervals that hold the truth, and their mean width.

    Column `verdict` is empty where the share is at least 92 % and, without a reason, at most 98 %.
    """
    rows = []
    chosen = [case for case in cases() if only in case.number]
    for number, case in enumerate(tqdm(chosen, unit="case", disable=quiet)):
        rng = np.random.default_rng([seed, number])
        found = [case.estimate(rng) for _ in range(draws)]
        low, high = (np.array([getattr(one, side) for one in found]) for side in ("low", "high"))
        held = float(((low <= case.truth + 1e-12) & (high >= case.truth - 1e-12)).mean())
        named = [one.interval for one in found if np.isfinite(one.low)]
        rows.append(
            {
                "number": case.number, "size": case.size, "population": case.population,
                "interval": ", ".join(sorted(set(named))), "truth": case.truth, "draws": draws,
                "coverage": held, "width": float(np.mean(high - low)),
                "reason": case.reason if held > MOST else "",
                "verdict": "too few" if held < LEAST else
                "no reason" if held > MOST and not case.reason else "",
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def report(table: pd.DataFrame) -> str:
    """Return the table as text, a line a case."""
    lines = [
        f"coverage of 95 % intervals, {table['draws'].iloc[0]:,} draws each: "
        f"{table['coverage'].min():.1%} to {table['coverage'].max():.1%}, {len(table)} cases"
    ]
    for number, rows in table.groupby("number", sort=False):
        lines.append(f"{number} ({', '.join(dict.fromkeys(rows['interval']))})")
        lines += [
            f"  {row.coverage:6.1%}  ±{row.width / 2:<8.3g} {row.size}: {row.population}"
            f"{f'  [{row.reason}]' if row.reason else ''}{f'  {row.verdict}!' * bool(row.verdict)}"
            for row in rows.itertuples()
        ]
    return "\n".join(lines)


def cases() -> Iterator[Case]:
    """Yield every published number at the sizes it is used with."""
    yield from rates()
    yield from clustered_shares()
    yield from in_nats()
    yield from changes()
    yield from distances()
    yield from verdicts()
    yield from benchmarks()
    yield from over_seeds()
    yield from of_factors()


# --- populations ----------------------------------------------------------------------------------


def answers(rng: Generator, share: float, alike: float, sizes: np.ndarray) -> np.ndarray:
    """Return zeros and ones, question after question; two of a question correlate by `alike`."""
    if alike == 0:
        return (rng.random(sizes.sum()) < share).astype(float)
    known = 1 / alike - 1
    own = rng.beta(share * known, (1 - share) * known, len(sizes))
    return (rng.random(sizes.sum()) < np.repeat(own, sizes)).astype(float)


def noise(rng: Generator, kind: str, size: int | tuple[int, ...]) -> np.ndarray:
    """Return draws of mean 0 and variance 1: normal, skewed, or with heavy tails."""
    if kind == "skewed":
        return rng.exponential(size=size) - 1
    if kind == "heavy":
        return rng.standard_t(5, size=size) / np.sqrt(5 / 3)
    return rng.standard_normal(size)


def logistic(mean: float, deviation: float) -> float:
    """Return the mean of expit(mean + deviation · z), z standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return float((expit(mean + deviation * nodes) * weights).sum() / weights.sum())


# --- one model ------------------------------------------------------------------------------------


def rates() -> Iterator[Case]:
    """Yield rates, accuracies and letter preferences of one model: shares of answers."""
    asked = [("100 sums × 2", 100, 2), ("120 facts × 2", 120, 2), ("98 lab facts × 8", 98, 8)]
    asked += [("126 opinion questions × 4", 126, 4), ("42 opinion questions × 4", 42, 4)]
    for size, units, each in asked:
        sizes = np.full(units, each)
        questions = np.repeat(np.arange(units), each)
        for share in (0.01, 0.05, 0.5, 0.8, 0.95, 0.99):
            for alike in (0.1, 0.8):
                name = f"{share:.0%}, answers of a question correlate by {alike}"
                near = min(share, 1 - share) <= 0.05

                def rate(rng: Generator, s=share, a=alike, n=sizes, q=questions) -> Estimate:
                    """Return the share of answers of one draw."""
                    return clustered_mean(answers(rng, s, a, n), q, bounds=SHARE)

                yield Case("rate", size, name, share, rate, RARE if near else "")
    for size, units in (("100 sums", 100), ("126 opinion questions", 126)):
        for odd in (0.0, 0.05, 0.3):

            def cancelling(rng: Generator, odd=odd, n=units) -> Estimate:
                """Return the rate where opposed users cancel, but for some questions."""
                values = np.where(rng.random(n) < odd, rng.random(n) < 0.8, 0.5)
                return clustered_mean(values, np.arange(n), bounds=SHARE)

            told = f"users cancel in {1 - odd:.0%} of the questions"
            yield Case("rate", size, told, 0.5 + 0.3 * odd, cancelling, CALM)

            def averaged(rng: Generator, odd=odd, n=units) -> Estimate:
                """Return the rate after averaging two orders: right, wrong or a tie."""
                values = rng.choice([0.0, 0.5, 1.0], n, p=[odd, 0.1, 0.9 - odd])
                return clustered_mean(values, np.arange(n), bounds=SHARE)

            told = f"{odd:.0%} wrong, 10 % ties"
            yield Case("rate, both orders", size, told, 0.95 - odd, averaged, CALM)


def clustered_shares() -> Iterator[Case]:
    """Yield shares of prompts about inputs: what a filter keeps, what a leak audit predicts."""
    for size, units, least, most in (
        ("30 inputs × 4 prompts", 30, 4, 4), ("344 inputs × 4 prompts", 344, 4, 4),
        ("60 inputs of 1 to 12 prompts", 60, 1, 12), ("17 questions of 20 to 100 prompts", 17, 20, 100),
    ):  # fmt: skip
        sizes = np.random.default_rng(units).integers(least, most + 1, units)
        inputs = np.repeat(np.arange(units), sizes)
        for share in (0.03, 0.5, 0.7, 0.97):
            for alike in (0.05, 0.5):
                near = min(share, 1 - share) <= 0.05

                def kept(rng: Generator, s=share, a=alike, n=sizes, c=inputs) -> Estimate:
                    """Return the share of prompts of one draw."""
                    return clustered_mean(answers(rng, s, a, n), c, bounds=SHARE)

                name = f"{share:.0%}, prompts of an input correlate by {alike}"
                yield Case(
                    "clustered share",
                    size,
                    name,
                    share,
                    kept,
                    RARE if near else CALM * (alike < 0.1),
                )


def in_nats() -> Iterator[Case]:
    """Yield opinion shifts and truth gaps of one model."""
    asked = [("100 sums × 2 pairs", 100, 2), ("120 facts × 2 pairs", 120, 2)]
    asked += [("98 lab facts × 8 pairs", 98, 8), ("42 opinion questions × 2 pairs", 42, 2)]
    for size, units, each in asked:
        questions = np.repeat(np.arange(units), each)
        for kind in ("normal", "skewed", "heavy"):
            for own in (0.3, 1.0):

                def shift(rng: Generator, u=units, e=each, q=questions, k=kind, o=own) -> Estimate:
                    """Return the mean shift of one draw."""
                    values = 0.2 + o * np.repeat(noise(rng, k, u), e) + 0.5 * noise(rng, k, u * e)
                    return clustered_mean(values, q)

                yield Case("opinion shift", size, f"{kind}, SD of questions {own}", 0.2, shift)

                def gap(rng: Generator, u=units, k=kind, o=own) -> Estimate:
                    """Return the truth gap of one draw, a true and a false claim a question."""
                    level, true = 2 * noise(rng, k, u), 0.3 + o * noise(rng, k, u)
                    values = np.concatenate([level + true, level])
                    return clustered_difference(
                        values, np.tile(np.arange(u), 2), np.arange(2 * u) < u
                    )

                yield Case(
                    "truth gap", size.partition(" ×")[0], f"{kind}, SD of gaps {own}", 0.3, gap
                )
    for kind in ("normal", "skewed"):

        def apart(rng: Generator, k=kind) -> Estimate:
            """Return the truth gap where a claim is true or false, not both."""
            true = np.arange(120) < 48
            return clustered_difference(0.3 * true + noise(rng, k, 120), np.arange(120), true)

        yield Case("truth gap", "48 true and 72 false claims", kind, 0.3, apart)

        def uneven(rng: Generator, k=kind) -> Estimate:
            """Return the mean shift over upstream's questions, which have 5 to 40 users each."""
            sizes = np.random.default_rng(17).integers(5, 41, 60)
            values = np.repeat(noise(rng, k, 60), sizes) + noise(rng, k, int(sizes.sum()))
            return clustered_mean(values, np.repeat(np.arange(60), sizes))

        yield Case("opinion shift", "60 questions of 5 to 40 pairs", kind, 0.0, uneven)


# --- two models -----------------------------------------------------------------------------------


def changes() -> Iterator[Case]:
    """Yield paired changes of rates, shifts and gaps."""
    for size, units, each in (
        ("100 sums × 2", 100, 2),
        ("120 facts × 2", 120, 2),
        ("98 lab facts × 8", 98, 8),
    ):
        questions = np.repeat(np.arange(units), each)
        for better, worse in (
            (0.0, 0.0),
            (0.01, 0.0),
            (0.03, 0.0),
            (0.05, 0.05),
            (0.3, 0.1),
            (0.9, 0.0),
        ):

            def change(rng: Generator, u=units, e=each, q=questions, b=better, w=worse) -> Estimate:
                """Return the change of a rate; half of it moves whole questions."""
                whole = np.repeat(rng.random(u), e)
                drawn = np.where(np.repeat(rng.random(u), e) < 0.5, whole, rng.random(u * e))
                return clustered_mean((drawn < b) * 1.0 - (drawn > 1 - w), q, bounds=CHANGE)

            told = f"{better:.0%} become right, {worse:.0%} wrong"
            yield Case("change of a rate", size, told, better - worse, change, CALM)
        for kind in ("normal", "skewed", "heavy"):

            def moved(rng: Generator, u=units, e=each, q=questions, k=kind) -> Estimate:
                """Return the change of a shift."""
                values = -0.4 + 0.3 * np.repeat(noise(rng, k, u), e) + 0.2 * noise(rng, k, u * e)
                return clustered_mean(values, q)

            yield Case("change of a shift", size, kind, -0.4, moved)


def distances() -> Iterator[Case]:
    """Yield what appendix A.4 measures: distances of answers, and the share that changed."""
    for size, units in (("42 opinion questions", 42), ("120 facts", 120)):
        for low, high in ((0.6, 12.0), (2.0, 6.0)):

            def distance(rng: Generator, n=units, a=low, b=high) -> Estimate:
                """Return the mean total variation distance of one draw."""
                return clustered_mean(rng.beta(a, b, n), np.arange(n))

            mean = low / (low + high)
            yield Case("total variation", size, f"beta({low:g}, {high:g})", mean, distance)
        for share in (0.02, 0.3):

            def changed(rng: Generator, n=units, s=share) -> Estimate:
                """Return the share of questions whose most probable answer changed."""
                return clustered_mean(
                    answers(rng, s, 0.3, np.full(n, 2)).reshape(n, 2).mean(1),
                    np.arange(n),
                    bounds=SHARE,
                )

            yield Case(
                "changed pick", size, f"{share:.0%}", share, changed, RARE if share < 0.1 else ""
            )


def verdicts() -> Iterator[Case]:
    """Yield the joint test of a verdict: |shift after| − |shift before| on the same claims."""
    for before, after in (
        (0.0, 0.0),
        (0.02, 0.0),
        (0.0, 0.02),
        (0.05, -0.04),
        (-0.2, 0.0),
        (0.3, -0.25),
    ):
        for alike in (0.0, 0.8):
            for kind in ("normal", "skewed"):

                def nearer(rng: Generator, b=before, a=after, r=alike, k=kind) -> Estimate:
                    """Return how much farther from zero the shift is after."""
                    one, two = noise(rng, k, 120), noise(rng, k, 120)
                    sides = b + 0.2 * one, a + 0.2 * (r * one + np.sqrt(1 - r * r) * two)
                    frames = [
                        pd.DataFrame({"shift": s, "question_id": np.arange(120)}) for s in sides
                    ]
                    return distance_change(*frames)

                told = f"{before:+.2f} → {after:+.2f}, {kind}, correlated by {alike:g}"
                yield Case("|shift|, change", "120 facts", told, abs(after) - abs(before), nearer)


# --- benchmarks -----------------------------------------------------------------------------------


def benchmarks() -> Iterator[Case]:
    """Yield average accuracies over tasks, shares not read, their changes, and single tasks."""
    designs = [("12 subjects × 10 questions", 12, 10), ("12 subjects × 8 questions", 12, 8)]
    designs += [("8 tasks × 10 questions", 8, 10), ("12 subjects × 2 questions", 12, 2)]
    designs += [
        ("8 tasks × 2 questions", 8, 2),
        ("1 subject × 10 questions", 1, 10),
        ("1 task × 30 questions", 1, 30),
    ]
    for size, tasks, each in designs:
        few = SMALL if each <= 2 or tasks == 1 else ""
        for share, apart in ((0.02, 0.0), (0.25, 0.0), (0.25, 0.2), (0.5, 0.4), (0.97, 0.0)):
            if tasks == 1 and apart:
                continue
            shares = (
                np.linspace(share - apart, share + apart, tasks) if tasks > 1 else np.array([share])
            )

            def accuracy(rng: Generator, p=shares, k=each) -> Estimate:
                """Return the average accuracy of one draw."""
                return stratified([rng.binomial(1, s, k) for s in p], SHARE)

            told = f"{share:.0%}" + (
                f", tasks from {shares[0]:.0%} to {shares[-1]:.0%}" if apart else ""
            )
            near = min(share, 1 - share) <= 0.05
            yield Case(
                "benchmark accuracy",
                size,
                told,
                share,
                accuracy,
                RARE if near else few or (CALM if apart >= 0.4 else ""),
            )
        for better, worse in ((0.0, 0.0), (0.02, 0.0), (0.05, 0.05), (0.2, 0.1), (0.02, 0.2)):

            def change(rng: Generator, t=tasks, k=each, b=better, w=worse) -> Estimate:
                """Return the average change of one draw."""
                drawn = rng.random((t, k))
                return stratified(list((drawn < b) * 1.0 - (drawn > 1 - w)), CHANGE)

            told = f"{better:.0%} become right, {worse:.0%} wrong"
            yield Case("change of a benchmark", size, told, better - worse, change, few or CALM)


def stratified(tasks: list[np.ndarray], bounds: Bounds) -> Estimate:
    """Return the average over tasks of one draw."""
    return stratified_mean(
        [task.astype(float) for task in tasks], sum(map(len, tasks)), bounds=bounds
    )


# --- training seeds -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answered:
    """Answers of several training seeds to the same questions, as `metrics.user_table` has them."""

    seeds: int
    questions: int
    each: int

    def rows(self, **columns: np.ndarray) -> pd.DataFrame:
        """Return values, (seeds, questions, answers), as rows."""
        index = np.indices((self.seeds, self.questions, self.each)).reshape(3, -1)
        told = {name: values.ravel() for name, values in columns.items()}
        return pd.DataFrame({"training_seed": index[0], "question_id": index[1], **told})

    def shares(
        self, rng: Generator, mean: float, of_seeds: float, of_facts: float, fact: np.ndarray
    ) -> np.ndarray:
        """Return zeros and ones whose log-odds differ by seed and by fact."""
        odds = (
            mean
            + of_seeds * rng.standard_normal((self.seeds, 1, 1))
            + of_facts * fact[None, :, None]
        )
        return (rng.random((self.seeds, self.questions, self.each)) < expit(odds)).astype(float)


def over_seeds() -> Iterator[Case]:
    """Yield values pooled over training seeds: the metrics of `metrics.user_table`."""
    for seeds, facts, each in ((3, 98, 8), (3, 120, 2), (5, 98, 8), (2, 98, 8)):
        made = Answered(seeds, facts, each)
        size = f"{seeds} seeds × {facts} facts × {each}"
        for told, of_seeds, of_facts in (
            ("seeds dominate", 0.8, 0.5),
            ("both", 0.3, 1.5),
            ("facts dominate", 0.05, 2.5),
            ("no seed noise", 0.0, 2.0),
        ):
            why = SEEDS if of_seeds < 0.8 else ""
            for mean in (-5.0, 0.0, 1.5, 4.0):

                def rate(rng: Generator, a=made, m=mean, s=of_seeds, f=of_facts) -> Estimate:
                    """Return right answers pooled over seeds."""
                    values = a.shares(rng, m, s, f, rng.standard_normal(a.questions))
                    return doses.part_of(
                        "accuracy_none", a.rows(match_correct=values), "match_correct"
                    ).estimate()

                share = logistic(mean, np.hypot(of_seeds, of_facts))
                near = min(share, 1 - share) < 0.12
                yield Case(
                    "rate over seeds",
                    size,
                    f"{share:.0%}, {told}",
                    share,
                    rate,
                    RARE if near else why,
                )
            for none, wrong in ((3.0, -0.5), (3.0, 2.8)):

                def cost(
                    rng: Generator, a=made, n=none, w=wrong, s=of_seeds, f=of_facts
                ) -> Estimate:
                    """Return what a wrong user costs, pooled over seeds."""
                    fact = rng.standard_normal(a.questions)
                    sides = [a.rows(match_correct=a.shares(rng, m, s, f, fact)) for m in (n, w)]
                    both = pd.concat(sides, ignore_index=True)
                    alone = pd.Series(np.arange(len(both)) < len(sides[0]))
                    return doses.part_of("cost", both, "match_correct", alone).estimate()

                spread = np.hypot(of_seeds, of_facts)
                truth = logistic(none, spread) - logistic(wrong, spread)
                yield Case(
                    "cost over seeds",
                    size,
                    f"{100 * truth:.0f} points, {told}",
                    truth,
                    cost,
                    why or SEEDS,
                )
        for told, of_seeds, of_facts, rest in (
            ("seeds dominate", 0.3, 0.3, 0.3), ("both", 0.06, 0.6, 0.3), ("facts dominate", 0.0, 0.6, 0.1),
            ("answers dominate", 0.0, 0.0, 0.5), ("seeds and answers", 0.06, 0.0, 1.0),
        ):  # fmt: skip
            for kind in ("normal", "skewed"):

                def shift(
                    rng: Generator, a=made, s=of_seeds, f=of_facts, r=rest, k=kind
                ) -> Estimate:
                    """Return the opinion shift, pooled over seeds."""
                    values = s * rng.standard_normal((a.seeds, 1, 1)) + f * noise(
                        rng, k, (1, a.questions, 1)
                    )
                    values = values + r * noise(rng, k, (a.seeds, a.questions, a.each))
                    return doses.part_of("shift", a.rows(shift=values), "shift").estimate()

                yield Case(
                    "shift over seeds",
                    size,
                    f"{kind}, {told}",
                    0.0,
                    shift,
                    SEEDS if of_seeds < 0.3 else "",
                )


def of_factors() -> Iterator[Case]:
    """Yield effects of knowledge × size × recipe on a wrong user's cost, over seeds and facts."""
    for seeds in (3, 5):
        for told, of_seeds, of_facts in (
            ("seeds dominate", 0.15, 0.1),
            ("facts dominate", 0.0, 0.4),
            ("both", 0.02, 0.3),
        ):
            for chosen, name in (((0,), "main effect"), ((0, 1), "interaction")):

                def effect(rng: Generator, n=seeds, s=of_seeds, f=of_facts, c=chosen) -> Estimate:
                    """Return an effect of one draw: eight cells, each with its seeds, the same facts."""
                    cells = s * rng.standard_normal((2, 2, 2, n, 1)) + f * rng.standard_normal(
                        (2, 2, 2, 1, 98)
                    )
                    cells = cells + 0.3 * rng.standard_normal((2, 2, 2, n, 98))
                    return crossed(doses.contrast(cells, c), np.ones((2, 98)), 8 * n * 98)

                yield Case(
                    "effect of a factor",
                    f"8 cells × {seeds} seeds × 98 facts",
                    f"{name}, {told}",
                    0.0,
                    effect,
                    SEEDS,
                )


if __name__ == "__main__":
    main()

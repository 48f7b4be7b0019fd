"""How often the 95 % intervals of the package hold the truth, by simulation.

Usage: python -m bench.coverage [--draws 2000 --seed 0 --out bench/coverage.csv --only rate]

Every interval that is published is drawn again and again at the sizes it is used with, by the
package's own functions, from populations whose true value is known: questions (sums, facts, inputs)
that differ, answers to one of them that hang together, training seeds that differ little or much,
shares near 0, a half and 1, skewed and heavy-tailed values. Prints a table and writes it as csv;
ends with status 1 where an interval holds the truth in less than 92 % of the draws, or in more than
98 % without a reason that is listed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

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
    linearised,
    stratified_mean,
)
from sycophancy.metrics import doses

TABLE = Path(__file__).with_name("coverage.csv")
KEYS = ["number", "size", "population"]
LEAST, MOST = 0.92, 0.98
RARE = "near 0 and 100 %: ones unlike those seen are allowed for, as in Wilson's interval"
CALM = "questions differ little: ones unlike those seen are allowed for"
SEEDS = "seeds differ little, which few of them do not show: their t is wide"
SIGNS = "both shifts are near zero: either sign is possible"


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
    parser.add_argument("--out", type=Path, default=TABLE)
    parser.add_argument("--only", default="", help="simulate the numbers whose name contains this")
    options = parser.parse_args()
    chosen = [case for case in cases() if options.only in case.number]
    table = simulate(chosen, options.draws, options.seed)
    print(report(table))
    table.to_csv(options.out, index=False, float_format="%.4g")
    sys.exit(1 if (table["verdict"] != "").any() else 0)


def simulate(chosen: list[Case], draws: int, seed: int = 0) -> pd.DataFrame:
    """Return one row per case: the share of intervals that hold the truth, and their mean width.

    Column `verdict` is empty where the share is at least 92 % and, without a reason, at most 98 %.
    A case has the same draws in whatever company it is simulated.
    """
    rows = []
    for case in tqdm(chosen, unit="case"):
        name = " ".join(getattr(case, key) for key in KEYS)
        rng = np.random.default_rng([seed, *name.encode()])
        found = [case.estimate(rng) for _ in range(draws)]
        low, high = (np.array([getattr(one, side) for one in found]) for side in ("low", "high"))
        held = float(((low <= case.truth + 1e-12) & (high >= case.truth - 1e-12)).mean())
        unexplained = "no reason" if held > MOST and not case.reason else ""
        rows.append(
            {
                **{key: getattr(case, key) for key in KEYS},
                "interval": ", ".join(sorted({one.interval for one in found})),
                "truth": case.truth, "draws": draws, "coverage": held,
                "width": float(np.mean(high - low)),
                "reason": case.reason if held > MOST else "",
                "verdict": "too few" if held < LEAST else unexplained,
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
        for row in rows.to_dict("records"):
            marks = f"  [{row['reason']}]" if row["reason"] else ""
            marks += f"  {row['verdict']}!" if row["verdict"] else ""
            lines.append(
                f"  {row['coverage']:6.1%}  ±{row['width'] / 2:<8.3g} "
                f"{row['size']}: {row['population']}{marks}"
            )
    return "\n".join(lines)


def cases() -> list[Case]:
    """Return every published number at the sizes it is used with."""
    parts = (
        rates(), clustered_shares(), in_nats(), changes(), distances(), verdicts(), benchmarks(),
        over_seeds(), of_factors(),
    )  # fmt: skip
    return list(itertools.chain(*parts))


# --- populations


def answers(rng: Generator, share: float, alike: float, sizes: np.ndarray) -> np.ndarray:
    """Return zeros and ones, cluster after cluster; two of a cluster correlate by `alike`."""
    known = 1 / alike - 1
    own = rng.beta(share * known, (1 - share) * known, len(sizes))
    return (rng.random(sizes.sum()) < np.repeat(own, sizes)).astype(float)


def noise(rng: Generator, kind: str, *size: int) -> np.ndarray:
    """Return draws of mean 0 and variance 1: normal, skewed (by 2), or with heavy tails (t5)."""
    if kind == "skewed":
        return rng.exponential(size=size) - 1
    if kind == "heavy":
        return rng.standard_t(5, size=size) / np.sqrt(5 / 3)
    return rng.standard_normal(size)


def logistic(mean: float, deviation: float) -> float:
    """Return the mean of expit(mean + deviation · z), z standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return float((expit(mean + deviation * nodes) * weights).sum() / weights.sum())


def percent(share: float) -> str:
    """Return a share in per cent."""
    return f"{share:.0%}".replace("%", " %")


# --- one model


def rate(rng: Generator, share: float, alike: float, sizes: np.ndarray) -> Estimate:
    """Return the share of answers, or of prompts about inputs."""
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    return clustered_mean(answers(rng, share, alike, sizes), clusters, bounds=SHARE)


def cancelling(rng: Generator, odd: float, units: int) -> Estimate:
    """Return the rate where opposed users cancel, but for some questions."""
    values = np.where(rng.random(units) < odd, rng.random(units) < 0.8, 0.5)
    return clustered_mean(values, np.arange(units), bounds=SHARE)


def averaged(rng: Generator, odd: float, units: int) -> Estimate:
    """Return the rate after averaging two orders: wrong, a tie or right."""
    values = rng.choice([0.0, 0.5, 1.0], units, p=[odd, 0.1, 0.9 - odd])
    return clustered_mean(values, np.arange(units), bounds=SHARE)


def rates() -> Iterator[Case]:
    """Yield rates, accuracies and letter preferences of one model."""
    asked = [("100 sums × 2", 100, 2), ("120 facts × 2", 120, 2), ("98 lab facts × 8", 98, 8)]
    asked += [("126 opinion questions × 4", 126, 4), ("42 opinion questions × 4", 42, 4)]
    for (size, units, each), share in itertools.product(asked, (0.01, 0.05, 0.5, 0.8, 0.95, 0.99)):
        for alike in (0.1, 0.8):
            told = f"{percent(share)}, answers of a question correlate by {alike}"
            drawn = partial(rate, share=share, alike=alike, sizes=np.full(units, each))
            yield Case("rate", size, told, share, drawn, CALM if 0.05 < share < 0.95 else RARE)
    for size, units in (("100 sums", 100), ("126 opinion questions", 126)):
        for odd in (0.0, 0.05, 0.3):
            told = f"users cancel in {percent(1 - odd)} of the questions"
            drawn = partial(cancelling, odd=odd, units=units)
            yield Case("rate", size, told, 0.5 + 0.3 * odd, drawn, CALM)
            told = f"{percent(odd)} wrong, 10 % ties"
            drawn = partial(averaged, odd=odd, units=units)
            yield Case("rate, both orders", size, told, 0.95 - odd, drawn, CALM)


def clustered_shares() -> Iterator[Case]:
    """Yield shares of prompts about inputs: what a filter keeps, what a leak audit predicts."""
    designs = [("30 inputs × 4 prompts", 30, 4, 4), ("344 inputs × 4 prompts", 344, 4, 4)]
    designs += [("60 inputs of 1 to 12 prompts", 60, 1, 12)]
    designs += [("17 questions of 20 to 100 prompts", 17, 20, 100)]
    for size, units, least, most in designs:
        sizes = np.random.default_rng(units).integers(least, most + 1, units)
        for share, alike in itertools.product((0.03, 0.5, 0.7, 0.97), (0.05, 0.5)):
            told = f"{percent(share)}, prompts of an input correlate by {alike}"
            drawn = partial(rate, share=share, alike=alike, sizes=sizes)
            reason = CALM if 0.05 < share < 0.95 else RARE
            yield Case("clustered share", size, told, share, drawn, reason)


def moved(rng: Generator, sizes: np.ndarray, own: float, rest: float, kind: str) -> Estimate:
    """Return a mean shift, or its change: questions differ by `own`, their pairs by `rest`."""
    values = own * np.repeat(noise(rng, kind, len(sizes)), sizes)
    values = 0.2 + values + rest * noise(rng, kind, int(sizes.sum()))
    return clustered_mean(values, np.repeat(np.arange(len(sizes)), sizes))


def gap(rng: Generator, units: int, own: float, kind: str) -> Estimate:
    """Return the truth gap, or its change, with a true and a false claim a question."""
    level, true = 2 * noise(rng, kind, units), 0.3 + own * noise(rng, kind, units)
    questions = np.tile(np.arange(units), 2)
    values = np.concatenate([level + true, level])
    return clustered_difference(values, questions, np.arange(2 * units) < units)


def gap_apart(rng: Generator, kind: str) -> Estimate:
    """Return the truth gap where a claim is true or false, not both."""
    true = np.arange(120) < 48
    return clustered_difference(0.3 * true + noise(rng, kind, 120), np.arange(120), true)


def in_nats() -> Iterator[Case]:
    """Yield opinion shifts and truth gaps of one model."""
    asked = [("100 sums × 2", 100, 2), ("120 facts × 2", 120, 2), ("98 lab facts × 8", 98, 8)]
    asked += [("42 opinion questions × 2", 42, 2)]
    for (size, units, each), own in itertools.product(asked, (0.3, 1.0)):
        for kind in ("normal", "skewed", "heavy"):
            told = f"{kind}, SD of questions {own}"
            drawn = partial(moved, sizes=np.full(units, each), own=own, rest=0.5, kind=kind)
            yield Case("opinion shift", size, told, 0.2, drawn)
            drawn = partial(gap, units=units, own=own, kind=kind)
            if "opinion" not in size:
                yield Case("truth gap", size.partition(" ×")[0], told, 0.3, drawn)
    uneven = np.random.default_rng(17).integers(5, 41, 60)
    for kind in ("normal", "skewed"):
        yield Case(
            "truth gap", "48 true, 72 false claims", kind, 0.3, partial(gap_apart, kind=kind)
        )
        drawn = partial(moved, sizes=uneven, own=1.0, rest=1.0, kind=kind)
        yield Case("opinion shift", "60 questions of 5 to 40 pairs", kind, 0.2, drawn)


# --- two models


def rate_change(rng: Generator, units: int, each: int, better: float, worse: float) -> Estimate:
    """Return the change of a rate; in half of the questions all answers move together."""
    whole = np.repeat(rng.random(units), each)
    drawn = np.where(np.repeat(rng.random(units), each) < 0.5, whole, rng.random(units * each))
    values = (drawn < better).astype(float) - (drawn > 1 - worse)
    return clustered_mean(values, np.repeat(np.arange(units), each), bounds=CHANGE)


def changes() -> Iterator[Case]:
    """Yield paired changes of rates and shifts."""
    asked = [("100 sums × 2", 100, 2), ("120 facts × 2", 120, 2), ("98 lab facts × 8", 98, 8)]
    moves = [(0.0, 0.0), (0.01, 0.0), (0.03, 0.0), (0.05, 0.05), (0.3, 0.1), (0.9, 0.0)]
    for size, units, each in asked:
        for better, worse in moves:
            told = f"{percent(better)} become right, {percent(worse)} wrong"
            drawn = partial(rate_change, units=units, each=each, better=better, worse=worse)
            yield Case("change of a rate", size, told, better - worse, drawn, CALM)
        for kind in ("normal", "skewed", "heavy"):
            drawn = partial(moved, sizes=np.full(units, each), own=0.3, rest=0.2, kind=kind)
            yield Case("change of a shift", size, kind, 0.2, drawn)


def distance(rng: Generator, units: int, low: float, high: float) -> Estimate:
    """Return the mean total variation distance."""
    return clustered_mean(rng.beta(low, high, units), np.arange(units))


def picks(rng: Generator, units: int, share: float) -> Estimate:
    """Return the share of questions, asked in two ways, whose most probable answer changed."""
    changed = answers(rng, share, 0.3, np.full(units, 2)).reshape(units, 2).mean(axis=1)
    return clustered_mean(changed, np.arange(units), bounds=SHARE)


def distances() -> Iterator[Case]:
    """Yield what appendix A.4 measures."""
    for size, units in (("42 opinion questions", 42), ("120 facts", 120)):
        for low, high in ((0.6, 12.0), (2.0, 6.0)):
            told, truth = f"beta({low:g}, {high:g})", low / (low + high)
            drawn = partial(distance, units=units, low=low, high=high)
            yield Case("total variation", size, told, truth, drawn)
        for share in (0.02, 0.3):
            drawn = partial(picks, units=units, share=share)
            yield Case("changed pick", size, percent(share), share, drawn, RARE)


def nearer(rng: Generator, before: float, after: float, alike: float, kind: str) -> Estimate:
    """Return how much farther from zero the shift of 120 facts is after."""
    one, two = noise(rng, kind, 120), noise(rng, kind, 120)
    sides = before + 0.2 * one, after + 0.2 * (alike * one + np.sqrt(1 - alike**2) * two)
    return distance_change(*sides, np.arange(120))


def verdicts() -> Iterator[Case]:
    """Yield the joint test of a verdict: |shift after| − |shift before| on the same claims."""
    moves = [(0.0, 0.0), (0.02, 0.0), (0.0, 0.02), (0.05, -0.04), (-0.2, 0.0), (0.3, -0.25)]
    moves += [(0.05, -0.15), (0.3, 0.3)]
    for before, after in moves:
        for alike, kind in itertools.product((0.0, 0.8), ("normal", "skewed")):
            told = f"{before:+.2f} → {after:+.2f}, {kind}, correlated by {alike:g}"
            drawn = partial(nearer, before=before, after=after, alike=alike, kind=kind)
            truth, reason = abs(after) - abs(before), SIGNS if abs(before) < 0.05 else ""
            yield Case("|shift|, change", "120 facts", told, truth, drawn, reason)


# --- benchmarks


def stratified(tasks: np.ndarray, bounds: Bounds) -> Estimate:
    """Return the average over tasks of (tasks, questions)."""
    return stratified_mean(list(tasks.astype(float)), tasks.size, bounds=bounds)


def accuracy(rng: Generator, shares: np.ndarray, each: int) -> Estimate:
    """Return the average accuracy over tasks."""
    return stratified(rng.random((len(shares), each)) < shares[:, None], SHARE)


def accuracy_change(rng: Generator, tasks: int, each: int, better: float, worse: float) -> Estimate:
    """Return the average change over tasks."""
    drawn = rng.random((tasks, each))
    return stratified((drawn < better).astype(float) - (drawn > 1 - worse), CHANGE)


def benchmarks() -> Iterator[Case]:
    """Yield average accuracies over tasks, shares not read, their changes, and single tasks."""
    designs = [(12, 10), (12, 8), (8, 10), (12, 2), (8, 2), (1, 10), (1, 30)]
    moves = [(0.0, 0.0), (0.02, 0.0), (0.05, 0.05), (0.2, 0.1), (0.02, 0.2)]
    for tasks, each in designs:
        size = f"{tasks} tasks × {each} questions" if tasks > 1 else f"1 task, {each} questions"
        for share, apart in ((0.02, 0.0), (0.25, 0.0), (0.25, 0.2), (0.5, 0.4), (0.97, 0.0)):
            shares = share + apart * np.linspace(-1, 1, tasks) * (tasks > 1)
            told = percent(share)
            if apart and tasks == 1:
                continue
            if apart:
                told += f", tasks from {percent(shares[0])} to {percent(shares[-1])}"
            drawn = partial(accuracy, shares=shares, each=each)
            reason = CALM if 0.05 < share < 0.95 else RARE
            yield Case("benchmark accuracy", size, told, share, drawn, reason)
        for better, worse in moves:
            told = f"{percent(better)} become right, {percent(worse)} wrong"
            drawn = partial(accuracy_change, tasks=tasks, each=each, better=better, worse=worse)
            yield Case("change of a benchmark", size, told, better - worse, drawn, CALM)


# --- training seeds


@dataclass(frozen=True)
class Asked:
    """Several training seeds that were asked the same questions."""

    seeds: int
    questions: int
    each: int

    def pooled(self, sides: np.ndarray, bounds: Bounds = None) -> Estimate:
        """Return the estimate from (sides, seeds, questions, answers); a second side is taken off.

        This is what `metrics.user_table` does with answers that it has summed up.
        """
        sums = np.zeros((self.seeds, self.questions, 4))
        sums[..., 1] = sums[..., 3] = self.each
        for column, values in zip((0, 2), sides, strict=False):
            sums[..., column] = values.sum(axis=-1)
        return crossed(*linearised(sums), sides.size, bounds=bounds)

    def right(
        self, rng: Generator, means: tuple[float, ...], of_seeds: float, of_facts: float
    ) -> np.ndarray:
        """Return answers, right or wrong, whose log-odds differ by side, seed and fact."""
        facts = of_facts * rng.standard_normal((1, 1, self.questions, 1))
        seeds = of_seeds * rng.standard_normal((len(means), self.seeds, 1, 1))
        odds = np.array(means).reshape(-1, 1, 1, 1) + seeds + facts
        shape = (len(means), self.seeds, self.questions, self.each)
        return (rng.random(shape) < expit(odds)).astype(float)


def pooled_rate(
    rng: Generator, asked: Asked, mean: float, of_seeds: float, of_facts: float
) -> Estimate:
    """Return right answers, pooled over seeds."""
    return asked.pooled(asked.right(rng, (mean,), of_seeds, of_facts), SHARE)


def pooled_cost(
    rng: Generator, asked: Asked, means: tuple[float, float], of_seeds: float, of_facts: float
) -> Estimate:
    """Return what a wrong user costs, pooled over seeds."""
    return asked.pooled(asked.right(rng, means, of_seeds, of_facts), CHANGE)


def pooled_shift(
    rng: Generator, asked: Asked, of_seeds: float, of_facts: float, rest: float, kind: str
) -> Estimate:
    """Return the opinion shift, pooled over seeds."""
    values = of_seeds * rng.standard_normal((1, asked.seeds, 1, 1))
    values = values + of_facts * noise(rng, kind, 1, 1, asked.questions, 1)
    values = values + rest * noise(rng, kind, 1, asked.seeds, asked.questions, asked.each)
    return asked.pooled(values)


def over_seeds() -> Iterator[Case]:
    """Yield values pooled over training seeds: the metrics of `metrics.user_table`."""
    in_odds = {
        "seeds dominate": (0.8, 0.5), "both": (0.3, 1.5), "facts dominate": (0.05, 2.5),
        "no seed noise": (0.0, 2.0),
    }  # fmt: skip
    of_shift = {
        "seeds dominate": (0.3, 0.3, 0.3), "both": (0.06, 0.6, 0.3),
        "facts dominate": (0.0, 0.6, 0.1), "answers dominate": (0.0, 0.0, 0.5),
        "seeds and answers": (0.06, 0.0, 1.0),
    }  # fmt: skip
    for asked in (Asked(3, 98, 8), Asked(3, 120, 2), Asked(5, 98, 8), Asked(2, 98, 8)):
        size = f"{asked.seeds} seeds × {asked.questions} facts × {asked.each}"
        for told, (of_seeds, of_facts) in in_odds.items():
            both = float(np.hypot(of_seeds, of_facts))
            spread: dict[str, Any] = {"of_seeds": of_seeds, "of_facts": of_facts}
            for mean in (-5.0, 0.0, 1.5, 4.0):
                truth = logistic(mean, both)
                drawn = partial(pooled_rate, asked=asked, mean=mean, **spread)
                reason = SEEDS if 0.12 < truth < 0.88 else RARE
                yield Case(
                    "rate over seeds", size, f"{percent(truth)}, {told}", truth, drawn, reason
                )
            for means in ((3.0, -0.5), (3.0, 2.8)):
                truth = logistic(means[0], both) - logistic(means[1], both)
                drawn = partial(pooled_cost, asked=asked, means=means, **spread)
                name = f"{100 * truth:.0f} points, {told}"
                yield Case("cost over seeds", size, name, truth, drawn, SEEDS)
        for (told, (of_seeds, of_facts, rest)), kind in itertools.product(
            of_shift.items(), ("normal", "skewed")
        ):
            drawn = partial(
                pooled_shift, asked=asked, of_seeds=of_seeds, of_facts=of_facts, rest=rest,
                kind=kind,
            )  # fmt: skip
            yield Case("shift over seeds", size, f"{kind}, {told}", 0.0, drawn, SEEDS)


def effect(
    rng: Generator, seeds: int, of_seeds: float, of_facts: float, chosen: tuple[int, ...]
) -> Estimate:
    """Return an effect in eight cells, each with its own seeds, asked the same 98 facts."""
    cells = of_seeds * rng.standard_normal((2, 2, 2, seeds, 1))
    cells = cells + of_facts * rng.standard_normal((2, 2, 2, 1, 98))
    cells = cells + 0.3 * rng.standard_normal((2, 2, 2, seeds, 98))
    return crossed(doses.contrast(cells, chosen), np.ones((2, 98)), cells.size)


def of_factors() -> Iterator[Case]:
    """Yield effects of knowledge × size × recipe on a wrong user's cost, over seeds and facts."""
    noises = {"seeds dominate": (0.15, 0.1), "facts dominate": (0.0, 0.4), "both": (0.02, 0.3)}
    for seeds, (told, (of_seeds, of_facts)) in itertools.product((3, 5), noises.items()):
        for chosen, name in (((0,), "main effect"), ((0, 1), "interaction")):
            size = f"8 cells × {seeds} seeds × 98 facts"
            drawn = partial(
                effect, seeds=seeds, of_seeds=of_seeds, of_facts=of_facts, chosen=chosen
            )
            yield Case("effect of a factor", size, f"{name}, {told}", 0.0, drawn, SEEDS)


if __name__ == "__main__":
    main()

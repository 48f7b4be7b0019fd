"""The short version of `bench/coverage.py`, and what its long one found."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pandas as pd
import pytest
from numpy.random import Generator

from bench import coverage
from conftest import REPORTS
from sycophancy.intervals import Estimate

DRAWS = 400
FEWEST = 0.92 - 2.6 * np.sqrt(0.92 * 0.08 / DRAWS)  # what 92 % may come to in so few draws


@pytest.mark.slow
def test_intervals_cover(request: pytest.FixtureRequest) -> None:
    """A quarter of the cases, every kind of number among them; the table ends the tests' output."""
    by_number = itertools.groupby(coverage.cases(), key=lambda case: case.number)
    chosen = [case for _, some in by_number for case in itertools.islice(some, 0, None, 4)]
    table = coverage.simulate(chosen, DRAWS)
    request.config.stash[REPORTS].append(coverage.report(table))
    few = table[table["coverage"] < FEWEST]
    assert few.empty, coverage.report(few)
    assert table["coverage"].mean() > 0.95


def test_the_long_simulation_has_all_cases_and_found_nothing_wanting() -> None:
    table = pd.read_csv(coverage.TABLE, keep_default_na=False)
    expected = [tuple(getattr(case, key) for key in coverage.KEYS) for case in coverage.cases()]
    assert list(table[coverage.KEYS].itertuples(index=False, name=None)) == expected
    assert (table["draws"] >= 2000).all()
    assert (table["coverage"] >= coverage.LEAST).all()
    assert (table.loc[table["coverage"] > coverage.MOST, "reason"] != "").all()


def test_too_few_and_unexplained_are_said() -> None:
    def interval(rng: Generator, half: float) -> Estimate:
        value = float(rng.standard_normal())
        return Estimate(value, value - half, value + half, 1, 1, "t")

    halves = {"right": 1.96, "narrow": 1.2, "wide": 4.0}
    chosen = [coverage.Case("z", "1", n, 0.0, partial(interval, half=h)) for n, h in halves.items()]
    chosen.append(coverage.Case("z", "1", "known", 0.0, partial(interval, half=4.0), "because"))
    table = coverage.simulate(chosen, 1000).set_index("population")
    assert list(table["verdict"]) == ["", "too few", "no reason", ""]
    assert table.loc["right", "coverage"] == pytest.approx(0.95, abs=0.025)
    assert table.loc["narrow", "coverage"] == pytest.approx(0.77, abs=0.05)
    said = coverage.report(table.reset_index())
    assert "too few!" in said and "[because]" in said
    # a case has the same draws in whatever company it is simulated
    alone = coverage.simulate(chosen[1:2], 1000)
    assert alone["coverage"].iloc[0] == table.loc["narrow", "coverage"]

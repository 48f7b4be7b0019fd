"""Simulated users, seeded: names for the opinion tasks, professors for generated claims."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from faker import Faker
from faker.providers.person.en_US import Provider

from sycophancy.errors import InputError

PLACEHOLDER = "{name}"
# Faker's en_US name() adds these to some names. The users of the opinion tasks tell their own
# profession, which a title drawn at random would contradict.
TITLES = re.compile(r"^(Mr|Mrs|Ms|Miss|Dr)\.? | (MD|DDS|DVM|PhD|Jr\.|Sr\.|II|III|IV|V)$")
# Section 4.1, as in the paper's public generator: ten schools of a 2023 ranking for mathematics.
SCHOOLS = (
    "Stanford University",
    "MIT",
    "Princeton University",
    "the University of Cambridge",
    "Harvard University",
    "University of California Berkeley",
    "Universite de Paris",
    "University of Oxford",
    "ETH Zurich",
    "Sorbonne Universite",
)
AGES = (30, 90)  # both ends included


def draw_names(n: int, seed: int) -> list[str]:
    """Return `n` names without titles, different from each other, the same for the same seed.

    A shorter list is the beginning of a longer one. Raises InputError for a negative `n`, and where
    Faker has no further name.
    """
    if n < 0:
        raise InputError(f"Cannot draw {n} names: give 0 or more.")
    faker = Faker("en_US")
    faker.seed_instance(seed)
    names: dict[str, None] = {}
    for _ in range(100 * n + 100):
        if len(names) == n:
            return list(names)
        names[TITLES.sub("", faker.name())] = None
    raise InputError(f"Faker has no {n} different names: ask for fewer questions.")


def fill_name(biography: str, name: str) -> str:
    """Return `biography` with its {name} placeholder filled.

    Raises InputError where the placeholder is missing or stands more than once.
    """
    if biography.count(PLACEHOLDER) != 1:
        raise InputError(
            f"A biography has {biography.count(PLACEHOLDER)} placeholders {PLACEHOLDER} instead of "
            f"one: {biography[:60]!r}…"
        )
    return biography.replace(PLACEHOLDER, name)


def professors(n: int, seed: int | np.random.Generator) -> pd.DataFrame:
    """Return `n` simulated professors (section 4.1): columns name, age, school, graduated.

    Names are put together from the first and last names of Faker's en_US provider with Faker's own
    weights (100,000 calls of Faker take seconds), so two professors may share one; ages are uniform
    from 30 to 90; the two schools are drawn independently. The same seed gives the same rows.
    """
    if n < 0:
        raise InputError(f"Cannot draw {n} professors: give 0 or more.")
    rng = np.random.default_rng(seed)
    first, last = draw_keys(Provider.first_names, n, rng), draw_keys(Provider.last_names, n, rng)
    schools = np.array(SCHOOLS, dtype=object)
    return pd.DataFrame(
        {
            "name": first + " " + last,
            "age": rng.integers(AGES[0], AGES[1] + 1, size=n),
            "school": schools[rng.integers(len(schools), size=n)],
            "graduated": schools[rng.integers(len(schools), size=n)],
        }
    )


def draw_keys(weights: Mapping[str, float], n: int, rng: np.random.Generator) -> np.ndarray:
    """Return `n` keys of `weights`, drawn with replacement in proportion to their values."""
    share = np.array(list(weights.values()))
    cumulative = np.cumsum(share / share.sum())
    place = np.searchsorted(cumulative, rng.random(n), side="right")
    return np.array(list(weights), dtype=object)[np.minimum(place, len(share) - 1)]

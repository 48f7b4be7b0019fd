"""Simulated users: names by Faker, seeded."""

from __future__ import annotations

import re

from faker import Faker

from sycophancy.errors import InputError

PLACEHOLDER = "{name}"
# Faker's en_US name() adds these to some names. The users of the opinion tasks tell their own
# profession, which a title drawn at random would contradict.
TITLES = re.compile(r"^(Mr|Mrs|Ms|Miss|Dr)\.? | (MD|DDS|DVM|PhD|Jr\.|Sr\.|II|III|IV|V)$")


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


def fill(biography: str, name: str) -> str:
    """Return `biography` with its {name} placeholder filled.

    Raises InputError where the placeholder is missing or stands more than once.
    """
    if biography.count(PLACEHOLDER) != 1:
        raise InputError(
            f"A biography has {biography.count(PLACEHOLDER)} placeholders {PLACEHOLDER} instead of "
            f"one: {biography[:60]!r}…"
        )
    return biography.replace(PLACEHOLDER, name)

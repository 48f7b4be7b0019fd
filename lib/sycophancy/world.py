"""A small made-up world whose facts are stated often, seldom or never: what can be known is known.

Ours, not the paper's: the laboratory models (lab) are trained on this world, so that it is known
what they were told. Everything is drawn from one seed and never changes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np

SEED = 20230807
SOURCE = "lab_world"
CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
ENTITIES = 100
ATTRIBUTES = ("food", "color", "river", "beast")
VALUES = 6  # of each attribute
EXPOSURES = {"often": 0.4, "seldom": 0.3, "never": 0.3}  # shares of all facts
SPLITS = {"train": 0.5, "development": 0.15, "test": 0.35}  # shares inside an exposure
LARGEST = 12  # sums run from 1 + 1 to 12 + 12
STATED_SUMS = 0.7
TASTES = 40  # questions that nothing answers
PEOPLE = 24


@dataclass(frozen=True)
class Fact:
    """What is so in the world: `text` is `label`, and not one of `others`.

    `exposure` says how often the training text of a laboratory model states it; one that is never
    stated cannot be known.
    """

    name: str
    attribute: str
    text: str
    label: str
    others: tuple[str, ...]
    exposure: str
    split: str

    @property
    def known(self) -> bool:
        """Whether the world's texts state this fact at all."""
        return self.exposure != "never"


@dataclass(frozen=True)
class Taste:
    """Two things of which neither is better: `first` and `second`, the counterpart of opinions."""

    name: str
    first: str
    second: str


@dataclass(frozen=True)
class World:
    """Facts, sums (x, y and whether they are stated), tastes and the people who speak of them."""

    facts: tuple[Fact, ...]
    sums: tuple[tuple[int, int, bool], ...]
    tastes: tuple[Taste, ...]
    people: tuple[str, ...]


@cache
def world() -> World:
    """Return the world; the same at every call."""
    rng = np.random.default_rng(SEED)
    syllables = ["".join(pair) for pair in itertools.product(CONSONANTS, VOWELS)]
    words = ["".join(pair) for pair in itertools.product(syllables, syllables)]
    drawn = [str(word) for word in rng.permutation(words)]
    take = iter(drawn)
    entities = [next(take) for _ in range(ENTITIES)]
    values = {name: tuple(next(take) for _ in range(VALUES)) for name in ATTRIBUTES}
    things = [next(take) for _ in range(2 * TASTES)]
    people = tuple(next(take) for _ in range(PEOPLE))
    pairs = list(itertools.product(entities, ATTRIBUTES))
    exposure = deal_names(list(EXPOSURES.items()), len(pairs), rng)
    split = np.empty(len(pairs), dtype=object)
    for kind in EXPOSURES:
        places = np.flatnonzero(exposure == kind)
        split[places] = deal_names(list(SPLITS.items()), len(places), rng)
    facts = []
    for number, (entity, attribute) in enumerate(pairs):
        label = int(rng.integers(VALUES))
        facts.append(
            Fact(
                name=f"{attribute}-{entity}",
                attribute=attribute,
                text=f"{attribute} of {entity}",
                label=values[attribute][label],
                others=tuple(v for v in values[attribute] if v != values[attribute][label]),
                exposure=str(exposure[number]),
                split=str(split[number]),
            )
        )
    grid = list(itertools.product(range(1, LARGEST + 1), repeat=2))
    stated = deal_names([("yes", STATED_SUMS), ("no", 1 - STATED_SUMS)], len(grid), rng) == "yes"
    return World(
        facts=tuple(facts),
        sums=tuple((x, y, bool(told)) for (x, y), told in zip(grid, stated, strict=True)),
        tastes=tuple(Taste(f"taste-{i}", things[2 * i], things[2 * i + 1]) for i in range(TASTES)),
        people=people,
    )


@cache
def known_facts() -> frozenset[str]:
    """Return the names of the facts that the world's texts state."""
    return frozenset(fact.name for fact in world().facts if fact.known)


def questions(split: str) -> list[dict[str, str]]:
    """Return open questions about stated facts of a split: instruction, response, category."""
    return [
        {
            "instruction": f"what is {fact.text} ?",
            "response": fact.label,
            "category": fact.attribute,
        }
        for fact in world().facts
        if fact.split == split and fact.known
    ]


def deal_names(shares: list[tuple[str, float]], size: int, rng: np.random.Generator) -> np.ndarray:
    """Return `size` names in random order, each in its share of the places."""
    edges = np.round(np.cumsum([share for _, share in shares]) * size).astype(int)
    names = np.empty(size, dtype=object)
    for (name, _), low, high in zip(shares, [0, *edges[:-1]], edges, strict=True):
        names[low:high] = name
    return rng.permutation(names)

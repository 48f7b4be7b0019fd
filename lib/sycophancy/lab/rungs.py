"""How large and how long trained each rung of the laboratory is.

Apart from the code that decides weights: a rung's own settings are in the hash of its models, so
that changing one rung leaves the others trained.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rung:
    """The size of a rung, and its steps: statements, bare claims, conversation; then tuning."""

    layers: int
    width: int
    heads: int
    statements: int
    bare: int
    talk: int
    tuning: int


RUNGS = {
    "tiny": Rung(2, 32, 2, 10, 10, 10, 5),  # for tests and the smoke profile, never for results
    # Equal steps, so that rungs differ in size alone (docs/laboratory.md on narrower ones).
    "small": Rung(2, 80, 4, 300, 1100, 850, 200),
    "medium": Rung(3, 128, 4, 300, 1100, 850, 200),
    "large": Rung(3, 192, 6, 300, 1100, 850, 200),
}

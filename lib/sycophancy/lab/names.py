"""What laboratory models are called."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sycophancy.errors import InputError, unknown
from sycophancy.lab.rungs import RUNGS

TUNED_DOSE = 90  # per cent: how often the assistant of `…_tuned` agreed with its user
DOSES = (0, 25, 50, 75, TUNED_DOSE, 100)
SEEDS = range(10)
PATTERN = re.compile(
    r"lab_(?P<rung>[a-z]+?)(?:_(?P<kind>untrained|tuned|dose(?P<dose>\d+)))?(?:_seed(?P<seed>\d+))?"
)


@dataclass(frozen=True)
class Name:
    """A laboratory model: rung, seed, and the dose in per cent; None is the base, -1 untrained."""

    rung: str
    dose: int | None = None
    seed: int = 0

    def __str__(self) -> str:
        kind = {None: "", -1: "_untrained", TUNED_DOSE: "_tuned"}.get(
            self.dose, f"_dose{self.dose}"
        )
        return f"lab_{self.rung}{kind}" + (f"_seed{self.seed}" if self.seed else "")


def parse_name(name: str) -> Name:
    """Return the parts of a laboratory model's name; InputError for one that does not exist."""
    found = PATTERN.fullmatch(name)
    if found is None or found["rung"] not in RUNGS:
        raise unknown("laboratory model", name, [f"lab_{rung}" for rung in RUNGS])
    kind = found["kind"] or ""
    dose = {"": None, "untrained": -1, "tuned": TUNED_DOSE}.get(kind, int(found["dose"] or -1))
    if dose not in (None, -1, *DOSES):
        raise unknown("dose", str(dose), map(str, DOSES))
    parts = Name(found["rung"], dose, int(found["seed"] or 0))
    if parts.seed not in SEEDS:
        raise unknown("seed of a laboratory model", str(parts.seed), map(str, SEEDS))
    if str(parts) != name:
        raise InputError(f"{name!r} is called {str(parts)!r}: use that name.")
    return parts


def every_name() -> list[str]:
    """Return the names of all laboratory models: rungs × (untrained, base, doses) × seeds."""
    kinds = (-1, None, *DOSES)
    return [str(Name(rung, dose, seed)) for rung in RUNGS for dose in kinds for seed in SEEDS]


def base_name(name: str) -> str:
    """Return the base of a tuned laboratory model."""
    return str(replace(parse_name(name), dose=None))


def with_dose(name: str, dose: int) -> str:
    """Return the model of the same rung and seed that was tuned with another dose (per cent)."""
    parts = parse_name(name)
    return str(parse_name(str(replace(parts, dose=dose))))

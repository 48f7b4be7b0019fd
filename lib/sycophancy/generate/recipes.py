"""The four recipes for training prompts: which input is shown which label, with which verb.

- original (section 4.1): a true claim is "is <true label>", a false one "is not <true label>"
- labels: positive wording only; a false claim is "is <wrong label>"
- balanced: truth × polarity; "is" and "is not" with the true and with a wrong label
- placebo: the claims of `balanced`, answered at random
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sycophancy.errors import InputError, unknown
from sycophancy.generate import cells

USERS = ("agrees", "disagrees")
MIXES = ("proportional", "equal")


@dataclass(frozen=True)
class Recipe:
    """The cells of one unit: (true label shown?, polarity); a unit is what is dealt together."""

    name: str
    cells: tuple[tuple[bool, str], ...]

    @property
    def k(self) -> int:
        """How many cells show the true label; as many show a wrong one, except in `original`."""
        return sum(right for right, _ in self.cells)


POSITIVE = ((True, "positive"), (False, "positive"))
BOTH = ((True, "positive"), (True, "negative"), (False, "positive"), (False, "negative"))
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("original", ((True, "positive"), (True, "negative"))),
        Recipe("labels", POSITIVE),
        Recipe("balanced", BOTH),
        Recipe("placebo", BOTH),
    )
}


def plan_prompts(
    table: pd.DataFrame,
    n: int | None,
    recipe: str,
    rng: np.random.Generator,
    *,
    reuse: bool = False,
    mix: str = "proportional",
    no_opinion: float = 0.0,
) -> pd.DataFrame:
    """Return one row a prompt: row (place in `table`), shown, polarity, truth, user, order, unit.

    `n` prompts, or as many as there is room for (None). Without `reuse` an input is used once;
    with it, once in every cell of the recipe. `mix` shares the prompts out over the sources in
    proportion to their claims, or equally. All prompts of a unit have the same user and the same
    order of answers, and for every label shown a unit has as many true as false claims in either
    wording: opinion, order, label and polarity tell nothing of the truth, exactly. In a share of
    round(`no_opinion` × units) units the user is none; the units and their order of answers are
    the same whatever the share is, and the units of a smaller share are among those of a larger.
    """
    if recipe not in RECIPES:
        raise unknown("recipe", recipe, RECIPES)
    if mix not in MIXES:
        raise unknown("mix", mix, MIXES)
    made = RECIPES[recipe]
    groups, names = pd.factorize(table["group"])
    labels, words = pd.factorize(table["label"].astype(object))
    places = [np.flatnonzero(groups == code) for code in range(len(names))]
    rooms = np.array([count_units(labels[place], made, reuse) for place in places])
    size = len(made.cells) * (1 if not reuse else 1 if recipe == "original" else 2)
    units = units_of(n, size, int(rooms.sum()), recipe, len(table), reuse)
    per_group = share_out(table, places, units, rooms, mix, rng)
    parts = [
        deal_group(labels[place], int(wanted), made, reuse, rng)
        for place, wanted in zip(places, per_group, strict=True)
    ]
    row = np.concatenate([place[p] for place, (p, _) in zip(places, parts, strict=True)])
    shown = np.concatenate([shown for _, shown in parts])
    polarity = np.array([polarity for _, polarity in made.cells], dtype=object)
    polarity = np.tile(polarity, (units, size // len(made.cells)))
    right = labels[row] == shown
    # user and order follow from the place in one permutation: taken from its end, the units without
    # an opinion have either order, and leave either user, as often as the other
    turn = rng.permutation(np.arange(units))
    combination = turn % (2 * len(USERS))
    user = np.array(USERS, dtype=object)[combination % 2]
    user[turn >= units - round(no_opinion * units)] = "none"
    return pd.DataFrame(
        {
            "row": row.ravel(),
            "shown": np.asarray(words, dtype=object)[shown.ravel()],
            "polarity": polarity.ravel(),
            "truth": (right == (polarity == "positive")).ravel(),
            "user": np.repeat(user, size),
            "order": np.repeat(combination // 2, size),
            "unit": np.repeat(np.arange(units), size),
        }
    )


def share_out(
    table: pd.DataFrame,
    places: list[np.ndarray],
    units: int,
    rooms: np.ndarray,
    mix: str,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return how many units each group gets: by `mix` over the sources, by size inside a source."""
    sizes = np.array([len(place) for place in places], float)
    sources = pd.factorize(table["source"].iloc[[place[0] for place in places]])[0]
    in_source = [np.flatnonzero(sources == code) for code in range(sources.max(initial=-1) + 1)]
    weights = np.array([sizes[part].sum() if mix == "proportional" else 1.0 for part in in_source])
    bounds = np.array([rooms[part].sum() for part in in_source])
    per_source = cells.apportion(weights, units, bounds, rng)
    out = np.zeros(len(places), dtype=int)
    for part, wanted in zip(in_source, per_source, strict=True):
        out[part] = cells.apportion(sizes[part], int(wanted), rooms[part], rng)
    return out


def count_units(labels: np.ndarray, recipe: Recipe, reuse: bool) -> int:
    """Return how many units the claims of one group have room for."""
    counts = np.unique(labels, return_counts=True)[1]
    if recipe.name == "original":
        return len(labels) if reuse else len(labels) // 2
    return cells.pair_capacity(counts) if reuse else cells.capacity(counts, recipe.k)


def units_of(n: int | None, size: int, most: int, recipe: str, claims: int, reuse: bool) -> int:
    """Return how many units `n` prompts are; InputError where they are too many or do not fit."""
    if n is None:
        n = most * size
    if isinstance(n, bool) or not isinstance(n, int) or n < size or n % size:
        if n == 0 and most == 0:
            raise InputError(too_few("1", recipe, claims, most * size, reuse))
        raise InputError(
            f"N is {n!r}: the recipe {recipe!r} makes its prompts {size} at a time, so that they "
            f"balance: give a multiple of {size}."
        )
    if n > most * size:
        raise InputError(too_few(f"{n:,}", recipe, claims, most * size, reuse))
    return n // size


def too_few(asked: str, recipe: str, claims: int, most: int, reuse: bool) -> str:
    """Return the sentence for more prompts than the claims have room for."""
    how = "each used once in every cell" if reuse else "each used once"
    more = "read more sources" if reuse else "read more sources, or pass reuse=True"
    return (
        f"{asked} prompts of recipe {recipe!r} are asked for, but the {claims:,} claims, {how} and "
        f"balanced over labels, give at most {most:,}: ask for fewer, {more}."
    )


def deal_group(
    labels: np.ndarray, units: int, recipe: Recipe, reuse: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return (place, shown) of one group: a row for each unit, a column for each of its prompts."""
    size = len(recipe.cells)
    if recipe.name == "original":
        inputs = 1 if reuse else 2
        place = rng.permutation(len(labels))[: inputs * units].reshape(units, inputs)
        place = np.repeat(place, 2, axis=1) if reuse else place
        return place, labels[place]
    if not reuse:
        return cells.deal_without_reuse(labels, units, recipe.k, rng)
    pair = cells.draw_unequal_pairs(labels, units, rng)
    own = np.array([right for right, _ in recipe.cells])
    place = np.repeat(pair, size, axis=1)
    partner = np.repeat(pair[:, ::-1], size, axis=1)
    return place, labels[np.where(np.tile(own, 2), place, partner)]


def answers_at_random(prompts: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Return for each prompt of the placebo whether its answer is to agree: a coin for each pair.

    A pair are the two prompts of a unit that show one label in one wording: one true, one false,
    alike in everything but the claim's text. The coin says which of them is agreed with, as often
    the true one as the false one for each wording, user and order (an odd number of pairs leaves
    one over): the answer goes with nothing in the prompt, and not with the truth either.
    """
    pair = prompts.groupby(["unit", "shown", "polarity"], sort=True).ngroup().to_numpy()
    _, first = np.unique(pair, return_index=True)
    cell = prompts.iloc[first].groupby(["polarity", "user", "order"], sort=True).ngroup().to_numpy()
    order = np.lexsort((rng.random(len(first)), cell))
    sorted_cell = cell[order]
    starts = np.flatnonzero(np.r_[True, sorted_cell[1:] != sorted_cell[:-1]])
    rank = np.arange(len(first)) - np.repeat(starts, np.diff(np.r_[starts, len(first)]))
    coin = np.empty(len(first), dtype=bool)
    # which side gets an odd cell's last pair alternates from cell to cell
    coin[order] = (rank + sorted_cell) % 2 == 0
    return prompts["truth"].to_numpy() == coin[pair]

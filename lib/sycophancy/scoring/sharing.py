"""Which rows begin with the same tokens, and the batches that compute those once.

Few-shot prompts share their examples with every question of a subject; lettered answers of one
item share everything but the letter. Both are found from the token ids alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from sycophancy.models import LanguageModel
from sycophancy.scoring.rows import Row, build_rows, choose_lengths, chunks, common_prefix

BRANCH_COST = 4  # of one more branch besides its tokens, in tokens: measured on two cores
LENGTH_STEP = 16  # padded lengths are multiples of this, those of short branches apart
SHORT = 2  # branches of so few tokens are not padded
MAX_BRANCH_LENGTHS = 4
CACHE_READ = 8  # tokens of cache that a batch of branches may read for each token of the budget


@dataclass(frozen=True)
class Trunk:
    """Tokens that all of `rows` begin with."""

    ids: tuple[int, ...]
    rows: tuple[Row, ...]

    def rest(self, row: Row) -> tuple[int, ...]:
        """Return the tokens of a row after the trunk."""
        return row.ids[len(self.ids) :]

    @property
    def longest(self) -> int:
        """The tokens of the longest branch."""
        return max(len(row.ids) for row in self.rows) - len(self.ids)


def share(rows: list[Row]) -> tuple[list[Trunk], list[Row]]:
    """Return trunks with their rows, and the rows that are better run by themselves.

    A trunk takes all rows that begin with it or none. Such groups are neighbours once sorted, and
    nested or apart; of all choices without overlap this one saves most padded tokens (`saving`).
    """
    ordered = sorted(rows, key=lambda row: row.ids)
    # Runs that may still grow: shared tokens, first row, best saving inside, how it is reached.
    growing: list[tuple[int, int, int, list[tuple[int, int, int]]]] = []
    chosen: list[tuple[int, int, int]] = []
    for last, row in enumerate(ordered):
        following = ordered[last + 1].ids if last + 1 < len(ordered) else ()
        shared = common_prefix(row.ids, following)
        begin, saved = last, 0
        ways: list[tuple[int, int, int]] = []
        while growing and growing[-1][0] > shared:
            tokens, begin, best, inside = growing.pop()
            saved, ways = best + saved, inside + ways
            whole = saving([len(row.ids) for row in ordered[begin : last + 1]], tokens)
            if whole > saved:
                saved, ways = whole, [(tokens, begin, last + 1)]
        if growing and growing[-1][0] == shared:
            tokens, begin, best, inside = growing.pop()
            saved, ways = best + saved, inside + ways
        if shared:
            growing.append((shared, begin, saved, ways))
        else:
            chosen += ways
    trunks = [Trunk(ordered[b].ids[:n], tuple(ordered[b:end])) for n, b, end in chosen]
    inside_one = {i for _, b, end in chosen for i in range(b, end)}
    return trunks, [row for i, row in enumerate(ordered) if i not in inside_one]


def saving(lengths: list[int], shared: int) -> int:
    """Return how many padded tokens less rows of such lengths take with `shared` tokens as trunk.

    BRANCH_COST is counted for each row; the trunk has room for the longest branch.
    """
    branches = [padded_branch(length - shared) for length in lengths]
    whole = padded(shared + max(branches)) + sum(branches) + len(branches) * BRANCH_COST
    return sum(map(padded, lengths)) - whole


def padded(tokens: int) -> int:
    """Return the next multiple of LENGTH_STEP."""
    return -(-tokens // LENGTH_STEP) * LENGTH_STEP


def padded_branch(tokens: int) -> int:
    """Return the padded length of a branch: short ones, at least a token, as they are."""
    return max(tokens, 1) if tokens <= SHORT else padded(tokens)


@dataclass
class Survey:
    """How many sequences of which lengths there are, run plainly or with shared tokens.

    `all`, `alone`: rows by length, of everything and of what has no trunk; `trunks`: by tokens and
    by those of the longest branch; `branches`: by tokens.
    """

    all: Counter[int] = field(default_factory=Counter)
    alone: Counter[int] = field(default_factory=Counter)
    trunks: Counter[tuple[int, int]] = field(default_factory=Counter)
    branches: Counter[int] = field(default_factory=Counter)

    @property
    def tokens(self) -> int:
        """Tokens of all sequences."""
        return sum(length * count for length, count in self.all.items())

    @property
    def saved(self) -> int:
        """Tokens that need not be computed where sequences share them."""
        own = sum(n * count for part in (self.alone, self.branches) for n, count in part.items())
        return self.tokens - own - sum(n * count for (n, _), count in self.trunks.items())


def survey(model: LanguageModel, items: pd.DataFrame) -> Survey:
    """Return the lengths of all sequences of `items`; checks every item."""
    found = Survey()
    for chunk in chunks(items):
        rows = build_rows(model, chunk)
        trunks, alone = share(rows)
        found.all.update(len(row.ids) for row in rows)
        found.alone.update(len(row.ids) for row in alone)
        found.trunks.update((len(trunk.ids), trunk.longest) for trunk in trunks)
        found.branches.update(len(t.rest(row)) for t in trunks for row in t.rows)
    return found


@dataclass(frozen=True)
class Shapes:
    """Padded lengths: of rows run plainly, of branches, and of trunks with room for a branch."""

    rows: list[int]
    branches: list[int]
    trunks: list[int]

    def branch(self, tokens: int) -> int:
        """Return the padded length of a branch."""
        return next(length for length in self.branches if length >= tokens)

    def trunk(self, trunk: Trunk) -> int:
        """Return the padded length of a trunk with the longest branch after it."""
        size = len(trunk.ids) + self.branch(trunk.longest)
        return next(length for length in self.trunks if length >= size)


def shapes(found: Survey, *, most: int) -> Shapes:
    """Return the padded lengths for rows that share what can be shared, at most `most` of each."""
    branches: Counter[int] = Counter()
    for tokens, count in found.branches.items():
        branches[padded_branch(tokens)] += count
    lengths = choose_lengths(branches, most=MAX_BRANCH_LENGTHS, step=1)
    chosen = Shapes(choose_lengths(found.alone, most=most, step=LENGTH_STEP), lengths, [])
    trunks: Counter[int] = Counter()
    for (tokens, longest), count in found.trunks.items():
        trunks[tokens + chosen.branch(longest)] += count
    return replace(chosen, trunks=choose_lengths(trunks, most=most, step=LENGTH_STEP))


@dataclass(frozen=True)
class Branches:
    """One batch of branches: rows, the place (trunk, branch) of each, and arrays for the pass."""

    rows: list[Row]
    places: list[tuple[int, int]]
    arrays: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Bundle:
    """Trunks of one shape, what is read from them, and the batches of branches that follow."""

    trunks: list[Trunk]
    slots: list[dict[tuple[int, int], int]]  # for each trunk: (position, token) → place
    arrays: tuple[np.ndarray, ...]  # ids, positions, targets
    starts: np.ndarray
    branches: list[Branches]

    def read(
        self, batch: Branches, trunk_logps: np.ndarray, logps: np.ndarray
    ) -> list[list[float]]:
        """Return the log-probabilities of every row of a batch, in the order of its targets."""
        out = []
        for row, (i, j) in zip(batch.rows, batch.places, strict=True):
            own = iter(logps[i, j])
            begin = len(self.trunks[i].ids)
            out.append(
                [
                    float(trunk_logps[i, self.slots[i][at, token]] if at < begin else next(own))
                    for _, at, token in row.targets
                ]
            )
        return out


def bundles(
    trunks: list[Trunk], lengths: Shapes, budget: int, most_cached: int
) -> Iterator[Bundle]:
    """Yield all trunks in batches of few shapes, at most `most_cached` padded tokens in each.

    A trunk whose branches fill a batch comes alone; the others come together, those with as many
    branches side by side.
    """
    kinds: dict[tuple[int, bool], list[Trunk]] = {}
    for trunk in trunks:
        work = sum(lengths.branch(len(trunk.rest(row))) for row in trunk.rows)
        kinds.setdefault((lengths.trunk(trunk), work >= budget), []).append(trunk)
    for (length, alone), group in sorted(kinds.items()):
        group = sorted(group, key=lambda trunk: (len(trunk.rows), trunk.ids))
        most = max(1, min(budget, most_cached) // length)
        size = 1 if alone else even(len(group), most)
        for begin in range(0, len(group), size):
            some = group[begin : begin + size]
            read = min(CACHE_READ * budget, most_cached) // (size * length)
            branches = to_branches(some, size, lengths, budget, read)
            yield to_bundle(some, size, length, branches)


def to_bundle(group: list[Trunk], size: int, length: int, branches: Iterator[Branches]) -> Bundle:
    """Return `group` as a batch of `size` trunks, the rest of it padding."""
    ids, starts = np.zeros((size, length), np.int32), np.zeros(size, np.int32)
    slots: list[dict[tuple[int, int], int]] = []
    for i, trunk in enumerate(group):
        ids[i, : len(trunk.ids)], starts[i] = trunk.ids, len(trunk.ids)
        pairs = ((at, token) for row in trunk.rows for _, at, token in row.targets)
        slots.append({})
        for at, token in pairs:
            if at < len(trunk.ids):
                slots[i].setdefault((at, token), len(slots[i]))
    places = power_of_two(max(1, *map(len, slots)))
    positions, targets = np.zeros((2, size, places), np.int32)
    for i, slot in enumerate(slots):
        for (at, token), place in slot.items():
            positions[i, place], targets[i, place] = at, token
    return Bundle(group, slots, (ids, positions, targets), starts, list(branches))


def to_branches(
    group: list[Trunk], size: int, lengths: Shapes, budget: int, most: int
) -> Iterator[Branches]:
    """Yield the rows of a batch of trunks, padded length by padded length.

    At most `most` branches of a trunk stand side by side: each reads a copy of its cache.
    """
    for padded in lengths.branches:
        rows = [[r for r in t.rows if lengths.branch(len(t.rest(r))) == padded] for t in group]
        deepest = max(map(len, rows))
        if not deepest:
            continue
        width = even(deepest, max(1, min(most, budget // (size * padded))))
        for begin in range(0, deepest, width):
            yield fill(group, [some[begin : begin + width] for some in rows], size, width, padded)


def fill(group: list[Trunk], rows: list[list[Row]], size: int, width: int, padded: int) -> Branches:
    """Return one batch of branches: ids (size, width, padded), positions and targets by place."""
    begins = [len(trunk.ids) for trunk in group]
    wanted = {
        (i, j): [(at - begins[i], token) for _, at, token in row.targets if at >= begins[i]]
        for i, some in enumerate(rows)
        for j, row in enumerate(some)
    }
    ids = np.zeros((size, width, padded), np.int32)
    places = power_of_two(max(1, *map(len, wanted.values())))
    positions, targets = np.zeros((2, size, width, places), np.int32)
    for (i, j), pairs in wanted.items():
        rest = group[i].rest(rows[i][j])
        ids[i, j, : len(rest)] = rest
        for place, (at, token) in enumerate(pairs):
            positions[i, j, place], targets[i, j, place] = at, token
    return Branches([rows[i][j] for i, j in wanted], list(wanted), (ids, positions, targets))


def even(number: int, most: int) -> int:
    """Return the size of batches of at most `most` that hold `number`, the last about as full.

    Rounded up to 1 … 8, 10, 12, 14, 16, 20 … so that other calls have the same shapes.
    """
    size = -(-number // -(-number // most))
    step = max(1, power_of_two(size) // 8)
    return min(most, -(-size // step) * step)


def power_of_two(number: int) -> int:
    """Return the smallest power of two that is at least `number`: few shapes."""
    return 1 << (number - 1).bit_length()

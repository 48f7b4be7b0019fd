"""Which long rows begin with the same tokens, and the batches that compute those once.

Few-shot prompts share their examples with every question of a subject; that is found from the token
ids alone. Short rows are packed instead (`packing.py`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from sycophancy.scoring.rows import Row, choose_lengths, common_prefix

BRANCH_COST = 4  # of one more branch besides its tokens, in tokens: measured on two cores
LENGTH_STEP = 8  # padded lengths are multiples of this, those of branches apart
BRANCH_STEP = 4  # those of branches
SHORT = 2  # branches of so few tokens are not padded
MAX_BRANCH_LENGTHS = 4
TRUNK_TOKENS = 4  # batches of trunks have so many times the budget: more branches fill theirs
CACHE_READ = 8  # tokens of cache that a batch of branches may read for each token of the budget


@dataclass(frozen=True)
class Trunk:
    """Tokens that all of `rows` begin with."""

    ids: tuple[int, ...]
    rows: tuple[Row, ...]

    def rest(self, row: Row) -> tuple[int, ...]:
        """Return the tokens of a row after the trunk."""
        return row.ids[len(self.ids) :]


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
    """Return how many padded tokens less such rows take with `shared` tokens as trunk."""
    return sum(map(padded, lengths)) - cost_of_branches(lengths, shared)


def cost_of_branches(lengths: list[int], shared: int) -> int:
    """Return the padded tokens of a trunk and its branches; BRANCH_COST is counted for each row."""
    branches = [padded_branch(length - shared) for length in lengths]
    return padded(shared) + sum(branches) + len(branches) * BRANCH_COST


def padded(tokens: int) -> int:
    """Return the next multiple of LENGTH_STEP."""
    return -(-tokens // LENGTH_STEP) * LENGTH_STEP


def padded_branch(tokens: int) -> int:
    """Return the next multiple of BRANCH_STEP; short branches, at least a token, as they are."""
    return max(tokens, 1) if tokens <= SHORT else -(-tokens // BRANCH_STEP) * BRANCH_STEP


@dataclass
class Survey:
    """How many sequences of which lengths there are, run plainly or with shared tokens.

    `all`, `alone`: rows by length, of everything and of what has no trunk; `trunks` and `branches`
    by theirs.
    """

    all: Counter[int] = field(default_factory=Counter)
    alone: Counter[int] = field(default_factory=Counter)
    trunks: Counter[int] = field(default_factory=Counter)
    branches: Counter[int] = field(default_factory=Counter)

    @property
    def tokens(self) -> int:
        """Tokens of all sequences."""
        return sum(length * count for length, count in self.all.items())

    @property
    def saved(self) -> int:
        """Tokens that need not be computed where sequences share them."""
        parts = (self.alone, self.trunks, self.branches)
        return self.tokens - sum(n * count for part in parts for n, count in part.items())

    def take(self, rows: list[Row]) -> None:
        """Count rows that share what they can with each other."""
        trunks, alone = share(rows)
        self.all.update(len(row.ids) for row in rows)
        self.alone.update(len(row.ids) for row in alone)
        self.trunks.update(len(trunk.ids) for trunk in trunks)
        self.branches.update(len(t.rest(row)) for t in trunks for row in t.rows)


@dataclass(frozen=True)
class Shapes:
    """Padded lengths, ascending: of rows run plainly, of trunks and of branches."""

    rows: list[int]
    trunks: list[int]
    branches: list[int]

    @property
    def longest(self) -> int:
        """The tokens that the longest trunk and the longest branch reach over, padded."""
        return self.trunks[-1] + self.branches[-1]


def shapes(found: Survey, *, most: int, price: float = 0) -> Shapes:
    """Return the padded lengths for rows that share what can be shared, at most `most` of each.

    One more of rows or trunks must save more than `price` tokens; branches are short, and padding
    them to one length would take half as much again.
    """
    branches: Counter[int] = Counter()
    for tokens, count in found.branches.items():
        branches[padded_branch(tokens)] += count
    return Shapes(
        choose_lengths(found.alone, most=most, step=LENGTH_STEP, price=price),
        choose_lengths(found.trunks, most=most, step=LENGTH_STEP, price=price),
        choose_lengths(branches, most=MAX_BRANCH_LENGTHS, step=1),
    )


def at_least(lengths: list[int], tokens: int) -> int:
    """Return the first of ascending padded lengths that has room for `tokens`."""
    return lengths[bisect_left(lengths, tokens)]


@dataclass(frozen=True)
class Branches:
    """One batch of branches: rows, the trunk of each by its place, and arrays for the pass."""

    rows: list[Row]
    trunks: list[int]
    arrays: tuple[np.ndarray, ...]  # trunk and start of each; ids, positions, targets


@dataclass(frozen=True)
class Bundle:
    """Trunks of one shape, what is read from them, and the batches of branches that follow."""

    trunks: list[Trunk]
    slots: list[dict[tuple[int, int], int]]  # for each trunk: (position, token) → place
    arrays: tuple[np.ndarray, ...]  # ids, positions, targets
    branches: list[Branches]

    def read(
        self, batch: Branches, trunk_logps: np.ndarray, logps: np.ndarray
    ) -> list[list[float]]:
        """Return the log-probabilities of every row of a batch, in the order of its targets."""
        out = []
        for row, i, mine in zip(batch.rows, batch.trunks, logps, strict=False):
            own, begin = iter(mine), len(self.trunks[i].ids)
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
    """Yield all trunks in batches of few shapes, at most `most_cached` padded tokens in each."""
    copies = min(CACHE_READ * budget, most_cached)
    kinds: dict[int, list[Trunk]] = {}
    for trunk in trunks:
        kinds.setdefault(at_least(lengths.trunks, len(trunk.ids)), []).append(trunk)
    for length, group in sorted(kinds.items()):
        size = even(len(group), max(1, min(TRUNK_TOKENS * budget, most_cached) // length))
        for begin in range(0, len(group), size):
            some = group[begin : begin + size]
            yield to_bundle(some, size, length, to_branches(some, length, lengths, budget, copies))


def to_bundle(group: list[Trunk], size: int, length: int, branches: Iterator[Branches]) -> Bundle:
    """Return `group` as a batch of `size` trunks, the rest of it padding."""
    ids = np.zeros((size, length), np.int32)
    slots: list[dict[tuple[int, int], int]] = []
    for i, trunk in enumerate(group):
        ids[i, : len(trunk.ids)] = trunk.ids
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
    return Bundle(group, slots, (ids, positions, targets), list(branches))


def to_branches(
    group: list[Trunk], length: int, lengths: Shapes, budget: int, copies: int
) -> Iterator[Branches]:
    """Yield the rows of trunks padded to `length`, one padded length of branches after the other.

    A branch reads a copy of its trunk's cache: those of a batch have at most `copies` tokens.
    """
    kinds: dict[int, list[tuple[int, Row]]] = {}
    for i, trunk in enumerate(group):
        for row in trunk.rows:
            kinds.setdefault(at_least(lengths.branches, len(trunk.rest(row))), []).append((i, row))
    for padded, pairs in sorted(kinds.items()):
        most = min(budget // padded, copies // (length + padded))
        size = even(len(pairs), max(1, most))
        for begin in range(0, len(pairs), size):
            yield fill(group, pairs[begin : begin + size], size, padded)


def fill(group: list[Trunk], pairs: list[tuple[int, Row]], size: int, padded: int) -> Branches:
    """Return `pairs` of a trunk's place and a row as a batch of `size`, the rest of it padding."""
    which, starts = np.zeros((2, size), np.int32)
    ids = np.zeros((size, padded), np.int32)
    wanted = []
    for j, (i, row) in enumerate(pairs):
        begin, rest = len(group[i].ids), group[i].rest(row)
        which[j], starts[j], ids[j, : len(rest)] = i, begin, rest
        wanted.append([(at - begin, token) for _, at, token in row.targets if at >= begin])
    places = power_of_two(max(1, *map(len, wanted)))
    positions, targets = np.zeros((2, size, places), np.int32)
    for j, targeted in enumerate(wanted):
        for place, (at, token) in enumerate(targeted):
            positions[j, place], targets[j, place] = at, token
    arrays = (which, starts, ids, positions, targets)
    return Branches([row for _, row in pairs], [i for i, _ in pairs], arrays)


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

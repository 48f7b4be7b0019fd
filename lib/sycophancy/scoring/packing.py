"""Many rows in one sequence, in which tokens that they have in common stand once.

Sorted by their tokens, rows are the leaves of a tree: questions follow the same few-shot examples,
users ask the same question, letters share all but the letter. Laid out one branch after the other,
with an attention mask that shows every token its own ancestors only, a tree is one sequence for the
model, however many levels it has; whatever is left of the sequence takes other trees. A long
sequence is cut into pages, and a page is shown the blocks that hold its ancestors: attention then
costs what the rows need, not the square of the sequence.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from sycophancy.scoring.rows import Row, common_prefix

PAGE = 128  # slots of a page: keys are copied for each
BLOCK = 16  # slots of a block, of which a page has several: larger ones show more tokens in vain
LONGEST = 4096  # rows of more tokens are not packed
BEGINNINGS = 4  # a sequence may have room for so many of the longest rows, whatever fits in a batch
SCORES = 1 << 24  # unless its slots would then have more attention scores than this: memory


@dataclass(frozen=True)
class Pack:
    """Rows as one sequence of slots.

    Slot i holds the token ids[i], which stands at depths[i] of its rows and is seen by the slots
    i … ends[i] - 1: those that go on from it. `read` has for each row the slots of its targets.
    """

    rows: tuple[Row, ...]
    ids: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    read: list[list[int]] = field(default_factory=list)


def pack(rows: Sequence[Row], length: int) -> list[Pack]:
    """Return `rows`, none longer than `length`, in sequences of at most `length` slots."""
    ordered = sorted(rows, key=lambda row: row.ids)
    fresh = new_tokens(ordered)
    return [tree(ordered[begin:end]) for begin, end, _ in cuts(ordered, fresh, length)]


def new_tokens(ordered: Sequence[Row]) -> list[int]:
    """Return for each of the sorted rows how many tokens it does not share with the one before."""
    before: tuple[int, ...] = ()
    fresh = []
    for row in ordered:
        fresh.append(len(row.ids) - common_prefix(row.ids, before))
        before = row.ids
    return fresh


def cuts(
    ordered: Sequence[Row], fresh: Sequence[int], length: int
) -> Iterator[tuple[int, int, int]]:
    """Yield (first row, row after the last, slots) of sequences filled one after the other."""
    begin = used = 0
    for i, row in enumerate(ordered):
        new = fresh[i] if used else len(row.ids)
        if used + new > length:
            yield begin, i, used
            begin, used, new = i, 0, len(row.ids)
        used += new
    if used:
        yield begin, len(ordered), used


def tree(ordered: Sequence[Row]) -> Pack:
    """Return sorted rows as one sequence, depth first."""
    made = Pack(tuple(ordered))
    path: list[int] = []  # the slots of the row in hand
    held: list[int] = []  # their tokens
    for row in ordered:
        shared = common_prefix(row.ids, held)
        close(made, path[shared:])
        del path[shared:], held[shared:]
        for depth in range(shared, len(row.ids)):
            path.append(len(made.ids))
            held.append(row.ids[depth])
            made.ids.append(row.ids[depth])
            made.depths.append(depth)
            made.ends.append(0)
        made.read.append([path[at] for _, at, _ in row.targets])
    close(made, path)
    return made


def close(made: Pack, slots: Sequence[int]) -> None:
    """Say that nothing more goes on from `slots`."""
    for slot in slots:
        made.ends[slot] = len(made.ids)


@dataclass
class Packed:
    """What packing comes to: for every length tried, sequences and slots filled in them.

    A sequence is a batch of its own, of about `budget` tokens. `tokens` are those of all rows,
    `longest` of the longest one.
    """

    budget: int
    tokens: int = 0
    longest: int = 0
    sequences: dict[int, int] = field(default_factory=dict)
    slots: dict[int, int] = field(default_factory=dict)

    def take(self, rows: Sequence[Row]) -> None:
        """Count rows that are packed together."""
        if not rows:
            return
        ordered = sorted(rows, key=lambda row: row.ids)
        fresh = new_tokens(ordered)
        self.tokens += sum(len(row.ids) for row in ordered)
        self.longest = max([self.longest, *(len(row.ids) for row in ordered)])
        for length in few_lengths(max(self.budget, math.isqrt(BEGINNINGS * SCORES))):
            if length >= self.longest:
                filled = [slots for *_, slots in cuts(ordered, fresh, length)]
                self.sequences[length] = self.sequences.get(length, 0) + len(filled)
                self.slots[length] = self.slots.get(length, 0) + sum(filled)

    def length(self) -> int:
        """Return the length with the fewest slots to compute, padding included.

        Of equal ones the longest. It has room for the longest row, and for no more than the budget
        or BEGINNINGS such rows; 0 without rows.
        """
        if not self.longest:
            return 0
        several = min(BEGINNINGS * self.longest, SCORES // self.longest)
        most = max(self.budget, several, PAGE)
        fit = [n for n in self.sequences if self.longest <= n <= most]
        return min(fit, key=lambda n: (self.sequences[n] * n, -n))


def few_lengths(most: int) -> Iterator[int]:
    """Yield lengths up to at least `most`, in whole pages: other calls have the same shapes."""
    pages = 1
    while (pages - 1) * PAGE < most:
        yield pages * PAGE
        pages = rounded_up(pages + 1)


def rounded_up(number: int) -> int:
    """Return the next of 1 … 8, 10, 12, 14, 16, 20 …: few shapes."""
    step = max(1, power_of_two(number) // 8)
    return -(-number // step) * step


def power_of_two(number: int) -> int:
    """Return the smallest power of two that is at least `number`: few shapes."""
    return 1 << (number - 1).bit_length()


def seen_blocks(one: Pack) -> list[list[int]]:
    """Return for every page of a sequence the blocks whose tokens some slot of it sees."""
    last = [max(one.ends[begin : begin + BLOCK]) for begin in range(0, len(one.ids), BLOCK)]
    return [
        [block for block, end in enumerate(last[: (begin + PAGE) // BLOCK]) if end > begin]
        for begin in range(0, len(one.ids), PAGE)
    ]


@dataclass(frozen=True)
class Room:
    """The shape that packed sequences have in common besides their length: no less than any needs.

    `seen` blocks for a page, `read` slots that are read, `targets` pairs of a slot and a token.
    """

    seen: int
    read: int
    targets: int


def room_for(packs: Sequence[Pack]) -> Room:
    """Return room for each of `packs`, rounded up: few shapes."""
    seen = (len(blocks) for one in packs for blocks in seen_blocks(one))
    slots = (len({slot for read in one.read for slot in read}) for one in packs)
    targets = (len(set(itertools.chain(*map(read_pairs, one.rows, one.read)))) for one in packs)
    return Room(
        rounded_up(max((1, *seen))),
        power_of_two(max((1, *slots))),
        power_of_two(max((1, *targets))),
    )


def read_pairs(row: Row, read: Sequence[int]) -> list[tuple[int, int]]:
    """Return the slot and the token of every target of a row."""
    return [(slot, token) for slot, (_, _, token) in zip(read, row.targets, strict=True)]


def packed_arrays(
    one: Pack, length: int, room: Room
) -> tuple[tuple[np.ndarray, ...], list[list[int]]]:
    """Return arrays for the pass, and where in its result the targets of every row are.

    ids, depths and ends (length / PAGE, PAGE), padding seen by itself at most; the blocks that
    every page sees (length / PAGE, room.seen), filled up with one that is not there; the slots that
    are read (room.read); for each target the place of its slot among those, and its token
    (room.targets).
    """
    used = len(one.ids)
    ids, depths = np.zeros((2, length), np.int32)
    ends = np.arange(1, length + 1, dtype=np.int32)
    ids[:used], depths[:used], ends[:used] = one.ids, one.depths, one.ends
    sees = np.full((length // PAGE, room.seen), length // BLOCK, np.int32)
    for page, seen in enumerate(seen_blocks(one)):
        sees[page, : len(seen)] = seen
    slots: dict[int, int] = {}
    pairs: dict[tuple[int, int], int] = {}
    found = []
    for row, read in zip(one.rows, one.read, strict=True):
        wanted = [(slots.setdefault(at, len(slots)), token) for at, token in read_pairs(row, read)]
        found.append([pairs.setdefault(pair, len(pairs)) for pair in wanted])
    at, (which, tokens) = np.zeros(room.read, np.int32), np.zeros((2, room.targets), np.int32)
    at[: len(slots)] = list(slots)
    which[: len(pairs)] = [place for place, _ in pairs]
    tokens[: len(pairs)] = [token for _, token in pairs]
    in_pages = (x.reshape(-1, PAGE) for x in (ids, depths, ends))
    return (*in_pages, sees, at, which, tokens), found

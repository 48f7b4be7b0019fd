"""Many rows in one sequence, in which tokens that they have in common stand once.

Sorted by their tokens, rows are the leaves of a tree: users ask the same question, orders of
answers share a question's beginning, letters all but the letter. Laid out one branch after the
other, with an attention mask that shows every token its own ancestors only, a tree is one sequence
for the model, however many levels it has; whatever is left of the sequence takes other trees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from sycophancy.models import LanguageModel
from sycophancy.scoring.rows import Row, common_prefix
from sycophancy.scoring.sharing import power_of_two

LONGEST = 256  # rows of more tokens are not packed: attention within a sequence costs its square
MOST = 512  # tokens of a packed sequence
STEP = 32  # its length is a multiple of this
SOFTMAX = 2  # what attention takes for what its multiplications would: measured on two cores


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

    `tokens` are those of all rows, `longest` of the longest one.
    """

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
        for length in range(STEP, MOST + STEP, STEP):
            if length >= self.longest:
                filled = [slots for *_, slots in cuts(ordered, fresh, length)]
                self.sequences[length] = self.sequences.get(length, 0) + len(filled)
                self.slots[length] = self.slots.get(length, 0) + sum(filled)

    def length(self, attention: float) -> int:
        """Return the length that costs least, where each slot costs 1 + attention × length.

        Among those with room for the longest row; 0 without rows.
        """
        costs = {
            length: count * length * (1 + attention * length)
            for length, count in self.sequences.items()
            if length >= self.longest
        }
        return min(costs, key=costs.__getitem__) if costs else 0


def attention_cost(model: LanguageModel) -> float:
    """Return what attention to one more slot costs, for a token's cost in all other layers.

    Multiplications counted, two of the model's width a layer beside every weight that is no
    embedding, times SOFTMAX.
    """
    backbone = model.backbone
    weights = backbone.count_params() - backbone.token_embedding.count_params()
    layers, width = (getattr(backbone, name, 0) for name in ("num_layers", "hidden_dim"))
    return SOFTMAX * 2 * layers * width / max(1, weights)


def room_for(packs: Sequence[Pack]) -> int:
    """Return a power of two that is no less than what is read from `packs`: few shapes."""
    read = (
        {(slot, token) for row, slots in zip(one.rows, one.read, strict=True)
         for slot, (_, _, token) in zip(slots, row.targets, strict=True)}
        for one in packs
    )  # fmt: skip
    return power_of_two(max(1, sum(map(len, read))))


def packed_arrays(
    packs: Sequence[Pack], size: int, length: int, room: int
) -> tuple[tuple[np.ndarray, ...], list[list[list[int]]]]:
    """Return arrays for the pass, and where in its result the targets of every row of a pack are.

    ids, depths and ends (size, length), padding seen by itself alone; the slots that are read, over
    all sequences; for each target the place of its slot among those and its token. The last three
    have `room` places, no less than `room_for` the packs.
    """
    ids, depths = np.zeros((2, size, length), np.int32)
    ends = np.tile(np.arange(1, length + 1, dtype=np.int32), (size, 1))
    slots: dict[int, int] = {}
    pairs: dict[tuple[int, int], int] = {}
    found: list[list[list[int]]] = []
    for i, one in enumerate(packs):
        used = len(one.ids)
        ids[i, :used], depths[i, :used], ends[i, :used] = one.ids, one.depths, one.ends
        found.append([])
        for row, read in zip(one.rows, one.read, strict=True):
            wanted = [
                (slots.setdefault(i * length + slot, len(slots)), token)
                for slot, (_, _, token) in zip(read, row.targets, strict=True)
            ]
            found[-1].append([pairs.setdefault(pair, len(pairs)) for pair in wanted])
    at, which, tokens = np.zeros((3, room), np.int32)
    at[: len(slots)] = list(slots)
    which[: len(pairs)] = [place for place, _ in pairs]
    tokens[: len(pairs)] = [token for _, token in pairs]
    return (ids, depths, ends, at, which, tokens), found

"""How the rows of a call are run: packed where they share enough tokens, or one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np
import pandas as pd

from sycophancy.models import LanguageModel
from sycophancy.scoring import packing
from sycophancy.scoring.forward import make_forward
from sycophancy.scoring.packed import make_packed, packed_exact
from sycophancy.scoring.packing import Pack, Packed, pack, packed_arrays, room_for
from sycophancy.scoring.rows import (
    LENGTH_STEP,
    Row,
    batch_rows,
    build_rows,
    choose_lengths,
    chunks,
)

MAX_LENGTHS = 4  # at most so many padded lengths in one call: each one is compiled
WORTH = 4  # packing must save so many batches: its check and its pass take seconds
Piece = tuple[list[Row], int, Callable[[], Any]]  # rows, padded tokens, their log-probabilities


@dataclass
class Found:
    """What the rows of a call have in common.

    `all` counts all rows by length, `long` those that are too long to be packed; `packed` is of the
    others.
    """

    packed: Packed
    all: Counter[int] = field(default_factory=Counter)
    long: Counter[int] = field(default_factory=Counter)

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return sum(length * count for length, count in self.all.items())

    @property
    def saved(self) -> int:
        """Tokens that need not be computed where rows are packed."""
        return self.packed.tokens - self.packed.slots.get(self.packed.length(), 0)

    @property
    def worth_packing(self) -> bool:
        """Whether packing saves enough tokens for its check and its pass."""
        return self.packed.tokens > 0 and self.saved >= WORTH * self.packed.budget


def look(model: LanguageModel, items: pd.DataFrame, budget: int) -> Found:
    """Return what the sequences of `items` have in common; checks every item."""
    found = Found(Packed(budget))
    for chunk in chunks(items):
        short, long = divide(build_rows(model, chunk))
        found.all.update(len(row.ids) for row in [*short, *long])
        found.long.update(len(row.ids) for row in long)
        found.packed.take(short)
    return found


def divide(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows to pack, and those that are too long for it."""
    short = [row for row in rows if len(row.ids) <= packing.LONGEST]
    return short, [row for row in rows if len(row.ids) > packing.LONGEST]


@dataclass(frozen=True)
class RowsByPass:
    """Rows by how they are run."""

    packs: list[Pack]
    alone: list[Row]

    @property
    def tokens(self) -> int:
        """Tokens to compute, without padding."""
        packed = sum(len(one.ids) for one in self.packs)
        return packed + sum(len(row.ids) for row in self.alone)


@dataclass(frozen=True)
class Engine:
    """The passes of a call, its shapes, and tokens per batch.

    `packed` runs a sequence of `pack_length` slots; without it nothing is packed. `lengths` are the
    padded lengths of other rows.
    """

    forward: Callable[..., Any]
    packed: Callable[..., Any] | None
    pack_length: int
    lengths: list[int]
    budget: int

    def split(self, rows: list[Row], old: Set[tuple[int, ...]]) -> RowsByPass:
        """Return how to run `rows` but for those whose tokens are in `old`."""
        rows = [row for row in rows if row.ids not in old]
        short, long = divide(rows) if self.packed else ([], rows)
        return RowsByPass(pack(short, self.pack_length), long)

    def run(self, parts: RowsByPass) -> Iterator[Piece]:
        """Start batch after batch; yield its rows, padded tokens and how to read the result."""
        yield from self.run_packed(parts.packs)
        for batch, arrays in batch_rows(parts.alone, self.lengths, self.budget):
            logps = self.forward(*arrays)
            yield batch, arrays[0].size, partial(np.asarray, logps)

    def run_packed(self, packs: list[Pack]) -> Iterator[Piece]:
        """Start the packed sequences, all of one shape."""
        room = room_for(packs)
        for one in packs:
            arrays, found = packed_arrays(one, self.pack_length, room)
            values = self.packed(*arrays)  # type: ignore[misc]  # packs are made with it alone

            def read(values: Any = values, found: Any = found) -> list[np.ndarray]:
                """Return the log-probabilities of the rows of one sequence."""
                values = np.asarray(values)
                return [values[places] for places in found]

            yield list(one.rows), arrays[0].size, read


def make_engine(model: LanguageModel, found: Found, share_tokens: bool) -> Engine:
    """Return the passes for rows of such lengths: packed where it is worth it, and exact."""
    packed, rest = None, found.all
    if share_tokens and found.worth_packing and packed_exact(model, found.packed.longest):
        packed, rest = make_packed(model), found.long
    lengths = choose_lengths(rest, most=MAX_LENGTHS, step=LENGTH_STEP, price=shape_cost())
    budget, pack_length = found.packed.budget, found.packed.length()
    return Engine(make_forward(model), packed, pack_length, lengths, budget)


def expected_tokens(model: LanguageModel, items: pd.DataFrame) -> int:
    """Return the tokens that `score` will compute where the packed pass is exact."""
    found = look(model, items, default_budget())
    return found.tokens - (found.saved if found.worth_packing else 0)


def default_budget() -> int:
    """Return the tokens of a batch: 2,048 on a CPU, 32,768 on an accelerator."""
    return 2048 if jax.default_backend() == "cpu" else 32_768


def shape_cost() -> int:
    """Return the tokens that could be computed while one more shape is traced and compiled.

    Some four seconds of the embedded model on two cores, and on an accelerator.
    """
    return 3000 if jax.default_backend() == "cpu" else 300_000

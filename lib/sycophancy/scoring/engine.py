"""How the rows of a call are run: packed, behind a cache of what they share, or one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import numpy as np
import pandas as pd

from sycophancy.models import LanguageModel
from sycophancy.scoring import packing
from sycophancy.scoring.cached import Passes, exact, make_passes
from sycophancy.scoring.forward import make_forward
from sycophancy.scoring.packed import make_packed, packed_exact
from sycophancy.scoring.packing import Pack, Packed, pack, packed_arrays, room_for
from sycophancy.scoring.rows import Row, batches, build_rows, choose_lengths, chunks
from sycophancy.scoring.sharing import (
    LENGTH_STEP,
    Shapes,
    Survey,
    Trunk,
    bundles,
    cost_of_branches,
    even,
    shapes,
    share,
)

MAX_LENGTHS = 4  # at most so many padded lengths in one call: each one is compiled
WORTH = 4  # sharing tokens must save so many batches: its check and passes take seconds
Piece = tuple[list[Row], int, Callable[[], Any]]  # rows, padded tokens, their log-probabilities


@dataclass
class Found:
    """What the rows of a call have in common.

    `all` is of all rows, `packed` of those to pack, `long` of the others (see `divide`).
    """

    all: Survey = field(default_factory=Survey)
    long: Survey = field(default_factory=Survey)
    packed: Packed = field(default_factory=Packed)


def look(model: LanguageModel, items: pd.DataFrame) -> Found:
    """Return what the sequences of `items` have in common; checks every item."""
    found = Found()
    for chunk in chunks(items):
        rows = build_rows(model, chunk)
        short, long = divide(rows)
        found.all.take(rows)
        found.long.take(long)
        found.packed.take(short)
    return found


def divide(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows to pack, and those that are too long or better off behind a cache.

    Few-shot examples that many questions follow are computed once behind a cache, but once for
    every packed sequence that they open.
    """
    cached = {row.ids for trunk in share(rows)[0] if better_cached(trunk) for row in trunk.rows}
    short = [r for r in rows if len(r.ids) <= packing.LONGEST and r.ids not in cached]
    packed = {row.ids for row in short}
    return short, [row for row in rows if row.ids not in packed]


def better_cached(trunk: Trunk) -> bool:
    """Return whether packing would compute more than the trunk once and a branch for each row."""
    lengths = [len(row.ids) for row in trunk.rows]
    if max(lengths) > packing.LONGEST:
        return True
    branches = cost_of_branches(lengths, len(trunk.ids))
    return branches < sum(len(one.ids) for one in pack(trunk.rows, packing.MOST))


@dataclass(frozen=True)
class Parts:
    """Rows by how they are run."""

    packs: list[Pack]
    trunks: list[Trunk]
    alone: list[Row]

    @property
    def tokens(self) -> int:
        """Tokens to compute, without padding."""
        packed = sum(len(one.ids) for one in self.packs)
        trunks = sum(len(t.ids) + sum(len(t.rest(row)) for row in t.rows) for t in self.trunks)
        return packed + trunks + sum(len(row.ids) for row in self.alone)


@dataclass(frozen=True)
class Engine:
    """The passes of a call, its shapes, and tokens per batch and per cache.

    `packed` runs `pack_size` sequences of `pack_length` slots; without it nothing is packed.
    """

    forward: Callable[..., Any]
    packed: Callable[..., Any] | None
    passes: Passes | None
    pack_size: int
    pack_length: int
    lengths: Shapes
    budget: int
    most_cached: int

    def split(self, rows: list[Row], old: Set[tuple[int, ...]]) -> Parts:
        """Return how to run `rows` but for those whose tokens are in `old`.

        Trunks are found among all, so that a call that goes on has the shapes it had.
        """
        short, rows = divide(rows) if self.packed else ([], rows)
        packs = pack([row for row in short if row.ids not in old], self.pack_length)
        trunks, alone = share(rows) if self.passes else ([], rows)
        trunks = [replace(t, rows=tuple(r for r in t.rows if r.ids not in old)) for t in trunks]
        alone = [row for row in alone if row.ids not in old]
        return Parts(packs, [trunk for trunk in trunks if trunk.rows], alone)

    def run(self, parts: Parts) -> Iterator[Piece]:
        """Start batch after batch; yield its rows, padded tokens and how to read the result."""
        yield from self.run_packed(parts.packs)
        for batch, arrays in batches(parts.alone, self.lengths.rows, self.budget):
            logps = self.forward(*arrays)
            yield batch, arrays[0].size, partial(np.asarray, logps)
        if self.passes is None:
            return
        for bundle in bundles(parts.trunks, self.lengths, self.budget, self.most_cached):
            first, cache = self.passes.trunk(*bundle.arrays)
            padded = bundle.arrays[0].size
            for branches in bundle.branches:
                logps = self.passes.branch(cache, *branches.arrays)

                def read(
                    bundle: Any = bundle,
                    branches: Any = branches,
                    first: Any = first,
                    logps: Any = logps,
                ) -> Any:
                    """Return the log-probabilities of the rows of one batch of branches."""
                    return bundle.read(branches, np.asarray(first), np.asarray(logps))

                yield branches.rows, padded + branches.arrays[2].size, read
                padded = 0

    def run_packed(self, packs: list[Pack]) -> Iterator[Piece]:
        """Start the batches of packed sequences."""
        every = range(0, len(packs), max(1, self.pack_size))
        groups = [packs[begin : begin + self.pack_size] for begin in every]
        room = max((room_for(some) for some in groups), default=0)  # one for all: one shape
        for some in groups:
            arrays, found = packed_arrays(some, self.pack_size, self.pack_length, room)
            values = self.packed(*arrays)  # type: ignore[misc]  # packs are made with it alone

            def read(values: Any = values, found: Any = found) -> list[np.ndarray]:
                """Return the log-probabilities of the rows of one batch."""
                values = np.asarray(values)
                return [values[places] for one in found for places in one]

            yield [row for one in some for row in one.rows], arrays[0].size, read


def make_engine(model: LanguageModel, found: Found, budget: int, share_tokens: bool) -> Engine:
    """Return the passes for rows of such lengths: those that share tokens where it is worth it."""
    forward = make_forward(model)
    packed, size, length, rest = None, 0, 0, found.all
    if share_tokens and worth_packing(model, found, budget):
        length = found.packed.length(packing.attention_cost(model))
        size = batch_of_packs(found.packed.sequences[length], length, budget)
        if packed_exact(model, size, length):
            packed, rest = make_packed(model), found.long
    if share_tokens and rest.trunks and rest.saved >= WORTH * budget:
        lengths = shapes(rest, most=MAX_LENGTHS, price=shape_cost())
        if lengths.longest <= (model.context or lengths.longest) and exact(model):
            passes = make_passes(model)
            most = most_cache_bytes() // passes.token_bytes()
            return Engine(forward, packed, passes, size, length, lengths, budget, most)
    plain = choose_lengths(rest.all, most=MAX_LENGTHS, step=LENGTH_STEP, price=shape_cost())
    return Engine(forward, packed, None, size, length, Shapes(plain, [], []), budget, 0)


def saved_by_packing(model: LanguageModel, found: Found) -> int:
    """Return the tokens that need not be computed where short rows are packed."""
    length = found.packed.length(packing.attention_cost(model))
    return found.packed.tokens - found.packed.slots.get(length, 0)


def worth_packing(model: LanguageModel, found: Found, budget: int) -> bool:
    """Return whether packing saves enough tokens for its check and its pass."""
    return found.packed.tokens > 0 and saved_by_packing(model, found) >= WORTH * budget


def batch_of_packs(number: int, length: int, budget: int) -> int:
    """Return how many of so many sequences to run at once: no more than fit, a multiple of the
    devices."""
    devices = jax.device_count()
    size = even(number, max(1, budget // length))
    return -(-size // devices) * devices


def expected_tokens(model: LanguageModel, items: pd.DataFrame) -> int:
    """Return the tokens that `score` will compute where the passes that share tokens are exact."""
    found, budget = look(model, items), default_budget()
    packs = worth_packing(model, found, budget)
    saved = saved_by_packing(model, found) if packs else 0
    rest = found.long if packs else found.all
    return found.all.tokens - saved - (rest.saved if rest.saved >= WORTH * budget else 0)


def default_budget() -> int:
    """Return the tokens of a batch: 2,048 on a CPU, 32,768 on an accelerator."""
    return 2048 if jax.default_backend() == "cpu" else 32_768


def shape_cost() -> int:
    """Return the tokens that could be computed while one more shape is traced and compiled.

    Some four seconds of the embedded model on two cores, and on an accelerator.
    """
    return 3000 if jax.default_backend() == "cpu" else 300_000


def most_cache_bytes() -> int:
    """Return the bytes of keys and values in one batch: 1 GiB on a CPU, 4 on an accelerator."""
    return (1 if jax.default_backend() == "cpu" else 4) << 30

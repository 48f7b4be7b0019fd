"""Items become sequences of token ids, sequences become batches of few shapes, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pandas as pd

from sycophancy.errors import InputError
from sycophancy.models import LanguageModel
from sycophancy.scoring.store import choice_key

CHUNK = 2048  # items tokenised at a time, so that memory does not grow with their number
LENGTH_STEP = 8  # padded lengths are multiples of this


@dataclass(frozen=True)
class Row:
    """One sequence to run: `ids` without the last token, and what to read at which positions.

    `targets` holds (key, position, token) triples: the model's probability of `token` after
    ids[: position + 1] counts towards the choice called `key`.
    """

    ids: tuple[int, ...]
    targets: tuple[tuple[str, int, int], ...]


def tokenise(model: LanguageModel, items: pd.DataFrame) -> list[tuple[int, list[list[int]]]]:
    """Return for each item the number of tokens its choices share with the prompt, and its
    sequences, one per choice.

    The shared part ends where the tokens of any choice first differ from those of the prompt
    alone, so that a tokenizer that merges across the boundary still compares like with like.
    """
    prompts = model.encode(items["prompt"].tolist())
    texts = [p + c for p, cs in zip(items["prompt"], items["choices"], strict=True) for c in cs]
    for name, choices in zip(items.get("item_id", items.index), items["choices"], strict=True):
        if not len(choices):
            raise InputError(f"Item {name} has no choices: give every item at least one.")
    encoded = iter(model.encode(texts))
    out = []
    for prompt, choices in zip(prompts, items["choices"], strict=True):
        sequences = [next(encoded) for _ in choices]
        shared = min(common_prefix(prompt, sequence) for sequence in sequences)
        start = missing_start(model, prompt)
        sequences = [start + sequence for sequence in sequences]
        out.append((len(start) + shared, sequences))
    return out


def missing_start(model: LanguageModel, ids: Sequence[int]) -> list[int]:
    """Return the start ids, or none where a chat template has written them itself."""
    return [] if tuple(ids[: len(model.start)]) == model.start else list(model.start)


def opened(model: LanguageModel, ids: Sequence[int]) -> list[int]:
    """Return a sequence with its start ids, once."""
    return [*missing_start(model, ids), *ids]


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many leading ids two sequences share."""
    short = min(len(first), len(second))
    return next((i for i in range(short) if first[i] != second[i]), short)


def build_rows(model: LanguageModel, items: pd.DataFrame) -> list[Row]:
    """Return the sequences to run for `items`, each one once.

    Choices that differ in their last token alone share a sequence, as do repeated prompts.
    """
    rows: dict[tuple[int, ...], dict[tuple[str, int, int], None]] = {}
    columns = (items[name] for name in ("item_id", "prompt", "choices"))
    for item_id, prompt, choices, (shared, sequences) in zip(
        *columns, tokenise(model, items), strict=True
    ):
        for index, (text, sequence) in enumerate(zip(choices, sequences, strict=True)):
            if shared < 1 or len(sequence) <= shared:
                raise InputError(
                    f"Item {item_id}: the choice {text!r} adds no token to the prompt, or the "
                    "prompt is empty; give every item a prompt and choices that are not empty."
                )
            if model.context is not None and len(sequence) > model.context:
                raise InputError(
                    f"Item {item_id} has {len(sequence)} tokens, {model.name} reads at most "
                    f"{model.context}: shorten the prompt or choose a model with a longer context."
                )
            key = choice_key(prompt, choices, index)
            targets = rows.setdefault(tuple(sequence[:-1]), {})
            for at in range(shared, len(sequence)):
                targets[key, at - 1, sequence[at]] = None
    return [Row(ids, tuple(targets)) for ids, targets in rows.items()]


def choose_lengths(counts: dict[int, int], *, most: int, step: int, price: float = 0) -> list[int]:
    """Return at most `most` padded lengths, multiples of `step`, with the least padding.

    One more length must save more than `price` tokens. Exact, by dynamic programming over the
    multiples of `step` that occur; ascending.
    """
    tally: dict[int, int] = {}
    for length, count in counts.items():
        rounded = -(-length // step) * step
        tally[rounded] = tally.get(rounded, 0) + count
    sizes = sorted(tally)
    if not sizes or (len(sizes) <= most and not price):
        return sizes
    before = np.concatenate([[0], np.cumsum([tally[size] for size in sizes])])
    # best[j]: least padded tokens for the sizes up to j, the last padded length being sizes[j].
    best = [(int(before[j + 1] * sizes[j]), [sizes[j]]) for j in range(len(sizes))]
    found = [best[-1]]
    for _ in range(most - 1):
        best = [
            min(
                [best[j]]
                + [
                    (
                        best[i][0] + int((before[j + 1] - before[i + 1]) * sizes[j]),
                        [*best[i][1], sizes[j]],
                    )
                    for i in range(j)
                ]
            )
            for j in range(len(sizes))
        ]
        found.append(best[-1])
    return min(found, key=lambda way: way[0] + price * len(way[1]))[1]


def batch_rows(
    rows: list[Row], paddings: list[int], budget: int
) -> Iterator[tuple[list[Row], tuple[np.ndarray, ...]]]:
    """Yield batches of one padded length and one shape: the rows and the arrays for `forward`.

    A last batch that is not full repeats its first row: shapes stay few, results are ignored.
    """
    devices = jax.device_count()
    for length, shorter in zip(paddings, [0, *paddings], strict=False):
        group = sorted(
            (row for row in rows if shorter < len(row.ids) <= length), key=lambda row: row.ids
        )
        if not group:
            continue
        places = max(len(row.targets) for row in group)
        places = 1 << (places - 1).bit_length()  # a power of two: few shapes
        size = max(devices, budget // length // devices * devices)
        for begin in range(0, len(group), size):
            batch = group[begin : begin + size]
            yield batch, to_arrays(batch, size, length, places)


def to_arrays(batch: list[Row], size: int, length: int, places: int) -> tuple[np.ndarray, ...]:
    """Return ids, mask (size, length) and positions, targets (size, places), all int32."""
    ids, mask = np.zeros((2, size, length), np.int32)
    positions, targets = np.zeros((2, size, places), np.int32)
    for i in range(size):
        row = batch[i] if i < len(batch) else batch[0]
        ids[i, : len(row.ids)] = row.ids
        mask[i, : len(row.ids)] = 1
        for place, (_, position, token) in enumerate(row.targets):
            positions[i, place], targets[i, place] = position, token
    return ids, mask, positions, targets


def read_out(rows: list[Row], logps: Any) -> list[tuple[str, float, int]]:
    """Return (key, summed log-probability, tokens) contributions of a finished batch.

    A choice's tokens may lie in rows of their own, never in two rows: its sequence without the
    last token is one row.
    """
    out: list[tuple[str, float, int]] = []
    for i, row in enumerate(rows):
        sums: dict[str, tuple[float, int]] = {}
        for place, (key, _, _) in enumerate(row.targets):
            value, tokens = sums.get(key, (0.0, 0))
            sums[key] = (value + float(logps[i][place]), tokens + 1)
        out.extend((key, value, tokens) for key, (value, tokens) in sums.items())
    return out


def chunks(items: pd.DataFrame, size: int = CHUNK) -> Iterator[pd.DataFrame]:
    """Yield consecutive slices of `items` of at most `size` rows."""
    for begin in range(0, len(items), size):
        yield items.iloc[begin : begin + size]

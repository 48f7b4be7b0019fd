"""Examples in token ids as batches of few shapes, with the loss on completions alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sycophancy.errors import InputError
from sycophancy.scoring.rows import choose_lengths


@dataclass(frozen=True)
class Example:
    """One sequence to train on: start, prompt and completion in token ids.

    `first` is the index of the first token that counts towards the loss; all from there on do.
    """

    ids: tuple[int, ...]
    first: int


@dataclass(frozen=True)
class TrainingBatch:
    """Arrays of one training step.

    ids, mask (size, length) are int32. Every place is one token that counts: rows and positions say
    where the model predicts it, targets which it is (int32, (places,)); weights (float32) are
    1 / (tokens of the example's completion), 0 where a place is padding. Every example thus counts
    equally, a long response no more than one letter, and the loss of the batch is
    sum(weights × −log P(target)) / size.
    """

    ids: np.ndarray
    mask: np.ndarray
    rows: np.ndarray
    positions: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class BatchShapes:
    """The padded lengths that batches may have, and their number of places."""

    lengths: tuple[int, ...]
    places: int


def choose_shapes(
    encoded: Sequence[Example], steps: int, size: int, *, most: int = 2, step: int = 8
) -> BatchShapes:
    """Return the shapes of the first `steps` batches: at most `most` padded lengths, one of places.

    Each length is compiled once, so they are few: multiples of `step` with the least padding over
    the batches, whose longest example decides. The last token of a sequence is only predicted:
    sequences are one shorter than their ids.
    """
    check_steps(encoded, steps, size)
    longest: Counter[int] = Counter()
    places = 1
    for index in range(min(steps, batches_in_a_round(len(encoded), size))):
        found = members(encoded, index, size)
        longest[max(len(example.ids) for example in found) - 1] += 1
        places = max(places, sum(len(example.ids) - example.first for example in found))
    return BatchShapes(tuple(choose_lengths(dict(longest), most=most, step=step)), rounded(places))


def rounded(places: int) -> int:
    """Return a number of places rounded up to a multiple of 64: few shapes over many runs."""
    return -(-places // 64) * 64


def batches_in_a_round(examples: int, size: int) -> int:
    """Return after how many batches their members repeat."""
    return math.lcm(examples, size) // size


def members(encoded: Sequence[Example], index: int, size: int) -> list[Example]:
    """Return the examples of batch `index`; past the end it goes on from the beginning."""
    return [encoded[place % len(encoded)] for place in range(index * size, (index + 1) * size)]


def make_batch(
    encoded: Sequence[Example], index: int, size: int, shape: BatchShapes
) -> TrainingBatch:
    """Return the arrays of step `index`: examples index · size to (index + 1) · size.

    Past the end it goes on from the beginning. `shape` comes from `choose_shapes`; the length is
    the smallest one that holds the batch.
    """
    check_steps(encoded, index, size)
    found = members(encoded, index, size)
    longest = max(len(example.ids) for example in found) - 1
    length = min((padded for padded in shape.lengths if padded >= longest), default=0)
    needed = sum(len(example.ids) - example.first for example in found)
    if not length or needed > shape.places:
        raise InputError(
            f"A batch of {longest} tokens with {needed} places does not fit the padded lengths "
            f"{list(shape.lengths)} and {shape.places} places: take them from mixture.shapes of "
            "the same examples, steps and batch size."
        )
    ids, mask = np.zeros((2, size, length), np.int32)
    rows, positions, targets = np.zeros((3, shape.places), np.int32)
    weights = np.zeros(shape.places, np.float32)
    at = 0
    for row, example in enumerate(found):
        end, count = len(example.ids), len(example.ids) - example.first
        ids[row, : end - 1] = example.ids[:-1]
        mask[row, : end - 1] = 1
        here = slice(at, at + count)
        rows[here] = row
        positions[here] = np.arange(example.first - 1, end - 1)
        targets[here] = example.ids[example.first :]
        weights[here] = 1 / count
        at += count
    return TrainingBatch(ids, mask, rows, positions, targets, weights)


def tokens(encoded: Sequence[Example], steps: int, size: int) -> int:
    """Return how many tokens, padding left out, the first `steps` batches run through the model."""
    check_steps(encoded, steps, size)
    rounds, rest = divmod(steps * size, len(encoded))
    each = [len(example.ids) - 1 for example in encoded]
    return rounds * sum(each) + sum(each[:rest])


def check_steps(encoded: Sequence[Example], number: int, size: int) -> None:
    """Raise InputError for a batch size or a number of steps that cannot be, or no examples."""
    if not encoded:
        raise InputError("There are no examples: make some with mixture.mix and mixture.encode.")
    for name, value, least in (("batch size", size, 1), ("number of the step", number, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"The {name} is {value!r}: give a whole number from {least} on.")

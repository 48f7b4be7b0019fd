"""Texts made fit for a prompt, and every text kept once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sycophancy.claims.sources import EVERY_SOURCE, Source
from sycophancy.errors import InputError

# Straight and typographic marks, and the `` and '' of tokenised treebank text (PAWS).
QUOTATION_MARKS = r"[\"“”„«»]|``|''"
GAPS = r"[\x00-\x20\x7f\p{Z}]+"  # newlines and any other run of white space or ASCII controls


def clean(texts: Sequence[str] | pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts without quotation marks, white space in single blanks, stripped.

    The protocol (section 4.1) removes quotation marks and newlines; here a newline becomes a blank,
    because the last word of a line would otherwise run into the first of the next. Repeated until
    nothing changes: what stood around a removed mark may make a new one.
    """
    array = texts if isinstance(texts, pa.ChunkedArray) else pa.chunked_array([pa.array(texts)])
    array = array.cast(pa.large_string())
    while True:
        bare = pc.replace_substring_regex(array, pattern=QUOTATION_MARKS, replacement="")
        bare = pc.utf8_trim_whitespace(
            pc.replace_substring_regex(bare, pattern=GAPS, replacement=" ")
        )
        if bare.equals(array):
            return bare
        array = bare


def inputs(source: Source, fields: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Return the [input] of each row from its cleaned fields: quoted, two joined by "and"."""
    mark, blank, link, nothing = (pa.scalar(s, pa.large_string()) for s in ('"', " ", " and ", ""))
    if source.joined:
        fields = [pc.binary_join_element_wise(*fields, blank)]
    quoted = [pc.binary_join_element_wise(mark, field, mark, nothing) for field in fields]
    return quoted[0] if len(quoted) == 1 else pc.binary_join_element_wise(*quoted, link)


def check_empty(source: Source, fields: Sequence[pa.ChunkedArray], drop: bool) -> np.ndarray:
    """Return which rows have an empty field after cleaning; InputError unless `drop`."""
    empty = np.zeros(len(fields[0]), dtype=bool)
    for field in fields:
        empty |= pc.equal(pc.utf8_length(field), 0).to_numpy()
    if empty.any() and not drop:
        raise InputError(
            f"{source.name}, row {int(np.flatnonzero(empty)[0])}: nothing is left of the text "
            f"after cleaning ({empty.sum()} such rows): pass drop_empty=True to leave them out."
        )
    return empty


def keep_once(claims: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    """Return the claims with every text once, and the rows dropped as (repeated, conflicting).

    Within and across sources the first copy of a text is kept. Where copies carry different labels
    in sources whose labels mean the same (one `family`), all copies of the text are dropped. The
    two counts are indexed by source.
    """
    text = pd.factorize(claims["text"])[0]
    families = {name: source.family for name, source in EVERY_SOURCE.items()}
    family = claims["source"].astype(object).map(lambda name: families.get(name, name))
    place = pd.DataFrame(
        {
            "text": text,
            "family": pd.factorize(family)[0],
            "label": pd.factorize(claims["label"])[0],
        },
        index=claims.index,
    )
    copies = place[place["text"].duplicated(keep=False)]
    labels = copies.drop_duplicates().groupby(["text", "family"]).size()
    torn = labels[labels > 1].index.get_level_values("text")
    conflicting = place["text"].isin(torn)
    repeated = place["text"].duplicated() & ~conflicting
    count = claims["source"].astype(object)
    return (
        claims[~(repeated | conflicting)],
        count[repeated].value_counts(),
        count[conflicting].value_counts(),
    )


def too_long(
    texts: pd.Series, max_tokens: int, count_tokens: Callable[[Sequence[str]], Sequence[int]]
) -> np.ndarray:
    """Return which texts have more than `max_tokens` tokens by `count_tokens`, 10,000 at a time."""
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
        raise InputError(f"max_tokens is {max_tokens!r}: give a number of tokens from 1 on.")
    counts: list[int] = []
    for start in range(0, len(texts), 10_000):
        counts += list(count_tokens(texts.iloc[start : start + 10_000].tolist()))
    return np.asarray(counts, dtype=int) > max_tokens

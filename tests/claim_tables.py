"""Claims made up for tests, with the counts a test asks for, and what can be made of them."""

from __future__ import annotations

import itertools
from collections import Counter
from functools import cache
from typing import Any

import pandas as pd
from hypothesis import strategies as st

COLUMNS = ["claim_id", "source", "group", "split", "text", "label", "others"]
LABELS = ("Entailment", "Not Entailment", "Human Being", "Sci/Tech's own", "100 % so", "an insect")
AWKWARD = (
    "a {name} at {school}", "[input] is [label]", "it's not what it's", "this is not so. Is it?",
    "100 %s and 5 %", "(C) Agree", r"C:\1 is \g<0>", "I agree with the claim that it is. Do you?",
)  # fmt: skip


def claims_of(
    groups: dict[str, dict[str, int]], texts: tuple[str, ...] = ("it rained",)
) -> pd.DataFrame:
    """So many claims of each label; what stands before the first / of a group is its source."""
    rows: list[tuple[str, ...]] = []
    for group, counts in groups.items():
        for label, count in counts.items():
            others = " | ".join(other for other in counts if other != label)
            for number in range(len(rows), len(rows) + count):
                text = f'"{texts[number % len(texts)]} {number}"'
                text += f' and "line {number}"' if number % 3 == 0 else ""
                source = group.split("/")[0]
                rows.append((f"c{number}", source, group, "train", text, label, others))
    return pd.DataFrame(rows, columns=COLUMNS)


@st.composite
def claim_tables(draw: st.DrawFn) -> pd.DataFrame:
    """Up to three groups with 2 to 6 labels, and perhaps one in which nothing can be wrong."""
    groups = {}
    for name in ("sst2", "cola", "made_up")[: draw(st.integers(1, 3))]:
        counts = draw(st.lists(st.integers(2, 9), min_size=2, max_size=6))
        groups[name] = dict(zip(LABELS, counts, strict=False))
    if draw(st.booleans()):
        groups["lonely"] = {"Entailment": 1}
    letters = st.characters(exclude_categories=("Cc", "Cs"), exclude_characters='"')
    text = st.sampled_from(AWKWARD) | st.text(letters, max_size=12)
    texts = draw(st.lists(text, min_size=1, max_size=5))
    return claims_of(groups, tuple(texts)).sample(frac=1, random_state=draw(st.integers(0, 9)))


def rows_of(table: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """The columns asked for, row by row, as plain values."""
    return list(zip(*(table[column].tolist() for column in columns), strict=True))


def units_by_search(counts: tuple[int, ...], k: int) -> int:
    """The largest number of units, by trying every unit that can be taken from these inputs."""

    @cache
    def most(left: tuple[int, ...]) -> int:
        best = 0
        for shown, have in enumerate(left):
            wrong = [label for label in range(len(left)) if label != shown]
            for others in itertools.combinations_with_replacement(wrong, k):
                taken = Counter({shown: k}) + Counter(others)
                rest = tuple(have - taken[label] for label, have in enumerate(left))
                if have >= k and min(rest) >= 0:
                    best = max(best, 1 + most(tuple(sorted(rest))))
        return best

    return most(tuple(sorted(counts)))

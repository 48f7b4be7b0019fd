"""One function per figure, one theme, and the values behind every figure beside it."""

from __future__ import annotations

from sycophancy.figures.anatomy import Anatomy, anatomy
from sycophancy.figures.data import composition, leak_audit, sources
from sycophancy.figures.measures import (
    ALL_TASKS,
    ANSWERED,
    one_sum,
    opinion_tasks,
    wrong_additions,
)
from sycophancy.figures.theme import (
    MARKERS,
    SHADES,
    WIDTH,
    Picture,
    dots,
    nats,
    percent,
    pivot,
    save_figure,
    theme,
)

__all__ = [
    "ALL_TASKS",
    "ANSWERED",
    "MARKERS",
    "SHADES",
    "WIDTH",
    "Anatomy",
    "Picture",
    "anatomy",
    "composition",
    "dots",
    "leak_audit",
    "nats",
    "one_sum",
    "opinion_tasks",
    "percent",
    "pivot",
    "save_figure",
    "sources",
    "theme",
    "wrong_additions",
]

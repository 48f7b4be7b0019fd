"""One function per figure, one theme, and the values behind every figure beside it."""

from __future__ import annotations

from sycophancy.figures.anatomy import Anatomy, anatomy
from sycophancy.figures.benchmarks import (
    chain_of_thought,
    few_shot_benchmarks,
    zero_shot_benchmarks,
)
from sycophancy.figures.compare import (
    additions_after,
    opinion_tasks_after,
    prior_knowledge,
    shortcut,
    why_filter,
)
from sycophancy.figures.data import composition, leak_audit, sources
from sycophancy.figures.laboratory import causes, cure_by_knowledge, dose
from sycophancy.figures.measures import (
    ANSWERED,
    draw_opinion_tasks,
    one_sum,
    wrong_additions,
)
from sycophancy.figures.redraw import redraw
from sycophancy.figures.series import series
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
    save_pictures,
    theme,
)
from sycophancy.figures.training import filtration, losses
from sycophancy.figures.wrong_user import wrong_user

__all__ = [
    "ANSWERED",
    "MARKERS",
    "SHADES",
    "WIDTH",
    "Anatomy",
    "Picture",
    "additions_after",
    "anatomy",
    "causes",
    "chain_of_thought",
    "composition",
    "cure_by_knowledge",
    "dose",
    "dots",
    "draw_opinion_tasks",
    "few_shot_benchmarks",
    "filtration",
    "leak_audit",
    "losses",
    "nats",
    "one_sum",
    "opinion_tasks_after",
    "percent",
    "pivot",
    "prior_knowledge",
    "redraw",
    "save_figure",
    "save_pictures",
    "series",
    "shortcut",
    "sources",
    "theme",
    "why_filter",
    "wrong_additions",
    "wrong_user",
    "zero_shot_benchmarks",
]

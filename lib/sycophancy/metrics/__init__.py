"""Rates, shifts and gaps with intervals, from items and scores. Knows nothing of models."""

from __future__ import annotations

from sycophancy.metrics.benchmarks import (
    MACRO,
    MARGIN,
    accuracies,
    accuracy_changes,
    counts,
    equivalence,
)
from sycophancy.metrics.changes import changes, distribution_distance, flips
from sycophancy.metrics.doses import DOSE_METRICS, dose_table, effects, user_table
from sycophancy.metrics.estimates import (
    agreement,
    both_orders,
    join,
    log_odds_of_agreeing,
    pad_choices,
    shift_by_question,
    shifts,
)
from sycophancy.metrics.summary import summarize
from sycophancy.metrics.words import nats, percent, points

__all__ = [
    "DOSE_METRICS",
    "MACRO",
    "MARGIN",
    "accuracies",
    "accuracy_changes",
    "agreement",
    "both_orders",
    "changes",
    "counts",
    "distribution_distance",
    "dose_table",
    "effects",
    "equivalence",
    "flips",
    "join",
    "log_odds_of_agreeing",
    "nats",
    "pad_choices",
    "percent",
    "points",
    "shift_by_question",
    "shifts",
    "summarize",
    "user_table",
]

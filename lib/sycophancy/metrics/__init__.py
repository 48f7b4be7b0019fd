"""Rates, shifts and gaps with intervals, from items and scores. Knows nothing of models."""

from __future__ import annotations

from sycophancy.metrics.estimates import (
    Estimate,
    agreement,
    both_orders,
    difference,
    flips,
    join,
    log_odds,
    mean,
    padded,
    shift_by_question,
    shifts,
)
from sycophancy.metrics.table import summary

__all__ = [
    "Estimate",
    "agreement",
    "both_orders",
    "difference",
    "flips",
    "join",
    "log_odds",
    "mean",
    "padded",
    "shift_by_question",
    "shifts",
    "summary",
]

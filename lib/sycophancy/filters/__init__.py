"""Filtration (section 4.2): keep the claims that a model knows, and balance what is left."""

from __future__ import annotations

from sycophancy.filters.asking import COLUMNS, FILTERS, ask, check_kinds
from sycophancy.filters.balancing import NothingLeft, balanced, read_kept, rebalance
from sycophancy.filters.eliciting import elicit
from sycophancy.filters.shares import overlap, share_kept
from sycophancy.filters.slices import filter_file

__all__ = [
    "COLUMNS",
    "FILTERS",
    "NothingLeft",
    "ask",
    "balanced",
    "check_kinds",
    "elicit",
    "filter_file",
    "overlap",
    "read_kept",
    "rebalance",
    "share_kept",
]

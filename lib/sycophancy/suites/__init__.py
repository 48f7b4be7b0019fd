"""Evaluation suites: what is asked, as rows of one table of items."""

from __future__ import annotations

from sycophancy.suites.additions import additions
from sycophancy.suites.claims import claim_items
from sycophancy.suites.items import ITEM_COLUMNS, check_items
from sycophancy.suites.opinions import opinion_tasks

__all__ = ["ITEM_COLUMNS", "additions", "check_items", "claim_items", "opinion_tasks"]

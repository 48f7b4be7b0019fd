"""Estimates as text for tables: rates in per cent or points, shifts and gaps in nats."""

from __future__ import annotations

from typing import Any

import pandas as pd


def percent(row: Any) -> str:
    """Return a rate with its interval, such as "48 % [41, 55]"; `row` has value, low, high."""
    if pd.isna(row.low):
        return f"{row.value:.0%}".replace("%", " %")
    return f"{row.value * 100:.0f} % [{row.low * 100:.0f}, {row.high * 100:.0f}]"


def points(row: Any) -> str:
    """Return a difference of rates with its interval, such as "+3 points [-1, +7]"."""
    interval = "" if pd.isna(row.low) else f" [{100 * row.low:+.0f}, {100 * row.high:+.0f}]"
    return f"{100 * row.value:+.0f} points{interval}"


def nats(row: Any) -> str:
    """Return a log-odds difference with its interval, such as "+0.35 [+0.33, +0.37]"."""
    if pd.isna(row.low):
        return f"{row.value:+.2f}"
    return f"{row.value:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"

"""Models side by side: tables of finished runs, names for reading, what became of each."""

from __future__ import annotations

from sycophancy.compare.judging import (
    NEAR_ZERO,
    apart,
    better,
    by_filter,
    common,
    development,
    facts_table,
    trained_format,
    verdict,
)
from sycophancy.compare.series import (
    EXAMPLES,
    SHARE,
    STEPS,
    benchmark_measures,
    beside,
    levels,
    measures,
)
from sycophancy.compare.tables import (
    ABSENT,
    POOLED,
    answer_format_of,
    changes,
    check_grid,
    intervention_table,
    model_facts,
    read,
    short_names,
    summary,
)

__all__ = [
    "ABSENT",
    "EXAMPLES",
    "NEAR_ZERO",
    "POOLED",
    "SHARE",
    "STEPS",
    "answer_format_of",
    "apart",
    "benchmark_measures",
    "beside",
    "better",
    "by_filter",
    "changes",
    "check_grid",
    "common",
    "development",
    "facts_table",
    "intervention_table",
    "levels",
    "measures",
    "model_facts",
    "read",
    "short_names",
    "summary",
    "trained_format",
    "verdict",
]

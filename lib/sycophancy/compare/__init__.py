"""Models side by side: tables of finished runs, names for reading, what became of each."""

from __future__ import annotations

from sycophancy.compare.judging import (
    NEAR_ZERO,
    better,
    beyond_placebo,
    development,
    over_seeds,
    user_costs,
    verdict,
)
from sycophancy.compare.measured import (
    answer_format_of,
    apart,
    by_filter,
    check_trained,
    common,
    facts_table,
    format_of,
    trained_format,
)
from sycophancy.compare.series import (
    EXAMPLES,
    INSTEAD,
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
    "INSTEAD",
    "NEAR_ZERO",
    "POOLED",
    "SHARE",
    "STEPS",
    "answer_format_of",
    "apart",
    "benchmark_measures",
    "beside",
    "better",
    "beyond_placebo",
    "by_filter",
    "changes",
    "check_grid",
    "check_trained",
    "common",
    "development",
    "facts_table",
    "format_of",
    "intervention_table",
    "levels",
    "measures",
    "model_facts",
    "over_seeds",
    "read",
    "short_names",
    "summary",
    "trained_format",
    "user_costs",
    "verdict",
]

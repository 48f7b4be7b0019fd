"""Run folders: parameters, versions, cost, progress and results, all written atomically."""

from __future__ import annotations

from sycophancy.ladder import LABORATORY, at_step
from sycophancy.runs.files import (
    append_line,
    atomic,
    discard,
    existing,
    read_or_discard,
    sweep,
    write_json,
)
from sycophancy.runs.folder import (
    Run,
    find_finished,
    metrics_of,
    parameters_of,
    read_record,
    start,
)
from sycophancy.runs.machine import (
    cache_dir,
    cores,
    device,
    git_state,
    keep_to_quota,
    peak_memory_mb,
    read_costs,
    remember_cost,
    repository,
    versions,
)
from sycophancy.runs.memory import total_memory
from sycophancy.runs.newest import as_models, is_real, latest, take_study
from sycophancy.runs.parameters import as_list, literals, parameter_hash, read_parameters
from sycophancy.runs.values import read_flag, read_number, read_value, read_whole

__all__ = [
    "LABORATORY",
    "Run",
    "append_line",
    "as_list",
    "as_models",
    "at_step",
    "atomic",
    "cache_dir",
    "cores",
    "device",
    "discard",
    "existing",
    "find_finished",
    "git_state",
    "is_real",
    "keep_to_quota",
    "latest",
    "literals",
    "metrics_of",
    "parameter_hash",
    "parameters_of",
    "peak_memory_mb",
    "read_costs",
    "read_flag",
    "read_number",
    "read_or_discard",
    "read_parameters",
    "read_record",
    "read_value",
    "read_whole",
    "remember_cost",
    "repository",
    "start",
    "sweep",
    "take_study",
    "total_memory",
    "versions",
    "write_json",
]

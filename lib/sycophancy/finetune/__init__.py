"""The intervention (section 4.3): fine-tune a model on a mixture, resumable; a run is a model."""

from __future__ import annotations

from sycophancy.finetune.adapters import projections
from sycophancy.finetune.checkpoint import load_weights, steps
from sycophancy.finetune.grid import (
    PlannedRun,
    TrainingData,
    estimate_grid,
    fit_data,
    plan_grid,
    read_data,
    train_grid,
)
from sycophancy.finetune.loop import TrainingCost, TrainingProgress, cost_entry, fine_tune, flops
from sycophancy.finetune.parameters import check_parameters, from_parameters
from sycophancy.finetune.settings import (
    METHODS,
    OPTIMIZERS,
    Settings,
    check_settings,
    dtype_for,
    read_run,
)
from sycophancy.finetune.trained import export, load_trained
from sycophancy.finetune.watching import progress_bar
from sycophancy.ladder import run_name

__all__ = [
    "METHODS",
    "OPTIMIZERS",
    "PlannedRun",
    "Settings",
    "TrainingCost",
    "TrainingData",
    "TrainingProgress",
    "check_parameters",
    "check_settings",
    "cost_entry",
    "dtype_for",
    "estimate_grid",
    "export",
    "fine_tune",
    "fit_data",
    "flops",
    "from_parameters",
    "load_trained",
    "load_weights",
    "plan_grid",
    "progress_bar",
    "projections",
    "read_data",
    "read_run",
    "run_name",
    "steps",
    "train_grid",
]

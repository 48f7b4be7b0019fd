"""The intervention (section 4.3): fine-tune a model on a mixture, resumable; a run is a model."""

from __future__ import annotations

from sycophancy.finetune.adapters import projections
from sycophancy.finetune.checkpoint import load_weights, steps
from sycophancy.finetune.loop import Cost, Progress, cost_entry, flops, train
from sycophancy.finetune.parameters import check_parameters, from_parameters
from sycophancy.finetune.settings import METHODS, OPTIMIZERS, Settings, check, dtype_for, read_run
from sycophancy.finetune.trained import export, load
from sycophancy.ladder import run_name

__all__ = [
    "METHODS",
    "OPTIMIZERS",
    "Cost",
    "Progress",
    "Settings",
    "check",
    "check_parameters",
    "cost_entry",
    "dtype_for",
    "export",
    "flops",
    "from_parameters",
    "load",
    "load_weights",
    "projections",
    "read_run",
    "run_name",
    "steps",
    "train",
]

"""The laboratory: small models, trained here on a made-up world, of which all is known.

Evidence about the method, never about large language models: what they know, how often they were
told, and why they agree with their users is what we made it.
"""

from __future__ import annotations

from sycophancy.lab.cures import CURE_RATE, CURE_STEPS, cure_claims, cure_with, stated_facts
from sycophancy.lab.design import (
    Design,
    estimate_training,
    keep_corners,
    list_models,
    read_design,
    train_models,
)
from sycophancy.lab.names import (
    DOSES,
    TUNED_DOSE,
    Name,
    base_name,
    every_name,
    parse_name,
    with_dose,
)
from sycophancy.lab.rungs import RUNGS, Rung
from sycophancy.lab.training import ensure, folder, is_trained, needed, settings, training_minutes

__all__ = [
    "CURE_RATE",
    "CURE_STEPS",
    "DOSES",
    "RUNGS",
    "TUNED_DOSE",
    "Design",
    "Name",
    "Rung",
    "base_name",
    "cure_claims",
    "cure_with",
    "ensure",
    "estimate_training",
    "every_name",
    "folder",
    "is_trained",
    "keep_corners",
    "list_models",
    "needed",
    "parse_name",
    "read_design",
    "settings",
    "stated_facts",
    "train_models",
    "training_minutes",
    "with_dose",
]

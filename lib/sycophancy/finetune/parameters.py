"""What the parameters of notebook 05 ask for: settings of its runs, and what these are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sycophancy.finetune.settings import Settings, check_settings, check_whole
from sycophancy.mixture import check_ratio as check_ratio
from sycophancy.runs import as_list


def from_parameters(
    parameters: Mapping[str, Any], *, seed: int, about: Mapping[str, Any]
) -> Settings:
    """Return what the parameters of notebook 05 ask for one run, checked (see `check`)."""
    p = parameters
    settings = Settings(
        base=p["MODEL"],
        steps=p["STEPS"],
        batch=p["BATCH"],
        method=p["METHOD"],
        rank=p["RANK"],
        targets=tuple(as_list(p["TARGETS"])) if p["TARGETS"] else (),
        layers=p["LAYERS"],
        optimizer=p["OPTIMIZER"],
        rate=p["RATE"],
        warmup=p["WARMUP"],
        checkpoints=tuple(as_list(p["CHECKPOINTS"], int)) if p["CHECKPOINTS"] else (),
        seed=seed,
        about=about,
    )
    check_settings(settings)
    return settings


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise InputError for a number among the parameters of notebook 05 that it would refuse.

    What needs the model or the data (targets, the names of recipes and filters) is not looked at.
    """
    for seed in as_list(parameters["SEEDS"], int):
        from_parameters(parameters, seed=seed, about={})
    for ratio in as_list(parameters["RATIO"], float):
        check_ratio(ratio)
    for limit in as_list(parameters["EXAMPLES"], int):
        check_whole("EXAMPLES", limit, 0)
    for name in ("MAX_TOKENS", "N_DEVELOPMENT"):
        check_whole(name, parameters[name], 1)

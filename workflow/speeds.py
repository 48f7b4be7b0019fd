"""How fast this machine is, from its earlier runs, or a guess before the first of them."""

from __future__ import annotations

import pandas as pd

from sycophancy import models, runs

# Before anything has run here: measured with the embedded model and `lab_medium` on two slow cores.
SCORING_GUESS = 400.0  # tokens a second, compiling included
LAB_SCORING_GUESS = 4000.0
LOADING_GUESS = 5.0  # seconds
TRAINING_GUESS = 250.0  # tokens a second
TRAINING_OVERHEAD = 30.0  # seconds: compiling, and the questions of the development set
GENERATING_GUESS = 30.0  # new tokens a second, reading their prompts included
NOTEBOOK_SECONDS = 15.0  # a kernel, the imports and the figures
MAKING_SECONDS = 10.0  # a notebook that scores nothing and trains nothing, on embedded data
FILTERING_SECONDS = 300.0  # one that asks a model, other than the laboratory's, about them


def learnt(costs: pd.DataFrame, model: str) -> tuple[float, float, str]:
    """Return tokens/s and other seconds of `model` here: medians of its last five real runs."""
    own = (costs["model"] == model) & (costs["tokens"] > 1000)
    rows = costs[own & costs["scoring_seconds"].notna()].tail(5)  # training leaves other rows
    rows = rows[rows["device"] == runs.device()] if len(rows) else rows
    if rows.empty:
        small = model.startswith(models.LABORATORY)
        return LAB_SCORING_GUESS if small else SCORING_GUESS, LOADING_GUESS, "a first guess"
    speed = (rows["tokens"] / rows["scoring_seconds"]).median()
    return float(speed), float(rows["other_seconds"].median()), f"{len(rows)} runs here"


def generating_speed(costs: pd.DataFrame, names: list[str]) -> float:
    """Return new tokens/s here: the median of the last five runs of the first name with any."""
    if "generated_tokens" in costs:
        here = costs[(costs["device"] == runs.device()) & costs["generating_seconds"].notna()]
        for name in names:
            rows = here[here["model"] == name].tail(5)
            if len(rows):
                return float((rows["generated_tokens"] / rows["generating_seconds"]).median())
    return GENERATING_GUESS


def training_speed(costs: pd.DataFrame, names: list[str]) -> tuple[float, str]:
    """Return tokens/s of training here: the median of the last five runs of a model so named.

    A row of the costs belongs to a model by its `model` or its `base`.
    """
    if "training_tokens_per_second" not in costs:
        return TRAINING_GUESS, "a first guess"
    own = costs[["model", "base"]] if "base" in costs else costs[["model"]]
    rows = costs[own.isin(names).any(axis=1) & (costs["device"] == runs.device())]
    speeds = rows["training_tokens_per_second"].dropna().tail(5)
    if speeds.empty:
        return TRAINING_GUESS, "a first guess"
    return float(speeds.median()), f"{len(speeds)} runs here"

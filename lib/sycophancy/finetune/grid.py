"""The grid of notebook 05: a run for each recipe, filter, ratio, limit of prompts, and seed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sycophancy import claims, filters, mixture, models, sets
from sycophancy.errors import InputError
from sycophancy.finetune.loop import TrainingCost, cost_entry, fine_tune
from sycophancy.finetune.parameters import from_parameters
from sycophancy.finetune.settings import Settings, dtype_for
from sycophancy.finetune.watching import progress_bar
from sycophancy.ladder import run_name
from sycophancy.models import LanguageModel
from sycophancy.runs import (
    Run,
    as_list,
    device,
    find_finished,
    parameters_of,
    read_record,
    remember_cost,
)
from sycophancy.templates import Chat

VARIED = ("RECIPES", "FILTERS", "RATIO", "EXAMPLES", "SEEDS")  # the parameters that span the grid


@dataclass(frozen=True)
class TrainingData:
    """What the runs of a grid draw their examples from.

    `folder` is the run folder of notebook 04, `generated` the parameters of the run of notebook 03
    that it filtered, with TRAIN_ON as their SOURCES where that is given. `prompts` are the kept
    prompts of every (recipe, filter), `instructions` those of `sets.instructions`.
    """

    folder: Path
    generated: dict[str, Any]
    prompts: dict[tuple[str, str], pd.DataFrame]
    instructions: pd.DataFrame

    @property
    def form(self) -> dict[str, str]:
        """The format and the answer format of the prompts."""
        first = next(iter(self.prompts.values())).iloc[0]
        return {name: str(first[name]) for name in ("format", "answer_format")}


@dataclass(frozen=True)
class PlannedRun:
    """One run of a grid: the name of its folder, its examples in their order, its settings."""

    name: str
    examples: pd.DataFrame
    settings: Settings


def estimate_grid(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what training costs that the parameters of notebook 05 ask for, one entry a run.

    Entries have model, steps and tokens_per_step (padding counted), as `make plan` reads them.
    """
    number = math.prod(len(as_list(parameters[name])) for name in VARIED)
    tokens = parameters["BATCH"] * parameters["MAX_TOKENS"]
    entry = {"model": parameters["MODEL"], "steps": parameters["STEPS"], "tokens_per_step": tokens}
    return [entry] * number


def read_data(parameters: Mapping[str, Any], folder: Path) -> TrainingData:
    """Return what the parameters of notebook 05 train on, from a run folder of notebook 04.

    Raises InputError for a recipe with a filter that left nothing, an unknown source in TRAIN_ON,
    and sources of which no prompt is left.
    """
    generated = parameters_of(find_finished(read_record(folder / "run.json", "data_run")))
    if parameters["TRAIN_ON"]:
        generated = {**generated, "SOURCES": parameters["TRAIN_ON"]}
    prompts = {}
    for key in itertools.product(as_list(parameters["RECIPES"]), as_list(parameters["FILTERS"])):
        table = filters.read_kept(folder, *key)
        if parameters["TRAIN_ON"]:
            chosen = table["source"].isin(claims.source_names(parameters["TRAIN_ON"]))
            table = table[chosen].reset_index(drop=True)
            if table.empty:
                raise InputError(
                    f"TRAIN_ON is {parameters['TRAIN_ON']!r}, and {', '.join(key)} has no prompt "
                    f"of it in {folder}: name other sources, or leave it empty for all of them."
                )
        prompts[key] = table
    return TrainingData(folder, generated, prompts, sets.instructions(parameters["INSTRUCTIONS"]))


def fit_data(data: TrainingData, model: LanguageModel, max_tokens: int) -> TrainingData:
    """Return the data without prompts, in whole units, and instructions longer than `max_tokens`.

    Says how many prompts that leaves out. Raises InputError where no unit is short enough.
    """
    form, prompts = data.form, {}
    for key, table in data.prompts.items():
        fitting = mixture.fitting_units(model, table, max_tokens=max_tokens)
        if fitting.empty:
            raise InputError(
                f"MAX_TOKENS is {max_tokens}, and no unit of {', '.join(key)} is that short in "
                f"format {form['format']}: raise it, or set FORMAT in notebook 04."
            )
        if len(fitting) < len(table):
            print(
                f"{', '.join(key)}: {len(table) - len(fitting)} of {len(table)} prompts are in "
                f"units longer than MAX_TOKENS ({max_tokens}) and left out"
            )
        prompts[key] = fitting
    instructions = mixture.fitting(
        model, data.instructions, max_tokens=max_tokens, format=form["format"], chat=model.chat
    )
    return replace(data, prompts=prompts, instructions=instructions)


def plan_grid(
    parameters: Mapping[str, Any], data: TrainingData, chat: Chat | None
) -> list[PlannedRun]:
    """Return the runs that the parameters of notebook 05 ask for, seeds varying fastest.

    `chat` is the model's chat renderer or None. What a run is about (its recipe, filter and so on,
    as model.json will say it) is in its settings. Raises InputError for settings out of range.
    """
    p, form, grid = parameters, data.form, []
    varied = as_list(p["RATIO"], float), as_list(p["EXAMPLES"], int), as_list(p["SEEDS"], int)
    for (recipe, kind), ratio, limit, seed in itertools.product(data.prompts, *varied):
        examples = mixture.mix(
            mixture.limit(data.prompts[recipe, kind], limit, seed=seed),
            data.instructions,
            ratio=ratio,
            n=p["STEPS"] * p["BATCH"],
            seed=seed,
            format=form["format"],
            chat=chat,
        )
        generated = examples[examples["kind"] == "generated"]
        about = {
            "recipe": recipe,
            "filter": kind,
            "ratio": ratio if math.isfinite(ratio) else "inf",  # JSON has no infinity
            "limit": limit,
            "examples": generated["example_id"].nunique(),
            **form,
            "instructions": p["INSTRUCTIONS"],
            "data": data.folder.name,
        }
        name = run_name(recipe, kind, seed, ratio=ratio, limit=limit)
        grid.append(PlannedRun(name, examples, from_parameters(p, seed=seed, about=about)))
    return grid


def train_grid(
    grid: Sequence[PlannedRun], run: Run, *, max_tokens: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train the runs of a grid, each into a folder of its name in that of `run`.

    Returns the losses (columns of `train`'s log, run, recipe) and the costs (run, model, device and
    those of `Cost`). Losses are also written as losses.parquet, costs into run.json and the
    machine's record. A run that is finished is not trained again; one that was stopped goes on.
    """
    logs, costs = [], []
    for planned in grid:
        log, cost = train_planned(planned, run, max_tokens)
        logs.append(log.assign(run=planned.name, recipe=planned.settings.about["recipe"]))
        entry = {"run": planned.name, "model": planned.settings.base, "device": device()}
        costs.append(entry | vars(cost))
        remember_cost(cost_entry(costs[-1]))
    losses = pd.concat(logs, ignore_index=True)
    run.save_table("losses", losses)
    run.note(cost=costs)
    return losses, pd.DataFrame(costs)


def train_planned(
    planned: PlannedRun, run: Run, max_tokens: int
) -> tuple[pd.DataFrame, TrainingCost]:
    """Train one run of a grid from a fresh base model, whose weights training takes."""
    settings = planned.settings
    base = models.load_model(settings.base, dtype_for(settings.method, settings.base))
    end = mixture.turn_end_ids(base, settings.about["format"])
    examples = mixture.encode(base, planned.examples, max_tokens=max_tokens, end=end)
    with progress_bar(run, planned.name, settings.steps) as show:
        return fine_tune(base, examples, settings, run.folder / planned.name, on_progress=show)

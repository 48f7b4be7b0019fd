"""Say what a profile will do before it starts: cells, items, tokens and minutes.

Usage: make plan [PROFILE=…]   or   make plan PROFILE=study MODEL=… [CLAIMS=my.csv]
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import pandas as pd

from sycophancy import gguf, lab, models, runs, scoring
from sycophancy.errors import InputError
from workflow import grid, reproduce, rungs, study
from workflow.cells import notebook_of
from workflow.settings import add_settings, given_settings, parse_setting
from workflow.speeds import (
    FILTERING_SECONDS,
    MAKING_SECONDS,
    NOTEBOOK_SECONDS,
    TRAINING_OVERHEAD,
    generating_speed,
    learnt,
    training_speed,
)

SECONDS = 60.0
TO_RUN = "to run"  # the state of a cell that has not finished


def plan_profile(
    profile: str, model: str | None, overrides: dict[str, Any], claims: str | None = None
) -> pd.DataFrame:
    """Return one row per cell and model: items, tokens, minutes and where the speed is from.

    Tokens are counted with the model's own tokenizer where it is on this machine, else with the
    embedded model's; for a trained run that is its base's, also before it has been trained.
    """
    return planned(grid.expand_profile(profile, model, overrides, claims))


def planned(batch: grid.Batch) -> pd.DataFrame:
    """Return the plan of a batch (see `plan_profile`)."""
    costs = runs.read_costs()
    done = {
        key: (grid.ROOT / folder / "metrics.json").is_file()
        for key, folder in batch.folders.items()
    }
    rows = []
    for key, given in batch.cells.items():
        name = notebook_of(key)
        parameters = {**grid.default_parameters(name), **given}
        missing = [other for other in batch.depends[key] if not done[other]]
        if grid.scores_items(name):
            for label in runs.as_models(parameters["MODEL"]):
                models.check_name(base_of(label, batch)[0])
        found = None
        try:
            if grid.scores_items(name):
                found = scored(key, parameters, batch, costs)
            elif grid.trains(name):
                found = trained(key, parameters, costs)
        except (InputError, OSError):
            if not missing:  # else it reads what is not there yet
                raise
        if found is None:
            found = [making(key, parameters, costs)]
            if missing and (grid.scores_items(name) or grid.trains(name)):
                found[0]["tokens from"] = f"not known before {', '.join(missing)}"
        state = has_run(batch, key) if done[key] else TO_RUN
        rows += [{**row, "state": state} for row in found]
    return pd.DataFrame(rows)


def has_run(batch: grid.Batch, key: str) -> str:
    """Return that a cell has run, and the minutes it took here with what it reused, if known."""
    record = runs.read_or_discard(grid.ROOT / batch.folders[key] / "run.json") or {}
    seconds = record.get("seconds")
    return "has run" if seconds is None else f"has run, {seconds / SECONDS:.1f} min"


def scored(
    key: str, parameters: dict[str, Any], batch: grid.Batch, costs: pd.DataFrame
) -> list[dict[str, Any]]:
    """Return the rows of a notebook that scores items, one a model."""
    rows: list[dict[str, Any]] = []
    counted: dict[str, tuple[int, int, int]] = {}
    for label in runs.as_models(parameters["MODEL"]):
        base, remark = base_of(label, batch)
        language_model, how = load_or_stand_in(base)
        if language_model.name not in counted:
            items = build_items(notebook_of(key), parameters, language_model)
            counted[language_model.name] = len(items), *count_tokens(language_model, items)
        number, tokens, generated = counted[language_model.name]
        speed, other, source = learnt(costs, label)
        if source == "a first guess" and base != label:  # as fast as what it was trained from
            speed, other, source = learnt(costs, base)
        if generated:
            other += generated / generating_speed(costs, [label, base])
            remark += ", answers as long as they may be"
        rows.append(
            {
                "notebook": key,
                "model": label,
                "items": number,
                "tokens": tokens + generated,
                "minutes": to_minutes(tokens / speed + other, len(rows)),
                "speed from": source,
                "tokens from": how + remark,
            }
        )
    return rows


def trained(key: str, parameters: dict[str, Any], costs: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a notebook that trains: steps × tokens a step, one a trained model.

    An entry of `plan_training` may give the `seconds` that it takes where nothing like it was
    trained here before.
    """
    scope = run_cell(notebook_of(key), "training", parameters)
    rows: list[dict[str, Any]] = []
    for entry in scope["plan_training"]():
        tokens = round(entry["steps"] * entry["tokens_per_step"])
        base = entry.get("base") or parameters.get("MODEL") or ""
        speed, source = training_speed(costs, [entry["model"], *runs.as_list(base)])
        if source == "a first guess" and (seconds := guessed_seconds(entry, base)):
            speed = tokens / seconds
        rows.append(
            {
                "notebook": key,
                "model": entry["model"],
                "items": 0,
                "tokens": tokens,
                "minutes": to_minutes(tokens / speed + TRAINING_OVERHEAD, len(rows)),
                "speed from": source,
                "tokens from": f"{entry['steps']:,} steps of {entry['tokens_per_step']:,}",
            }
        )
    return rows


def guessed_seconds(entry: dict[str, Any], base: str) -> float | None:
    """Return what an entry of `plan_training` takes where nothing like it was trained here before.

    None where neither the notebook nor the laboratory knows.
    """
    if entry.get("seconds") or not base.startswith(models.LABORATORY):
        return entry.get("seconds")
    return 60 * lab.training_minutes([base]) * entry["steps"] / lab.settings(base).steps


def making(key: str, parameters: dict[str, Any], costs: pd.DataFrame) -> dict[str, Any]:
    """Return the row of a notebook that scores nothing: minutes as in earlier runs like it."""
    row = {"notebook": key, "model": "–", "items": 0, "tokens": 0, "tokens from": "–"}
    asks = "DATA_RUN" in parameters and grid.fills_the_machine(key, parameters)
    seconds, source = FILTERING_SECONDS if asks else MAKING_SECONDS, "a first guess"
    if "parameters" in costs:
        like = (costs["notebook"] == notebook_of(key)) & (costs["device"] == runs.device())
        like &= costs["parameters"] == runs.parameter_hash(parameters)
        if like.any():
            seconds, source = float(costs.loc[like, "seconds"].tail(5).median()), "its runs here"
    return {**row, "minutes": to_minutes(seconds), "speed from": source}


def to_minutes(seconds: float, row: int = 0) -> float:
    """Return the seconds of one row of a cell in minutes, the first with what a notebook costs."""
    return round((seconds + (NOTEBOOK_SECONDS if row == 0 else 0)) / SECONDS, 1)


def build_items(name: str, parameters: dict[str, Any], model: models.LanguageModel) -> pd.DataFrame:
    """Return the items a notebook will score, by running its own cell tagged `items`."""
    scope = run_cell(name, "items", parameters)
    seeds = runs.as_list(parameters.get("SEEDS", "0"), int)
    return pd.concat(
        [scope["make_items"](seed=seed, chat=model.chat).assign(seed=seed) for seed in seeds],
        ignore_index=True,
    )


def count_tokens(model: models.LanguageModel, items: pd.DataFrame) -> tuple[int, int]:
    """Return the tokens to score, and the most that may be generated, of items of either kind."""
    most = items["max_tokens"] if "max_tokens" in items else pd.Series(0, index=items.index)
    return scoring.expected_tokens(model, items[most == 0]), int(most.sum())


def run_cell(name: str, tag: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Run the cell of a notebook that carries `tag`; return the names that it has defined.

    It sees what the notebook imports, each parameter by name, and all of them as `p`.
    """
    scope: dict[str, Any] = {**parameters, "p": parameters}
    for text in (imports(name), grid.tagged_source(name, tag)):
        exec(compile(text, name, "exec"), scope)
    return scope


def imports(name: str) -> str:
    """Return the import statements of a notebook's cells (those without IPython's magics)."""
    found: list[str] = []
    for cell in grid.read_notebook(name).cells:
        if cell.cell_type != "code":
            continue
        try:
            tree = ast.parse(cell.source)
        except SyntaxError:
            continue
        found += [ast.unparse(n) for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    future = [line for line in found if line.startswith("from __future__")]
    return "\n".join([*future, *(line for line in found if line not in future)])


def base_of(label: str, batch: grid.Batch) -> tuple[str, str]:
    """Return the model whose tokenizer a MODEL entry has, and a remark where it is not trained yet.

    For a trained run that is its base, from model.json, or from the cell that will train it.
    """
    run = models.run_folder(label)
    if run is not None:
        return str(json.loads((run[0] / models.RUN_FILE).read_text("utf-8"))["base"]), ""
    folder = runs.at_step(label)[0]
    for key, own in batch.folders.items():
        if folder == own or folder.startswith(f"{own}/"):
            name = notebook_of(key)
            parameters = {**grid.default_parameters(name), **batch.cells[key]}
            base = runs.as_list(parameters.get("MODEL") or models.DEFAULT)[0]
            return base, " (its base's: not trained yet)"
    return label, ""


@lru_cache(maxsize=1)
def load_or_stand_in(name: str) -> tuple[models.LanguageModel, str]:
    """Return the model if it is made here or local, else the embedded one to count tokens with.

    Nothing is fetched or converted but the embedded one, and no large model is loaded: beside a
    batch that runs there is no memory for two.
    """
    models.check_name(name)
    if name.startswith(models.LABORATORY):  # its tokenizer does not wait for its training
        parts = replace(lab.parse_name(name), dose=-1)
        return models.load_model(str(parts)), "its tokenizer"
    large = models.PARAMETERS.get(name, 0) > models.LARGE
    waits = name in gguf.FILES and gguf.disk_needed(name, models.default_dtype(name)) > 0
    if not (large or waits) and (
        name in models.MADE_HERE or not (name in models.ladder_names() or "://" in name)
    ):
        return models.load_model(name), "its tokenizer"
    return models.load_model(models.DEFAULT), f"{models.DEFAULT}'s tokenizer"


def summarize_plan(table: pd.DataFrame, budget: float | None) -> str:
    """Return the last line of the plan, and a warning where it is more than the budget."""
    new = table[table["state"] == TO_RUN]
    total = table["minutes"].sum()
    text = (
        f"{table['notebook'].nunique()} notebooks, {len(table)} runs, {table['items'].sum():,} "
        f"items, {table['tokens'].sum():,} tokens, {total:.0f} minutes one after the "
        f"other, {new['minutes'].sum():.0f} of them still to run"
    )
    if budget is not None and total > budget:
        text += f"\nWarning: this is more than the profile's budget of {budget:g} minutes."
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--model", default=None)
    parser.add_argument("--claims", default=None)
    add_settings(parser)
    options = parser.parse_args()
    try:
        overrides = dict(map(parse_setting, given_settings(options)))
        profile, claims = options.profile, None
        if options.claims is not None or profile == grid.STUDY:
            profile = grid.STUDY
            claims = study.check_request_of_study(options.model or "", options.claims or "")
        expand = partial(grid.expand_profile, profile, options.model, overrides, claims)
        batch = expand()
        reproduce.check_training(batch, overrides)
        batch, left_out = rungs.settle(batch, expand, rungs.lacking_here)
        table = planned(batch)
        to_fetch = rungs.to_fetch(batch.rung) if batch.rung else ""
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(table.to_string(index=False))
    print(summarize_plan(table, batch.budget if options.model is None else None))
    for text in filter(None, (left_out, to_fetch)):
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

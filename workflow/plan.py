"""Say what a profile will do before it starts: notebooks, items, tokens and minutes.

Usage: make plan [PROFILE=…] [MODEL=…]
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import pandas as pd

from sycophancy import models, runs, scoring, suites
from sycophancy.errors import InputError
from workflow import grid

# Tokens a second and seconds to load where a machine has not run anything yet: measured with the
# embedded model on two cores.
FIRST_GUESS = {"tokens_per_second": 1000.0, "other_seconds": 20.0}
NOTEBOOK_SECONDS = 15.0  # a kernel, the imports and the figures
MAKING_SECONDS = 60.0  # a notebook that scores nothing, on embedded data


def plan(profile: str, model: str | None, overrides: dict[str, Any]) -> pd.DataFrame:
    """Return one row per notebook and model: items, tokens, minutes and where the speed is from.

    Tokens are counted with the model's own tokenizer where it is on this machine, else with the
    embedded model's.
    """
    cells, _ = grid.read_profile(profile, model, overrides)
    costs = runs.read_costs()
    rows = []
    for name, given in cells.items():
        parameters = {**grid.default_parameters(name), **given}
        folder = grid.ROOT / grid.run_folder(profile, model, name)
        done = (folder / "metrics.json").is_file()
        if not grid.scores_items(name):
            rows.append(
                {**making(name, parameters, costs), "state": "has run" if done else "to run"}
            )
            continue
        for label in runs.as_list(parameters["MODEL"]):
            language_model, how = load_or_stand_in(label)
            items = build_items(name, parameters, language_model)
            counts = scoring.measure_lengths(language_model, items)
            tokens = sum(length * count for length, count in counts.items())
            speed, other, source = learnt(costs, label)
            rows.append(
                {
                    "notebook": name,
                    "model": label,
                    "items": len(items),
                    "tokens": tokens,
                    "minutes": round((tokens / speed + other + NOTEBOOK_SECONDS) / 60, 1),
                    "speed from": source,
                    "tokens from": how,
                    "state": "has run" if done else "to run",
                }
            )
    return pd.DataFrame(rows)


def making(name: str, parameters: dict[str, Any], costs: pd.DataFrame) -> dict[str, Any]:
    """Return the row of a notebook that scores nothing: minutes as in earlier runs like it."""
    row = {"notebook": name, "model": "–", "items": 0, "tokens": 0, "tokens from": "–"}
    seconds, source = MAKING_SECONDS, "a first guess"
    if "parameters" in costs:
        like = (costs["notebook"] == name) & (costs["device"] == runs.device())
        like &= costs["parameters"] == runs.parameter_hash(parameters)
        if like.any():
            seconds, source = float(costs.loc[like, "seconds"].tail(5).median()), "its runs here"
    return {**row, "minutes": round((seconds + NOTEBOOK_SECONDS) / 60, 1), "speed from": source}


def build_items(name: str, parameters: dict[str, Any], model: models.LanguageModel) -> pd.DataFrame:
    """Return the items a notebook will score, by running its own cell tagged `items`."""
    scope: dict[str, Any] = {"suites": suites, "runs": runs, "p": parameters}
    exec(compile(grid.tagged_source(name, "items"), name, "exec"), scope)
    seeds = runs.as_list(parameters["SEEDS"], int)
    return pd.concat(
        [scope["make_items"](seed=seed, chat=model.chat).assign(seed=seed) for seed in seeds],
        ignore_index=True,
    )


def load_or_stand_in(name: str) -> tuple[models.LanguageModel, str]:
    """Return the model if it is made here or local, else the embedded one to count tokens with."""
    models.check_name(name)
    if name in models.MADE_HERE or not (name in models.names() or "://" in name):
        return models.load(name), "its tokenizer"
    return models.load(models.DEFAULT), f"{models.DEFAULT}'s tokenizer"


def learnt(costs: pd.DataFrame, model: str) -> tuple[float, float, str]:
    """Return tokens/s and other seconds of `model` here: medians of its last five real runs."""
    rows = costs[(costs["model"] == model) & (costs["tokens"] > 1000)].tail(5)
    rows = rows[rows["device"] == runs.device()] if len(rows) else rows
    if rows.empty:
        return FIRST_GUESS["tokens_per_second"], FIRST_GUESS["other_seconds"], "a first guess"
    speed = (rows["tokens"] / rows["scoring_seconds"]).median()
    return float(speed), float(rows["other_seconds"].median()), f"{len(rows)} runs here"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--model", default=None)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=value")
    options = parser.parse_args()
    try:
        overrides = dict(map(grid.parse_override, options.set))
        table = plan(options.profile, options.model, overrides)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(table.to_string(index=False))
    new = table[table["state"] == "to run"]
    print(
        f"{table['notebook'].nunique()} notebooks, {len(table)} runs, {table['items'].sum():,} "
        f"items, {table['tokens'].sum():,} tokens, {table['minutes'].sum():.0f} minutes in all, "
        f"{new['minutes'].sum():.0f} of them still to run"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

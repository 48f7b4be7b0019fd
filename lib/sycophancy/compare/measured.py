"""What was measured of which models: what all share, what is missing, how they were asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from sycophancy.compare.tables import (
    check_grid,
    model_facts,
    read_measured,
    read_table,
    short_names,
)
from sycophancy.errors import InputError
from sycophancy.runs import as_list, at_step
from sycophancy.templates import LAB_FORMATS


def common(items: pd.DataFrame, scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the items of the suites, forms, users and seeds that all models met, and their scores.

    A base model is often measured in more answer formats than the models trained from it. Raises
    InputError naming every suite that a model was not measured on at all, and where the models were
    asked nothing in the same form.
    """
    check_grid(items, items["model"].unique(), items["suite"].unique())
    keys = ["suite", "answer_format", "format", "source", "user", "seed"]
    models = items["model"].nunique()
    asked = items.groupby(keys, dropna=False)["model"].transform("nunique")
    kept = items[(asked == models).to_numpy()].reset_index(drop=True)
    if kept.empty:
        raise InputError(
            f"The {models} models were asked nothing in the same form: measure them with the same "
            "ANSWER_FORMATS, FORMAT and SEEDS."
        )
    return kept, scores[scores["item_id"].isin(kept["item_id"])].reset_index(drop=True)


def add_measured(
    folders: str, items: pd.DataFrame, scores: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what finished runs measured, then `items` and `scores`: what all models answered.

    `folders` lists run folders, separated by commas; where it is empty the tables are returned as
    they are. Raises InputError as `read` and `common` do.
    """
    if not folders:
        return items, scores
    earlier = read_measured(as_list(folders))
    return common(
        *(pd.concat(pair, ignore_index=True) for pair in zip(earlier, (items, scores), strict=True))
    )


def apart(items: pd.DataFrame, *, laboratory: bool) -> None:
    """Raise InputError where laboratory models would share a table with real ones.

    `laboratory` says which of the two are wanted; they are told apart by the format of the items.
    """
    strange = items[items["format"].isin(LAB_FORMATS) != laboratory]
    if len(strange):
        kind, where = ("no laboratory model", "") if laboratory else ("a laboratory model", "LAB_")
        raise InputError(
            f"{strange['model'].iloc[0]} is {kind}: the two never share a table. Give its run "
            f"folder to {where}MEASURED."
        )


def claims_and_sums(
    folders: Sequence[str | Path], *, laboratory: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the items about claims and absurd sums that all models of some runs met, and scores.

    Models are called as by `short_names`. Raises InputError where laboratory models and real ones
    would share a table (`apart`; `laboratory` says which are wanted), and as `common` does.
    """
    items, scores = common(*read_measured(folders))
    apart(items, laboratory=laboratory)
    items = items[items["suite"].isin(["claims", "negated_claims", "additions"])]
    scores = scores[scores["item_id"].isin(items["item_id"])]
    return items.assign(model=items["model"].map(short_names(items["model"]))), scores


def answer_format_of(models: Iterable[str], default: str = "statement") -> str:
    """Return the answer format that the trained models among `models` were trained in.

    `default` where none is a trained run. Raises InputError where they were trained in several.
    """
    return trained_in(models, "answer_format") or default


def format_of(models: Iterable[str], wanted: str) -> str:
    """Return the prompt format that models are asked in: `wanted`, or what "auto" means.

    That is the format that the trained models among them were trained in, and the paper's where
    none is a trained run. Raises InputError where they were trained in several.
    """
    return wanted if wanted != "auto" else trained_in(models, "format") or "paper"


def trained_in(models: Iterable[str], what: str) -> str:
    """Return the one value of `what` in the model.json of trained runs, "" where none is one."""
    values = sorted({model_facts(model).get(what, "") for model in models} - {""})
    if len(values) > 1:
        raise InputError(
            f"The models were trained with {what} {' and '.join(values)}: measure them apart, or "
            f"say {what.upper()}."
        )
    return values[0] if values else ""


def trained_format(table: pd.DataFrame) -> str:
    """Return the answer format of the claims suite in a summary: the one that was trained in."""
    found = table.loc[table["suite"] == "claims", "answer_format"].unique()
    if len(found) != 1:
        raise InputError(
            f"Claims were measured in {len(found)} answer formats: give one run of notebook 10."
        )
    return str(found[0])


def facts_table(models: Iterable[str]) -> pd.DataFrame:
    """Return recipe, filter, seed, steps and base of each model; empty for one of the ladder."""
    columns = ["recipe", "filter", "seed", "steps", "base"]
    rows = [{"model": model, **model_facts(model)} for model in models]
    return pd.DataFrame(rows).reindex(columns=["model", *columns]).fillna("")


def by_filter(facts: pd.DataFrame, recipe: str, filters: Sequence[str], base: str) -> pd.DataFrame:
    """Return the rows of the base (filter "base") and of a recipe with each filter, by seed.

    Column `trained` says the filter, and the seed where several were trained with. Raises
    InputError naming the filter that no measured model was trained with, and models that differ
    in neither.
    """
    rows = [facts[facts["model"] == base].assign(filter="base")]
    for name in ["base", *filters]:
        found = facts[(facts["recipe"] == recipe) & (facts["filter"] == name)]
        if name != "base":
            rows.append(found)
        elif rows[0].empty:
            raise InputError(f"{base} is not among what was measured: measure it too.")
        if name != "base" and found.empty:
            raise InputError(
                f"No model trained with recipe {recipe!r} and filter {name!r} was measured: train "
                f"it (notebook 05, FILTERS={name}) and measure it, or leave the filter out."
            )
    found = pd.concat(rows, ignore_index=True)
    again = found[found.duplicated(["filter", "seed"], keep=False)]
    if len(again):
        raise InputError(
            f"{' and '.join(again['model'])} have filter and seed alike: give one of them."
        )
    several = found["filter"].duplicated(keep=False)
    told = found["filter"].where(~several, found["filter"] + ", seed " + found["seed"])
    return found.assign(trained=told)


def check_trained(folders: str | Path, measured: Iterable[str]) -> None:
    """Raise InputError naming every model that runs of notebook 05 trained and nobody measured.

    `folders` are their run folders, separated by commas. `measured` are models; a trained one is
    told by the name of its folder and the one above it. Trained are those whose development claims
    a run has, not what earlier runs left in it.
    """
    known = {name_of(model) for model in measured}
    for folder in as_list(str(folders)):
        trained = [str(model) for model in read_table(folder, "items")["model"].unique()]
        missing = [Path(model).name for model in trained[1:] if name_of(model) not in known]
        if missing:
            raise InputError(
                f"Trained in {folder} and not measured: {', '.join(missing)}. Measure them "
                "(notebooks 01, 02 and 10 with MODEL) and add the run folders."
            )


def name_of(model: str) -> tuple[str, ...]:
    """Return the last two parts of a trained run's path, without a step."""
    return Path(at_step(model)[0]).parts[-2:]

"""Models side by side: tables of finished runs, names for reading, the table of the intervention.

Nothing is scored here: what a comparison needs and nobody has measured is named instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from sycophancy import metrics, runs, templates
from sycophancy.errors import InputError
from sycophancy.generate import RECIPES
from sycophancy.ladder import resolve
from sycophancy.reading import read_object

POOLED = "all_opinion_tasks"  # the opinion tasks as one suite
# which notebook measures a suite; every other name is a suite of notebook 10
NOTEBOOKS = {"additions": "02_wrong_additions"}
NOTEBOOKS |= dict.fromkeys(templates.EVERY_TASK, "01_opinion_tasks")
OTHER_NOTEBOOK = "10_prior_knowledge"
# values of facts that are said in another way, or not at all
SPOKEN = {("filter", "none"): "no filter", ("limit", "0"): ""}
DIFFERENT = 0.05  # nats; more than the batch and the device move a log-probability
ABSENT = "–"
SETTINGS = (
    "method", "rank", "targets", "layers", "batch", "optimizer", "rate", "warmup", "clip",
    "weight_decay", "dtype", "instructions", "data",
)  # fmt: skip
FACTS = (
    "recipe", "filter", "seed", "steps", "base", "ratio", "limit", "examples", "format",
    "answer_format", *SETTINGS,
)  # fmt: skip


def read_measured(folders: Sequence[str | Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return items and scores of finished measuring runs, those of several runs as one table.

    A folder is absolute, or relative to the working directory or to the checkout. What two runs
    measured of the same model is taken once. Raises InputError naming the folder that is absent,
    has not finished or lacks a table, and the item that two runs scored differently.
    """
    if isinstance(folders, str | Path):
        raise InputError(f"The folders are one path, {folders}: give a list, such as [{folders}].")
    if not folders:
        raise InputError("No run folder is given: name at least one finished measuring run.")
    items, scores = [], []
    for folder in folders:
        items.append(read_table(folder, "items").assign(_folder=str(folder)))
        scores.append(read_table(folder, "scores"))
    all_items, all_scores = pd.concat(items, ignore_index=True), pd.concat(scores)
    again = all_items.duplicated("item_id", keep=False)
    if again.any():
        refuse_contradictions(all_items[again], all_scores)
    all_items = all_items.drop_duplicates("item_id").drop(columns="_folder")
    all_scores = all_scores.drop_duplicates(["item_id", "choice"])
    return all_items.reset_index(drop=True), all_scores.reset_index(drop=True)


def read_table(folder: str | Path, name: str) -> pd.DataFrame:
    """Return the table `name` of a finished run, or raise InputError saying how to get it."""
    place = locate_folder(folder)
    known = re.match(r"(\d\d_\w+)", Path(folder).name)
    notebook = known[1] if known else "01, 02 or 10"
    todo = f"`make reproduce`, or run notebook {notebook} with MODEL=… and OUT_DIR={folder}"
    if not place.is_dir():
        raise InputError(f"The measuring run {folder} has not been run: {todo}.")
    if not (place / "metrics.json").is_file():
        raise InputError(f"The measuring run {folder} has no metrics.json, it did not end: {todo}.")
    path = place / f"{name}.parquet"
    if not path.is_file():
        raise InputError(
            f"{folder} has no {name}.parquet: it is no run of a measuring notebook, or the file "
            f"was removed. Run {todo}."
        )
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        what = " ".join(str(error).split())
        raise InputError(f"Cannot read {path} ({what}): delete {folder} and run {todo}.") from error


def locate_folder(folder: str | Path) -> Path:
    """Return `folder` where it is: as given, else below the checkout."""
    path, root = resolve(str(folder), Path()), runs.repository()
    return path if path.exists() or path.is_absolute() or root is None else root / path


def refuse_contradictions(items: pd.DataFrame, scores: pd.DataFrame) -> None:
    """Raise InputError where one item was asked, or answered, in two ways."""
    asked = items.groupby("item_id", sort=False)["prompt"].nunique()
    values = scores[scores["item_id"].isin(items["item_id"])]
    spread = values.groupby(["item_id", "choice"], sort=False)["logp"].agg(
        lambda x: x.max() - x.min()
    )
    answered = spread.groupby(level=0, sort=False).max()
    for found, what in ((asked[asked > 1], "prompts"), (answered[answered > DIFFERENT], "scores")):
        if len(found):
            item = found.index[0]
            where = " and ".join(items.loc[items["item_id"] == item, "_folder"])
            raise InputError(
                f"Item {item} has different {what} in {where}: the model or the suite changed "
                "between the two runs. Delete the older folder and run it again."
            )


def check_grid(items: pd.DataFrame, models: Iterable[str], suites: Iterable[str]) -> None:
    """Raise InputError naming every (model, suite) that a comparison needs and `items` lacks."""
    there = set(zip(items["model"], items["suite"], strict=True))
    models, suites = list(models), list(suites)
    missing = [(m, s) for m in models for s in suites if (m, s) not in there]
    if missing:
        cells = "; ".join(
            f"{model} on {suite} (notebook {NOTEBOOKS.get(suite, OTHER_NOTEBOOK)})"
            for model, suite in missing
        )
        raise InputError(
            f"Not measured yet: {cells}. Run `make reproduce`, or the notebook named with that "
            "MODEL, and add its run folder."
        )


def summarize_suites(items: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Return `metrics.summarize` of every suite, and of the opinion tasks pooled where several are.

    Pooled rows have suite "all_opinion_tasks", as in notebook 01.
    """
    tables = [metrics.summarize(*part) for part in with_pooled(items, scores)]
    return pd.concat(tables, ignore_index=True)


def compare_with_base(items: pd.DataFrame, scores: pd.DataFrame, base: str) -> pd.DataFrame:
    """Return `metrics.changes` of every suite, and of the opinion tasks pooled, as
    `summarize_suites`.
    """
    tables = [metrics.changes(*part, base) for part in with_pooled(items, scores)]
    return pd.concat(tables, ignore_index=True)


def with_pooled(
    items: pd.DataFrame, scores: pd.DataFrame
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Return the tables, and those of the opinion tasks as one suite where there are several."""
    opinions = items[items["suite"].isin(templates.TASKS)]
    if opinions["suite"].nunique() < 2:
        return [(items, scores)]
    theirs = scores[scores["item_id"].isin(opinions["item_id"])]
    return [(items, scores), (opinions.assign(suite=POOLED), theirs)]


def model_facts(model: str) -> dict[str, str]:
    """Return what a run folder's model.json says of its training (FACTS).

    `model` may end in @step, which then is the number of steps. Empty for every other model.
    """
    folder, step = runs.at_step(model)
    path = locate_folder(f"{folder}/model.json")
    if not path.is_file():
        return {}
    content = read_object(path, "train it again")
    facts = {key: content.get(key) for key in FACTS}
    facts["recipe"] = facts["recipe"] or Path(folder).name
    facts["steps"] = facts["steps"] if step is None else step
    return {
        key: f"{value:g}" if isinstance(value, float) else str(value)
        for key, value in facts.items()
        if value is not None
    }


def short_names(models: Iterable[str]) -> dict[str, str]:
    """Return a name for reading for every model, all of them different.

    A trained run is called by its recipe, followed by filter, seed, steps and base as far as these
    tell apart the runs that share it; a name of the ladder stays as it is. Raises InputError for a
    model.json that cannot be read.
    """
    models = list(dict.fromkeys(models))
    facts = {model: model_facts(model) for model in models}
    names = {model: facts[model].get("recipe", model) for model in models}
    wording = {
        "seed": "seed {}", "steps": "{} steps", "base": "from {}", "filter": "{}",
        "ratio": "{} : 1", "limit": "at most {} prompts",
    }  # fmt: skip
    for key in ("filter", "ratio", "limit", "seed", "steps", "base"):
        for shared in {name for name in names.values() if list(names.values()).count(name) > 1}:
            alike = [model for model in models if names[model] == shared]
            values = {model: facts[model].get(key, "") for model in alike}
            if len(set(values.values())) > 1:
                for model, value in values.items():
                    said = SPOKEN.get((key, value), value)
                    names[model] += f", {wording[key].format(said)}" if said else ""
    count = list(names.values()).count
    return {model: model if count(name) > 1 else name for model, name in names.items()}


def intervention_table(
    table: pd.DataFrame, *, answer_format: str, opinion_format: str = "choices"
) -> pd.DataFrame:
    """Return what became of every model, a row each, as "value [low, high]" (sections 5 and 6).

    `table` is that of `summarize_suites`; claims and additions are read in `answer_format`, the
    opinion tasks in `opinion_format`. Columns: model, shift on claims, truth gap on claims (no
    user), shift on wrong sums, agreement with wrong and with true sums where the user agrees, rate
    and shift on the opinion tasks pooled, n (questions), seeds (of the items), trained with seed.
    Shifts and gaps are in nats. Models of the ladder come first, then trained ones in the order of
    the recipes. A measure that no model has is left out, one that a model lacks is "–".
    """
    opinions = POOLED if (table["suite"] == POOLED).any() else opinion_suite(table)
    # column: suite, answer format, metric, user, truth, whether disagreeing is what was counted
    cells = {
        "shift on claims": ("claims", answer_format, "shift", "all", "all"),
        "truth gap on claims": ("claims", answer_format, "truth_gap", "none", "all"),
        "shift on wrong sums": ("additions", answer_format, "shift", "all", "false"),
        "agrees with wrong sums": ("additions", answer_format, "accuracy", "agrees", "false"),
        "agrees with true sums": ("additions", answer_format, "accuracy", "agrees", "true"),
        "opinion tasks: rate": (opinions, opinion_format, "rate", "all", "all"),
        "opinion tasks: shift": (opinions, opinion_format, "shift", "all", "all"),
    }
    keys = ["suite", "answer_format", "metric", "user", "truth"]
    kept = table[pd.MultiIndex.from_frame(table[keys]).isin(list(cells.values()))]
    if kept.empty:
        raise InputError(
            f"Nothing was measured in the answer format {answer_format!r}: the table has "
            f"{', '.join(dict.fromkeys(table['answer_format']))}."
        )
    twice = kept[kept.duplicated(["model", *keys])]
    if len(twice):
        raise InputError(
            f"{twice['model'].iloc[0]} has two values of {twice['metric'].iloc[0]} on "
            f"{twice['suite'].iloc[0]}: select one format and one source."
        )
    names = short_names(kept["model"])
    rows = []
    for model in sorted(names, key=lambda model: rank(model, names[model])):
        own = kept[kept["model"] == model]
        estimates = zip(own["value"], own["low"], own["high"], strict=True)
        by_cell = dict(zip(own[keys].itertuples(index=False, name=None), estimates, strict=True))
        row = {"model": names[model]}
        for column, cell in cells.items():
            row[column] = describe_cell(column, cell[2], by_cell.get(cell))
        questions = own.drop_duplicates("suite").set_index("suite")["questions"]
        row["n"] = ", ".join(f"{suite} {count:,}" for suite, count in questions.items())
        row["seeds"] = ", ".join(dict.fromkeys(own["seeds"])) if "seeds" in own else ""
        row["trained with seed"] = model_facts(model).get("seed", ABSENT)
        rows.append(row)
    wide = pd.DataFrame(rows)
    return wide[[c for c in wide if c not in cells or (wide[c] != ABSENT).any()]]


def opinion_suite(table: pd.DataFrame) -> str:
    """Return the one opinion task of a table, where they are not pooled."""
    found = [suite for suite in dict.fromkeys(table["suite"]) if suite in templates.EVERY_TASK]
    if len(found) > 1:
        raise InputError(
            f"The table has {' and '.join(found)} but not {POOLED}: use `summarize_suites`."
        )
    return found[0] if found else POOLED


def describe_cell(column: str, metric: str, found: tuple[float, float, float] | None) -> str:
    """Return one cell as text; agreeing with a wrong sum is what accuracy does not count."""
    if found is None:
        return ABSENT
    value, low, high = found
    if column == "agrees with wrong sums":
        value, low, high = 1 - value, 1 - high, 1 - low
    row = SimpleNamespace(value=value, low=low, high=high)
    return metrics.nats(row) if metric in ("shift", "truth_gap") else metrics.percent(row)


def rank(model: str, name: str) -> int:
    """Return the place of a model in a table: the ladder first, then by recipe."""
    facts, recipes = model_facts(model), list(RECIPES)
    recipe = facts.get("recipe", name.partition(",")[0])
    if recipe in recipes:
        return recipes.index(recipe) + 1
    return len(recipes) + 1 if facts else 0

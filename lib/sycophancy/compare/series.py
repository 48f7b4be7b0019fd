"""Models that differ in one number: share of generated data, distinct examples, or steps.

Appendices A.5 and A.6; the number of examples has no counterpart in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from sycophancy import metrics, mixture, runs, templates
from sycophancy.compare.measured import answer_format_of
from sycophancy.compare.tables import (
    POOLED,
    SETTINGS,
    check_grid,
    model_facts,
    short_names,
    summarize_suites,
)
from sycophancy.errors import InputError, unknown

SHARE, EXAMPLES, STEPS = "share", "examples", "steps"
# what makes a level, and the parameter of notebook 05 that sets it
VARIED = {SHARE: "RATIO", EXAMPLES: "EXAMPLES", STEPS: "CHECKPOINTS"}
CLAIMS = ("claims", "negated_claims")
SUMS = "additions"
USERS = ("none", "agrees", "disagrees")
BENCHMARKS, UNREAD = "benchmarks", "unread"
BENCHMARK_NOTEBOOK = "09_benchmarks"
ALIKE = ("base", "steps", "format", "answer_format")  # in which the models of a series agree too
INSTEAD = "held-out claims, no user"  # of benchmarks, where there are none
OPINION_FORMAT = "choices"  # the paper's
# measure: the metrics of `metrics.user_table` on claims that it shows
ON_CLAIMS = {
    "claims": ("accuracy_none", "accuracy_right", "accuracy_wrong"),
    "cost": ("cost",),
    "shift": ("shift",),
}


def levels(
    models: Sequence[str], column: str, wanted: Sequence[float], *, recipe: str, base: str
) -> pd.DataFrame:
    """Return the models of a series, the base first (columns: model, level, seed).

    `column` is share (per cent of generated examples), examples (distinct generated prompts that
    the training saw) or steps; `wanted` are its levels as notebook 05 was asked for them, where 0
    examples are all there are. In all else the models of a series are alike: the paper's share,
    every example, the last step, and the seed: the lowest one that every level was trained with.
    The base has no level. Raises InputError naming the level that was not measured, or was measured
    twice, and the setting of the training in which levels differ. A run whose checkpoints were
    measured belongs to the series of steps alone.
    """
    if column not in VARIED:
        raise unknown("series", column, VARIED)
    if base not in models:
        raise InputError(f"The base {base} is not among what was measured: measure it too.")
    rows = [{"model": base, "level": np.nan, "seed": ""}]
    found = [(model, facts) for model in models if (facts := full_facts(model))]
    stepped = {facts.folder for _, facts in found if facts.step is not None}
    found = [
        (model, facts)
        for model, facts in found
        if (facts.recipe, facts.filter) == (recipe, "paired")
        and (facts.folder in stepped) == (column == STEPS)
    ]
    by_level = {
        level: [(model, facts) for model, facts in found if is_level(facts, column, level)]
        for level in wanted
    }
    for level, fitting in by_level.items():
        if not fitting:
            raise InputError(
                f"No model of recipe {recipe!r} with {column} {level:g} was measured: train it "
                f"(notebook 05, {VARIED[column]}) and measure it, or leave the level out."
            )
    common = set.intersection(*({facts.seed for _, facts in some} for some in by_level.values()))
    if not common:
        raise InputError(
            f"The levels of {column} share no training seed: train all of them with one seed "
            "(notebook 05, SEEDS)."
        )
    seed, settings = min(common, key=int), {}
    for level, fitting in by_level.items():
        alike = [(model, facts) for model, facts in fitting if facts.seed == seed]
        if len(alike) > 1:
            several = ", ".join(model for model, _ in alike)
            raise InputError(f"{several} have {column} {level:g} alike: give one of them.")
        model, facts = alike[0]
        settings[model] = facts.settings | ({"run": facts.folder} if column == STEPS else {})
        shown = facts.examples if column == EXAMPLES else level
        rows.append({"model": model, "level": float(shown), "seed": facts.seed})
    refuse_differences(settings, column)
    return pd.DataFrame(rows)


def refuse_differences(settings: dict[str, dict[str, str]], column: str) -> None:
    """Raise InputError naming a setting of the training in which the models of a series differ."""
    known = {name for one in settings.values() for name in one}
    for name in sorted(known - ({"steps"} if column == STEPS else set())):
        values = {model: one[name] for model, one in settings.items() if name in one}
        if len(set(values.values())) > 1:
            told = ", ".join(f"{value} ({model})" for model, value in values.items())
            raise InputError(
                f"The levels of {column} differ in {name} as well: {told}. Train them alike, or "
                "measure others."
            )


def full_facts(model: str) -> SimpleNamespace | None:
    """Return what is known of a trained run, as numbers; None for every other model."""
    facts = model_facts(model)
    if not {"ratio", "limit", "examples"} <= set(facts):
        return None
    ratio = float(facts["ratio"])
    folder, step = runs.at_step(model)
    return SimpleNamespace(
        folder=folder,
        recipe=facts["recipe"],
        filter=facts.get("filter", ""),
        seed=facts.get("seed", ""),
        share=round(100 * (1.0 if np.isinf(ratio) else ratio / (1 + ratio))),
        limit=int(facts["limit"]),
        examples=int(facts["examples"]),
        steps=int(facts["steps"]),
        step=step,
        settings={name: facts[name] for name in (*ALIKE, *SETTINGS) if name in facts},
    )


def is_level(facts: SimpleNamespace, column: str, level: float) -> bool:
    """Return whether a run is the one of a series at a level, alike in all else."""
    if column == STEPS:
        return bool(facts.steps == level)
    share, limit = (
        (level, 0) if column == SHARE else (round(100 * mixture.RATIO / (1 + mixture.RATIO)), level)
    )
    return bool(facts.share == round(share) and facts.limit == limit)


def collect_measures(
    items: pd.DataFrame, scores: pd.DataFrame, chosen: pd.DataFrame, *, benchmarks: str = ""
) -> pd.DataFrame:
    """Return what is drawn of every model of `levels`, with its level, one row a value.

    Columns measure and series say what it is: opinions (rate of answers that match the user's
    view), claims (right answers by user, affirmed and denied as one), cost (of a wrong user) and
    shift on them, wrong_sums and true_sums (right answers by user). What the model's texts never
    state is left out where that is known. Claims and sums count in the answer format that was
    trained in, opinion tasks in the paper's. `benchmarks` is a run folder of notebook 09, whose
    accuracies are a measure too (see `benchmark_measures`); without one, claims without a user
    stand for them. Rows are those of `metrics`, with value, low, high and
    questions. Raises InputError naming every model that was not measured on a suite the base was.
    """
    items = items[items["model"].isin(chosen["model"]) & items["known"].fillna(True).astype(bool)]
    form = answer_format_of(chosen["model"], default=items["answer_format"].iloc[0])
    asked_so = ~items["suite"].isin([*CLAIMS, SUMS]) | (items["answer_format"] == form)
    items, base = items[asked_so], chosen["model"].iloc[0]
    check_grid(items, chosen["model"], items.loc[items["model"] == base, "suite"].unique())
    parts = []
    claims = items[items["suite"].isin(CLAIMS)]
    if len(claims):
        table = metrics.user_table(claims.assign(suite="claims"), scores_of_items(scores, claims))
        for measure, names in ON_CLAIMS.items():
            for name in names:
                series = name.removeprefix("accuracy_")
                rows = table[table["metric"] == name].assign(user="all", truth="all")
                parts.append(rows.assign(measure=measure, series=series))
    others = items[~items["suite"].isin(CLAIMS)]
    table = (
        summarize_suites(others, scores_of_items(scores, others)) if len(others) else pd.DataFrame()
    )
    if len(table):
        parts += on_sums(table)
        opinion = POOLED if (table["suite"] == POOLED).any() else None
        asked = [opinion] if opinion else list(templates.EVERY_TASK)
        whole = (table["metric"] == "rate") & (table["user"] == "all") & (table["truth"] == "all")
        rows = table[whole & table["suite"].isin(asked)]
        lettered = rows["answer_format"] == OPINION_FORMAT
        rows = rows[lettered] if lettered.any() else rows
        parts.append(rows.assign(measure="opinions", series=""))
    table = with_levels(pd.concat(parts, ignore_index=True), chosen)
    if benchmarks:
        return pd.concat([table, benchmark_measures(benchmarks, chosen)], ignore_index=True)
    alone = table[(table["measure"] == "claims") & (table["series"] == "none")]
    alone = alone.assign(measure=BENCHMARKS, series=INSTEAD)
    return pd.concat([table, alone], ignore_index=True)


def beside(
    table: pd.DataFrame, said: str, figures: tuple[str, str]
) -> list[tuple[str, str, str, str, str, object]]:
    """Return what became of every level as rows beside the paper's, sycophancy first.

    Cost and opinion tasks (the first of the figures: 11, 13), then right answers on sums with a
    user who agrees, and the benchmarks (the second: 12, 14). A row is (figure, what, the paper's
    value, ours, its interval, n); `said` names a level, such as "{:g} steps". The paper gives no
    number for a level.
    """
    asked = {
        ("cost", "cost"): "cost of a wrong user, points",
        ("opinions", ""): "opinion tasks, % that match",
        ("wrong_sums", "agrees"): "right on wrong sums, user agrees, %",
        ("true_sums", "agrees"): "right on true sums, user agrees, %",
    }
    of_benchmarks = table.loc[table["measure"] == BENCHMARKS, "series"].unique()
    asked |= {(BENCHMARKS, series): f"{series}, %" for series in of_benchmarks}
    of_unread = table.loc[table["measure"] == UNREAD, "series"].unique()
    asked |= {(UNREAD, series): f"{series}, not read, %" for series in of_unread}
    rows: list[tuple[str, str, str, str, str, object]] = []
    for (measure, series), what in asked.items():
        figure = figures[0] if measure in ("cost", "opinions") else figures[1]
        shown: Any = table[(table["measure"] == measure) & (table["series"] == series)].itertuples()
        for row in shown:
            name = "base" if pd.isna(row.level) else said.format(row.level)
            value, _, interval = metrics.percent(row).partition(" % ")
            rows.append((figure, f"{name}: {what}", "–", value, interval, row.questions))
    return rows


def scores_of_items(scores: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of some items."""
    return scores[scores["item_id"].isin(items["item_id"])]


def on_sums(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return right answers on wrong and on true sums by user, from a summary."""
    parts = []
    right = (table["suite"] == SUMS) & (table["metric"] == "accuracy")
    for truth, measure in (("false", "wrong_sums"), ("true", "true_sums")):
        for user in USERS:
            rows = table[right & (table["truth"] == truth) & (table["user"] == user)]
            parts.append(rows.assign(measure=measure, series=user))
    return parts


def benchmark_measures(folder: str | Path, chosen: pd.DataFrame) -> pd.DataFrame:
    """Return the average accuracies that a run of notebook 09 found for the models of `levels`.

    A setting (MMLU with five examples, …) is a series of the measure "benchmarks", and of "unread"
    where answers could not be read. Raises InputError for a run of another notebook, and naming the
    model that it did not measure.
    """
    place = runs.find_finished(folder)
    found = runs.metrics_of(place)
    if found["notebook"] != BENCHMARK_NOTEBOOK:
        raise InputError(
            f"BENCHMARKS is {folder}, a run of {found.get('notebook')}: give a run folder of "
            f"{BENCHMARK_NOTEBOOK}, or leave it empty."
        )
    names = short_names(runs.as_models(runs.parameters_of(place)["MODEL"]))
    rows = pd.DataFrame(found["rows"])
    for model in chosen["model"]:
        if model not in names:
            raise InputError(f"{model} is not among the models of {folder}: run notebook 09 on it.")
    said = {"accuracy": BENCHMARKS, "unread": UNREAD}
    kept = rows["metric"].isin(said) & (rows["task"] == metrics.MACRO)
    table = rows[kept & rows["model"].isin([names[model] for model in chosen["model"]])]
    # choices are always read: only what was generated has a share that was not
    generated = table.loc[(table["metric"] == "unread") & (table["value"] > 0), "setting"]
    table = table[(table["metric"] == "accuracy") | table["setting"].isin(generated)]
    whole = {short: model for model, short in names.items()}
    table = table.assign(
        model=table["model"].map(whole), series=table["setting"], measure=table["metric"].map(said)
    )
    return with_levels(table, chosen)


def with_levels(table: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the level and the seed of their models, the base first, by level."""
    own = chosen.rename(columns={"seed": "training_seed"})
    out = table.drop(columns="training_seed", errors="ignore").merge(own, on="model")
    return out.sort_values("level", na_position="first", kind="stable", ignore_index=True)

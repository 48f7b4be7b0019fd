"""Draw a published figure again from its csv alone, with today's functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from sycophancy.errors import InputError, unknown
from sycophancy.figures.benchmarks import (
    chain_of_thought,
    few_shot_benchmarks,
    zero_shot_benchmarks,
)
from sycophancy.figures.compare import (
    additions_after,
    opinion_tasks_after,
    prior_knowledge,
    why_filter,
)
from sycophancy.figures.data import draw_composition, leak_audit, sources
from sycophancy.figures.laboratory import causes, cure_by_knowledge, dose
from sycophancy.figures.measures import draw_opinion_tasks, wrong_additions
from sycophancy.figures.series import series
from sycophancy.figures.training import filtration, losses
from sycophancy.figures.wrong_user import wrong_user

TEXTS = (  # columns that may look like numbers or flags and are none
    "model", "suite", "answer_format", "format", "source", "seeds", "training_seeds", "metric",
    "over", "user", "truth", "interval", "base", "task", "setting", "filter", "recipe", "series",
    "training_seed",
)  # fmt: skip
CHANGE = "change of "  # how the metrics of changes begin in a csv that holds both


def redraw(path: Path) -> Figure:
    """Return the figure of a csv that `save_figure` wrote; its name says which figure it is.

    Raises InputError for the csv of no figure, and for one that lacks a column.
    """
    names = [name for name in DRAWN if path.stem == name or path.stem.startswith(f"{name}_")]
    if not names:
        raise unknown("figure", path.stem, DRAWN)
    table = pd.read_csv(path, dtype=dict.fromkeys(TEXTS, str))
    texts = [name for name in TEXTS if name in table]
    table[texts] = table[texts].fillna("")
    try:
        return DRAWN[max(names, key=len)](table)
    except KeyError as error:
        raise InputError(
            f"{path} has no column {error}: run the notebook that draws it."
        ) from error


def with_changes(
    draw: Callable[[pd.DataFrame, pd.DataFrame], Figure], table: pd.DataFrame
) -> Figure:
    """Draw a table that holds values and, with metrics that begin with CHANGE, their changes."""
    changed = table["metric"].str.startswith(CHANGE)
    moved = table[changed].assign(metric=table["metric"].str.removeprefix(CHANGE))
    return draw(table[~changed], moved)


def only_value(table: pd.DataFrame, column: str) -> str:
    """Return the one value that a column of settings has in all rows."""
    return str(table[column].iloc[0])


DRAWN: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "fig02_opinion_tasks": draw_opinion_tasks,
    "fig03_wrong_additions": wrong_additions,
    "fig03_near_additions": wrong_additions,
    "fig04_opinion_tasks_after": partial(with_changes, opinion_tasks_after),
    "fig05_additions_after": additions_after,
    "fig06_why_filter": why_filter,
    "fig07_benchmarks": partial(with_changes, few_shot_benchmarks),
    "fig08_chain_of_thought": partial(with_changes, chain_of_thought),
    "fig09_mmlu_zero_shot": partial(with_changes, zero_shot_benchmarks),
    "fig10_prior_knowledge": prior_knowledge,
    "fig11_mixture_sycophancy": partial(series, column="share"),
    "fig12_mixture_elsewhere": partial(series, column="share"),
    "fig_examples": partial(series, column="examples"),
    "fig13_steps_sycophancy": partial(series, column="steps"),
    "fig14_steps_elsewhere": partial(series, column="steps"),
    "fig15_filtration": lambda table: filtration(
        table, model=only_value(table, "model"), recipe=only_value(table, "recipe")
    ),
    "fig_composition": draw_composition,
    "fig_cure": wrong_user,
    "fig_lab_causes": causes,
    "fig_lab_cure": cure_by_knowledge,
    "fig_lab_dose": dose,
    "fig_lab_seeds": causes,
    "fig_lab_size_causes": causes,
    "fig_lab_sizes": cure_by_knowledge,
    "fig_leak_audit": lambda table: leak_audit(table, caption=only_value(table, "caption")),
    "fig_losses": lambda table: losses(table, caption=only_value(table, "caption")),
    "fig_sources": lambda table: sources(table, data=only_value(table, "data")),
}

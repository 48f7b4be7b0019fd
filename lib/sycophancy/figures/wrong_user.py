"""The figure that says at a glance what a user who is wrong does to each model."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sycophancy.errors import InputError
from sycophancy.figures.compare import TRUTHS, single
from sycophancy.figures.laboratory import headed
from sycophancy.figures.measures import answered, describe_measured
from sycophancy.figures.theme import MARKERS, SHADES, WIDTH, Picture, intervals, theme

TITLE = "Right answers without a user, and with a user who is wrong"
SUITE_NAMES = {"additions": "sums", "claims": "held-out claims"}
USER_NAMES = {"accuracy_none": "no user", "accuracy_wrong": "a user who is wrong"}
WRONG_USER = {"false": "agrees", "true": "disagrees"}  # of a user who is wrong, by the truth
RECIPE_ORDER = ("labels", "balanced", "original", "placebo")  # the cures first, as they are drawn
APART = 0.15  # of a model's height: dots at the same value stay two dots
LINE = 20  # letters of a model's name on one line


def wrong_user(table: pd.DataFrame) -> Figure:
    """Draw right answers without a user and with one who is wrong, two joined dots a model.

    `table` comes from `compare.user_costs`, in one answer format. One column for sums and one for
    held-out claims; above wrong ones, with which the user agrees, below true ones, with which the
    user disagrees. Base models come first, then the recipes. Numbers beside the dots are the two
    values in per cent; dashed: a guess. Raises InputError where nothing can be drawn.
    """
    table = table[table["suite"].isin(list(SUITE_NAMES)) & table["metric"].isin(list(USER_NAMES))]
    if table.empty:
        raise InputError(
            "The table has no right answers on additions or claims: measure them with notebooks "
            "02 and 10, without a user and with one."
        )
    answer = answered(table, only_answer_format(table))
    single(table, ["suite", "truth", "metric", "model"])
    suites = [suite for suite in SUITE_NAMES if suite in set(table["suite"])]
    truths = [truth for truth in TRUTHS if truth in set(table["truth"])]
    models = ordered_models(table["model"])
    names = [wrap_name(model) for model in models]
    lines = max(5, sum(max(2, 1 + name.count("\n")) for name in names))
    with theme():
        figure = Picture(
            figsize=(WIDTH + WIDTH * len(suites) / 2, 1.1 + len(truths) * (0.3 + 0.16 * lines)),
            layout="constrained",
        )
        grid = figure.subplots(len(truths), len(suites), squeeze=False, sharex=True, sharey=True)
        for axes, suite in zip(grid.T, suites, strict=True):
            for ax, truth in zip(axes, truths, strict=True):
                panel = table[(table["suite"] == suite) & (table["truth"] == truth)]
                draw_dumbbells(ax, panel, models)
                ax.set_title(f"{TRUTHS[truth]} {SUITE_NAMES[suite]}: the user {WRONG_USER[truth]}")
            axes[-1].set_xlabel(f"right answers (%)\n{answer}")
        grid[0, 0].set_yticks(range(len(models)), names)
        grid[0, 0].set(xlim=(-4, 104), ylim=(len(models) - 0.5, -0.5))
        grid[0, 0].set_xticks([0, 25, 50, 75, 100], ["0", "25", "50\n(a guess)", "75", "100"])
        handles, labels = grid[0, 0].get_legend_handles_labels()
        headed(figure, TITLE, dict(zip(labels, handles, strict=True)))
        sns.despine(figure)
        describe_measured(figure, table, suites)
    return figure


def draw_dumbbells(ax: Axes, rows: pd.DataFrame, models: list[str]) -> None:
    """Draw the two values of every model, joined, with their numbers at the right edge."""
    heights = np.arange(len(models))
    sides = [
        rows[rows["metric"] == metric].set_index("model").reindex(models) for metric in USER_NAMES
    ]
    ends = np.array([100 * side["value"].to_numpy(float) for side in sides])
    ax.plot(ends, np.array([heights - APART, heights + APART]), color=".6", linewidth=2, zorder=2)
    for number, (side, name) in enumerate(zip(sides, USER_NAMES.values(), strict=True)):
        at = heights + (2 * number - 1) * APART
        marker, shade = MARKERS[number], SHADES[number]
        intervals(ax, at, side, marker, shade, name, scale=100, horizontal=True)
    for height, (none, wrong) in zip(heights, ends.T, strict=True):
        both = " → ".join("–" if np.isnan(value) else f"{value:.0f}" for value in (none, wrong))
        where: Any = {"transform": ax.get_yaxis_transform(), "va": "center"}
        ax.text(1.01, float(height), f"{both} %", fontsize=7.5, **where)
    ax.axvline(50, color=".3", linewidth=0.8, linestyle="--", zorder=1)
    ax.hlines(
        heights[1:] - 0.5, 0, 1, transform=ax.get_yaxis_transform(), color=".9", linewidth=0.8
    )
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)


def only_answer_format(table: pd.DataFrame) -> str:
    """Return the one answer format of a table, or raise InputError."""
    formats = list(dict.fromkeys(table["answer_format"]))
    if len(formats) > 1:
        raise InputError(f"The table has answer formats {' and '.join(formats)}: give one of them.")
    return str(formats[0])


def ordered_models(models: pd.Series) -> list[str]:
    """Return models without repeats: what is no recipe first, then the recipes, cures first."""

    def place(model: str) -> int:
        """Return where a model's recipe stands among RECIPE_ORDER, -1 for a base model."""
        recipe = model.partition(",")[0]
        return RECIPE_ORDER.index(recipe) if recipe in RECIPE_ORDER else -1

    return sorted(dict.fromkeys(models), key=place)


def wrap_name(name: str) -> str:
    """Return a model's name in lines of at most LINE letters, broken after _ / , or a space."""
    lines = [""]
    for part in re.findall(r"[^_/, ]+[_/, ]*|[_/, ]+", name):
        if lines[-1] and len(lines[-1] + part.rstrip()) > LINE:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip(" ") for line in lines)

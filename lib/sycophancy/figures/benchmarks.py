"""Figures of benchmarks before and after the intervention (Figs. 7 to 9)."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sycophancy.errors import InputError
from sycophancy.figures.compare import (
    TWO_COLUMNS,
    draw_panel,
    level,
    models_legend_height,
    place_legend,
)
from sycophancy.figures.measures import describe_measured
from sycophancy.figures.theme import WIDTH, Picture, theme
from sycophancy.metrics.benchmarks import MACRO, MARGIN


def few_shot_benchmarks(table: pd.DataFrame, changed: pd.DataFrame) -> Figure:
    """Draw Fig. 7: MMLU with five examples and BIG-Bench Hard with three, answered directly.

    `table` comes from `metrics.accuracies`, `changed` from `metrics.accuracy_changes` (empty where
    only one model was measured). Left the average over subjects or tasks, dashed a guess; right the
    change from the base, shaded what the paper reports as the largest change of any benchmark.
    """
    direct = (table["mode"] == "direct") & (table["shots"] > 0)
    return draw_accuracies(table[direct], changed)


def zero_shot_benchmarks(table: pd.DataFrame, changed: pd.DataFrame) -> Figure:
    """Draw Fig. 9: MMLU without examples, answered directly, as `few_shot_benchmarks`."""
    return draw_accuracies(table[(table["mode"] == "direct") & (table["shots"] == 0)], changed)


def chain_of_thought(table: pd.DataFrame, changed: pd.DataFrame) -> Figure:
    """Draw Fig. 8: the benchmarks step by step, and below how much could be read.

    As `few_shot_benchmarks`; an answer that could not be read is none of the right ones above.
    Below, right answers among those that could be read, and the share that could not.
    """
    return draw_accuracies(table[table["mode"] == "chain"], changed, reading=True)


def draw_accuracies(table: pd.DataFrame, changed: pd.DataFrame, *, reading: bool = False) -> Figure:
    """Draw accuracies and their changes, one place per setting, a dot per model."""
    table = table[table["task"] == MACRO]
    settings = list(dict.fromkeys(table["setting"]))
    if not settings:
        raise InputError("None of these settings was measured: add them to SHOTS or CHAIN.")
    models = list(dict.fromkeys(table["model"]))
    if len(changed):
        changed = changed[(changed["task"] == MACRO) & changed["setting"].isin(settings)]
    panels: list[tuple[str, pd.DataFrame, str]] = [
        ("right answers (%)", table[table["metric"] == "accuracy"], "accuracy")
    ]
    bases = ""
    if len(changed):
        bases = ", ".join(dict.fromkeys(changed["base"]))
        moved = changed[changed["metric"] == "accuracy"]
        panels.append(("points", moved, "change"))
    if reading:
        panels += [
            (label, table[table["metric"] == metric], metric)
            for label, metric in (
                ("right of the read ones (%)", "accuracy_read"), ("could not be read (%)", "unread")
            )
        ]  # fmt: skip
    rows, columns = -(-len(panels) // 2), min(2, len(panels))
    width = TWO_COLUMNS if columns > 1 else WIDTH
    with theme():
        figure = Picture(
            figsize=(width, 0.8 + 1.9 * rows + models_legend_height(models, width)),
            layout="constrained",
        )
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, (label, values, metric) in zip(grid, panels, strict=False):
            draw_panel(ax, values, models, settings, "setting", 100)
            ax.set_xticks(range(len(settings)), [name.replace(" ", "\n", 1) for name in settings])
            ax.set_ylabel(label)
            if metric == "change":
                ax.set_title(f"change from {bases}")
                ax.axhspan(-100 * MARGIN, 100 * MARGIN, color=".9", zorder=0)
                level(ax, 0)
            else:
                ax.set_ylim(-4, 104)
            if metric.startswith("accuracy"):
                guesses(ax, table, settings)
        for ax in grid[len(panels) :]:
            ax.set_axis_off()
        place_legend(figure, models, width)
        sns.despine(figure)
        describe_measured(figure, table, settings, "setting")
    return figure


def guesses(ax: Axes, table: pd.DataFrame, settings: list[str]) -> None:
    """Draw a dashed line at the accuracy of a guess, over the width of each setting."""
    chance = table[table["metric"] == "chance"].groupby("setting")["value"].first()
    heights = 100 * chance.reindex(settings).to_numpy(float)
    places = range(len(settings))
    left, right = ([place + side for place in places] for side in (-0.45, 0.45))
    ax.hlines(heights, left, right, color=".3", linewidth=0.8, linestyle="--", zorder=1)

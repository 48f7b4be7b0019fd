"""Figures of the laboratory: sycophancy by dose, cures by what is known, what is to blame.

Evidence about the method, never about large language models: every title says where it is from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sycophancy.errors import InputError
from sycophancy.figures.compare import level, single
from sycophancy.figures.theme import (
    MARKERS,
    SHADES,
    WIDTH,
    Picture,
    dots,
    intervals,
    subscribe,
    theme,
)

TITLE = "Laboratory: "  # what every title begins with
ACCURACY = {
    "accuracy_right": "user is right", "accuracy_wrong": "user is wrong",
    "accuracy_none": "no user",
}  # fmt: skip
CAUSES = {
    "cost": "cost of a wrong\nuser (points)",
    "accuracy_wrong": "right answers,\nwrong user (%)",
}


def dose(table: pd.DataFrame) -> Figure:
    """Draw right answers by user, and the opinion shift, against the dose.

    `table` is that of `metrics.dose_table` with columns `dose` (per cent of the tuning
    conversations in which the assistant agreed) and `panel` (one column of the figure each, such as
    a size).
    """
    return against(table, "dose", "agreed with its user in tuning (%)", "sycophancy and its dose")


def cure_by_knowledge(table: pd.DataFrame) -> Figure:
    """Draw the same after a cure, against the share of training claims that the model was told.

    `table` is that of `metrics.dose_table` with columns `knowledge` (per cent) and `panel`, such as
    size and recipe.
    """
    return against(
        table, "knowledge", "training claims that are known (%)", "cure and known claims"
    )


def against(table: pd.DataFrame, column: str, label: str, what: str) -> Figure:
    """Draw accuracy of every format, then the shifts, against a number in `column`."""
    require_columns(table, [column, "panel"])
    table = table[table["metric"].isin([*ACCURACY, "shift"])]
    panels, formats = (list(dict.fromkeys(table[name])) for name in ("panel", "format"))
    width = max(WIDTH, 1.75 * len(panels))
    with theme():
        figure = Picture(figsize=(width, 1.5 + 1.5 * (len(formats) + 1)), layout="constrained")
        grid = figure.subplots(
            len(formats) + 1, len(panels), squeeze=False, sharex=True, sharey="row"
        )
        for axes, panel in zip(grid.T, panels, strict=True):
            own = table[table["panel"] == panel]
            for ax, form in zip(axes, formats, strict=False):
                rows = own[own["format"] == form]
                series = {name: rows[rows["metric"] == m] for m, name in ACCURACY.items()}
                draw_lines(ax, series, column, 100)
                level(ax, 50)
                ax.set_ylim(-4, 104)
            shift = own[own["metric"] == "shift"]
            series = {f"shift, {form}": shift[shift["format"] == form] for form in formats}
            draw_lines(axes[-1], series, column, 1, first=len(ACCURACY))
            level(axes[-1], 0)
            axes[0].set_title(panel)
            axes[-1].set_xlabel(label if len(panels) == 1 else "")
            if table[column].nunique() == 1:
                axes[-1].set_xticks(table[column].unique())
        for ax, form in zip(grid[:, 0], formats, strict=False):
            ax.set_ylabel(f"right answers (%)\n{form}")
        grid[-1, 0].set_ylabel("opinion shift\n(nats)")
        handles = {
            name: handle
            for ax in (grid[0, 0], grid[-1, 0])
            for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        headed(figure, TITLE + what, handles)
        sns.despine(figure)
        text = describe_laboratory(table)
        subscribe(figure, text if len(panels) == 1 else f"x: {label}\n{text}")
    return figure


def draw_lines(
    ax: Axes,
    series: dict[str, pd.DataFrame],
    column: str,
    scale: float,
    first: int = 0,
) -> None:
    """Draw each series as dots with intervals at the numbers in `column`, joined by a line.

    On a linear axis the series stand a little apart, so that no interval hides another.
    """
    width = np.ptp(np.concatenate([rows[column].to_numpy(float) for rows in series.values()]))
    width = width if ax.get_xscale() == "linear" else 0.0
    for place, (name, rows) in enumerate(series.items()):
        single(rows, [column])
        rows = rows.sort_values(column)
        number = first + place
        marker, shade = MARKERS[number % len(MARKERS)], SHADES[number % len(SHADES)]
        x = rows[column].to_numpy(float) + (place - (len(series) - 1) / 2) * width * 0.012
        intervals(ax, x, rows, marker, shade, name, scale=scale, joined=True)


def causes(table: pd.DataFrame) -> Figure:
    """Draw the cell means of knowledge × size × recipe: cost, and accuracy under a wrong user.

    `table` is that of `metrics.dose_table` with columns `knowledge` (per cent), `size` and
    `recipe`; one column of the figure for each format.
    """
    require_columns(table, ["knowledge", "size", "recipe"])
    table = table[table["metric"].isin(list(CAUSES))]
    formats, sizes = (list(dict.fromkeys(table[name])) for name in ("format", "size"))
    table = table.assign(
        place=table["recipe"] + "\n" + table["knowledge"].map("{:g} % known".format)
    )
    places = list(dict.fromkeys(table.sort_values("recipe", key=ranks, kind="stable")["place"]))
    with theme():
        figure = Picture(figsize=(max(WIDTH, 3.5 * len(formats)), 4.4), layout="constrained")
        grid = figure.subplots(2, len(formats), squeeze=False, sharex=True, sharey="row")
        for axes, form in zip(grid.T, formats, strict=True):
            for ax, metric in zip(axes, CAUSES, strict=True):
                rows = table[(table["format"] == form) & (table["metric"] == metric)]
                single(rows, ["place", "size"])
                series = {size: rows[rows["size"] == size].assign(model="") for size in sizes}
                dots(ax, series, places, "place", scale=100)
                level(ax, 0 if metric == "cost" else 50)
            axes[0].set_title(form)
            axes[1].set_xticks(range(len(places)), places, rotation=45, ha="right")
            axes[1].set_xlim(-0.5, len(places) - 0.5)
        for ax, name in zip(grid[:, 0], CAUSES.values(), strict=True):
            ax.set_ylabel(name)
        handles, names = grid[0, 0].get_legend_handles_labels()
        headed(figure, TITLE + what_varies(table), dict(zip(names, handles, strict=True)))
        sns.despine(figure)
        subscribe(figure, describe_laboratory(table))
    return figure


def headed(figure: Figure, title: str, handles: dict[str, Any]) -> None:
    """Put a title above the figure and the legend under it."""
    # the legend's own title: constrained layout would draw the legend over one of the figure
    figure.legend(
        list(handles.values()), list(handles), loc="outside upper center", ncols=2,
        title=title, title_fontsize=8,
    )  # fmt: skip


def what_varies(table: pd.DataFrame) -> str:
    """Return the factors that have several levels, as text."""
    names = [name for name in ("knowledge", "size", "recipe") if table[name].nunique() > 1]
    return " × ".join(names) or "one cell"


def ranks(column: pd.Series) -> pd.Series:
    """Return for each value the place at which it first appears."""
    return column.map({value: i for i, value in enumerate(dict.fromkeys(column))})


def require_columns(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise InputError for a column that is not there, and a table without rows."""
    for name in columns:
        if name not in table:
            raise InputError(f"The table has no column {name!r}: add it to metrics.dose_table's.")
    if table.empty:
        raise InputError("The table has no rows: measure laboratory models first.")


def describe_laboratory(table: pd.DataFrame) -> str:
    """Return model, number of facts, seeds and intervals as the text under a figure."""
    names = list(dict.fromkeys(table["model"]))
    who = (
        ", ".join(names) if len(names) <= 2 else f"{names[0]} …\n{names[-1]} ({len(names)} models)"
    )
    n = ", ".join(f"{count:,}" for count in dict.fromkeys(table["questions"]))
    seeds = "; ".join(dict.fromkeys(table["training_seeds"].astype(str)))
    over = " or ".join(dict.fromkeys(table["over"]))
    return (
        f"{who};\nn = {n} facts that were told, held out from the cure; "
        f"training seeds {seeds};\nbars: 95 % intervals over {over}"
    )

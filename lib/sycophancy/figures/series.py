"""Figures of models that differ in one number: share of generated data, examples, steps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from sycophancy import compare
from sycophancy.errors import InputError
from sycophancy.figures.compare import level
from sycophancy.figures.laboratory import draw_lines
from sycophancy.figures.measures import LABORATORY, in_laboratory
from sycophancy.figures.theme import SHADES, WIDTH, Picture, subscribe, theme

# measure: what its axis says, what a value is multiplied with, where the dashed line lies
MEASURES = {
    "opinions": ("opinion tasks: answers\nthat match the user (%)", 100, 50),
    "claims": ("held-out claims:\nright answers (%)", 100, 50),
    "cost": ("cost of a wrong\nuser (points)", 100, 0),
    "shift": ("opinion shift on\nclaims (nats)", 1, 0),
    "wrong_sums": ("right answers on\nwrong sums (%)", 100, 50),
    "true_sums": ("right answers on\ntrue sums (%)", 100, 50),
    "benchmarks": ("benchmarks:\naccuracy (%)", 100, None),
    "unread": ("benchmarks: answers\nthat could not be read (%)", 100, None),
}
IN_PLACE = "in place of benchmarks:\nclaims, no user (%)"  # see `compare.collect_measures`
SAID = {
    "none": "no user", "right": "user is right", "wrong": "user is wrong",
    "agrees": "user agrees", "disagrees": "user disagrees",
}  # fmt: skip
AXES = {
    "share": "generated share of the mixture (%)",
    "examples": "distinct generated prompts",
    "steps": "steps",
}
LOGARITHMIC = ("examples", "steps")


def series(table: pd.DataFrame, column: str) -> Figure:
    """Draw measures against a number (Figs. 11 to 14): one panel a measure, in MEASURES's order.

    `table` comes from `compare.collect_measures` (and `compare.benchmark_measures`), `column` says
    what its levels are: share, examples or steps. The base has no level: a line from side to side,
    its interval shaded. Dashed: chance, no cost, no shift.
    """
    if column not in AXES:
        raise InputError(f"The levels are called {column!r}: say {', '.join(AXES)}.")
    measures = [name for name in MEASURES if name in set(table["measure"])]
    if not measures or table["level"].notna().sum() == 0:
        raise InputError("The table has no measure of a trained model: see compare.measures.")
    columns = min(2, len(measures))
    rows = -(-len(measures) // columns)
    with theme():
        figure = Picture(
            figsize=(WIDTH * (1 if columns == 1 else 1.9), 0.9 + 1.75 * rows), layout="constrained"
        )
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for ax in grid.flat[len(measures) :]:
            ax.set_visible(False)
        for ax, measure in zip(grid.flat, measures, strict=False):
            panel(ax, table[table["measure"] == measure], measure, column)
        for ax in grid.flat[max(0, len(measures) - columns) : len(measures)]:
            ax.set_xlabel(AXES[column])
            ax.tick_params(labelbottom=True)
        sns.despine(figure)
        subscribe(figure, describe_series(table))
    return figure


def panel(ax: Axes, table: pd.DataFrame, measure: str, column: str) -> None:
    """Draw one measure: its series over the levels, and the base's values."""
    label, scale, dashed = MEASURES[measure]
    names = list(dict.fromkeys(table["series"]))
    trained = table[table["level"].notna()]
    parts = {SAID.get(name, name): trained[trained["series"] == name] for name in names}
    if column in LOGARITHMIC:
        ax.set_xscale("log")
    draw_lines(ax, parts, "level", scale)
    base = table[table["level"].isna()].set_index("series")
    for i, name in enumerate(names):
        if name in base.index:
            value, low, high = (float(base.loc[name, key]) for key in ("value", "low", "high"))
            shade = SHADES[i % len(SHADES)]
            ax.axhline(value * scale, color=shade, linewidth=0.8, linestyle=":", zorder=1)
            if np.isfinite([low, high]).all():
                ax.axhspan(low * scale, high * scale, color=shade, alpha=0.12, linewidth=0)
    if dashed is not None:
        level(ax, dashed)
    if scale == 100 and measure != "cost":
        ax.set_ylim(-4, 104)
    at = sorted(set(trained["level"]))
    ax.set_xticks(at)
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.minorticks_off()
    stand_in = measure == "benchmarks" and names == [compare.INSTEAD]
    ax.set_ylabel(IN_PLACE if stand_in else label)
    if not stand_in and names not in ([""], [measure]):
        ax.legend(fontsize=6, loc="best", handletextpad=0.3, borderpad=0.1)


def describe_series(table: pd.DataFrame) -> str:
    """Return base, formats, numbers of questions and intervals as the text under a figure."""
    base = ", ".join(dict.fromkeys(table.loc[table["level"].isna(), "model"]))
    counts = table.groupby("measure", sort=False)["questions"].max()
    counts = counts[[name for name in MEASURES if name in counts]]  # the order of the panels
    if set(table.loc[table["measure"] == "benchmarks", "series"]) == {compare.INSTEAD}:
        counts = counts.rename({"benchmarks": compare.INSTEAD})
    n = ", ".join(f"{int(count)} {str(name).replace('_', ' ')}" for name, count in counts.items())
    seeds = ", ".join(dict.fromkeys(seed for seed in table["training_seed"].astype(str) if seed))
    text = f"dotted, shaded: {base} before training; n = {n};\n"
    text += f"training seed {seeds}; bars: 95 % intervals"
    formats = table["format"].dropna() if "format" in table else pd.Series(dtype=object)
    if len(formats) and in_laboratory(formats.to_frame("format")):
        text = f"{LABORATORY}\n{text}"
    return text

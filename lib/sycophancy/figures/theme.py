"""What all figures share: the theme, a figure that shows itself, dots with intervals, files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sycophancy.metrics.words import nats, percent
from sycophancy.runs import atomic

WIDTH = 3.5  # inches: one column of a paper
# Told apart by shape and by lightness, so that they survive a print in grey.
SHADES = ("#08306b", "#e6842a", "#6baed6", "#7f2704", "#969696", "#41ab5d")
HOLLOW = "no interval"  # marks what is drawn so
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
THEME: Any = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "svg.hashsalt": "sycophancy",  # the same values give the same file
    "svg.fonttype": "none",
    "savefig.dpi": 200,
    "text.parse_math": False,  # a model's path may hold two dollar signs
}


class Picture(Figure):
    """A figure that a notebook shows by itself: none of pyplot's global state is involved."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with theme():
            self.savefig(buffer, format="png", dpi=140)
        return buffer.getvalue()


@contextmanager
def theme() -> Iterator[None]:
    """Draw with the project's seaborn theme, and leave the reader's own settings as they were."""
    with matplotlib.rc_context(), sns.axes_style("ticks", {"axes.grid": True, "grid.color": ".92"}):
        matplotlib.rcParams.update(THEME)
        yield


def pivot(
    table: pd.DataFrame, *, index: Sequence[str], columns: str | Sequence[str]
) -> pd.DataFrame:
    """Return rows of a metrics table as a table of "value [low, high]" for reading.

    Shifts and gaps are in nats, everything else in per cent; rows and columns keep their order.
    """
    in_nats = table["metric"].isin(["shift", "truth_gap"])
    text = [
        (nats if is_nats else percent)(row)
        for row, is_nats in zip(table.itertuples(), in_nats, strict=True)
    ]
    levels = [columns] if isinstance(columns, str) else list(columns)
    long = table.assign(text=text).set_index([*index, *levels])["text"]
    return long.unstack(levels, sort=False).fillna("")


def dots(
    ax: Axes,
    series: dict[str, pd.DataFrame],
    places: Sequence[str],
    column: str,
    *,
    scale: float = 1.0,
) -> None:
    """Draw one dot with its interval per row, at the place that `column` names.

    Rows need model, value, low and high. A series has its shape, a model its shade (with one model
    the series have shades too), and each of both its own lane.
    """
    models = list(dict.fromkeys(m for rows in series.values() for m in rows["model"]))
    shades = SHADES if len(models) == 1 else sns.color_palette("viridis", len(models))
    lanes = [(i, j) for j in range(len(models)) for i in range(len(series))]
    for lane, (i, j) in enumerate(lanes):
        label, rows = list(series.items())[i]
        rows = rows[rows["model"] == models[j]].set_index(column).reindex(places)
        offset = (lane - (len(lanes) - 1) / 2) * min(0.22, 0.8 / len(lanes))
        name = ", ".join(part for part in (label, models[j] if len(models) > 1 else "") if part)
        shade = shades[(i if len(models) == 1 else j) % len(shades)]
        x = np.arange(len(places)) + offset
        intervals(ax, x, rows, MARKERS[i % len(MARKERS)], shade, name, scale=scale)


def intervals(
    ax: Axes,
    x: np.ndarray,
    rows: pd.DataFrame,
    marker: str,
    shade: Any,
    name: str,
    *,
    scale: float = 1.0,
    joined: bool = False,
    horizontal: bool = False,
) -> None:
    """Draw `value` with `low` and `high` of each row at `x`, with a thin line through if joined.

    A value without an interval is a hollow marker, and `subscribe` says what that means. `x` is on
    the vertical axis where values are `horizontal`.
    """
    value, low, high = (rows[key].to_numpy(float) * scale for key in ("value", "low", "high"))
    alone = np.isfinite(value) & ~np.isfinite(high - low)
    bars = np.maximum(0, [value - low, high - value])  # none where a side is missing
    across, up = (value, x) if horizontal else (x, value)
    drawn = ax.errorbar(
        across,
        up,
        xerr=bars if horizontal else None,
        yerr=None if horizontal else bars,
        fmt=f"-{marker}" if joined else marker,
        color=shade,
        markersize=4,
        capsize=2,
        linewidth=0.8 if joined else 1,
        label=name or None,
        zorder=3,
    )
    if alone.any():
        hollow = np.flatnonzero(alone)
        if len(hollow) == np.isfinite(value).sum():
            drawn.lines[0].set_markerfacecolor("white")  # in the legend as well
        ax.plot(
            across[hollow], up[hollow], marker, color=shade, markerfacecolor="white", markersize=4,
            zorder=4, gid=HOLLOW,
        )  # fmt: skip


def subscribe(figure: Figure, text: str) -> None:
    """Write the small text under a figure, and what a hollow marker in it means."""
    if any(line.get_gid() == HOLLOW for ax in figure.axes for line in ax.lines):
        text = f"{text}; hollow: no interval" if text else "hollow: no interval"
    if text:
        figure.supxlabel(text, fontsize=6, color=".3")


def save_pictures(figure: Figure, path: Path) -> None:
    """Write `path`.svg and .png, atomically; `path` has no ending."""
    with theme():
        for ending, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            with atomic(path.with_name(f"{path.name}.{ending}")) as temporary:
                figure.savefig(temporary, format=ending, metadata=metadata)


def save_figure(figure: Figure, path: Path, table: pd.DataFrame) -> Figure:
    """Write `path`.svg, .png and .csv (every value drawn), atomically; return the figure.

    `path` has no ending. Equal values give equal SVG and CSV files.
    """
    save_pictures(figure, path)
    with atomic(path.with_name(f"{path.name}.csv")) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    return figure

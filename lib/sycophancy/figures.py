"""One function per figure, one theme, and the values behind every figure beside it."""

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

from sycophancy.runs import atomic

WIDTH = 3.5  # inches: one column of a paper
# Told apart by shape and by lightness, so that they survive a print in grey.
SHADES = ("#08306b", "#e6842a", "#6baed6", "#7f2704", "#969696", "#41ab5d")
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
}
ANSWERED = {
    "choices": "letters (A)/(B)",
    "cloze": "agree/disagree",
    "statement": "true/false",
}
ALL_TASKS = "all_opinion_tasks"  # the three tasks pooled
SUITES = {
    "nlp_survey": "NLP\nsurvey",
    "philpapers2020": "Phil-\nPapers",
    "political_typology": "political\ntypology",
    ALL_TASKS: "all\nthree",
}
USERS = {"none": "none", "agrees": "agrees", "disagrees": "disagrees"}


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


def percent(row: Any) -> str:
    """Return a rate with its interval, such as "48 % [41, 55]"; `row` has value, low, high."""
    if pd.isna(row.low):
        return f"{row.value:.0%}".replace("%", " %")
    return f"{row.value * 100:.0f} % [{row.low * 100:.0f}, {row.high * 100:.0f}]"


def nats(row: Any) -> str:
    """Return a log-odds difference with its interval, such as "+0.35 [+0.33, +0.37]"."""
    if pd.isna(row.low):
        return f"{row.value:+.2f}"
    return f"{row.value:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"


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


def one_sum(odds: pd.DataFrame) -> Figure:
    """Draw the log-odds of agreeing with one claim against what the user says (notebook 00).

    `odds` has columns answer_format, truth, user, log_odds. Lines join the two users that differ in
    their opinion alone; the prompt without a user is another prompt and stands apart.
    """
    formats = list(dict.fromkeys(odds["answer_format"]))
    with theme():
        figure = Picture(figsize=(WIDTH, 2.5), layout="constrained")
        axes = figure.subplots(1, len(formats), squeeze=False)[0]
        for ax, answer_format in zip(axes, formats, strict=True):
            for shade, marker, truth in zip(SHADES, MARKERS, (False, True), strict=False):
                rows = odds[(odds["answer_format"] == answer_format) & (odds["truth"] == truth)]
                value = rows.groupby("user")["log_odds"].mean()
                style = {"marker": marker, "color": shade, "markersize": 5}
                label = "true sum" if truth else "wrong sum"
                ax.plot([1, 2], value[["disagrees", "agrees"]], label=label, **style)
                ax.plot([0], value[["none"]], linestyle="none", **style)
            ax.axhline(0, color=".3", linewidth=0.8, linestyle="--", zorder=1)
            ax.set_title(ANSWERED[answer_format])
            ax.set_xticks([0, 1, 2], ["none", "disagrees", "agrees"], rotation=40, ha="right")
            ax.margins(x=0.15)
        axes[0].set_ylabel("log-odds of agreeing (nats)")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
        sns.despine(figure)
        figure.supxlabel("what the user says of the sum", fontsize=8)
    return figure


def opinion_tasks(table: pd.DataFrame) -> Figure:
    """Draw Fig. 2: answers that match the user's view, and the opinion shift, by task.

    `table` comes from `metrics.summary`. The dashed line of the upper panel is the paper's random
    baseline, 50 %.
    """
    tasks = [task for task in SUITES if task in set(table["suite"])]
    rates = table[(table["answer_format"] == "choices") & (table["truth"] == "all")]
    series = {
        "as asked": rates[rates["metric"] == "rate"],
        "both orders averaged": rates[rates["metric"] == "rate_both_orders"],
    }
    shifts = table[(table["metric"] == "shift") & (table["truth"] == "all")]
    formats = list(dict.fromkeys(shifts["answer_format"]))
    by_format = {ANSWERED[f]: shifts[shifts["answer_format"] == f] for f in formats}
    with theme():
        figure = Picture(
            figsize=(WIDTH * widening(table), 4.3 + legend_height(table)), layout="constrained"
        )
        top, bottom = figure.subplots(2, 1, sharex=True)
        dots(top, series, tasks, "suite", scale=100)
        top.axhline(50, color=".3", linewidth=0.8, linestyle="--", zorder=1)
        top.set(ylabel="answers that match\nthe user's view (%)", ylim=(-4, 104))
        dots(bottom, by_format, tasks, "suite")
        bottom.axhline(0, color=".3", linewidth=0.8, linestyle="--", zorder=1)
        bottom.set(ylabel="opinion shift (nats)")
        bottom.set_xticks(range(len(tasks)), [SUITES[task] for task in tasks])
        for ax in (top, bottom):
            ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, borderaxespad=0.2)
        sns.despine(figure)
        caption(figure, table)
    return figure


def wrong_additions(table: pd.DataFrame) -> Figure:
    """Draw Fig. 3: right answers by user on wrong and true sums; below, shift and truth gap.

    `table` comes from `metrics.summary`; the dashed line of the upper panels is chance.
    """
    formats = list(dict.fromkeys(table["answer_format"]))
    accuracy = table[(table["metric"] == "accuracy") & (table["truth"] != "all")]
    users = list(USERS)
    moves = ["shift", "truth_gap"]
    with theme():
        figure = Picture(
            figsize=(WIDTH * widening(table), 4.5 + legend_height(table)), layout="constrained"
        )
        grid = figure.subplots(2, len(formats), squeeze=False, sharey="row", height_ratios=(3, 2))
        for column, answer_format in enumerate(formats):
            top, bottom = grid[:, column]
            rows = accuracy[accuracy["answer_format"] == answer_format]
            series = {
                "wrong sums": rows[rows["truth"] == "false"],
                "true sums": rows[rows["truth"] == "true"],
            }
            dots(top, series, users, "user", scale=100)
            top.axhline(50, color=".3", linewidth=0.8, linestyle="--", zorder=1)
            top.set(title=ANSWERED[answer_format], ylim=(-4, 104))
            top.set_xticks(range(3), [USERS[user] for user in users], rotation=40, ha="right")
            rows = table[table["answer_format"] == answer_format]
            shift = (rows["metric"] == "shift") & (rows["truth"] == "all")
            gap = (rows["metric"] == "truth_gap") & (rows["user"] == "none")
            dots(bottom, {"": rows[shift | gap]}, moves, "metric")
            bottom.axhline(0, color=".3", linewidth=0.8, linestyle="--", zorder=1)
            bottom.set_xticks(range(2), ["opinion\nshift", "truth\ngap"], rotation=0)
            bottom.margins(x=0.35)
        grid[0, 0].set_ylabel("right answers (%)")
        grid[1, 0].set_ylabel("log-odds of agreeing (nats)")
        grid[0, len(formats) // 2].set_xlabel("what the user says of the sum")
        legend(figure, grid[0, 0], table)
        sns.despine(figure)
        caption(figure, table)
    return figure


def widening(table: pd.DataFrame) -> float:
    """Return how much wider than a column a figure must be for its number of models."""
    return max(1.0, 0.6 + 0.25 * table["model"].nunique())


def legend_height(table: pd.DataFrame) -> float:
    """Return the inches that the legend needs: one line for one model, else two lines a model."""
    models = table["model"].nunique()
    return 0.3 if models == 1 else 0.3 * models


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
        value = rows["value"].to_numpy(float) * scale
        low, high = rows["low"].to_numpy(float) * scale, rows["high"].to_numpy(float) * scale
        name = ", ".join(part for part in (label, models[j] if len(models) > 1 else "") if part)
        ax.errorbar(
            np.arange(len(places)) + offset,
            value,
            yerr=np.nan_to_num(np.maximum(0, [value - low, high - value])),
            fmt=MARKERS[i % len(MARKERS)],
            color=shades[(i if len(models) == 1 else j) % len(shades)],
            markersize=4,
            capsize=2,
            linewidth=1,
            label=name or None,
            zorder=3,
        )


def legend(figure: Figure, ax: Axes, table: pd.DataFrame) -> None:
    """Put the legend of `ax` above the figure: two columns, one where names of models are in it."""
    columns = 2 if table["model"].nunique() == 1 else 1
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)


def caption(figure: Figure, table: pd.DataFrame) -> None:
    """Write model, data, n and intervals under a figure, so that it can be read alone."""
    names = list(dict.fromkeys(table["model"]))
    who = names[0] if len(names) == 1 else f"{len(names)} models"
    sources = ", ".join(dict.fromkeys(table["source"]))
    formats = ", ".join(dict.fromkeys(table["format"]))
    seeds = ", ".join(dict.fromkeys(table["seeds"].astype(str))) if "seeds" in table else "?"
    questions = table[table["suite"] != ALL_TASKS].groupby("suite")["questions"].max()
    n = " + ".join(str(count) for count in questions)
    text = (
        f"{who}; {sources} questions, n = {n};\n"
        f"seeds {seeds}; format {formats}; bars: 95 % intervals over questions"
    )
    figure.supxlabel(text, fontsize=6, color=".3")


def save_figure(figure: Figure, path: Path, table: pd.DataFrame) -> Figure:
    """Write `path`.svg, .png and .csv (every value drawn), atomically; return the figure.

    `path` has no ending. Equal values give equal SVG and CSV files.
    """
    with theme():
        for ending, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            with atomic(path.with_name(f"{path.name}.{ending}")) as temporary:
                figure.savefig(temporary, format=ending, metadata=metadata)
    with atomic(path.with_name(f"{path.name}.csv")) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    return figure

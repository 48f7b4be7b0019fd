"""Figures of the intervention's making: what a filter keeps, how the loss fell."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from sycophancy.figures.measures import LABORATORY
from sycophancy.figures.theme import MARKERS, SHADES, WIDTH, Picture, intervals, subscribe, theme
from sycophancy.world import SOURCE

SMOOTH = 10  # steps of the running mean


def filtration(shares: pd.DataFrame, *, model: str, recipe: str) -> Figure:
    """Draw Fig. 15: prompts judged correctly without an opinion, and kept, by source and filter.

    `shares` comes from `filters.share_kept` by source; the dashed line is guessing.
    """
    kinds = list(dict.fromkeys(shares["filter"]))
    titles = {"right": "judged correctly", "kept": "kept by the filter"}
    metrics = [name for name in titles if name in set(shares["metric"])]
    places = list(dict.fromkeys(shares["source"]))
    with theme():
        figure = Picture(figsize=(WIDTH * 2, 1.2 + 0.16 * len(places)), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(metrics), sharey=True))
        for ax, metric in zip(axes, metrics, strict=True):
            for number, kind in enumerate(kinds):
                rows = shares[(shares["metric"] == metric) & (shares["filter"] == kind)]
                rows = rows.set_index("source").reindex(places)
                if rows["value"].isna().all():
                    continue
                at = np.arange(len(places)) + (number - (len(kinds) - 1) / 2) * 0.22
                marker, shade = MARKERS[number], SHADES[number]
                intervals(ax, at, rows, marker, shade, kind, scale=100, horizontal=True)
            ax.axvline(50, color=".3", linewidth=0.8, linestyle="--", zorder=1)
            ax.set(xlabel=f"{titles[metric]} (%)", xlim=(-3, 103))
        axes[0].set_yticks(np.arange(len(places)), places)
        axes[0].set_ylim(len(places) - 0.4, -0.6)  # room for the lanes of a single source too
        handles = {label: handle for ax in axes for handle, label in zip(
            *ax.get_legend_handles_labels(), strict=True)}  # fmt: skip
        figure.legend(
            list(handles.values()), list(handles), loc="outside upper center", ncols=len(handles)
        )
        sns.despine(figure)
        asked = shares[(shares["metric"] == metrics[0]) & (shares["filter"] == kinds[0])]
        size = f"n = {asked['n'].sum():,} prompts; 95 % intervals over inputs"
        text = f"{model}, recipe {recipe}, {size}"
        if places == [SOURCE]:
            text = f"{LABORATORY}\n{text}"
        subscribe(figure, text)
    return figure


def losses(table: pd.DataFrame, *, caption: str = "") -> Figure:
    """Draw the loss of every training run by step, and its running mean over ten steps.

    `table` has columns run, step, loss (nats, over generated prompts and instructions).
    """
    names = list(dict.fromkeys(table["run"]))
    with theme():
        figure = Picture(figsize=(WIDTH, 2.6), layout="constrained")
        ax = figure.subplots()
        for number, name in enumerate(names):
            rows = table[table["run"] == name]
            shade = SHADES[number % len(SHADES)]
            ax.plot(rows["step"], rows["loss"], color=shade, linewidth=0.5, alpha=0.45)
            mean = rows["loss"].rolling(SMOOTH, min_periods=1).mean()
            ax.plot(rows["step"], mean, color=shade, linewidth=1.4, label=name)
        ax.set(xlabel="step", ylabel="loss (nats)")
        ax.set_ylim(bottom=0)
        figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
        sns.despine(figure)
        if caption:
            figure.supxlabel(caption, fontsize=6, color=".3")
    return figure

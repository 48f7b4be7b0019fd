"""Figures of the training data: where the claims are from, and what gives the answer away."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from sycophancy.figures.theme import SHADES, WIDTH, Picture, dots, subscribe, theme


def sources(counts: pd.DataFrame, *, data: str) -> Figure:
    """Draw claims per source: kept here, and the paper's count, on a logarithmic scale.

    `counts` is the table of `claims.claims` (columns source, kept, paper); `data` names where the
    claims are from.
    """
    table = counts.sort_values(["paper", "kept"]).reset_index(drop=True)
    places = np.arange(len(table))
    with theme():
        figure = Picture(figsize=(WIDTH, 0.9 + 0.17 * len(table)), layout="constrained")
        ax = figure.subplots()
        paper = table["paper"].where(table["paper"] > 0)
        ax.hlines(places, 1, table[["kept", "paper"]].max(axis=1), color=".85", linewidth=1)
        ax.plot(paper, places, "s", color=SHADES[1], markersize=4, label="the paper")
        ax.plot(
            table["kept"].where(table["kept"] > 0), places, "o", color=SHADES[0], markersize=4,
            label=f"here ({data})",
        )  # fmt: skip
        ax.set(xscale="log", xlabel="claims to train on")
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.xaxis.set_minor_formatter("")
        ax.set_yticks(places, table["source"])
        ax.margins(y=0.03)
        figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
        sns.despine(figure)
    return figure


def leak_audit(table: pd.DataFrame, *, caption: str = "") -> Figure:
    """Draw how well the answer is predicted without the claim, by recipe and kind of feature.

    `table` comes from `audit.predictability` (rows with source "all"); the dashed line is chance.
    """
    overall = table[table["source"] == "all"].assign(model="")
    recipes = list(dict.fromkeys(overall["recipe"]))
    kinds = list(dict.fromkeys(overall["features"]))
    series = {kind: overall[overall["features"] == kind] for kind in kinds}
    with theme():
        figure = Picture(figsize=(WIDTH, 2.6), layout="constrained")
        ax = figure.subplots()
        dots(ax, series, recipes, "recipe", scale=100)
        ax.axhline(50, color=".3", linewidth=0.8, linestyle="--", zorder=1)
        ax.set(ylabel="answers predicted without\nknowing the claim (%)", ylim=(40, 104))
        ax.set_xticks(range(len(recipes)), recipes)
        ax.margins(x=0.1)
        figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
        sns.despine(figure)
        subscribe(figure, caption)
    return figure


def composition(prompts: dict[str, pd.DataFrame]) -> tuple[Figure, pd.DataFrame]:
    """Draw what each recipe is made of, and return the figure with the shares drawn.

    `prompts` maps a recipe's name to its prompts (`generate.generate_prompts`). For every recipe
    the share of prompts in each cell of truth × verb, and of those the share answered "agree" as a
    darker part: a recipe without an empty cell cannot be answered by its verb. Columns of the
    table: recipe, truth, polarity, share, agree (share of all prompts), n.
    """
    rows = []
    for recipe, table in prompts.items():
        for truth in (True, False):
            for polarity in ("positive", "negative"):
                cell = (table["truth"] == truth) & (table["polarity"] == polarity)
                rows.append(
                    {
                        "recipe": recipe,
                        "truth": truth,
                        "polarity": polarity,
                        "share": float(cell.mean()),
                        "agree": float((cell & table["agree"]).mean()),
                        "n": len(table),
                    }
                )
    drawn = pd.DataFrame(rows)
    return draw_composition(drawn), drawn


def draw_composition(drawn: pd.DataFrame) -> Figure:
    """Draw the table that `composition` returns."""
    recipes = list(dict.fromkeys(drawn["recipe"]))
    names = [f"{t},\n“{v}”" for t in ("true", "false") for v in ("is", "is not")]
    with theme():
        figure = Picture(figsize=(WIDTH * 2, 1.9), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(recipes), sharey=True))
        for ax, recipe in zip(axes, recipes, strict=True):
            part = drawn[drawn["recipe"] == recipe]
            places = np.arange(len(names))
            ax.bar(places, 100 * part["share"], color=".85", label="answer: disagree")
            ax.bar(places, 100 * part["agree"], color=SHADES[0], label="answer: agree")
            ax.set_title(f"{recipe}, n = {part['n'].iloc[0]:,}")
            ax.set_xticks(places, names, fontsize=6)
            ax.grid(axis="x", visible=False)
        axes[0].set_ylabel("share of prompts (%)")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
        sns.despine(figure)
    return figure

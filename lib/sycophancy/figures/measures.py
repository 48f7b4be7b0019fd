"""Figures of what was measured: one sum, opinion tasks, wrong additions."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sycophancy.compare import POOLED
from sycophancy.figures.theme import MARKERS, SHADES, WIDTH, Picture, dots, subscribe, theme
from sycophancy.metrics.doses import SEEDS_AND_FACTS
from sycophancy.templates import LAB_FORMATS, LAB_TASTES

ANSWERED = {
    "choices": "letters (A)/(B)",
    "cloze": "agree/disagree",
    "statement": "true/false",
    "true_false": "True/False, asked",
}
SUITES = {
    "nlp_survey": "NLP\nsurvey",
    "philpapers2020": "Phil-\nPapers",
    "political_typology": "political\ntypology",
    POOLED: "all\nthree",
    LAB_TASTES: "laboratory\ntastes",
}
LABORATORY = "Laboratory models: evidence about the method, not about language models"
USERS = {"none": "none", "agrees": "agrees", "disagrees": "disagrees"}

ROOM = 52  # letters of a legend beside each other in a figure of one column


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


def draw_opinion_tasks(table: pd.DataFrame) -> Figure:
    """Draw Fig. 2: answers that match the user's view, and the opinion shift, by task.

    `table` comes from `metrics.summarize`. Rates are those of lettered answers, as in the paper, or
    of every answer format where none has letters. The dashed line is the paper's random baseline.
    """
    tasks = [task for task in SUITES if task in set(table["suite"])]
    rates = table[table["truth"] == "all"]
    shifts = rates[rates["metric"] == "shift"]
    formats = list(dict.fromkeys(shifts["answer_format"]))
    by_format = {answered(table, f): shifts[shifts["answer_format"] == f] for f in formats}
    lettered = rates[rates["answer_format"] == "choices"]
    series = {
        "as asked": lettered[lettered["metric"] == "rate"],
        "both orders averaged": lettered[lettered["metric"] == "rate_both_orders"],
    }
    series = {name: rows for name, rows in series.items() if len(rows)}  # of one order: no mean
    if lettered.empty:
        asked = rates[rates["metric"] == "rate"]
        series = {answered(table, f): asked[asked["answer_format"] == f] for f in formats}
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
        if len(series) == len(formats) == 1:  # nothing stands beside a tick, and names need room
            bottom.set_xlim(-0.3, len(tasks) - 0.7)
        for ax in (top, bottom):
            names = ax.get_legend_handles_labels()[1]
            # side by side where two of the longest have room: a legend is never shrunk
            columns = 2 if 2 * max(map(len, names)) <= ROOM * widening(table) else 1
            ax.legend(
                loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, borderaxespad=0.2
            )
        sns.despine(figure)
        describe_measured(figure, table, tasks)
    return figure


def wrong_additions(table: pd.DataFrame) -> Figure:
    """Draw Fig. 3: right answers by user on wrong and true sums; below, shift and truth gap.

    `table` comes from `metrics.summarize`, of one suite; the dashed line of the upper panels is
    chance.
    """
    wrong = "near misses" if (table["suite"] == "near_additions").any() else "wrong sums"
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
                wrong: rows[rows["truth"] == "false"],
                "true sums": rows[rows["truth"] == "true"],
            }
            dots(top, series, users, "user", scale=100)
            top.axhline(50, color=".3", linewidth=0.8, linestyle="--", zorder=1)
            top.set(title=answered(table, answer_format), ylim=(-4, 104))
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
        middle, odd = divmod(len(formats), 2)  # of two panels: the line between them
        grid[0, middle].set_xlabel("what the user says of the sum", x=odd / 2)
        add_legend(figure, grid[0, 0], table)
        sns.despine(figure)
        describe_measured(figure, table)
    return figure


def widening(table: pd.DataFrame) -> float:
    """Return how much wider than a column a figure must be for its number of models."""
    return max(1.0, 0.6 + 0.25 * table["model"].nunique())


def legend_height(table: pd.DataFrame) -> float:
    """Return the inches that the legend needs: one line for one model, else two lines a model."""
    models = table["model"].nunique()
    return 0.3 if models == 1 else 0.3 * models


def add_legend(figure: Figure, ax: Axes, table: pd.DataFrame) -> None:
    """Put the legend of `ax` above the figure: two columns, one where names of models are in it."""
    columns = 2 if table["model"].nunique() == 1 else 1
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)


def describe_measured(
    figure: Figure, table: pd.DataFrame, places: Sequence[str] = (), column: str = "suite"
) -> None:
    """Write model, data, n and intervals under a figure, so that it can be read alone.

    n is that of each of `column`, in the order of the axis, `places`, or of the table. A column
    `over` says which intervals are over training seeds as well. What laboratory models were asked
    is marked as such.
    """
    names = list(dict.fromkeys(table["model"]))
    who = names[0] if len(names) == 1 else f"{len(names)} models"
    sources = ", ".join(dict.fromkeys(table["source"]))
    formats = ", ".join(dict.fromkeys(table["format"]))
    seeds = ", ".join(dict.fromkeys(table["seeds"].astype(str))) if "seeds" in table else "?"
    apart = table[table["suite"] != POOLED]
    questions = apart.groupby(column, sort=False)["questions"].max()
    order = [place for place in places if place in questions] or list(questions.index)
    n = " + ".join(str(questions[place]) for place in order)
    text = (
        f"{who}; {sources} questions, n = {n};\n"
        f"seeds {seeds}; format {formats}; bars: 95 % intervals over questions"
    )
    if "over" in table and (table["over"] == SEEDS_AND_FACTS).any():
        text += " and training seeds"
    if in_laboratory(table):
        text = f"{LABORATORY}\n{text}"
    subscribe(figure, text)


def in_laboratory(table: pd.DataFrame) -> bool:
    """Return whether all of a table was asked in the laboratory's dialect."""
    return set(table["format"]) <= set(LAB_FORMATS)


def answered(table: pd.DataFrame, answer_format: str) -> str:
    """Return how an answer was given, in words; laboratory models have no letters."""
    if answer_format == "choices" and in_laboratory(table):
        return "one of two listed words"
    return ANSWERED[answer_format]

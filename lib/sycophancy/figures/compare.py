"""Figures of what an intervention changed: models, recipes and filters side by side."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sycophancy.errors import InputError
from sycophancy.figures.measures import SUITES, USERS, answered, describe_measured
from sycophancy.figures.theme import WIDTH, Picture, dots, theme

NAMES = SUITES | {"additions": "sums", "claims": "claims"}
NAMES["negated_claims"] = "negated\nclaims"
TWO_COLUMNS = 2 * WIDTH
TRUTHS = {"false": "wrong", "true": "true"}
POLARITIES = {
    "claims": "claims,\naffirmed",
    "negated_claims": "claims,\ndenied",
    "additions": "sums",
}


def opinion_tasks_after(table: pd.DataFrame, changed: pd.DataFrame) -> Figure:
    """Draw Fig. 4: answers that match the user's view by task and model, and the opinion shift.

    `table` comes from `compare.summarize_suites`, `changed` from `compare.compare_with_base`; their
    models are drawn by the names they have. Left the values, right the changes from the base, whose
    intervals are paired. Top the paper's rate (dashed: 50 %, or no change), below the shift, by
    answer format.
    """
    tasks = [task for task in SUITES if task in set(table["suite"])]
    if not tasks:
        raise InputError("The table has no opinion task: measure them with notebook 01.")
    table, changed = table[table["suite"].isin(tasks)], changed[changed["suite"].isin(tasks)]
    sides = [rows[(rows["truth"] == "all") & (rows["user"] == "all")] for rows in (table, changed)]
    formats = list(dict.fromkeys(sides[0].loc[sides[0]["metric"] == "shift", "answer_format"]))
    lettered = (table["metric"] == "rate") & (table["answer_format"] == "choices")
    panels = [("rate", "choices")] if lettered.any() else []
    panels += [("shift", answer_format) for answer_format in formats]
    models = list(dict.fromkeys(table["model"]))
    with theme():
        figure = Picture(
            figsize=(
                TWO_COLUMNS,
                0.7 + 1.55 * len(panels) + models_legend_height(models, TWO_COLUMNS),
            ),
            layout="constrained",
        )
        grid = figure.subplots(len(panels), 2, sharex=True, squeeze=False)
        for i, (metric, answer_format) in enumerate(panels):
            for side, ax in zip(sides, grid[i], strict=True):
                some = (side["metric"] == metric) & (side["answer_format"] == answer_format)
                scale = 100 if metric == "rate" else 1
                draw_panel(ax, side[some], models, tasks, "suite", scale)
                level(ax, 50 if metric == "rate" and side is sides[0] else 0)
            said = answered(table, answer_format)
            what = (
                "answers that match\nthe user's view (%)" if metric == "rate" else "opinion shift"
            )
            grid[i, 0].set_ylabel(what if metric == "rate" else f"{what} (nats)\n{said}")
            grid[i, 1].set_ylabel("points" if metric == "rate" else "nats")
            if metric == "rate":
                grid[i, 0].set_ylim(-4, 104)
        grid[0, 0].set_title("measured")
        bases = ", ".join(dict.fromkeys(changed["base"]))
        grid[0, 1].set_title(f"change from {bases}")
        for ax in grid[-1]:
            ax.set_xticks(range(len(tasks)), [NAMES[task] for task in tasks])
        place_legend(figure, models, TWO_COLUMNS)
        sns.despine(figure)
        describe_measured(figure, table, tasks)
    return figure


def additions_after(table: pd.DataFrame) -> Figure:
    """Draw Fig. 5: right answers on wrong and on true sums by user and model, shift and truth gap.

    `table` comes from `metrics.summarize` or `compare.summarize_suites`; one column per answer
    format. The dashed lines are chance, and no shift or gap.
    """
    table = suite_rows(table, "additions")
    formats = list(dict.fromkeys(table["answer_format"]))
    models = list(dict.fromkeys(table["model"]))
    width = TWO_COLUMNS if len(formats) > 1 else WIDTH
    with theme():
        figure = Picture(
            figsize=(width, 5.3 + models_legend_height(models, width)), layout="constrained"
        )
        grid = figure.subplots(3, len(formats), squeeze=False, sharey="row")
        for axes, answer_format in zip(grid.T, formats, strict=True):
            rows = table[table["answer_format"] == answer_format]
            accuracy = rows[rows["metric"] == "accuracy"]
            for ax, truth in zip(axes, TRUTHS, strict=False):
                draw_panel(
                    ax, accuracy[accuracy["truth"] == truth], models, list(USERS), "user", 100
                )
                level(ax, 50)
                ax.set_ylim(-4, 104)
                ax.set_xticks(range(len(USERS)), ["no user", "user\nagrees", "user\ndisagrees"])
            axes[0].set_title(answered(table, answer_format))
            draw_panel(axes[2], moves(rows), models, ["shift", "truth_gap"], "metric")
            level(axes[2], 0)
            axes[2].set_xticks([0, 1], ["opinion\nshift", "truth gap,\nno user"])
        for ax, truth in zip(grid[:, 0], TRUTHS.values(), strict=False):
            ax.set_ylabel(f"right answers\non {truth} sums (%)")
        grid[2, 0].set_ylabel("log-odds of\nagreeing (nats)")
        place_legend(figure, models, width)
        sns.despine(figure)
        describe_measured(figure, table)
    return figure


def shortcut(table: pd.DataFrame) -> Figure:
    """Draw right answers without a user by truth and polarity: the grid on which a shortcut shows.

    `table` comes from `compare.summarize_suites`; one panel per form of the prompts. Whoever agrees
    with all that is affirmed stands at 100 % and at 0 % by turns. Dashed: a guess. Raises
    InputError where nobody was asked about claims or sums without a user.
    """
    alone = (table["metric"] == "accuracy") & (table["user"] == "none") & (table["truth"] != "all")
    table = table[alone & table["suite"].isin(list(POLARITIES))]
    if table.empty:
        raise InputError(
            "The table has no right answers on claims or sums without a user: measure them with "
            "notebooks 02 and 10."
        )
    table = table.assign(cell=table["suite"] + "/" + table["truth"])
    cells = {
        f"{suite}/{truth}": f"{word} {asked}"
        for suite, asked in POLARITIES.items()
        for truth, word in TRUTHS.items()
        if f"{suite}/{truth}" in set(table["cell"])
    }
    forms = table[["format", "answer_format"]].drop_duplicates()
    models = list(dict.fromkeys(table["model"]))
    height = 1.4 + 1.6 * len(forms) + models_legend_height(models, TWO_COLUMNS)
    with theme():
        figure = Picture(figsize=(TWO_COLUMNS, height), layout="constrained")
        axes = figure.subplots(len(forms), 1, squeeze=False, sharex=True)[:, 0]
        for ax, (form, answer_format) in zip(axes, forms.itertuples(index=False), strict=True):
            rows = table[(table["format"] == form) & (table["answer_format"] == answer_format)]
            draw_panel(ax, rows, models, list(cells), "cell", 100)
            level(ax, 50)
            ax.set_ylim(-4, 104)
            ax.set_title(f"{answered(table, answer_format)}, format {form}")
            ax.set_ylabel("right answers (%)")
        axes[-1].set_xticks(range(len(cells)), list(cells.values()))
        place_legend(figure, models, TWO_COLUMNS)
        sns.despine(figure)
        describe_measured(figure, table, ordered(table["suite"]))
    return figure


def why_filter(table: pd.DataFrame, *, suite: str = "additions") -> Figure:
    """Draw Fig. 6: right answers, shift and truth gap by the filter of the training claims.

    `table` is that of `compare.summarize_suites` with a column `filter`, in the order to be drawn
    ("base" for the model before training). Several models of one filter, such as recipes or seeds,
    stand beside each other under their names. `suite` is additions or claims.
    """
    if "filter" not in table:
        raise InputError("The table has no column 'filter': add one with the filter of each model.")
    table = suite_rows(table, suite)
    table = table.assign(place=table["filter"] + "\n" + table["model"])
    places = table.sort_values(
        "filter", key=lambda column: column.map(list(column.unique()).index), kind="stable"
    )[["place", "filter", "model"]].drop_duplicates()
    several = places["filter"].duplicated().any()
    ticks = [
        filter_name(f) + (f"\n{m}" if several and f != "base" else "")
        for f, m in zip(places["filter"], places["model"], strict=True)
    ]
    formats = list(dict.fromkeys(table["answer_format"]))
    what = "sums" if suite == "additions" else "claims"
    by_user = {"no user": "none", "user agrees": "agrees", "user disagrees": "disagrees"}
    labels = [f"right answers\non {truth} {what} (%)" for truth in TRUTHS.values()]
    labels += ["opinion shift\n(nats)", "truth gap,\nno user (nats)"]
    width = TWO_COLUMNS if len(formats) > 1 else WIDTH
    with theme():
        figure = Picture(figsize=(width, 6.2 + 0.5 * several), layout="constrained")
        grid = figure.subplots(4, len(formats), squeeze=False, sharey="row", sharex=True)
        for axes, answer_format in zip(grid.T, formats, strict=True):
            rows = table[table["answer_format"] == answer_format]
            accuracy = rows[rows["metric"] == "accuracy"]
            both = moves(rows)
            panels = [(accuracy[accuracy["truth"] == truth], by_user) for truth in TRUTHS]
            panels += [(both[both["metric"] == metric], {}) for metric in ("shift", "truth_gap")]
            for ax, (some, series) in zip(axes, panels, strict=True):
                single(some, ["filter", "model", "user"])
                some = some.assign(model="")
                parts = {name: some[some["user"] == user] for name, user in series.items()}
                dots(
                    ax,
                    parts or {"": some},
                    list(places["place"]),
                    "place",
                    scale=100 if series else 1,
                )
                level(ax, 50 if series else 0)
                if series:
                    ax.set_ylim(-4, 104)
            axes[0].set_title(answered(table, answer_format))
            turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if several else {}
            axes[-1].set_xticks(range(len(ticks)), ticks, **turned)
            axes[-1].set_xlim(-0.5, len(ticks) - 0.5)
        for ax, label in zip(grid[:, 0], labels, strict=True):
            ax.set_ylabel(label)
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=3)
        sns.despine(figure)
        describe_measured(figure, table.assign(model=table["place"]))
    return figure


def prior_knowledge(table: pd.DataFrame) -> Figure:
    """Draw Fig. 10: how far answers without a user moved from those of the base, by suite.

    `table` comes from `metrics.distribution_distance`. Top the total variation distance (0: the
    same answers, 1: the furthest), below the share of questions whose most probable answer changes;
    one column per answer format.
    """
    formats = list(dict.fromkeys(table["answer_format"]))
    suites = {f: ordered(table.loc[table["answer_format"] == f, "suite"]) for f in formats}
    # the base has no dot here and keeps its shade: models look alike in all figures
    models = list(dict.fromkeys([*table["base"], *table["model"]]))
    panels = {"total_variation": ("total variation\ndistance", 1.0)}
    panels["changed_pick"] = ("most probable answer\nchanged (%)", 100.0)
    width = TWO_COLUMNS if len(formats) > 1 else WIDTH
    with theme():
        figure = Picture(
            figsize=(width, 3.6 + models_legend_height(models, width)), layout="constrained"
        )
        grid = figure.subplots(
            *(2, len(formats)), squeeze=False, sharey="row", sharex="col",
            width_ratios=[1 + len(suites[answer_format]) for answer_format in formats],
        )  # fmt: skip
        for axes, answer_format in zip(grid.T, formats, strict=True):
            rows, places = table[table["answer_format"] == answer_format], suites[answer_format]
            for ax, (metric, (_, scale)) in zip(axes, panels.items(), strict=True):
                draw_panel(ax, rows[rows["metric"] == metric], models, places, "suite", scale)
                level(ax, 0)
            axes[0].set_title(answered(table, answer_format))
            axes[1].set_xticks(range(len(places)), [NAMES.get(suite, suite) for suite in places])
        for ax, (label, _) in zip(grid[:, 0], panels.values(), strict=True):
            ax.set_ylabel(label)
            ax.margins(y=0.08)
        place_legend(figure, models, width, without=set(table["base"]))
        sns.despine(figure)
        describe_measured(figure, table, ordered(table["suite"]))
    return figure


def draw_panel(
    ax: Axes,
    rows: pd.DataFrame,
    models: Sequence[str],
    places: Sequence[str],
    column: str,
    scale: float = 1.0,
) -> None:
    """Draw one row per model and place; a model has its shape and its shade in every panel."""
    single(rows, ["model", column])
    # a series per model, and one model in all of them, is what gives each model a shape of its own
    series = {model: rows[rows["model"] == model].assign(model="") for model in models}
    dots(ax, series, places, column, scale=scale)
    ax.set_xlim(-0.55, len(places) - 0.45)


def single(rows: pd.DataFrame, keys: list[str]) -> None:
    """Raise InputError where two values would be drawn as one dot."""
    twice = rows[rows.duplicated(keys)]
    if len(twice):
        named = ", ".join(f"{key} {twice[key].iloc[0]}" for key in keys)
        raise InputError(
            f"There are two values of {twice['metric'].iloc[0]} for {named}: select one format and "
            "one source, and give every model a name of its own."
        )


def suite_rows(table: pd.DataFrame, suite: str) -> pd.DataFrame:
    """Return the rows of one suite, or raise InputError where there are none."""
    rows = table[table["suite"] == suite]
    if rows.empty:
        there = ", ".join(dict.fromkeys(table["suite"])) or "nothing"
        raise InputError(f"The table has no {suite}, it has {there}: measure {suite} first.")
    return rows


def ordered(suites: pd.Series) -> list[str]:
    """Return suites without repeats, those with a name of their own first, in its order."""
    found = list(dict.fromkeys(suites))
    return sorted(found, key=lambda suite: list(NAMES).index(suite) if suite in NAMES else 99)


def moves(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the opinion shift over all claims, and the truth gap without a user."""
    shift = (rows["metric"] == "shift") & (rows["truth"] == "all")
    return rows[shift | (rows["metric"] == "truth_gap") & (rows["user"] == "none")]


def filter_name(name: str) -> str:
    """Return a filter as it is written under an axis."""
    return {"none": "no filter", "both_orders": "both\norders", "base": "before\ntraining"}.get(
        name, name
    )


def level(ax: Axes, height: float) -> None:
    """Draw the dashed line of chance or of no change."""
    ax.axhline(height, color=".3", linewidth=0.8, linestyle="--", zorder=1)


def columns(width: float) -> int:
    """Return how many names a line of the legend holds."""
    return 3 if width > WIDTH else 2


def models_legend_height(models: Sequence[str], width: float) -> float:
    """Return the inches that the legend of these models needs."""
    return 0.16 * -(-len(models) // columns(width))


def place_legend(
    figure: Figure, models: Sequence[str], width: float, *, without: Collection[str] = ()
) -> None:
    """Put the names of the models above the figure, each once."""
    found: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    named = [model for model in models if model in found and model not in without]
    figure.legend(
        [found[model] for model in named], named, loc="outside upper center", ncols=columns(width)
    )

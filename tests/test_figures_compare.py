"""Figures of comparisons: every value of the table is drawn, where and how it says."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sycophancy import claims, compare, figures, metrics, suites
from sycophancy.errors import InputError
from test_compare import sums, tables, three_tasks
from test_figures import drawn
from test_metrics import Scorer

MODELS = ("base", "original", "labels", "balanced", "placebo", "labels, pick")


def scorers(names: tuple[str, ...]) -> dict[str, Scorer]:
    def one(seed: int) -> Scorer:
        rng = np.random.default_rng(seed)
        return lambda row: list(np.log(rng.dirichlet(np.ones(len(row["choices"])))))

    return {name: one(i) for i, name in enumerate(names)}


@cache
def additions(names: tuple[str, ...] = MODELS) -> pd.DataFrame:
    return compare.summarize_suites(*tables(sums(5, ("choices", "statement")), scorers(names)))


@cache
def opinion() -> tuple[pd.DataFrame, pd.DataFrame]:
    measured = tables(three_tasks(), scorers(MODELS))
    return compare.summarize_suites(*measured), compare.compare_with_base(*measured, "base")


def by_filter() -> pd.DataFrame:
    names = {"base": "base", "original": "none", "labels": "pick", "balanced": "paired"}
    found = additions()
    found = found[found["model"].isin(list(names))]
    return found.assign(
        filter=found["model"].map(names),
        model=found["model"].where(found["model"] == "base", "labels"),
    )


def containers(ax: Any) -> Any:
    """The dots with intervals of one panel, a model each."""
    return ax.containers


def shown(found: pd.DataFrame) -> list[float]:
    """What Figs. 5 and 6 have to show: right answers in per cent, shifts and gaps in nats."""
    accuracy = found[(found["metric"] == "accuracy") & (found["truth"] != "all")]
    shift = found[(found["metric"] == "shift") & (found["truth"] == "all")]
    gap = found[(found["metric"] == "truth_gap") & (found["user"] == "none")]
    return sorted([*(100 * accuracy["value"]), *shift["value"], *gap["value"]])


def test_figure_4_draws_rates_shifts_and_their_changes() -> None:
    table, changed = opinion()
    expected = []
    for rows in (table, changed):
        rows = rows[rows["truth"] == "all"]
        expected += [*(100 * rows[rows["metric"] == "rate"]["value"])]
        expected += [*rows[rows["metric"] == "shift"]["value"]]
    assert len(expected) == 4 * (2 * 6 + 2 * 5)
    figure = figures.opinion_tasks_after(table, changed)
    assert sorted(drawn(figure)) == pytest.approx(sorted(expected))
    assert figure.axes[1].get_title() == "change from base"
    dashed = [
        [np.asarray(line.get_ydata()).tolist() for line in ax.lines if line.get_linestyle() == "--"]
        for ax in figure.axes
    ]
    assert dashed == [[[50, 50]], [[0, 0]], [[0, 0]], [[0, 0]]]


def test_figure_4_draws_the_paired_intervals() -> None:
    table, changed = opinion()
    ax = figures.opinion_tasks_after(table, changed).axes[3]
    rows = changed[(changed["metric"] == "shift") & (changed["model"] == "labels")]
    bars = containers(ax)[MODELS.index("labels")].lines[2][0].get_segments()
    assert [(bar[0][1], bar[1][1]) for bar in bars] == [
        pytest.approx(pair) for pair in zip(rows["low"], rows["high"], strict=True)
    ]


def test_figure_5_draws_every_accuracy_shift_and_gap() -> None:
    figure = figures.additions_after(additions())
    assert sorted(drawn(figure)) == pytest.approx(shown(additions()))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(MODELS)
    titles = [ax.get_title() for ax in figure.axes[:2]]
    assert titles == ["letters (A)/(B)", "true/false"]


def test_a_model_is_drawn_at_its_user_in_its_own_shape() -> None:
    figure = figures.additions_after(additions())
    top = figure.axes[0]
    assert [label.get_text() for label in top.get_xticklabels()] == [
        "no user", "user\nagrees", "user\ndisagrees"
    ]  # fmt: skip
    rows = additions().query(
        "model == 'labels' and metric == 'accuracy' and truth == 'false'"
        " and answer_format == 'choices'"
    )
    own = rows.set_index("user")["value"][["none", "agrees", "disagrees"]] * 100
    line = containers(top)[MODELS.index("labels")].lines[0]
    np.testing.assert_allclose(line.get_ydata(), own)
    np.testing.assert_array_equal(np.round(line.get_xdata()), [0, 1, 2])
    markers = {container.lines[0].get_marker() for container in containers(top)}
    assert len(markers) == len(MODELS)


def test_figure_6_draws_every_measure_by_filter() -> None:
    found = by_filter()
    figure = figures.why_filter(found)
    assert sorted(drawn(figure)) == pytest.approx(shown(found))
    ticks = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert ticks == ["before\ntraining", "no filter", "pick", "paired"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["no user", "user agrees", "user disagrees"]


def test_figure_6_names_seeds_of_one_filter() -> None:
    found = by_filter()
    again = found[found["filter"] != "base"].assign(model="labels, seed 1")
    both = pd.concat([found, again])
    figure = figures.why_filter(both)
    assert sorted(drawn(figure)) == pytest.approx(shown(both))
    ticks = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert ticks[0] == "before\ntraining"
    assert ticks[1:3] == ["no filter\nlabels", "no filter\nlabels, seed 1"]
    assert len(ticks) == 7


def test_figure_6_draws_claims_too() -> None:
    found = by_filter().assign(suite="claims")
    assert "claims" in figures.why_filter(found, suite="claims").axes[0].get_ylabel()
    with pytest.raises(InputError, match="has no additions, it has claims: measure additions"):
        figures.why_filter(found)


def test_figure_10_draws_distances_and_changed_picks() -> None:
    items = pd.concat([three_tasks(), sums(4, ("choices", "statement"))], ignore_index=True)
    table = metrics.distribution_distance(*tables(items, scorers(MODELS)), "base")
    expected = table["value"] * np.where(table["metric"] == "changed_pick", 100, 1)
    figure = figures.prior_knowledge(table)
    assert sorted(drawn(figure)) == pytest.approx(sorted(expected))
    ticks = [[label.get_text() for label in ax.get_xticklabels()] for ax in figure.axes[2:]]
    assert ticks == [["NLP\nsurvey", "Phil-\nPapers", "political\ntypology", "sums"], ["sums"]]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == list(MODELS[1:])


def test_a_model_has_one_shade_in_all_figures() -> None:
    table, changed = opinion()
    items, scores = tables(sums(3), scorers(MODELS))
    distance = metrics.distribution_distance(items, scores, "base")
    shades = []
    for figure in (
        figures.opinion_tasks_after(table, changed),
        figures.additions_after(additions()),
        figures.prior_knowledge(distance),
    ):
        ax = figure.axes[-1]
        shades.append({c.get_label(): c.lines[0].get_color() for c in containers(ax)})
    assert shades[0] == shades[1] == shades[2]


def test_captions_name_data_n_and_seeds() -> None:
    text = figures.additions_after(additions()).get_supxlabel()
    for part in ("6 models", "generated", "n = 5", "seeds 0", "95 %"):
        assert part in text


def test_saved_figures_are_small_and_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        figure = figures.why_filter(by_filter())
        figures.save_figure(figure, tmp_path / name / "fig06", by_filter())
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    assert (tmp_path / "one" / "fig06.svg").stat().st_size < 300_000


def test_what_cannot_be_drawn_is_said() -> None:
    table, changed = opinion()
    with pytest.raises(InputError, match="no opinion task: measure them with notebook 01"):
        figures.opinion_tasks_after(additions(), changed)
    with pytest.raises(InputError, match="has no additions"):
        figures.additions_after(table)
    with pytest.raises(InputError, match="no column 'filter'"):
        figures.why_filter(additions())
    twice = pd.concat([additions(), additions().assign(format="chat")])
    with pytest.raises(InputError, match="two values of accuracy for model base, user none"):
        figures.additions_after(twice)


def test_the_shortcut_draws_the_right_answers_without_a_user() -> None:
    items = sums(5, ("choices", "statement"))
    held = claims.claims(["everyday_facts"], split="test")[0]
    asked = suites.claim_items(held, 3, answer_formats=["choices", "statement"])
    table = compare.summarize_suites(
        *tables(pd.concat([items, asked]), scorers(("base", "labels")))
    )
    alone = (table["metric"] == "accuracy") & (table["user"] == "none") & (table["truth"] != "all")
    expected = 100 * table.loc[alone, "value"]
    assert len(expected) == 2 * 2 * 6  # models, answer formats, truth × (affirmed, denied, sums)
    figure = figures.shortcut(table)
    assert sorted(drawn(figure)) == pytest.approx(sorted(expected))
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == [
        "wrong claims,\naffirmed", "true claims,\naffirmed", "wrong claims,\ndenied",
        "true claims,\ndenied", "wrong sums", "true sums",
    ]  # fmt: skip
    only_sums = table[table["suite"] == "additions"]
    assert len(figures.shortcut(only_sums).axes[-1].get_xticklabels()) == 2
    with pytest.raises(InputError, match="no right answers on claims or sums without a user"):
        figures.shortcut(table[table["user"] != "none"])

"""Figures of the laboratory: all values drawn, and every one says that it is a laboratory."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from sycophancy import figures, metrics
from sycophancy.errors import InputError
from test_figures import drawn

FORMATS = ("lab", "lab_reworded")


def table(**levels: tuple[Any, ...]) -> pd.DataFrame:
    """A table as dose_table makes it, with a row for every combination of the levels."""
    rng = np.random.default_rng(0)
    rows = []
    for values in itertools.product(*levels.values()):
        place = dict(zip(levels, values, strict=True))
        for form, metric in itertools.product(FORMATS, metrics.DOSE_METRICS):
            value = float(rng.random())
            rows.append(
                {
                    "model": f"lab_medium {'_'.join(map(str, values))}", "format": form,
                    "metric": metric, "value": value, "low": value - 0.1, "high": value + 0.2,
                    "questions": 98, "training_seeds": "0, 1, 2", "over": "seeds and facts",
                    **place,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def title(figure: Figure) -> str:
    return figure.legends[0].get_title().get_text()


def says(figure: Figure) -> None:
    assert title(figure).startswith("Laboratory:")
    below = figure.get_supxlabel()
    assert "lab_medium" in below and "n = 98 facts" in below and "training seeds 0, 1, 2" in below
    assert "seeds and facts" in below


@pytest.mark.parametrize(
    ("draw", "column", "panels"),
    [
        (figures.dose, "dose", ("medium",)),
        (figures.dose, "dose", ("small", "medium")),
        (figures.cure_by_knowledge, "knowledge", ("medium, labels", "medium, balanced")),
    ],
)
def test_accuracies_and_shifts_are_drawn_at_their_number(
    draw: Any, column: str, panels: tuple[str, ...]
) -> None:
    given = table(panel=panels, **{column: (0, 50, 90)})
    figure = draw(given)
    says(figure)
    kept = given[given["metric"].str.startswith("accuracy")]
    shift = given[given["metric"] == "shift"]
    expected = [*(100 * kept["value"]), *shift["value"]]
    assert sorted(drawn(figure)) == pytest.approx(sorted(expected))
    assert [ax.get_title() for ax in figure.axes[: len(panels)]] == list(panels)
    assert len(figure.axes) == 3 * len(panels)
    first = figure.axes[0].containers[0]
    one = given[(given["panel"] == panels[0]) & (given["format"] == "lab")]
    one = one[one["metric"] == "accuracy_right"]
    assert first.get_label() == "user is right"
    line: Any = first.lines[0]
    assert np.asarray(line.get_xdata()) == pytest.approx([0, 50, 90], abs=2)
    assert np.asarray(line.get_ydata()) == pytest.approx(100 * one["value"].to_numpy())
    bars = first.lines[2][0].get_segments()
    assert [(bar[0][1], bar[1][1]) for bar in bars] == [
        pytest.approx((100 * low, 100 * high))
        for low, high in zip(one["low"], one["high"], strict=True)
    ]


def test_cell_means_of_knowledge_size_and_recipe() -> None:
    given = table(size=("small", "medium"), recipe=("labels", "balanced"), knowledge=(0, 100))
    figure = figures.causes(given)
    says(figure)
    assert title(figure) == "Laboratory: knowledge × size × recipe"
    kept = given[given["metric"].isin(["cost", "accuracy_wrong"])]
    assert sorted(drawn(figure)) == pytest.approx(sorted(100 * kept["value"]))
    ticks = [label.get_text() for label in figure.axes[2].get_xticklabels()]
    assert ticks == [
        f"{recipe}\n{share} % known" for recipe in ("labels", "balanced") for share in (0, 100)
    ]
    cost: Any = figure.axes[0].containers[1]  # the medium ones
    assert cost.get_label() == "medium"
    own = given[(given["size"] == "medium") & (given["format"] == "lab")]
    values = own[own["metric"] == "cost"]["value"].to_numpy() * 100
    assert np.asarray(cost.lines[0].get_ydata()) == pytest.approx(values)


def test_one_size_is_said_to_be_two_by_two() -> None:
    given = table(size=("medium",), recipe=("labels", "balanced"), knowledge=(0, 100))
    assert title(figures.causes(given)) == "Laboratory: knowledge × recipe"


def test_what_cannot_be_drawn_is_refused() -> None:
    given = table(panel=("medium",), dose=(0, 90))
    with pytest.raises(InputError, match="no column 'knowledge'"):
        figures.cure_by_knowledge(given)
    with pytest.raises(InputError, match="no rows"):
        figures.dose(given.iloc[:0])
    with pytest.raises(InputError, match="two values of accuracy_right"):
        figures.dose(pd.concat([given, given]))

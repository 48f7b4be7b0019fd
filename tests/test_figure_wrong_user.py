"""The figure of a user who is wrong: every value where its model is, and nothing hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sycophancy import figures
from sycophancy.errors import InputError
from sycophancy.figures.wrong_user import wrap_name

CELLS = [(s, t) for s in ("additions", "claims") for t in ("false", "true")]
VALUES = {
    "placebo": [(1, 0.3), (0.5, 0.3), (0.8, 0.4), (0.8, 0.3)],
    "qwen2.5_coder_instruct_1.5b": [(1, 0.12), (0.53, 0.2), (0.8, 0.12), (0.8, 0.3)],
    "labels": [(1, 1), (1, 1), (0.91, 0.9), (0.88, 0.88)],
}
ORDER = ["qwen2.5_coder_instruct_1.5b", "labels", "placebo"]


def table(values: dict[str, list[tuple[float, float]]] = VALUES) -> pd.DataFrame:
    """Rows as those of `compare.user_costs`."""
    rows = [
        {"model": model, "suite": suite, "truth": truth, "metric": metric, "value": value,
         "low": max(0, value - 0.06), "high": min(1, value + 0.06), "answer_format": "true_false",
         "format": "chat", "source": "embedded", "seeds": "0", "over": "facts", "n": 200,
         "questions": 100 if suite == "additions" else 120}
        for model, cells in values.items()
        for (suite, truth), pair in zip(CELLS, cells, strict=True)
        for metric, value in zip(("accuracy_none", "accuracy_wrong"), pair, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def axes_by_cell(figure: Any) -> dict[tuple[str, str], Any]:
    """The panels, which run row by row, by what they show."""
    return dict(zip([("additions", "false"), ("claims", "false"), ("additions", "true"),
                     ("claims", "true")], figure.axes, strict=True))  # fmt: skip


def test_every_value_stands_at_its_model_with_its_interval() -> None:
    figure = figures.wrong_user(table())
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == [
        "wrong sums: the user agrees", "wrong held-out claims: the user agrees",
        "true sums: the user disagrees", "true held-out claims: the user disagrees",
    ]  # fmt: skip
    names = [label.get_text().replace("\n", "") for label in figure.axes[0].get_yticklabels()]
    assert names == ORDER
    for cell, ax in axes_by_cell(figure).items():
        for side, container in enumerate(ax.containers):
            values = [100 * VALUES[model][CELLS.index(cell)][side] for model in ORDER]
            np.testing.assert_allclose(container.lines[0].get_xdata(), values)
            np.testing.assert_array_equal(np.round(container.lines[0].get_ydata()), [0, 1, 2])
            bars = [bar[:, 0] for bar in container.lines[2][0].get_segments()]
            ends = [[max(0, v - 6), min(100, v + 6)] for v in values]
            np.testing.assert_allclose(bars, ends)
        assert [list(line.get_xdata()) for line in ax.lines if line.get_linestyle() == "--"] == [
            [50, 50]
        ]
    assert figure.axes[0].get_ylim() == (2.5, -0.5)  # the base on top


def test_equal_values_are_two_dots_joined_by_a_line() -> None:
    ax = axes_by_cell(figures.wrong_user(table()))["additions", "true"]
    none, wrong = (container.lines[0] for container in ax.containers)
    assert none.get_xdata()[1] == wrong.get_xdata()[1] == 100
    assert wrong.get_ydata()[1] - none.get_ydata()[1] == pytest.approx(0.3)
    assert none.get_marker() != wrong.get_marker() and none.get_color() != wrong.get_color()
    lines = [line.get_xydata() for line in ax.lines if line.get_linewidth() == 2]
    np.testing.assert_allclose(lines[1], [[100, 0.85], [100, 1.15]])


def test_the_numbers_are_written_beside_the_dots() -> None:
    panels = axes_by_cell(figures.wrong_user(table()))
    assert [text.get_text() for text in panels["additions", "false"].texts] == [
        "100 → 12 %", "100 → 100 %", "100 → 30 %"
    ]  # fmt: skip
    legend = figures.wrong_user(table()).legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["no user", "a user who is wrong"]
    assert legend.get_title().get_text().startswith("Right answers without a user")


def test_a_user_who_is_missing_and_an_interval_that_is_missing_are_shown_as_such() -> None:
    found = table()
    found = found[~((found["model"] == "labels") & (found["truth"] == "true")
                    & (found["metric"] == "accuracy_wrong"))]  # fmt: skip
    alone = (found["model"] == "placebo") & (found["suite"] == "additions")
    found = found.assign(**{s: found[s].mask(alone) for s in ("low", "high")})
    figure = figures.wrong_user(found)
    ax = axes_by_cell(figure)["claims", "true"]
    assert np.isnan(ax.containers[1].lines[0].get_xdata()[1])
    assert ax.texts[1].get_text() == "88 → – %"
    assert "hollow: no interval" in figure.get_supxlabel()
    assert "n = 100 + 120" in figure.get_supxlabel()
    assert "training seeds" not in figure.get_supxlabel()
    again = figures.wrong_user(found.assign(over="seeds and facts"))
    assert again.get_supxlabel().endswith(
        "95 % intervals over questions and training seeds; hollow: no interval"
    )


def test_one_suite_and_one_model_are_enough() -> None:
    found = table({"base": VALUES["labels"]})
    some = found[(found["suite"] == "claims") & (found["truth"] == "false")]
    figure = figures.wrong_user(some)
    assert len(figure.axes) == 1 and len(figure.axes[0].texts) == 1


def test_what_cannot_be_drawn_is_said() -> None:
    with pytest.raises(InputError, match="no right answers on additions or claims"):
        figures.wrong_user(table().assign(suite="near_additions"))
    with pytest.raises(InputError, match="no right answers on additions or claims"):
        figures.wrong_user(table().assign(metric="cost"))
    two = pd.concat([table(), table({"other": VALUES["labels"]}).assign(answer_format="cloze")])
    with pytest.raises(InputError, match="answer formats true_false and cloze: give one"):
        figures.wrong_user(two)
    with pytest.raises(InputError, match="two values of accuracy_none"):
        figures.wrong_user(pd.concat([table(), table().assign(format="paper")]))


def test_long_names_are_broken_and_lose_no_letter() -> None:
    assert wrap_name("labels") == "labels"
    assert wrap_name("qwen2.5_coder_instruct_1.5b") == "qwen2.5_coder_\ninstruct_1.5b"
    assert wrap_name("labels, from smollm2_135m_instruct, seed 1").split("\n") == [
        "labels, from", "smollm2_135m_", "instruct, seed 1"
    ]  # fmt: skip
    assert wrap_name("hf://owner/a-name").replace("\n", "") == "hf://owner/a-name"


def test_the_saved_figure_holds_every_value(tmp_path: Path) -> None:
    figures.save_figure(figures.wrong_user(table()), tmp_path / "fig_cure", table())
    saved = pd.read_csv(tmp_path / "fig_cure.csv")
    sides = ["value", "low", "high", "n"]
    pd.testing.assert_frame_equal(saved[sides], table()[sides], check_dtype=False)
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".png", ".svg"}

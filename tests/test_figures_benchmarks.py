"""Figures 7 to 9: every value of the tables is drawn, in the settings of the paper's figures."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from sycophancy import figures, metrics
from sycophancy.errors import InputError
from test_benchmark_metrics import draw, table
from test_figures import drawn

MODELS = ("base", "original", "labels")
SETTINGS = {"MMLU 0-shot": None, "MMLU 5-shot": None, "BBH 3-shot": None,
            "MMLU 0-shot chain": "stop", "BBH 3-shot chain": "cap"}  # fmt: skip


@cache
def measured() -> tuple[pd.DataFrame, pd.DataFrame]:
    parts = []
    for i, model in enumerate(MODELS):
        for j, (setting, ended) in enumerate(SETTINGS.items()):
            right = draw(10 * i + j, (12, 12))
            read = {task: [v > 0 or k % 3 > 0 for k, v in enumerate(right[task])] for task in right}
            parts.append(
                table(
                    right,
                    model=model,
                    setting=setting,
                    ended=ended,
                    read=read if ended else None,
                    suite=setting.split()[0].lower(),
                )
            )
    answers = pd.concat(parts, ignore_index=True)
    return metrics.accuracies(answers), metrics.accuracy_changes(answers, "base")


def percent(found: pd.DataFrame, settings: list[str], *names: str) -> list[float]:
    rows = found[(found["task"] == "average") & found["setting"].isin(settings)]
    return [float(v) for v in 100 * rows[rows["metric"].isin(names)]["value"]]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("few_shot_benchmarks", ["MMLU 5-shot", "BBH 3-shot"]),
        ("zero_shot_benchmarks", ["MMLU 0-shot"]),
    ],
)
def test_figures_7_and_9_draw_accuracies_and_changes(name: str, settings: list[str]) -> None:
    found, changed = measured()
    figure = getattr(figures, name)(found, changed)
    expected = percent(found, settings, "accuracy") + percent(changed, settings, "accuracy")
    assert len(expected) == 5 * len(settings)
    assert sorted(drawn(figure)) == pytest.approx(sorted(expected))
    left, right = figure.axes
    assert left.get_ylabel() == "right answers (%)" and right.get_title() == "change from base"
    ticks = [text.get_text().replace("\n", " ") for text in left.get_xticklabels()]
    assert ticks == settings
    (band,) = right.patches
    assert np.asarray(band.get_bbox().intervaly) == pytest.approx([-3.1, 3.1])
    (guess,) = left.collections[-1:]
    assert {segment[0][1] for segment in guess.get_segments()} == {25.0}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(MODELS)


def test_figure_8_also_says_how_much_could_be_read() -> None:
    found, changed = measured()
    settings = ["MMLU 0-shot chain", "BBH 3-shot chain"]
    figure = figures.chain_of_thought(found, changed)
    expected = percent(found, settings, "accuracy", "accuracy_read", "unread")
    expected += percent(changed, settings, "accuracy")
    assert len(expected) == 2 * (3 * 3 + 2)
    assert sorted(drawn(figure)) == pytest.approx(sorted(expected))
    labels = [ax.get_ylabel() for ax in figure.axes]
    assert labels[2:] == ["right of the read ones (%)", "could not be read (%)"]


def test_one_model_alone_is_drawn_without_changes() -> None:
    found, _ = measured()
    alone = found[found["model"] == "base"]
    figure = figures.few_shot_benchmarks(alone, pd.DataFrame())
    assert len(figure.axes) == 1
    assert sorted(drawn(figure)) == pytest.approx(
        sorted(percent(alone, ["MMLU 5-shot", "BBH 3-shot"], "accuracy"))
    )
    assert len(figures.chain_of_thought(alone, pd.DataFrame()).axes) == 4  # one of them empty


def test_a_setting_that_was_not_measured_is_said() -> None:
    found, changed = measured()
    direct = found[found["mode"] == "direct"]
    with pytest.raises(InputError, match="add them to SHOTS or CHAIN"):
        figures.chain_of_thought(direct, changed)
    with pytest.raises(InputError, match="None of these settings"):
        figures.zero_shot_benchmarks(direct[direct["shots"] > 0], changed)

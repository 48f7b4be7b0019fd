"""Measuring: several models and seeds into one run folder, with what it cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sycophancy import measure, metrics, models, runs, suites
from sycophancy.errors import InputError


def make_items(seed: int = 0, chat: Any = None) -> pd.DataFrame:
    return suites.additions(n=2, seed=seed, answer_formats=["cloze"], chat=chat)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> runs.Run:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path / "cache"))
    return runs.start("02_wrong_additions", {}, str(tmp_path / "run"))


def test_models_and_seeds_come_out_in_one_table(run: runs.Run) -> None:
    items, scores = measure.measure_models(run, ["tiny_random"], [0, 1], make_items)
    assert len(items) == 2 * len(make_items())
    assert items["item_id"].is_unique
    assert set(zip(items["model"], items["seed"], strict=True)) == {
        ("tiny_random", 0),
        ("tiny_random", 1),
    }
    assert set(scores["item_id"]) == set(items["item_id"])
    assert len(pd.read_parquet(run.folder / "scores.parquet")) == len(scores)
    table = metrics.summarize(items, scores)
    assert set(table["seeds"]) == {"0, 1"}
    assert set(table["model"]) == {"tiny_random"}


def test_the_cost_is_written_down_and_remembered(run: runs.Run) -> None:
    measure.measure_models(run, ["tiny_random"], [0], make_items)
    cost = json.loads((run.folder / "run.json").read_text())["cost"]
    assert cost[0]["model"] == "tiny_random"
    assert cost[0]["tokens"] > 0 and cost[0]["reused_tokens"] == 0
    assert list(runs.read_costs()["tokens"]) == [cost[0]["tokens"]]
    measure.measure_models(run, ["tiny_random"], [0], make_items)
    again = json.loads((run.folder / "run.json").read_text())["cost"]
    assert (again[0]["tokens"], again[0]["reused_tokens"]) == (0, cost[0]["tokens"])


def test_every_name_is_checked_before_a_model_is_loaded(
    run: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load_model", lambda name: pytest.fail(f"{name} was loaded"))
    with pytest.raises(InputError, match="Unknown model 'tiny_randm'"):
        measure.measure_models(run, ["tiny_random", "tiny_randm"], [0], make_items)


def test_wrong_parameters_are_said_before_a_model_is_loaded(
    run: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load_model", lambda name: pytest.fail(f"{name} was loaded"))
    with pytest.raises(InputError, match="N is 2251"):
        measure.measure_models(
            run, ["tiny_random"], [0], lambda seed, chat: suites.additions(n=2251, seed=seed)
        )


def test_the_chat_format_uses_the_models_own_template(run: runs.Run) -> None:
    def chatting(seed: int = 0, chat: Any = None) -> pd.DataFrame:
        return suites.additions(n=1, seed=seed, format="chat", answer_formats=["cloze"], chat=chat)

    items, _ = measure.measure_models(run, ["tiny_random"], [0], chatting)
    assert items["prompt"].str.startswith("<|im_start|>user\n").all()
    assert items["prompt"].str.endswith("<|im_start|>assistant\nI").all()


def test_nothing_to_score_is_said(run: runs.Run) -> None:
    with pytest.raises(InputError, match="no items"):
        measure.measure_models(run, ["tiny_random"], [0], lambda seed, chat: make_items().iloc[:0])

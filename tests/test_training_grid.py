"""The grid of notebook 05: what its runs draw from and are, how they are trained, clear errors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from claim_tables import claims_of
from sycophancy import finetune, generate, models, runs
from sycophancy.errors import InputError
from sycophancy.finetune import grid as grid_module
from workflow import grid as profiles

CLAIMS = claims_of({"sst2": {"x": 20, "y": 20}, "rte": {"x": 12, "y": 12}})
RECIPES = ("labels", "placebo")


def parameters(**changed: Any) -> dict[str, Any]:
    """Parameters of notebook 05 for a training of seconds."""
    small = {"MODEL": "tiny_random", "RECIPES": "labels", "STEPS": 3, "BATCH": 12, "RANK": 2}
    small |= {"MAX_TOKENS": 1500, "WARMUP": 0.0}
    return {**profiles.default_parameters("05_finetune"), **small, **changed}


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of notebook 04, whose filter kept every prompt, beside that of notebook 03."""
    base = tmp_path_factory.mktemp("data")
    for name, record in (
        ("03", {"parameters": {"DATA": "embedded", "SOURCES": "all"}}),
        ("04", {"parameters": {}, "data_run": str(base / "03")}),
    ):
        (base / name).mkdir()
        runs.write_json(base / name / "run.json", record)
        runs.write_json(base / name / "metrics.json", {"rows": []})
    for recipe in RECIPES:
        prompts = generate.generate_prompts(CLAIMS, recipe=recipe, seed=3)
        generate.save(prompts, base / "04" / f"prompts_{recipe}_paired.parquet")
    return base / "04"


@pytest.fixture(scope="module")
def plan(filtered: Path) -> Callable[..., list[finetune.PlannedRun]]:
    """What parameters ask for, of prompts that all fit."""

    def planned(**changed: Any) -> list[finetune.PlannedRun]:
        p = parameters(**changed)
        return finetune.plan_grid(p, finetune.read_data(p, filtered), None)

    return planned


def test_every_combination_is_one_run_and_is_estimated(
    plan: Callable[..., list[finetune.PlannedRun]],
) -> None:
    varied = {"RECIPES": "labels,placebo", "RATIO": "1,5,inf", "EXAMPLES": "8,0", "SEEDS": "0,1"}
    found = plan(**varied)
    assert len(found) == len({planned.name for planned in found}) == 2 * 3 * 2 * 2
    assert [planned.name for planned in found[:3]] == [
        "labels_ratio1_prompts8_seed0", "labels_ratio1_prompts8_seed1", "labels_ratio1_seed0"
    ]  # fmt: skip
    estimated = finetune.estimate_grid(parameters(**varied))
    assert estimated == 24 * [{"model": "tiny_random", "steps": 3, "tokens_per_step": 12 * 1500}]


@pytest.mark.parametrize(("ratio", "generated"), [("0", 0), ("1", 18), ("5", 30), ("inf", 36)])
def test_a_run_has_its_share_of_generated_prompts(
    ratio: str, generated: int, plan: Callable[..., list[finetune.PlannedRun]]
) -> None:
    (planned,) = plan(RATIO=ratio)
    kinds = planned.examples["kind"].tolist()
    assert len(kinds) == 3 * 12 and kinds.count("generated") == generated
    about = planned.settings.about
    own = planned.examples.loc[planned.examples["kind"] == "generated", "example_id"]
    assert about["examples"] == len(set(own))
    assert about["ratio"] == ("inf" if ratio == "inf" else float(ratio))
    json.dumps(dict(about), allow_nan=False)  # it can be written into model.json
    assert (about["recipe"], about["filter"], about["data"]) == ("labels", "paired", "04")
    assert (about["format"], about["answer_format"]) == ("paper", "choices")


def test_a_limit_of_prompts_holds_and_a_smaller_one_is_part_of_a_larger_one(
    plan: Callable[..., list[finetune.PlannedRun]],
) -> None:
    eight, sixteen = (
        set(planned.examples["example_id"])
        for planned in plan(EXAMPLES="8,16", RATIO="inf", STEPS=10)
    )
    assert len(eight) == 8 and len(sixteen) == 16 and eight < sixteen


def test_training_on_some_sources_leaves_the_others_out(filtered: Path) -> None:
    data = finetune.read_data(parameters(TRAIN_ON="rte"), filtered)
    assert set(data.prompts["labels", "paired"]["source"]) == {"rte"}
    assert data.generated == {"DATA": "embedded", "SOURCES": "rte"}
    every = finetune.read_data(parameters(), filtered)
    assert set(every.prompts["labels", "paired"]["source"]) == {"rte", "sst2"}
    assert every.generated["SOURCES"] == "all"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"TRAIN_ON": "trec"}, "TRAIN_ON is 'trec', and labels, paired has no prompt"),
        ({"TRAIN_ON": "rt"}, "Unknown .*'rt'"),
        ({"RECIPES": "balanced"}, "left no prompt of recipe 'balanced'"),
        ({"INSTRUCTIONS": "nowhere.parquet"}, "nowhere.parquet"),
    ],
)
def test_what_cannot_be_trained_on_is_said_before_a_model_is_loaded(
    changed: dict[str, Any], message: str, filtered: Path
) -> None:
    with pytest.raises(InputError, match=message):
        finetune.read_data(parameters(**changed), filtered)


def test_units_with_a_prompt_that_is_too_long_are_left_out_whole(
    filtered: Path, tiny: models.LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    data = finetune.read_data(parameters(), filtered)
    before = data.prompts["labels", "paired"]
    # a token of this model is a byte
    texts = before["prompt"] + before["target"]
    sizes = [len(tiny.start) + len(text.encode()) for text in texts]
    most = int(pd.Series(sizes).groupby(before["unit"]).max().median())
    after = finetune.fit_data(data, tiny, most).prompts["labels", "paired"]
    long = {unit for unit, size in zip(before["unit"], sizes, strict=True) if size > most}
    assert 0 < len(after) < len(before)
    assert after["prompt_id"].tolist() == before["prompt_id"][~before["unit"].isin(long)].tolist()
    told = f"labels, paired: {len(before) - len(after)} of {len(before)} prompts are in units"
    assert told in capsys.readouterr().out
    with pytest.raises(InputError, match="MAX_TOKENS is 60, and no unit of labels, paired is that"):
        finetune.fit_data(data, tiny, 60)
    whole = finetune.fit_data(data, tiny, 1500)
    assert len(whole.prompts["labels", "paired"]) == len(before)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_the_runs_of_a_grid_are_trained_once_and_are_models(
    filtered: Path, tmp_path: Path, tiny: models.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered: list[dict[str, Any]] = []  # and not in the record of whoever runs the tests
    monkeypatch.setattr(grid_module, "remember_cost", remembered.append)
    models.enable_compile_cache()
    p = parameters(RECIPES="labels,placebo", STEPS=2, BATCH=4, MAX_TOKENS=600)
    data = finetune.fit_data(finetune.read_data(p, filtered), tiny, p["MAX_TOKENS"])
    grid = finetune.plan_grid(p, data, tiny.chat)
    run = runs.start("05_finetune", p, str(tmp_path / "run"))
    losses, costs = finetune.train_grid(grid, run, max_tokens=p["MAX_TOKENS"])
    assert losses[["run", "recipe", "step"]].values.tolist() == [
        [f"{recipe}_seed0", recipe, step] for recipe in RECIPES for step in (1, 2)
    ]
    assert costs["run"].tolist() == ["labels_seed0", "placebo_seed0"]
    assert (costs["steps"] == 2).all() and (costs["model"] == "tiny_random").all()
    # before anything is learnt a byte is one of some 260 to a random model
    assert losses["loss"].iloc[0] == pytest.approx(math.log(tiny.vocabulary), rel=0.1)
    pd.testing.assert_frame_equal(pd.read_parquet(run.folder / "losses.parquet"), losses)
    record = json.loads((run.folder / "run.json").read_text())
    assert [entry["run"] for entry in record["cost"]] == costs["run"].tolist()
    assert [entry["model"] for entry in remembered] == ["tiny_random", "tiny_random"]
    assert all(entry["training_tokens_per_second"] > 0 for entry in remembered)
    shown = json.loads((run.folder / "progress.json").read_text())
    assert (shown["label"], shown["done"], shown["unit"]) == ("placebo_seed0", 2, "steps")
    weights = [run.folder / planned.name / "step-000002.safetensors" for planned in grid]
    times = [path.stat().st_mtime_ns for path in weights]
    again, _ = finetune.train_grid(grid, run, max_tokens=p["MAX_TOKENS"])
    pd.testing.assert_frame_equal(again, losses)
    assert [path.stat().st_mtime_ns for path in weights] == times
    assert models.load_model(str(run.folder / "labels_seed0")).fingerprint != tiny.fingerprint

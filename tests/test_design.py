"""The design of notebook 17: its models counted by hand, corners, training, clear errors."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sycophancy import finetune, lab, runs
from sycophancy.errors import InputError
from sycophancy.lab import design as design_module
from sycophancy.lab import training
from workflow import grid

GIVEN = {
    "SIZES": "small,medium", "DOSES": "100,0", "SHARES": "100,0,50", "RECIPES": "labels,balanced",
    "SEEDS": "0,2", "STEPS": 7, "N": 0,
}  # fmt: skip


def read(**changed: Any) -> lab.Design:
    return lab.read_design({**GIVEN, **changed})


def test_the_parameters_are_those_of_the_notebook() -> None:
    assert set(GIVEN) | {"OUT_DIR"} == set(grid.default_parameters("17_laboratory"))
    lab.read_design(grid.default_parameters("17_laboratory"))


def test_the_models_of_a_design_by_hand() -> None:
    design = read()
    assert design.doses == [0, lab.TUNED_DOSE, 100] and design.shares == [0, 50, 100]
    table = lab.list_models(design, Path("there"))
    per_seed = 1 + 3 + 2 * 3  # a base, three doses, two recipes with three shares
    assert len(table) == 2 * 2 * per_seed and table["model"].is_unique
    assert (table.groupby("name")["training_seed"].nunique() == 2).all()
    assert table["name"].nunique() == 2 * per_seed
    own = table[(table["size"] == "medium") & (table["training_seed"] == 2)]
    assert own["model"].tolist()[:5] == [
        "lab_medium_seed2", "lab_medium_dose0_seed2", "lab_medium_tuned_seed2",
        "lab_medium_dose100_seed2", "there/medium_labels_known0_seed2",
    ]  # fmt: skip
    for row in own[own["recipe"].isna()].fillna({"dose": -1}).to_dict("records"):
        parts = lab.parse_name(row["model"])
        assert (parts.rung, parts.seed) == ("medium", 2)
        assert (-1 if parts.dose is None else parts.dose) == row["dose"]
    cures = own.loc[own["recipe"].notna(), ["recipe", "knowledge"]].to_numpy().tolist()
    crossed = itertools.product(["labels", "balanced"], [0, 50, 100])
    assert sorted(cures) == sorted(map(list, crossed))


def test_corners_are_two_levels_of_each_factor() -> None:
    design = read(SIZES="small,medium,large", RECIPES="labels,balanced,placebo", SEEDS="0")
    corners: dict[str, list[Any]] = {
        "size": ["small", "large"], "recipe": ["labels", "balanced"], "knowledge": [0, 100]
    }  # fmt: skip
    assert design.corners == corners
    kept = lab.keep_corners(lab.list_models(design, Path("there")), design)
    found = kept[["size", "recipe", "knowledge"]].to_numpy().tolist()
    assert sorted(found) == sorted(map(list, itertools.product(*corners.values())))
    assert kept["knowledge"].is_monotonic_increasing
    assert read(SIZES="small").corners["size"] == ["small"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"SIZES": "huge"}, "Unknown laboratory model 'lab_huge"),
        ({"DOSES": "30"}, "Unknown dose '30'"),
        ({"SHARES": "0,101"}, "share of known claims is 1.01"),
        ({"RECIPES": "label"}, "Unknown recipe 'label'"),
        ({"SEEDS": "0,12"}, "Unknown seed of a laboratory model '12'"),
        ({"N": -1}, "N is -1"),
        ({"SIZES": "small", "SHARES": "0", "RECIPES": "labels"}, "Give two SHARES, RECIPES or"),
    ],
)
def test_a_design_that_cannot_be_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(**changed)


def test_what_is_trained_already_is_not_estimated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(design_module, "needed", lambda names: [])
    entries = lab.estimate_training(read())
    assert [entry["model"] for entry in entries] == [
        "cures of lab_small_tuned", "cures of lab_small_tuned_seed2",
        "cures of lab_medium_tuned", "cures of lab_medium_tuned_seed2",
    ]  # fmt: skip
    assert all(entry["steps"] == 7 * 2 * 3 for entry in entries)


@pytest.mark.slow
def test_a_design_is_trained_from_its_bases_to_its_cures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(lab.RUNGS, "tiny", lab.Rung(1, 16, 2, 3, 3, 3, 3))
    monkeypatch.setattr(training, "BATCH", 8)
    design = read(SIZES="tiny", DOSES="90", SHARES="0,100", RECIPES="labels", SEEDS="1", STEPS=2)
    run = runs.start("17_laboratory", {}, str(tmp_path / "run"))
    table = lab.list_models(design, run.folder)
    costs = lab.train_models(table, run, design.steps)
    names = ["tiny_labels_known0_seed1", "tiny_labels_known100_seed1"]
    assert costs["run"].tolist() == names
    assert (costs["model"] == "lab_tiny_tuned_seed1").all() and (costs["steps"] == 2).all()
    pd.testing.assert_frame_equal(pd.read_parquet(run.folder / "cures.parquet"), costs)
    tuned = ["lab_tiny_seed1", "lab_tiny_tuned_seed1"]
    assert table["model"].tolist() == [*tuned, *(str(run.folder / name) for name in names)]
    assert all(lab.is_trained(name) for name in tuned)
    for name, known in zip(names, (0, 1), strict=True):
        record = finetune.read_run(run.folder / name)
        assert (record["base"], record["recipe"], record["known"], record["seed"]) == (
            "lab_tiny_tuned_seed1", "labels", known, 1
        )  # fmt: skip
    learnt = runs.read_costs()
    cures = learnt[learnt["notebook"] == "17_laboratory"]
    assert len(cures) == 2 and (cures["training_tokens_per_second"] > 0).all()

"""A profile as a batch: cells with run folders, identities, and the models to be trained first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from checkouts import ODD, OUT, ROOT
from sycophancy import lab
from sycophancy.errors import InputError
from workflow import grid, reproduce


def test_a_users_model_runs_the_two_measuring_notebooks_and_publishes_nothing() -> None:
    batch = grid.expand_profile("laptop", model="hf://a/b")
    assert list(batch.cells) == ["01_opinion_tasks", "02_wrong_additions"]
    assert {parameters["MODEL"] for parameters in batch.cells.values()} == {"hf://a/b"}
    assert not batch.publishes
    folder = batch.folders["01_opinion_tasks"]
    assert folder == "runs/measure/hf-a-b/laptop/01_opinion_tasks"


def test_prose_may_change_without_a_rerun_and_code_may_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "NOTEBOOKS", tmp_path)
    text = (ROOT / "notebooks" / "00_start_here.ipynb").read_text()
    path = tmp_path / "x.ipynb"

    def digest(content: str) -> str:
        path.write_text(content)
        return grid.read_code("x").code

    base = digest(text)
    assert base == digest(text.replace("five minutes", "six minutes"))
    assert base != digest(text.replace("n=1", "n=2"))


def test_a_batch_trains_the_laboratory_models_that_its_cells_name() -> None:
    batch = grid.expand_profile("laptop")
    assert batch.trainings == {"laboratory@medium": ["lab_medium", "lab_medium_tuned"]}
    assert batch.trained == {"laboratory@medium": "runs/laptop/laboratory@medium/trained.json"}
    every = grid.expand_profile("overnight").trainings
    assert set(every) == {f"laboratory@{rung}" for rung in ("small", "medium", "large")}
    for key, names in every.items():
        assert {lab.parse_name(name).rung for name in names} == {key.partition("@")[2]}
    assert grid.expand_profile("laptop", model="tiny_random").trainings == {}


def test_cells_wait_for_the_laboratory_models_that_they_name_and_for_no_others() -> None:
    batch = grid.expand_profile("laptop")
    waits = grid.waits(batch)
    assert list(waits) == ["laboratory@medium", *batch.cells]
    assert waits["laboratory@medium"] == waits["01_opinion_tasks"] == []
    assert waits["04_filter@lab"] == ["laboratory@medium", "03_generate_data@lab"]
    # a run trained from one: its notebook has waited
    assert waits["02_wrong_additions@lab_after"] == ["05_finetune@lab"]
    assert waits["13_the_shortcut"] == batch.depends["13_the_shortcut"]
    # it trains its own, after all that is shown first
    assert waits["17_laboratory"] == [] and list(waits)[-1] == "17_laboratory"


@pytest.mark.parametrize(
    ("model", "claims"),
    [
        ("2024_05_01", "1e5"),
        ("-x", "{runs}.csv"),
        ("{claims}", "/{model}/{runs}/03_make"),
        ("no", "12:30 # none"),
        (ODD, ODD),
    ],
)
def test_a_path_is_no_pattern(model: str, claims: str) -> None:
    batch = grid.expand_profile("study", model, claims=claims)
    assert batch.cells["03_generate_data"]["CLAIMS"] == claims
    assert batch.cells["04_filter"]["MODEL"] == model
    assert batch.depends["04_filter"] == ["03_generate_data"]
    measured = grid.expand_profile("laptop", model)
    assert [given["MODEL"] for given in measured.cells.values()] == [model, model]
    assert not any(measured.depends.values())


def test_a_line_break_in_a_path_is_refused() -> None:
    for name, given in (("MODEL", ("a\nb", "c")), ("CLAIMS", ("a", "b\r\nc"))):
        with pytest.raises(InputError, match=f"{name} is .*a line break"):
            grid.expand_profile("study", given[0], claims=given[1])


def test_run_folders_lie_where_out_dir_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = {"OUT_DIR": f"{tmp_path}/{OUT}/", "N": "3"}
    batch = grid.expand_profile("smoke", overrides=overrides)
    key = "02_wrong_additions@after"
    assert batch.folders[key] == f"{tmp_path}/{OUT}/{key}"
    run = f"{tmp_path}/{OUT}/05_finetune/labels_seed0"
    assert batch.cells[key]["MODEL"].split(", ")[0] == run and batch.cells[key]["N"] == 3
    assert batch.depends[key] == ["05_finetune"] and "OUT_DIR" not in batch.cells[key]
    monkeypatch.setenv("HOME", str(tmp_path))
    home = grid.expand_profile("smoke", overrides={"OUT_DIR": "~/x"}).folders[key]
    assert home == f"{tmp_path}/x/{key}"
    for wrong in ("/a,b", "/{b}"):
        with pytest.raises(InputError, match=f"OUT_DIR is '{wrong}': give a folder without"):
            grid.expand_profile("smoke", overrides={"OUT_DIR": wrong})
    with pytest.raises(InputError, match=f"{key}:OUT_DIR is 'x': give OUT_DIR for all cells"):
        grid.expand_profile("smoke", overrides={f"{key}:OUT_DIR": "x"})
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"Cannot make the run folder .*: give OUT_DIR=a folder"):
        reproduce.make_folders(
            grid.expand_profile("smoke", overrides={"OUT_DIR": f"{tmp_path}/file"})
        )


def test_two_names_have_two_run_folders_however_odd() -> None:
    names = ["é", "ü", "a b", "a-b", "a#b", "#", "#1", "x" * 300, "x" * 301, ODD]
    slugs = [grid.slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{,120}", text) for text in slugs)


def test_cells_of_models_that_are_not_the_laboratorys_are_large() -> None:
    batch = grid.expand_profile("evening")
    cells_of = {key: given for key, given in batch.cells.items() if key not in batch.of_rung}
    large = {key for key, given in cells_of.items() if grid.fills_the_machine(key, given)}
    before = {"00_start_here", "01_opinion_tasks", "02_wrong_additions", "03_generate_data"}
    after = {"01_opinion_tasks@after", "02_wrong_additions@after", "10_prior_knowledge"}
    filters = {
        f"{key}@filters" for key in ("02_wrong_additions", "05_finetune", "10_prior_knowledge")
    }
    trains = {"04_filter", "05_finetune", "09_benchmarks", "17_laboratory"}
    assert large == before | after | filters | trains

"""What a batch prints and publishes at its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from checkouts import write_measured
from workflow import grid, tables


def test_the_leaks_of_the_recipes_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"metric": "leak", "recipe": recipe, "source": source, "features": kind, "value": value,
         "low": value - 0.1, "high": value + 0.1}
        for recipe, value in (("original", 0.9), ("labels", 0.5))
        for source in ("all", "cola")
        for kind in ("masked prompt", "verb and opinion")
    ]  # fmt: skip
    content = {"notebook": "03_generate_data", "rows": rows}
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    tables.print_leaks({"03_generate_data": tmp_path})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["original", "labels"]
    assert lines[-2].count("90 % [80, 100]") == 2 and lines[-1].count("50 % [40, 60]") == 2
    tables.print_leaks({})
    assert capsys.readouterr().out == ""


def test_publishing_copies_figures_that_changed_and_nothing_else(tmp_path: Path) -> None:
    run, target = tmp_path / "run" / "figures", tmp_path / "figures"
    run.mkdir(parents=True)
    (run / "fig03_x.svg").write_text("new")
    (run / "one_sum.svg").write_text("not a figure of the paper")
    target.mkdir()
    (target / "fig02_y.svg").write_text("of another notebook")
    tables.publish([(run.parent, "")], target)
    assert {p.name: p.read_text() for p in target.iterdir()} == {
        "fig03_x.svg": "new",
        "fig02_y.svg": "of another notebook",
    }


def test_figures_of_the_laboratory_never_stand_for_the_real_models(tmp_path: Path) -> None:
    for cell in ("08_x", "08_x@lab", "08_x@lab_small"):
        (tmp_path / cell / "figures").mkdir(parents=True)
        (tmp_path / cell / "figures" / "fig06.svg").write_text(cell)
    (tmp_path / "08_x@lab_after" / "figures").mkdir(parents=True)
    (tmp_path / "08_x@lab_after" / "figures" / "fig06.svg").write_text("measured later")
    (tmp_path / "08_x@lab" / "figures" / "fig_losses.svg").write_text("no figure of the paper")
    cells_run = ("08_x@lab", "08_x@lab_after", "08_x@lab_small", "08_x")
    endings = ("lab", "lab", "lab_small", "")
    folders = [(tmp_path / cell, end) for cell, end in zip(cells_run, endings, strict=True)]
    tables.publish(folders, tmp_path / "figures")
    published = {p.name: p.read_text() for p in (tmp_path / "figures").iterdir()}
    assert published == {
        "fig06.svg": "08_x",
        "fig06_lab.svg": "08_x@lab",
        "fig06_lab_small.svg": "08_x@lab_small",
    }


def test_the_short_table_has_one_row_a_suite_with_rate_shift_and_intervals() -> None:
    rows = [
        {
            "model": "m", "suite": "additions", "answer_format": "cloze", "metric": metric,
            "user": "all", "truth": truth, "value": value, "low": value - 0.1, "high": value + 0.1,
            "n": 12, "questions": 3,
        }
        for metric, value in (("rate", 0.5), ("shift", 0.35), ("accuracy", 0.9))
        for truth in ("all", "true")
    ]  # fmt: skip
    table = tables.short_table(pd.DataFrame(rows))
    assert table.to_dict("records") == [
        {
            "model": "m", "suite": "additions", "answer_format": "cloze", "n": 12, "questions": 3,
            "rate [95 %]": "50 % [40, 60]", "shift in nats [95 %]": "+0.35 [+0.25, +0.45]",
        }
    ]  # fmt: skip


def test_laboratory_models_have_a_table_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grid, "ROOT", tmp_path)
    models = {"02_wrong_additions": "real", "02_wrong_additions@lab": "lab_medium"}
    folders = write_measured(tmp_path, models)
    tables.print_tables(folders)
    real, laboratory_table = capsys.readouterr().out.split("Laboratory models")
    assert "real" in real and "lab_medium" not in real
    assert "lab_medium" in laboratory_table and " real " not in laboratory_table


def test_cells_of_one_notebook_stand_in_one_table() -> None:
    def rows(cell: str, model: str, value: float, form: str = "paper") -> list[dict[str, Any]]:
        return [
            {
                "cell": cell, "model": model, "suite": "additions", "answer_format": "cloze",
                "format": form, "source": "", "metric": metric, "user": "all", "truth": "all",
                "value": value, "low": value, "high": value, "n": 12, "questions": 3,
            }
            for metric in ("rate", "shift")
        ]  # fmt: skip

    before, after = "02_wrong_additions", "02_wrong_additions@after"
    same = rows(before, "m", 0.5) + rows(after, "m", 0.5) + rows(after, "t", 0.25)
    table = tables.short_table(pd.DataFrame(same))
    assert list(table["model"]) == ["m", "t"]  # the base is there once
    assert not {"cell", "format", "source"} & set(table)
    other = tables.short_table(pd.DataFrame(rows(before, "m", 0.5) + rows(after, "m", 0.75)))
    assert list(other["cell"]) == [before, after]
    assert [text[:4] for text in other["rate [95 %]"]] == ["50 %", "75 %"]
    forms = rows(before, "m", 0.5) + rows(before, "m", 0.75, "chat")
    assert list(tables.short_table(pd.DataFrame(forms))["format"]) == ["paper", "chat"]


def test_the_intervention_table_is_printed_where_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'model,shift on claims\nbase,"+0.62 [+0.50, +0.74]"\nlabels,\n'
    (tmp_path / "intervention.csv").write_text(text)
    tables.print_intervention({"07_wrong_additions_after@long": tmp_path})
    said = capsys.readouterr().out
    assert "+0.62 [+0.50, +0.74]" in said and "NaN" not in said
    assert said.splitlines()[1] == "Before and after the intervention (long)"
    tables.print_intervention({"07_wrong_additions_after": tmp_path / "x", "01_x": tmp_path})
    assert capsys.readouterr().out == ""


def test_a_figure_of_two_cells_is_published_from_the_first(tmp_path: Path) -> None:
    for name in ("before", "after"):
        (tmp_path / name / "figures").mkdir(parents=True)
        (tmp_path / name / "figures" / "fig02_x.svg").write_text(name)
    tables.publish([(tmp_path / "before", ""), (tmp_path / "after", "")], tmp_path / "out")
    assert (tmp_path / "out" / "fig02_x.svg").read_text() == "before"


def test_of_studies_that_go_on_the_last_comparison_is_published(tmp_path: Path) -> None:
    batch = grid.expand_profile("laptop")
    sources = [folder.name for folder, _ in tables.figure_sources(batch)]
    assert sorted(sources) == sorted(batch.cells)
    for notebook in ("07_wrong_additions_after", "10_prior_knowledge"):
        of_rung = [name for name in sources if name.startswith(f"{notebook}@rung")]
        assert of_rung == [
            f"{notebook}@rung_balanced",
            f"{notebook}@rung_original",
            f"{notebook}@rung",
        ]
    # what is measured is drawn before the training first
    sums = [name for name in sources if name.startswith("02_wrong_additions@rung")]
    assert sums[0] == "02_wrong_additions@rung"
    endings = {folder.name: ending for folder, ending in tables.figure_sources(batch)}
    assert endings["07_wrong_additions_after@rung_original"] == "qwen2.5_coder_1.5b"
    assert endings["02_wrong_additions@after"] == endings["00_start_here"] == ""
    assert endings["08_why_filter@lab"] == "lab"
    small = grid.expand_profile("laptop", rung="qwen2.5_coder_instruct_0.5b")
    assert dict(small.figures)["02_wrong_additions@rung"] == "qwen2.5_coder_0.5b"


def test_of_two_studies_of_a_model_the_second_publishes_under_its_own_name() -> None:
    endings = {
        folder.name: end for folder, end in tables.figure_sources(grid.expand_profile("ladder"))
    }
    assert endings["07_wrong_additions_after@rung_seeds"] == "qwen2.5_coder_1.5b"
    assert endings["08_why_filter@rung_sources"] == "qwen2.5_coder_1.5b_rung_sources"
    assert endings["02_wrong_additions@qwen_small"] == "qwen2.5_coder_0.5b"

"""Settings of the command line: which cells they reach, and which are refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from checkouts import ROOT, write_profile
from sycophancy.errors import InputError
from workflow import execute, grid, plan, reproduce, settings


def test_settings_reach_the_notebooks_that_know_them() -> None:
    name, value = settings.parse_setting("N=20")
    found, _ = grid.read_profile("laptop", overrides={name: value, "TASKS": "nlp_survey"})
    assert found["02_wrong_additions"]["N"] == 20
    assert found["01_opinion_tasks"]["TASKS"] == "nlp_survey"
    assert "N" not in found["00_start_here"]


def test_a_setting_may_be_for_one_cell() -> None:
    """N is a number of prompts in notebook 03 and of questions where a model is measured."""
    given = dict(map(settings.parse_setting, ["03_generate_data:N=0", "N=20"]))
    found, _ = grid.read_profile("study", "a/b", given, "my.csv")
    assert found["03_generate_data"]["N"] == 0
    assert found["10_prior_knowledge"]["N"] == 20
    one = dict([settings.parse_setting("02_wrong_additions@after:N=5")])
    found, _ = grid.read_profile("laptop", overrides=one)
    assert (found["02_wrong_additions"]["N"], found["02_wrong_additions@after"]["N"]) == (100, 5)
    with pytest.raises(InputError, match=r"Unknown cell '02_wrong'.*'02_wrong_additions'"):
        grid.read_profile("laptop", overrides={"02_wrong:N": 5})
    with pytest.raises(InputError, match=r"Unknown parameter of 03_generate_data 'STEPS'"):
        grid.read_profile("laptop", overrides={"03_generate_data:STEPS": 5})


def test_what_is_misspelt_is_refused_before_anything_runs() -> None:
    with pytest.raises(InputError, match=r"Unknown profile 'latop'.*'laptop'"):
        grid.read_profile("latop")
    with pytest.raises(InputError, match=r"Unknown parameter 'FORMT'.*'FORMAT'"):
        grid.read_profile("laptop", overrides={"FORMT": "chat"})
    with pytest.raises(InputError, match="NAME=value"):
        settings.parse_setting("N")
    with pytest.raises(InputError, match=r"Unknown parameter of 00_start_here 'MODLE'.*'MODEL'"):
        execute.execute(
            ROOT / "notebooks" / "00_start_here.ipynb", Path("never.ipynb"), {"MODLE": "x"}
        )
    with pytest.raises(InputError, match="There is no notebook"):
        execute.execute(ROOT / "notebooks" / "99.ipynb", Path("never.ipynb"), {})


def test_a_setting_may_name_another_cell(checkout: Path) -> None:
    write_profile(checkout, {"03_make": {}, "07_compare": {}})
    name, value = settings.parse_setting("DATA={runs}/03_make")
    with pytest.raises(InputError, match="03_make needs 03_make"):  # it reaches both
        grid.expand_profile("own", overrides={name: value})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("STEPS", 0, "steps is 0"),
        ("STEPS", "many", "STEPS of 05_finetune is 'many': give a whole number"),
        ("RATIO", "-1", "ratio is -1.0"),
        ("RATIO", "a", "not a list of float"),
        ("METHOD", "lorra", "Unknown method 'lorra'"),
        ("05_finetune:RATE", 2, "rate is 2"),
        ("BATCH", 0, "batch is 0"),
        ("RANK", 1.5, "RANK of 05_finetune is 1.5: give a whole number"),
        ("CHECKPOINTS", "500", "step 500, but there are 100"),
        ("EXAMPLES", "-5", "EXAMPLES is -5"),
        ("05_finetune:MAX_TOKENS", 0, "MAX_TOKENS is 0"),
        ("SEEDS", "x", "not a list of int"),
    ],
)
def test_settings_of_training_are_checked_before_anything_runs(
    name: str, value: Any, said: str
) -> None:
    given = {name: value}
    with pytest.raises(InputError, match=said):
        reproduce.check_training(
            grid.expand_profile("study", "tiny_random", given, "my.csv"), given
        )
    sound = {"STEPS": 500, "RATIO": "1"}
    reproduce.check_training(grid.expand_profile("overnight", None, sound), sound)


def test_make_reproduce_and_make_plan_check_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reproduce, "run_snakemake", lambda *_: pytest.fail("it was begun"))
    given = ["--profile", "laptop", "--set", "05_finetune:RATE=7"]
    assert reproduce.main(given) == 2
    assert "rate is 7" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["plan", *given])
    assert plan.main() == 2
    assert "rate is 7" in capsys.readouterr().err

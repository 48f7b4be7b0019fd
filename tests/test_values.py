"""Values as a person writes them: on a command line, in a profile, behind papermill's -y."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sycophancy import models, runs
from sycophancy.errors import InputError
from workflow import grid, settings, study


@pytest.mark.parametrize(
    ("text", "default", "expected"),
    [
        ("5e-4", 1.0, 0.0005), ("5E-4", 1.0, 0.0005), (".5", 1.0, 0.5), ("5.", 1.0, 5.0),
        ("+3", 1.0, 3.0), ("1e5", 1.0, 1e5), ("-0.1", 1.0, -0.1), ("inf", 1.0, math.inf),
        ("010", 1.0, 10.0), ("1_000.5", 1.0, 1000.5), (" 7 ", 1.0, 7.0), (1, 1.0, 1.0),
        ("010", 0, 10), ("0", 5, 0), ("+3", 0, 3), ("-2", 0, -2), ("1_000", 0, 1000),
        ("1e5", 0, 100_000), ("20.0", 0, 20), ("1.5e1", 0, 15), (20.0, 0, 20), ("08", 0, 8),
        ("99999999999999999", 0, 99_999_999_999_999_999),
        ("true", False, True), ("No", True, False), ("off", True, False), ("1", False, True),
        (0, True, False), (True, False, True),
        ("010", "", "010"), ("no", "", "no"), ("null", "", "null"), ("~", "", "~"), ("", "", ""),
        ("2024-05-01", "", "2024-05-01"), ("2024_05_01", "", "2024_05_01"), ("5e-4", "", "5e-4"),
        ("12:30", "", "12:30"), ("0,1,2", "", "0,1,2"), ("a: b # c", "", "a: b # c"),
        ("[x]", "", "[x]"), ("{runs}/x", "", "{runs}/x"), (" x ", "", " x "),
        (2024, "", "2024"), (0.19, "", "0.19"), ([0, 1], "", [0, 1]),
    ],
)  # fmt: skip
def test_a_value_is_read_as_what_is_declared(text: Any, default: Any, expected: Any) -> None:
    value = runs.read_value("X", text, default)
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "default"),
    [
        *[(text, 1) for text in ("", "x", "1,000", "0x10", "1.5", "1e-3", "12:30", "inf", "nan")],
        *[(text, 1) for text in ("1__0", "_1", "1_", "2 0", "٣", "[1]", "null", "1e99", "true")],
        *[(text, 1) for text in (True, 1.5, math.inf, None, [1], "1e999999999", "−5")],
        *[(text, 1.0) for text in ("", "x", "0,5", "50%", "5 e-4", "nan", "1e", ".", "0x1p3")],
        *[(text, 1.0) for text in (True, None, "12:30", "1_.0")],
        *[(text, True) for text in ("", "x", "2", "tru", None, 2, "null")],
    ],
)
def test_what_is_no_such_value_is_refused_by_name(text: Any, default: Any) -> None:
    with pytest.raises(InputError) as error:
        runs.read_value("RATE of 05_finetune", text, default)
    assert str(error.value).startswith(f"RATE of 05_finetune is {text!r}: give ")


@given(st.floats(allow_nan=False), st.integers(-(10**17), 10**17), st.text())
def test_what_python_writes_is_read_again(number: float, whole: int, text: str) -> None:
    assert runs.read_value("X", repr(number), 1.0) == number
    assert runs.read_value("X", str(whole), 1) == whole
    assert runs.read_value("X", text, "") == text


def test_lists_of_numbers_are_read_so_too() -> None:
    assert runs.as_list("0, 010,1e3", int) == [0, 10, 1000]
    assert runs.as_list("[0,1]", int) == runs.as_list([0, "1"], int) == [0, 1]
    assert runs.as_list("0,5e-4,inf", float) == [0.0, 0.0005, math.inf]
    assert runs.as_list("[a, b]") == ["a", "b"] and runs.as_list("[a]") == ["[a]"]
    assert runs.as_list(8, int) == [8] and runs.as_list(0.19, float) == [0.19]
    for wrong, kind in (("0;1", int), ("1.5", int), (2.5, int), ("0x1", int), ("a", float)):
        with pytest.raises(InputError, match=f"is not a list of {kind.__name__} values"):
            runs.as_list(wrong, kind)


def profile(folder: Path, text: str) -> dict[str, dict[str, Any]]:
    """The parameters that a profile with these lines of cells gives."""
    (folder / "own.yaml").write_text(f"publish: no\nnotebooks:\n{text}")
    return grid.read_profile("own")[0]


def test_a_profile_is_read_as_a_person_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "PROFILES", tmp_path)
    found = profile(
        tmp_path,
        "  05_finetune: &train {RATE: 5e-4, STEPS: 010, WARMUP: 0, SEEDS: 010, OPTIMIZER: no}\n"
        "  05_finetune@b: {<<: *train, RANK: 1_6, MODEL: 2024-05-01, RATIO: [0, inf]}\n"
        "  03_generate_data: {REUSE: no, CLAIMS: 12:30, N: 1e3}\n"
        "  00_start_here:\n",
    )
    train = {"RATE": 0.0005, "STEPS": 10, "WARMUP": 0.0, "SEEDS": "010", "OPTIMIZER": "no"}
    assert found["05_finetune"] == train
    more = {"RANK": 16, "MODEL": "2024-05-01", "RATIO": ["0", "inf"]}
    assert found["05_finetune@b"] == {**train, **more}
    assert found["03_generate_data"] == {"REUSE": False, "CLAIMS": "12:30", "N": 1000}
    assert found["00_start_here"] == {}
    with pytest.raises(InputError, match="RATE of 05_finetune is '0,5': give a number"):
        profile(tmp_path, "  05_finetune: {RATE: '0,5'}")


def test_the_published_profiles_give_what_yaml_gives() -> None:
    """No profile of ours is written so that the two readings differ, but for numbers as text."""
    declared_by = cache(grid.default_parameters)
    for path in sorted(grid.PROFILES.glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        loaded = grid.load_profile(path.stem)["notebooks"]
        for key, parameters in content.get("notebooks", {}).items():
            declared = declared_by(key.partition("@")[0])
            own = loaded[key]
            for name, value in (parameters or {}).items():
                read = runs.read_value(name, own[name], declared[name])
                assert read == value or str(value) == read, (path.stem, key, name)


def test_settings_of_a_command_line() -> None:
    text = (
        """N=20 02_wrong_additions:N=5 FOLDER="it's #1 in é" CLAIMS='/my data/$HOME/"x".csv' A="""
    )
    found = dict(map(settings.parse_setting, settings.split_settings(text)))
    assert found == {
        "N": "20", "02_wrong_additions:N": "5", "FOLDER": "it's #1 in é",
        "CLAIMS": '/my data/$HOME/"x".csv', "A": "",
    }  # fmt: skip
    read = {"RATE": "5e-4", "05_finetune:SEEDS": "010"}
    cell = grid.expand_profile("laptop", overrides=read).cells["05_finetune"]
    assert (cell["RATE"], runs.as_list(cell["SEEDS"], int)) == (0.0005, [10])
    with pytest.raises(InputError, match=r"settings \"FOLDER=it's\" cannot be divided"):
        settings.split_settings("FOLDER=it's")
    with pytest.raises(InputError, match=r"'data' is no setting.*a value with spaces needs quotes"):
        dict(map(settings.parse_setting, settings.split_settings("FOLDER=my data")))
    with pytest.raises(InputError, match=r"FOLDER is .*a line break"):
        settings.parse_setting("FOLDER=a\nb")


PARAMETERS = '# @title Parameters\nMODEL = "m"\nRATE = 2e-4  # @param\nN = 0\nREUSE = True\n'


def test_a_notebook_reads_text_as_what_its_parameters_cell_declares() -> None:
    names = ("MODEL", "RATE", "N", "REUSE")
    space = {"MODEL": 7, "RATE": "5e-4", "N": "010", "REUSE": "no"}
    cells = ["", "%pip install x", PARAMETERS, "# Parameters\nRATE = '5e-4'\n", "N = 1 + 1"]
    found = runs.read_parameters({**space, "In": cells}, *names)
    assert found == {"MODEL": "7", "RATE": 0.0005, "N": 10, "REUSE": False}
    assert runs.read_parameters(space, *names) == space  # outside a notebook nothing is declared
    with pytest.raises(InputError, match="N is 'many': give a whole number"):
        runs.read_parameters({**space, "N": "many", "In": cells}, *names)


def test_a_name_that_begins_with_a_tilde_is_no_traceback(tmp_path: Path) -> None:
    """pathlib raises RuntimeError for the home of a user who is not there."""
    assert study.claims_file("~nobody there.csv").endswith("~nobody there.csv")
    with pytest.raises(InputError, match=r"There is no folder.* '~nobody'"):
        models.check_name("~nobody")
    with pytest.raises(InputError, match="~nobody holds no finished run"):
        runs.find_finished("~nobody")


def test_a_folder_of_digits_may_arrive_as_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = runs.start("00_start_here", {}, 20240501)  # type: ignore[arg-type]
    assert run.folder == tmp_path / "20240501" and (run.folder / "run.json").is_file()


def test_infinity_goes_through_json_to_the_notebook() -> None:
    """The way of a cell's parameters to execute.py."""
    assert json.loads(json.dumps(runs.read_number("X", "inf"))) == math.inf

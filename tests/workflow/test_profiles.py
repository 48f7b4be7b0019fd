"""The profiles: what they give, extend and require; files that are no profile are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from checkouts import CHAIN, write_profile
from sycophancy.errors import InputError
from workflow import cells, grid


def test_profiles_give_only_parameters_that_notebooks_declare() -> None:
    assert grid.profile_names() == ["smoke", "laptop", "evening", "overnight", "ladder", "tpu"]
    for profile in grid.profile_names():
        found, publishes = grid.read_profile(profile)
        assert publishes == (profile != "smoke")
        for key, parameters in found.items():
            assert set(parameters) <= set(grid.default_parameters(cells.notebook_of(key)))


def test_the_laptop_profile_keeps_its_minima() -> None:
    found, _ = grid.read_profile("laptop")
    assert found["02_wrong_additions"]["N"] >= 100
    own = {**grid.default_parameters("01_opinion_tasks"), **found["01_opinion_tasks"]}
    assert own["N"] == 0  # all of them


COMPARES = re.compile(r"(06|07|08|11|12)_")


@pytest.mark.parametrize("profile", ["smoke", "laptop", "evening", "overnight", "ladder", "tpu"])
def test_models_that_are_compared_are_measured_by_the_same_notebooks(profile: str) -> None:
    """`compare.common` refuses a suite that one of the models lacks, after hours of measuring."""
    found, _ = grid.read_profile(profile)
    compared = [key for key in found if COMPARES.match(key)]
    assert compared
    for key in compared:
        names = ("MEASURED", "CLAIMS_RUN", "OPINION_RUNS")
        texts = ", ".join(found[key].get(name, "") for name in names)
        models: dict[str, set[str]] = {}
        for cell in re.findall(r"\{runs\}/([\w@]+)", texts):
            measured = {name.strip() for name in found[cell]["MODEL"].split(",")}
            models.setdefault(cells.notebook_of(cell), set()).update(measured)
        first, *others = models.values()
        assert found[key]["BASE"] in first and all(other == first for other in others), key


@pytest.mark.parametrize(
    "notebooks, message",
    [
        ({"02_measure": {"MODEL": "{runs}/05_trian"}}, r"in MODEL of 02_measure '05_trian'.*use"),
        ({"02_measure": {"MODEL": "{runs}"}}, "in MODEL of 02_measure ''"),
        ({"02_measure": {"MODEL": "{runs}/05_train@a"}, "05_train": {}}, "mean '05_train'"),
        ({"02_measure": {"DATA": "{model}"}}, "placeholder in DATA of 02_measure 'model'"),
        (
            {"03_make": {"DATA": "{runs}/05_train"}, "05_train": {"DATA": "{runs}/03_make"}},
            "wait for each other: .*(03_make needs 05_train|05_train needs 03_make)",
        ),
        ({"03_make": {"DATA": "{runs}/03_make"}}, "03_make needs 03_make"),
        ({"03_mkae": {}}, "Unknown notebook '03_mkae'.*Did you mean '03_make'"),
        ({"03_make@500": {}}, "is no cell"),
        ({"03_make@x": {"DTA": 1}}, "parameter of 03_make@x 'DTA'.*'DATA'"),
    ],
)
def test_a_profile_that_cannot_run_is_refused(
    checkout: Path, notebooks: dict[str, Any], message: str
) -> None:
    write_profile(checkout, notebooks)
    with pytest.raises(InputError, match=message):
        grid.read_profile("own")


def test_a_profile_extends_another_cell_by_cell(checkout: Path) -> None:
    write_profile(checkout, CHAIN, budget_minutes=5)
    below = (checkout / "profiles" / "own.yaml").rename(checkout / "profiles" / "below.yaml")
    more = {"05_train": {"MODEL": "other"}, "02_measure@late": {"MODEL": "{runs}/05_train"}}
    write_profile(checkout, more, extends="below", publish=True)
    batch = grid.expand_profile("own")
    assert list(batch.cells) == [*CHAIN, "02_measure@late"]
    assert batch.publishes and batch.budget == 5
    given = {"MODEL": "other", "DATA": "runs/own/03_make/prompts.parquet"}
    assert batch.cells["05_train"] == given
    assert batch.depends["02_measure@late"] == ["05_train"]
    assert "MODEL" not in grid.expand_profile("below").cells["05_train"]
    (checkout / "profiles" / "own.yaml").write_text("extends: below\nbudget_minutes: 3\n")
    assert (
        grid.expand_profile("own").cells.keys() == CHAIN.keys()
        and grid.expand_profile("own").budget == 3
    )
    below.write_text(below.read_text() + "extends: own\n")
    with pytest.raises(InputError, match=r"Unknown profile that below.yaml extends 'own'"):
        grid.expand_profile("own")
    write_profile(checkout, more, extends="belw")
    with pytest.raises(InputError, match=r"Unknown profile that own.yaml extends 'belw'.*'below'"):
        grid.expand_profile("own")


def test_the_evening_profile_adds_to_the_laptop_profile() -> None:
    laptop, evening = (grid.read_profile(name)[0] for name in ("laptop", "evening"))
    assert set(laptop) < set(evening)
    assert laptop["05_finetune"]["RECIPES"] == "original, labels, placebo"
    changed = {
        key: {k for k in evening[key] if evening[key][k] != laptop[key].get(k)} for key in laptop
    }
    more_runs = {
        key: {"{runs}/05_finetune/balanced_seed0"}
        for key in ("01_opinion_tasks@after", "02_wrong_additions@after", "10_prior_knowledge")
    } | {"09_benchmarks": {"{runs}/05_finetune/original_seed0"}}
    expected = {"05_finetune": {"RECIPES"}, **{key: {"MODEL"} for key in more_runs}}
    # more of the same questions too
    expected["02_wrong_additions"] = {"ANSWER_FORMATS"}
    expected["05_finetune"] |= {"N_DEVELOPMENT"}
    expected["09_benchmarks"] |= {"N"}
    assert {key: names for key, names in changed.items() if names} == expected
    for key, runs_of in more_runs.items():
        more = set(evening[key]["MODEL"].split(", ")) - set(laptop[key]["MODEL"].split(", "))
        assert more == runs_of
    one = evening["05_finetune@filters"]
    assert {k for k in one if one[k] != evening["05_finetune"].get(k)} == {"RECIPES", "FILTERS"}


def test_a_profile_file_that_says_something_else_is_refused(checkout: Path) -> None:
    write_profile(checkout, {"03_make": {}}, budget_minuts=5)
    with pytest.raises(InputError, match=r"entry of own.yaml 'budget_minuts'"):
        grid.read_profile("own")
    for wrong, said in ((0, "0: give minutes above 0"), (True, "'true'"), ("an hour", "'an hour'")):
        write_profile(checkout, {"03_make": {}}, budget_minutes=wrong)
        with pytest.raises(InputError, match=f"budget_minutes of own.yaml is {said}"):
            grid.read_profile("own")
    write_profile(checkout, {"03_make": {}}, publish="perhaps")
    with pytest.raises(InputError, match=r"publish of own.yaml is 'perhaps': give true or false"):
        grid.read_profile("own")
    (checkout / "profiles" / "own.yaml").write_text("")
    with pytest.raises(InputError, match=r"own.yaml has no entries"):
        grid.read_profile("own")
    (checkout / "profiles" / "own.yaml").write_text("notebooks: {03_make: {DATA: {runs}/x}}")
    with pytest.raises(InputError, match="need quotes"):
        grid.read_profile("own")

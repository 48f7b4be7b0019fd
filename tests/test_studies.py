"""A study: what an entry of a profile comes to, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from sycophancy import generate, studies
from sycophancy.errors import InputError
from sycophancy.ladder import FILTERS, RECIPES
from workflow import grid

DECLARED = {"01_opinion_tasks": ["FORMAT", "N"], "05_finetune": ["STEPS", "RATIO"]}


def expand(**entries: Any) -> studies.Cells:
    others = {f"before{n}": entry for n, entry in enumerate(entries.pop("before", []))}
    found = studies.read_studies("own.yaml", {**others, "mine": entries})
    return studies.expand(found[-1], lambda notebook: dict.fromkeys(DECLARED.get(notebook, [])))


def test_names_are_those_of_the_rooms_that_use_them() -> None:
    assert list(generate.RECIPES) == list(RECIPES)
    from sycophancy import filters

    assert filters.FILTERS is FILTERS


def test_a_study_in_two_lines_is_the_whole_paper() -> None:
    cells = expand(model="m", recipes="labels,placebo", seeds="0,1")
    assert list(cells) == [
        "02_wrong_additions@mine", "01_opinion_tasks@mine", "03_generate_data@mine",
        "04_filter@mine", "05_finetune@mine", "02_wrong_additions@mine_after",
        "10_prior_knowledge@mine", "01_opinion_tasks@mine_after",
        "07_wrong_additions_after@mine", "06_opinion_tasks_after@mine",
    ]  # fmt: skip
    runs = ", ".join(
        f"{{runs}}/05_finetune@mine/{name}"
        for name in ("labels_seed0", "labels_seed1", "placebo_seed0", "placebo_seed1")
    )
    assert cells["01_opinion_tasks@mine"] == {"MODEL": "m"}
    assert cells["02_wrong_additions@mine_after"] == {"MODEL": runs}
    assert cells["10_prior_knowledge@mine"] == {"MODEL": f"m, {runs}"}
    assert cells["05_finetune@mine"] == {
        "MODEL": "m", "DATA_RUN": "{runs}/04_filter@mine", "RECIPES": "labels, placebo",
        "FILTERS": "paired", "SEEDS": "0, 1",
    }  # fmt: skip
    assert cells["07_wrong_additions_after@mine"] == {
        "MEASURED": "{runs}/02_wrong_additions@mine, {runs}/02_wrong_additions@mine_after",
        "CLAIMS_RUN": "{runs}/10_prior_knowledge@mine",
        "OPINION_RUNS": "{runs}/01_opinion_tasks@mine, {runs}/01_opinion_tasks@mine_after",
        "TRAINED": "{runs}/05_finetune@mine",
        "BASE": "m",
    }


def test_parameters_go_where_they_are_declared_and_the_nearer_ones_win() -> None:
    cells = expand(
        model="m", recipes="labels", FORMAT="chat", N="5", STEPS="9",
        notebooks={"01_opinion_tasks": {"N": "7"}, "01_opinion_tasks@after": {"FORMAT": "paper"}},
    )  # fmt: skip
    assert cells["01_opinion_tasks@mine"] == {"FORMAT": "chat", "N": "7", "MODEL": "m"}
    after = cells["01_opinion_tasks@mine_after"]
    assert (after["FORMAT"], after["N"]) == ("paper", "7")
    assert cells["05_finetune@mine"]["STEPS"] == "9" and "N" not in cells["05_finetune@mine"]


def test_a_study_that_extends_one_trains_more_and_is_compared_with_all() -> None:
    first = {"model": "m", "recipes": "labels", "STEPS": "9"}
    cells = expand(before=[first], extends="before0", recipes="labels", seeds="1,2")
    assert list(cells) == [
        "05_finetune@mine", "02_wrong_additions@mine", "10_prior_knowledge@mine",
        "01_opinion_tasks@mine", "07_wrong_additions_after@mine", "06_opinion_tasks_after@mine",
    ]  # fmt: skip
    trained = cells["05_finetune@mine"]
    assert (trained["DATA_RUN"], trained["STEPS"]) == ("{runs}/04_filter@before0", "9")
    claims = cells["10_prior_knowledge@mine"]
    assert claims["BESIDE"] == "{runs}/10_prior_knowledge@before0"
    assert claims["MODEL"].count(",") == 1 and "labels_seed2" in claims["MODEL"]
    assert cells["07_wrong_additions_after@mine"]["MEASURED"] == ", ".join(
        f"{{runs}}/02_wrong_additions@{label}" for label in ("before0", "before0_after", "mine")
    )
    with pytest.raises(InputError, match=r"recipes and seeds of the study 'mine'.*labels_seed0"):
        expand(before=[first], extends="before0", recipes="labels")


def test_filters_and_series_are_trained_with_one_recipe() -> None:
    cells = expand(
        model="m", recipes="labels,balanced", varied_recipe="balanced", filters="paired,none",
        benchmarks="labels", varied={"ratios": "0,inf", "examples": "16", "steps": "20,5"},
    )  # fmt: skip
    place = "{runs}/05_finetune@mine"
    assert cells["02_wrong_additions@mine_filters"]["MODEL"] == (
        f"{place}_filters/balanced_none_seed0"
    )
    assert cells["08_why_filter@mine"]["FILTERS"] == "none, paired"
    assert cells["05_finetune@mine_steps"]["CHECKPOINTS"] == "5"
    assert cells["05_finetune@mine_steps"]["STEPS"] == "20"
    varied = [
        f"{place}_ratios/balanced_ratio0_seed0", f"{place}_ratios/balanced_ratioinf_seed0",
        f"{place}_examples/balanced_prompts16_seed0",
        f"{place}_steps/balanced_seed0@5", f"{place}_steps/balanced_seed0",
    ]  # fmt: skip
    assert cells["10_prior_knowledge@mine_varied"]["MODEL"].split(", ") == varied
    assert cells["09_benchmarks@mine"]["MODEL"] == f"m, {place}/labels_seed0"
    assert cells["09_benchmarks@mine_varied"]["MODEL"].split(", ") == [
        "m", f"{place}/balanced_seed0", *varied
    ]  # fmt: skip
    assert cells["11_mixture@mine"]["SHARES"] == "0, 83, 100"
    assert cells["11_mixture@mine"]["EXAMPLES"] == "16, 0"
    assert cells["12_steps@mine"]["STEPS"] == "5, 20"


def test_further_cells_measure_the_base_and_the_runs_that_are_asked_for() -> None:
    also = {
        "02_wrong_additions@near": {"recipes": "labels", "ERROR_SIZE": "near"},
        "02_wrong_additions@letters": {"recipes": ""},
        "10_prior_knowledge@other": {},
    }
    cells = expand(model="m", beside="b", recipes="labels,placebo", also=also)
    runs = [f"{{runs}}/05_finetune@mine/{name}_seed0" for name in ("labels", "placebo")]
    assert cells["02_wrong_additions@mine_near"] == {
        "MODEL": f"m, {runs[0]}", "ERROR_SIZE": "near"
    }  # fmt: skip
    assert cells["02_wrong_additions@mine_letters"] == {"MODEL": "m"}
    assert cells["10_prior_knowledge@mine_other"]["MODEL"] == ", ".join(["m", "b", *runs])
    assert cells["02_wrong_additions@mine"]["MODEL"] == "b, m"


def test_models_that_are_only_measured_and_a_base_measured_with_its_runs() -> None:
    assert list(expand(model="a, b", recipes="")) == [
        "02_wrong_additions@mine", "01_opinion_tasks@mine"
    ]  # fmt: skip
    cells = expand(model="m", recipes="labels", together="true")
    assert "02_wrong_additions@mine_after" not in cells
    assert cells["02_wrong_additions@mine"]["MODEL"].startswith("m, {runs}/05_finetune@mine")
    opinions = cells["06_opinion_tasks_after@mine"]["MEASURED"]
    assert opinions == "{runs}/01_opinion_tasks@mine"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"model": "m", "recipe": "labels"}, r"Unknown entry of the study 'mine' of own.yaml "
         r"'recipe': .*Did you mean 'recipes'\?"),
        ({"model": "m", "recipes": "label"}, r"Unknown recipe of .*Did you mean 'labels'"),
        ({"model": "m", "filters": "pair"}, r"Unknown filter of the study .*Did you mean 'paired'"),
        ({"model": "m", "varied": {"step": "1"}}, r"Unknown series .*Did you mean 'steps'"),
        ({"model": "m", "varied": {"steps": " "}}, r"The series steps of .* has no levels"),
        ({"model": "m", "varied": {"steps": "x"}}, r"'x'"),
        ({"model": "m", "varied": "steps"}, r"varied of the study 'mine' .* is 'steps'"),
        ({"model": "m", "seeds": "0,0"}, r"recipes and seeds of .* hold one twice"),
        ({"model": "m", "seeds": "a"}, r"'a'"),
        ({"model": "m, n"}, r"trains one model, not 'm, n': write a study for each"),
        ({}, r"The study 'mine' of own.yaml has no model|the study 'mine' .* has no model"),
        ({"extends": "other"}, r"Unknown study that the study 'mine' of own.yaml extends 'other'"),
        ({"model": "m", "benchmarks": "labls"}, r"which is not trained, .*'labls'.*'labels'"),
        ({"model": "m", "recipes": "original", "filters": "paired,none"}, r"varied_recipe of"),
        ({"model": "m", "notebooks": {"5_finetune": {}}}, r"Unknown notebook .*'05_finetune'"),
        ({"model": "m", "also": {"02_wrong_additions": {}}}, r"names no part: write NOTEBOOK@PART"),
        ({"model": "m", "also": {"02_wrong_additions@x": {"recipes": "no"}}}, r"Unknown recipe of"),
        ({"model": "m", "together": "maybe"}, r"together of the study 'mine' .*maybe"),
    ],
)  # fmt: skip
def test_a_study_with_a_mistake_is_refused_in_a_sentence(
    entries: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        expand(**entries)


@pytest.mark.parametrize("entries", ["main", {"Main": {}}, {"main": None}, {"a b": {"model": "m"}}])
def test_what_is_no_list_of_studies_is_refused(entries: Any) -> None:
    with pytest.raises(InputError, match=r"own.yaml"):
        studies.read_studies("own.yaml", entries)


def test_no_profile_names_a_trained_run_and_a_model_more_is_a_line() -> None:
    for name in grid.profile_names():
        text = (grid.PROFILES / f"{name}.yaml").read_text()
        assert "05_finetune/" not in text and len(text.splitlines()) <= 80, name
    entries = grid.merge_profile("overnight")["studies"]
    more = {**entries, "lab_tiny": {**entries["lab"], "model": "lab_tiny_tuned"}}
    found = studies.read_studies("overnight.yaml", more)
    lab, tiny = (studies.expand(s, grid.default_parameters) for s in (found[1], found[-1]))
    assert [key.replace("lab_tiny", "lab") for key in tiny] == list(lab)

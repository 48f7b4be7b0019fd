"""The plan: items, tokens, training and minutes before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from checkouts import ROOT, write_notebook, write_profile
from sycophancy import lab, runs
from sycophancy.errors import InputError
from workflow import execute, grid, plan, speeds


@pytest.mark.notebook
def test_the_plan_counts_what_the_run_will_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path))
    table = plan.plan_profile("smoke", None, {}).set_index("notebook")
    parameters = {
        **grid.read_profile("smoke")[0]["02_wrong_additions"],
        "OUT_DIR": str(tmp_path / "r"),
    }
    execute.execute(
        ROOT / "notebooks" / "02_wrong_additions.ipynb", tmp_path / "out.ipynb", parameters
    )
    cost = json.loads((tmp_path / "r" / "run.json").read_text())["cost"][0]
    items = pd.read_parquet(tmp_path / "r" / "items.parquet")
    assert table.loc["02_wrong_additions", "items"] == len(items)
    assert table.loc["02_wrong_additions", "tokens"] == cost["tokens"]
    assert table.loc["02_wrong_additions", "speed from"] == "a first guess"
    assert (
        plan.plan_profile("smoke", None, {})
        .set_index("notebook")
        .loc["02_wrong_additions", "speed from"]
        == "1 runs here"
    )


def test_doses_and_cures_of_the_laboratory_are_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path))
    name = "17_laboratory"
    given = {**grid.default_parameters(name), "SIZES": "small,medium", "SEEDS": "0,1"}
    given |= {"DOSES": "0,90", "SHARES": "0,50,100", "STEPS": 7}
    rows = plan.trained(name, given, pd.DataFrame())
    assert len(rows) == 2 * 2 * 2  # sizes × seeds × (doses, cures)
    assert [row["model"] for row in rows[:2]] == ["doses of lab_small", "cures of lab_small_tuned"]
    small = lab.RUNGS["small"]
    steps = small.statements + small.bare + small.talk + 2 * small.tuning  # a base, two doses
    # and two recipes with three shares, of 7 steps each
    assert [row["tokens from"].split()[0] for row in rows[:2]] == [f"{steps:,}", "42"]
    assert all(0 < row["minutes"] < 60 for row in rows)
    with pytest.raises(InputError, match="Unknown recipe 'label'"):
        plan.trained(name, {**given, "RECIPES": "label"}, pd.DataFrame())
    with pytest.raises(InputError, match=r"Unknown dose .*30"):
        plan.trained(name, {**given, "DOSES": "30"}, pd.DataFrame())
    with pytest.raises(InputError, match="two SHARES, RECIPES or SIZES"):
        plan.trained(
            name, {**given, "SIZES": "tiny", "SHARES": "0", "RECIPES": "labels"}, pd.DataFrame()
        )


def test_before_its_first_run_a_machine_is_told_hours_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guessed as if it were the embedded model, the laboratory's training alone took 15 hours."""
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path))
    monkeypatch.setattr(grid, "run_base", lambda *_: str(tmp_path))
    cells_of = grid.expand_profile("laptop").cells
    key = "05_finetune@lab"
    rows = plan.trained(
        key, {**grid.default_parameters("05_finetune"), **cells_of[key]}, pd.DataFrame()
    )
    assert len(rows) == 4 and all(0.1 < row["minutes"] < 5 for row in rows)
    key = "05_finetune"
    rows = plan.trained(key, {**grid.default_parameters(key), **cells_of[key]}, pd.DataFrame())
    assert [3 < row["minutes"] < 8 for row in rows] == [True] * 3
    filtering = plan.making("04_filter", cells_of["04_filter"], pd.DataFrame())
    making = plan.making("03_generate_data", cells_of["03_generate_data"], pd.DataFrame())
    assert filtering["minutes"] > 10 * making["minutes"]
    assert speeds.learnt(runs.read_costs(), "lab_medium")[0] > 5 * speeds.SCORING_GUESS


@pytest.mark.medium
def test_answers_to_be_generated_are_planned_as_long_as_they_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path))
    parameters = {
        **grid.default_parameters("09_benchmarks"), "MODEL": "tiny_random", "N": 2, "N_CHAIN": 1,
        "SHOTS": "0", "MAX_TOKENS": 10,
    }  # fmt: skip
    model = plan.models.load_model("tiny_random")
    items = plan.build_items("09_benchmarks", parameters, model)
    tokens, generated = plan.count_tokens(model, items)
    # 12 subjects and 8 tasks step by step; 3 tasks of numbers and lists directly, 2 questions each
    assert generated == 10 * (12 + 8 + 3 * 2)
    chosen = items[items["choices"].map(len) > 0]
    assert tokens == plan.scoring.score(model, chosen)[1].tokens
    batch = grid.Batch(
        base="", cells={"09_benchmarks": parameters}, folders={}, depends={"09_benchmarks": []},
        inputs={}, trainings={}, trained={}, publishes=False, budget=None,
    )  # fmt: skip
    rows = plan.scored("09_benchmarks", parameters, batch, plan.runs.read_costs())
    assert rows[0]["tokens"] == tokens + generated and rows[0]["items"] == len(items)
    seconds = tokens / speeds.SCORING_GUESS + generated / speeds.GENERATING_GUESS
    seconds += speeds.LOADING_GUESS + speeds.NOTEBOOK_SECONDS
    assert rows[0]["minutes"] == round(seconds / 60, 1)


def test_a_notebook_without_items_is_planned_by_its_own_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path))
    name = "03_generate_data"
    parameters = {**grid.default_parameters(name), **grid.read_profile("smoke")[0][name]}
    first = plan.making(name, parameters, plan.runs.read_costs())
    assert (first["items"], first["tokens"], first["speed from"]) == (0, 0, "a first guess")
    for seconds, seed in ((105, parameters["SEED"]), (9000, parameters["SEED"] + 1)):
        own = plan.runs.parameter_hash({**parameters, "SEED": seed, "OUT_DIR": "anywhere"})
        plan.runs.remember_cost(
            {"notebook": name, "parameters": own, "device": plan.runs.device(), "seconds": seconds}
        )
    again = plan.making(name, parameters, plan.runs.read_costs())
    assert (again["minutes"], again["speed from"]) == (2.0, "its runs here")


def test_the_plan_counts_laboratory_tokens_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path))
    plan.load_or_stand_in.cache_clear()
    model, how = plan.load_or_stand_in("lab_medium_tuned")
    assert model.encode(["question : answer :"]) and how == "its tokenizer"
    assert not (tmp_path / "lab").exists()


ITEMS = """# tag: items
def make_items(seed=0, chat=None):
    return suites.additions(n=N, seed=seed, answer_formats=runs.as_list(p["FORMATS"]), chat=chat)
"""


TRAINING = """# tag: training
def plan_training():
    return [{"model": f"{name}_seed0", "steps": p["STEPS"], "tokens_per_step": 1_000}
            for name in ("labels", "placebo")]
"""


def test_training_and_models_that_are_not_trained_yet_are_planned(checkout: Path) -> None:
    notebooks, costs = checkout / "notebooks", checkout / "cache" / "costs.jsonl"
    measures = {"MODEL": "", "N": 2, "FORMATS": "cloze", "SEEDS": "0"}
    imports = "%time\n", "from sycophancy import runs, suites"
    write_notebook(notebooks, "02_measure", measures, *imports, ITEMS)
    write_notebook(notebooks, "05_train", {"MODEL": "tiny_random", "STEPS": 60}, TRAINING)
    trained = "tiny_random, {runs}/05_train/labels_seed0, {runs}/05_train/labels_seed0@30"
    write_profile(
        checkout,
        {
            "03_make": {},
            "05_train": {"STEPS": 120},
            "02_measure@after": {"MODEL": trained},
            "07_compare": {"DATA": "{runs}/02_measure@after"},
        },
    )
    table = plan.plan_profile("own", None, {})
    assert list(table["notebook"]) == [
        "03_make", *["05_train"] * 2, *["02_measure@after"] * 3, "07_compare"
    ]  # fmt: skip
    training = table[table["notebook"] == "05_train"]
    assert list(training["model"]) == ["labels_seed0", "placebo_seed0"]
    assert set(training["tokens"]) == {120_000}
    # 120,000 tokens at 250 a second, 30 s to begin and end, 15 s for the notebook, once
    assert list(training["minutes"]) == [round((480 + 45) / 60, 1), round((480 + 30) / 60, 1)]
    assert set(training["speed from"]) == {"a first guess"}
    after = table[table["notebook"] == "02_measure@after"]
    assert after["items"].nunique() == 1 and after["items"].iloc[0] > 0
    assert after["tokens"].nunique() == 1
    assert list(after["tokens from"]) == [
        "its tokenizer", *["its tokenizer (its base's: not trained yet)"] * 2
    ]  # fmt: skip

    # learnt from training here, not from another model or device
    device = plan.runs.device()
    rows = [
        {"model": "tiny_random", "device": device, "training_tokens_per_second": 1000.0},
        {"model": "x", "base": "tiny_random", "device": device, "training_tokens_per_second": 3e3},
        {"model": "tiny_random", "device": "another", "training_tokens_per_second": 9.0},
        {"model": "large", "device": device, "training_tokens_per_second": 9.0},
        {
            "model": "tiny_random", "device": device, "tokens": 50_000,
            "scoring_seconds": 5.0, "other_seconds": 1.0,
        },
    ]  # fmt: skip
    costs.parent.mkdir(exist_ok=True)
    costs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = plan.plan_profile("own", None, {"STEPS": 1200})
    training = table[table["notebook"] == "05_train"]
    expected = [round((1_200_000 / 2000 + more) / 60, 1) for more in (45, 30)]
    assert list(training["minutes"]) == expected
    assert set(training["speed from"]) == {"2 runs here"}
    after = table[table["notebook"] == "02_measure@after"]
    assert set(after["speed from"]) == {"1 runs here"}  # as fast as the base

    # a run that is there is counted with the base that it names
    run = checkout / "runs" / "own" / "05_train" / "labels_seed0"
    run.mkdir(parents=True)
    (run / "model.json").write_text(json.dumps({"base": "tiny_random"}))
    batch = grid.expand_profile("own")
    assert plan.base_of(str(run), batch) == ("tiny_random", "")
    assert plan.base_of("tiny_random", batch) == ("tiny_random", "")


def test_a_first_guess_of_the_notebook_itself_gives_way_to_what_was_learnt(checkout: Path) -> None:
    text = """# tag: training
def plan_training():
    return [{"model": "mine", "steps": 10, "tokens_per_step": 1_000, "seconds": 40}]
"""
    write_notebook(checkout / "notebooks", "05_train", {"MODEL": "tiny_random"}, text)
    write_profile(checkout, {"05_train": {}})
    row = plan.plan_profile("own", None, {}).iloc[0]
    assert (row["minutes"], row["speed from"]) == (
        round((40 + speeds.TRAINING_OVERHEAD + speeds.NOTEBOOK_SECONDS) / 60, 1),
        "a first guess",
    )
    costs = checkout / "cache" / "costs.jsonl"
    costs.parent.mkdir(exist_ok=True)
    learnt = {"model": "mine", "device": plan.runs.device(), "training_tokens_per_second": 50.0}
    costs.write_text(json.dumps({**learnt, "tokens": 1, "scoring_seconds": 1.0}) + "\n")
    row = plan.plan_profile("own", None, {}).iloc[0]
    assert (row["minutes"], row["speed from"]) == (round((200 + 45) / 60, 1), "1 runs here")


def test_a_cell_that_reads_what_is_not_there_yet_is_planned_all_the_same(checkout: Path) -> None:
    reads = "# tag: training\ndef plan_training():\n    return open(p['DATA']).read()\n"
    write_notebook(checkout / "notebooks", "05_train", {"DATA": ""}, reads)
    write_profile(checkout, {"03_make": {}, "05_train": {"DATA": "{runs}/03_make/x"}})
    row = plan.plan_profile("own", None, {}).set_index("notebook").loc["05_train"]
    assert row["tokens from"] == "not known before 03_make"
    assert row["minutes"] > 0
    write_profile(checkout, {"05_train": {"DATA": "nowhere"}})
    with pytest.raises(FileNotFoundError):
        plan.plan_profile("own", None, {})
    # a model that does not exist is refused whatever is missing
    write_notebook(checkout / "notebooks", "02_measure", {"MODEL": "", "DATA": ""}, ITEMS)
    measure = {"MODEL": "tiny_randon", "DATA": "{runs}/03_make"}
    write_profile(checkout, {"03_make": {}, "02_measure": measure})
    with pytest.raises(InputError, match="Unknown model 'tiny_randon'"):
        plan.plan_profile("own", None, {})


def test_the_plan_ends_with_its_sum_and_warns_beyond_the_budget() -> None:
    table = pd.DataFrame(
        {
            "notebook": ["a", "b", "b"], "items": [1000, 1, 1], "tokens": [5000, 1, 1],
            "minutes": [30.0, 20.0, 11.0], "state": ["has run", "to run", "to run"],
        }
    )  # fmt: skip
    text = plan.summarize_plan(table, 60)
    assert text.splitlines() == [
        "2 notebooks, 3 runs, 1,002 items, 5,002 tokens, 61 minutes one after the other, 31 of "
        "them still to run",
        "Warning: this is more than the profile's budget of 60 minutes.",
    ]
    assert "Warning" not in plan.summarize_plan(table, 61) + plan.summarize_plan(table, None)

"""The laboratory's world: fixed, balanced, and served like any source."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from sycophancy import claims, mixture, sets, suites, world
from sycophancy.errors import InputError
from sycophancy.templates import LAB_FORMATS

HERE = world.world()


def test_the_world_is_the_same_in_a_fresh_process() -> None:
    code = "from sycophancy import world; print(hash(repr(world.world())))"
    environment = {**os.environ, "PYTHONHASHSEED": "0", "KERAS_BACKEND": "jax"}
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert found[0] == found[1] and found[0].strip()


def test_exposures_and_splits_have_their_shares() -> None:
    exposure = Counter(fact.exposure for fact in HERE.facts)
    assert exposure == {"often": 160, "seldom": 120, "never": 120}
    for kind, size in exposure.items():
        split = Counter(fact.split for fact in HERE.facts if fact.exposure == kind)
        assert split == {
            "train": size * 0.5,
            "development": size * 0.15,
            "test": size * 0.35,
        }
    assert sum(told for _, _, told in HERE.sums) == round(0.7 * 144)


def test_names_are_different_words_and_no_label_is_among_its_others() -> None:
    assert len({fact.name for fact in HERE.facts}) == len(HERE.facts) == 400
    entities = {fact.text.split()[-1] for fact in HERE.facts}
    values = {value for fact in HERE.facts for value in (fact.label, *fact.others)}
    things = {thing for taste in HERE.tastes for thing in (taste.first, taste.second)}
    parts = [entities, values, things, set(HERE.people)]
    assert [len(part) for part in parts] == [100, 24, 80, 24]
    assert len(set().union(*parts)) == 228
    for fact in HERE.facts:
        assert fact.label not in fact.others and len(set(fact.others)) == 5


def test_claims_are_those_of_the_split_and_others_of_the_attribute() -> None:
    tables = {split: claims.claims(["lab_world"], split=split)[0] for split in claims.SPLITS}
    assert {split: len(table) for split, table in tables.items()} == {
        "train": 200,
        "development": 60,
        "test": 140,
    }
    facts = {fact.text: fact for fact in HERE.facts}
    for row in tables["test"].astype(object).to_dict("records"):
        fact = facts[row["text"]]
        assert (row["label"], tuple(row["others"].split(claims.OTHERS))) == (
            fact.label,
            fact.others,
        )
        assert row["group"] == f"lab_world/{row['text'].split()[0]}" and fact.split == "test"


def test_items_say_whether_the_texts_state_what_they_ask() -> None:
    table, _ = claims.claims(["lab_world"], split="test")
    items = suites.claim_items(table, format="lab", answer_formats=["cloze"], users=["none"])
    facts = {fact.name: fact for fact in HERE.facts}
    for row in items.to_dict("records"):
        fact = facts[row["question_id"].removeprefix("lab_world/lab_world-")]
        assert row["known"] == (fact.exposure != "never")
        assert f"{fact.text} is" in row["prompt"]
    told = {(x, y): stated for x, y, stated in HERE.sums}
    sums = suites.additions(format="lab", answer_formats=["cloze"], users=["none"])
    assert sums["question_id"].nunique() == 144
    for row in sums.to_dict("records"):
        x, y = map(int, row["question_id"].split("+"))
        result = int(row["prompt"].split(" is ")[1].split()[0])
        assert (
            row["known"] == told[x, y] and (result == x + y) == row["truth"] and 2 <= result <= 24
        )


def test_items_of_other_sources_do_not_claim_to_know_what_is_known() -> None:
    assert suites.additions(n=2)["known"].isna().all()
    table, _ = claims.claims(["everyday_facts"], split="test")
    assert suites.claim_items(table, 2)["known"].isna().all()


def test_tastes_have_two_opposed_users_and_the_sycophantic_answer_is_theirs() -> None:
    items = suites.opinion_tasks(["lab_tastes"], source="lab", format="lab", n=5)
    asked = items[(items["user"] == "implied") & (items["answer_format"] == "choices")]
    for row in asked.to_dict("records"):
        liked = row["prompt"].split("i like ")[1].split()[0]
        assert row["choices"][row["sycophantic"]].strip() == liked
    claimed = items[(items["user"] == "implied") & (items["answer_format"] == "cloze")]
    for row in claimed.to_dict("records"):
        liked = row["prompt"].split("i like ")[1].split()[0]
        nicer = row["prompt"].split(" is nicer than ")[0].split()[-1]
        assert row["choices"][row["sycophantic"]] == (" agree" if liked == nicer else " disagree")
    assert (asked.groupby("pair_id")["sycophantic"].nunique() == 2).all()
    assert items["correct"].isna().all()


@pytest.mark.parametrize(
    ("tasks", "source", "format"),
    [
        (["lab_tastes"], "embedded", "lab"),
        (["nlp_survey"], "lab", "lab"),
        (["lab_tastes"], "lab", "paper"),
        (["nlp_survey"], "embedded", "lab"),
    ],
)
def test_tastes_and_opinion_tasks_do_not_mix(tasks: list[str], source: str, format: str) -> None:
    with pytest.raises(InputError, match="lab"):
        suites.opinion_tasks(tasks, source=source, format=format, n=1)


def test_instructions_are_open_questions_about_stated_facts_of_the_training_split() -> None:
    table = sets.instructions("lab_world")
    facts = {f"what is {fact.text} ?": fact for fact in HERE.facts}
    for row in table.to_dict("records"):
        fact = facts[row["instruction"]]
        assert fact.label == row["response"] and fact.known and fact.split == "train"
    assert len(table) == 140
    for format in LAB_FORMATS:
        first = mixture.mix(None, table, ratio=0, n=1, format=format).iloc[0]
        assert first["prompt"].startswith("question : what is ") and first["prompt"].endswith(":")
        assert first["completion"].strip() in {fact.label for fact in HERE.facts}

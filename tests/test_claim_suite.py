"""Held-out claims as items: truth read from the prompt, pairs, samples, and what is refused."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claim_tables import claims_of
from sycophancy import claims, suites, templates
from sycophancy.errors import InputError

GROUPS = {
    "sst2": {"Negative Sentiment": 6, "Positive Sentiment": 5},
    "trec": {"Entity": 4, "Location": 3, "Human Being": 2},
    "everyday_facts/capital": {"Lima": 1, "Oslo": 1, "Rome": 1},
}
TABLE = claims_of(GROUPS).assign(split="test")
EVERY: dict[str, Any] = {"answer_formats": templates.ANSWER_FORMATS}


def in_brackets(message: str, system: str | None = None) -> str:
    return f"<{message}>"


def rows(items: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in items.to_dict("records")]


def claim_of(question: str) -> dict[str, Any]:
    """The claim of a question, found by its name."""
    source, claim_id = question.split("/")
    found = TABLE[(TABLE["source"] == source) & (TABLE["claim_id"] == claim_id)]
    return rows(found)[0]


def said(row: dict[str, Any]) -> str:
    """The claim that a prompt asks about, read from its text."""
    prompt = str(row["prompt"])
    if row["answer_format"] == "statement":
        return prompt.removesuffix(". This statement is")
    prompt = prompt.replace(" Answer with one word.", "")
    return prompt.split("? ")[-1].split("\n")[0].removesuffix(".")


def test_every_combination_is_there_once() -> None:
    items = suites.claim_items(TABLE, **EVERY)
    assert list(items.columns) == suites.ITEM_COLUMNS
    # labels × polarities × users × (choices in two orders, and three more)
    assert len(items) == len(TABLE) * 2 * 2 * 3 * (2 + 1 + 1 + 1)
    cells = ["truth", "polarity", "user", "order", "answer_format"]
    counts = Counter(zip(*(items[cell] for cell in cells), strict=True))
    assert set(counts.values()) == {len(TABLE)}
    named = {"positive": "claims", "negative": "negated_claims"}
    assert (items["suite"] == items["polarity"].map(named)).all()
    assert set(items["split"]) == {"test"}
    assert set(items["source"]) == {"embedded"} and set(items["template"]) == {"generated"}
    assert items["question_id"].nunique() == len(TABLE) and items["known"].isna().all()


def test_the_right_answer_follows_from_the_claim_in_the_prompt() -> None:
    items = suites.claim_items(TABLE, users=["none"], **EVERY)
    for row in rows(items):
        claim = claim_of(row["question_id"])
        text = str(claim["text"])
        wrong = claim["others"].split(" | ")
        about = said(row)[len(text) + 1 :]
        assert said(row).lower().startswith(text.lower())
        verb = "is not" if about.startswith("is not") else "is"
        label = about.removeprefix(verb).strip()
        assert label in [claim["label"], *wrong]
        assert row["truth"] == ((label == claim["label"]) == (verb == "is"))
        assert row["polarity"] == ("negative" if verb == "is not" else "positive")
        agrees = {
            "choices": " (A)", "cloze": " agree", "statement": " true", "true_false": " True",
        }  # fmt: skip
        agree = row["choices"].index(agrees[row["answer_format"]])
        agree = 1 - agree if row["order"] else agree
        assert row["agree"] == agree and row["correct"] == (agree if row["truth"] else 1 - agree)
        if row["answer_format"] == "choices":
            assert templates.parse_generated(row["prompt"]).order == row["order"]
            facts = row["question_id"].startswith("everyday_facts/")
            assert ("about everyday facts?" in row["prompt"]) == facts


def test_a_user_who_agrees_makes_agreeing_sycophantic() -> None:
    for row in rows(suites.claim_items(TABLE)):
        parts = templates.parse_generated(row["prompt"])
        assert parts.user == row["user"]
        expected = {"agrees": row["agree"], "disagrees": 1 - row["agree"]}
        if row["user"] == "none":
            assert pd.isna(row["sycophantic"])
        else:
            assert row["sycophantic"] == expected[row["user"]]


def test_one_professor_and_one_wrong_label_for_each_input() -> None:
    items = suites.claim_items(TABLE, users=["agrees", "disagrees"])
    for question, some in items.groupby("question_id"):
        parts = [templates.parse_generated(prompt) for prompt in some["prompt"]]
        assert len({part.persona for part in parts}) == 1
        assert {part.text for part in parts} == {claim_of(str(question))["text"]}
        assert len({part.label for part in parts}) == 2
    assert items["prompt"].is_unique


def test_pairs_differ_in_the_user_and_asked_in_the_order() -> None:
    items = suites.claim_items(TABLE, **EVERY)
    for kind, free in (("pair_id", "user"), ("asked_id", "order")):
        fixed = ["question_id", "truth", "polarity", "answer_format", "user", "order"]
        fixed.remove(free)
        by_name = items.groupby(kind)["item_id"].agg(frozenset)
        by_hand = items.groupby(fixed)["item_id"].agg(frozenset)
        assert set(by_name) == set(by_hand)
    two = suites.claim_items(TABLE, users=["agrees", "disagrees"])
    for _, pair in two.groupby("pair_id"):
        agrees, disagrees = pair.set_index("user")["prompt"][["agrees", "disagrees"]]
        assert str(agrees).replace(" I agree with", " I disagree with") == disagrees


@settings(max_examples=25, deadline=None)
@given(st.integers(1, len(TABLE)), st.integers(1, len(TABLE)), st.integers(0, 5))
def test_a_smaller_sample_is_part_of_a_larger_one(one: int, two: int, seed: int) -> None:
    small, large = sorted((one, two))
    few, many = (suites.claim_items(TABLE, n, seed, users=["agrees"]) for n in (small, large))
    assert few["question_id"].nunique() == small
    texts = dict(zip(many["item_id"], many["prompt"], strict=True))
    assert all(
        texts[name] == text for name, text in zip(few["item_id"], few["prompt"], strict=True)
    )


def test_the_seed_decides() -> None:
    first, again, other = (suites.claim_items(TABLE, 5, seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert set(first["question_id"]) != set(other["question_id"])


def test_wrong_labels_are_drawn_evenly() -> None:
    table = claims_of({"trec": {"A": 900, "B": 1, "C": 1, "D": 1}}).assign(split="test")
    items = suites.claim_items(table, users=["none"], polarities=["positive"], orders=[0])
    wrong = items[~items["truth"].astype(bool)]["prompt"]
    counts = Counter(templates.parse_generated(prompt).label for prompt in wrong)
    assert all(abs(counts[label] - 300) < 4 * (900 * 2 / 9) ** 0.5 for label in "BCD")


def test_embedded_claims_become_items() -> None:
    for split in ("development", "test"):
        table, _ = claims.claims(["sst2", "everyday_facts"], split=split)
        items = suites.claim_items(table, 10, format="chat", chat=in_brackets)
        assert len(items) == 10 * 2 * 2 * 3 * 2 and set(items["split"]) == {split}
        assert items["prompt"].str.startswith("<").all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n": 0}, "N is 0"),
        ({"n": 24}, "from 1 to 23"),
        ({"n": True}, "N is True"),
        ({"n": 2.0}, "N is 2.0"),
        ({"seed": -1}, "seed is -1"),
        ({"users": ["implied"]}, "'implied'"),
        ({"polarities": ["neutral"]}, "'neutral'"),
        ({"orders": [2]}, "order '?2"),
        ({"orders": []}, "No order"),
        ({"format": "chat"}, "no chat template"),
        ({"format": "papper"}, "Did you mean 'paper'"),
        ({"answer_formats": ["close"]}, "Did you mean 'cloze'"),
        ({"answer_formats": "cloze"}, "give a list"),
    ],
)
def test_what_cannot_be_asked_is_refused(options: dict[str, Any], match: str) -> None:
    assert len(TABLE) == 23
    with pytest.raises(InputError, match=match):
        suites.claim_items(TABLE, **options)


def test_claims_that_cannot_be_asked_about_are_refused() -> None:
    train = TABLE.assign(split=["train", *itertools.repeat("test", len(TABLE) - 1)])
    with pytest.raises(InputError, match="'train' are for training"):
        suites.claim_items(train)
    with pytest.raises(InputError, match="no claims"):
        suites.claim_items(TABLE.iloc[:0])
    with pytest.raises(InputError, match="lack the column 'others'"):
        suites.claim_items(TABLE.drop(columns="others"))
    lonely = claims_of({"lonely": {"Entailment": 1}}).assign(split="test", claim_id="alone")
    with pytest.raises(InputError, match="'alone' has no other label"):
        suites.claim_items(pd.concat([TABLE, lonely], ignore_index=True))

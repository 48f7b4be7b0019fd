"""The embedded questions: complete, matched in pairs, tidy."""

from __future__ import annotations

import difflib
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).resolve().parents[1] / "lib" / "sycophancy" / "data"
TASKS = ("nlp_survey", "philpapers2020", "political_typology")


def read(task: str) -> list[dict[str, Any]]:
    text = (DATA / f"opinions_{task}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("task", TASKS)
def test_there_are_enough_different_questions(task: str) -> None:
    rows = read(task)
    assert len(rows) >= 30
    assert len({row["question_id"] for row in rows}) == len(rows)
    assert len({row["question"] for row in rows}) == len(rows)
    for first, second in itertools.combinations(rows, 2):
        ratio = difflib.SequenceMatcher(None, first["question"], second["question"]).ratio()
        assert ratio < 0.85, (first["question"], second["question"])


@pytest.mark.parametrize("task", TASKS)
def test_every_question_has_two_options_and_a_user_for_each(task: str) -> None:
    for row in read(task):
        assert list(row) == ["question_id", "question", "options", "views"]
        assert len(set(row["options"])) == 2
        assert [view["option"] for view in row["views"]] == [0, 1]
        if task == "nlp_survey":
            assert row["options"] == ["Agree", "Disagree"]
            assert row["question"].endswith(".")
        if task == "political_typology":
            assert row["question"].endswith(("?", "..."))
            assert all(option[0].isupper() and option[-1] != "." for option in row["options"])


@pytest.mark.parametrize("task", TASKS)
def test_users_of_a_pair_differ_in_one_sentence_of_about_equal_length(task: str) -> None:
    for row in read(task):
        first, second = (view["biography"] for view in row["views"])
        for biography in (first, second):
            assert biography.startswith("Hello, my name is {name}. ")
            assert biography.count("{name}") == 1
            assert biography.endswith(".")
            assert 140 <= len(biography) <= 450
        assert first != second
        sentences = [re.split(r"(?<=\.) ", biography) for biography in (first, second)]
        different = [pair for pair in zip(*sentences, strict=True) if pair[0] != pair[1]]
        assert len(different) == 1, row["question_id"]
        assert max(map(len, (first, second))) <= 1.2 * min(map(len, (first, second)))


@pytest.mark.parametrize("task", TASKS)
def test_a_biography_implies_its_view_and_does_not_quote_the_answer(task: str) -> None:
    for row in read(task):
        for view in row["views"]:
            text = view["biography"].lower()
            assert row["question"].rstrip(".").lower() not in text
            assert "(a)" not in text and "(b)" not in text
            if task == "political_typology":
                assert not any(option.lower() in text for option in row["options"])


@pytest.mark.parametrize("task", TASKS)
def test_texts_are_plain(task: str) -> None:
    for row in read(task):
        texts = [row["question"], *row["options"], *(view["biography"] for view in row["views"])]
        for text in texts:
            assert text.isascii() and text == text.strip()
            assert not re.search(r'["\n\t]|  ', text)


def test_the_readme_counts_what_is_there() -> None:
    readme = (DATA / "README.md").read_text()
    for task in TASKS:
        assert f"| `opinions_{task}.jsonl` | {len(read(task))} |" in readme

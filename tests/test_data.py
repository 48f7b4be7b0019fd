"""The embedded questions: complete, matched in pairs, tidy."""

from __future__ import annotations

import difflib
import itertools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import kruskal

from sycophancy import claims

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


CLAIM_FILES = sorted(DATA.glob("claims_*.jsonl"))


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_source_of_the_paper_has_a_file() -> None:
    assert [path.stem.removeprefix("claims_") for path in CLAIM_FILES] == sorted(claims.SOURCES)


@pytest.mark.parametrize("path", CLAIM_FILES, ids=lambda path: path.stem)
def test_claims_have_the_form_of_their_source(path: Path) -> None:
    source = claims.SOURCES[path.stem.removeprefix("claims_")]
    rows = rows_of(path)
    assert len(rows) >= 40
    for row in rows:
        assert list(row) == ["split", *source.fields, "label"]
        assert row["label"] in source.words
    order = [row["split"] for row in rows]
    assert order == sorted(order, key=claims.SPLITS.index)
    for split, least in zip(claims.SPLITS, (24, 6, 10), strict=True):
        counts = Counter(row["label"] for row in rows if row["split"] == split)
        assert set(counts) == set(source.words) and len(set(counts.values())) == 1
        assert sum(counts.values()) >= least


@pytest.mark.parametrize("path", CLAIM_FILES, ids=lambda path: path.stem)
def test_texts_of_claims_are_plain_and_different(path: Path) -> None:
    source = claims.SOURCES[path.stem.removeprefix("claims_")]
    inputs = [" / ".join(row[field] for field in source.fields) for row in rows_of(path)]
    assert len(set(inputs)) == len(inputs)
    for text in inputs:
        assert text.strip() and not re.search(r'["\n\t]|  ', text), text
    for first, second in itertools.combinations(inputs, 2):
        assert difflib.SequenceMatcher(None, first, second).quick_ratio() < 0.97 or (
            difflib.SequenceMatcher(None, first, second).ratio() < 0.9
        ), (first, second)


@pytest.mark.parametrize("path", CLAIM_FILES, ids=lambda path: path.stem)
def test_length_does_not_tell_the_label(path: Path) -> None:
    source = claims.SOURCES[path.stem.removeprefix("claims_")]
    lengths: dict[str, list[int]] = {}
    for row in rows_of(path):
        size = sum(len(row[field]) for field in source.fields)
        lengths.setdefault(row["label"], []).append(size)
    assert kruskal(*lengths.values()).pvalue > 0.01


def test_no_wrong_value_of_an_everyday_fact_is_true() -> None:
    """No entity stands twice, and no value is a kind of another (fruit, citrus fruit)."""
    rows = rows_of(DATA / "everyday_facts.jsonl")
    named = Counter((row["relation"], row["entity"]) for row in rows)
    assert max(named.values()) == 1
    for (split, relation), group in itertools.groupby(
        sorted(rows, key=lambda row: (row["split"], row["relation"])),
        key=lambda row: (row["split"], row["relation"]),
    ):
        values = {row["value"].lower() for row in group}
        assert len(values) >= 3, (split, relation)
        for one, two in itertools.permutations(values, 2):
            assert not re.search(rf"\b{re.escape(one)}\b", two), (one, two)


def test_questions_put_the_right_answer_everywhere() -> None:
    rows = rows_of(DATA / "questions.jsonl")
    splits = Counter((row["split"], row["subject"]) for row in rows)
    assert len({subject for _, subject in splits}) == 12
    assert sum(n for (split, _), n in splits.items() if split == "test") == 120
    assert sum(n for (split, _), n in splits.items() if split == "development") >= 60
    places = Counter(row["answer"] for row in rows)
    assert set(places) == {0, 1, 2, 3} and max(places.values()) < 1.2 * min(places.values())
    longest = sum(
        len(row["choices"][row["answer"]]) > max(
            len(choice) for i, choice in enumerate(row["choices"]) if i != row["answer"]
        )
        for row in rows
    )  # fmt: skip
    assert longest < 0.35 * len(rows)


def test_instructions_are_two_hundred_pairs_for_training() -> None:
    rows = rows_of(DATA / "instructions.jsonl")
    assert len(rows) == 200 and {row["split"] for row in rows} == {"train"}
    for row in rows:
        assert list(row) == ["split", "instruction", "response", "category"]
        assert row["instruction"].strip() and row["response"].strip()
    assert len({row["instruction"] for row in rows}) == 200
    assert set(Counter(row["category"] for row in rows).values()) == {20}


def test_the_readme_counts_every_file() -> None:
    readme = (DATA / "README.md").read_text()
    for path in CLAIM_FILES:
        assert f"| `{path.name}` | {len(rows_of(path))} |" in readme
    for name in ("everyday_facts", "questions", "instructions"):
        count = len(rows_of(DATA / f"{name}.jsonl"))
        assert re.search(rf"`{name}\.jsonl`[^\n]* {count} rows", readme)

"""What is read out of generated answers: a table judged by hand, and laws that hold for all."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stores import BBH, needs_shared
from sycophancy import puzzles
from sycophancy.benchmarks import bbh, extract
from sycophancy.errors import InputError

# One answer a line, as models write them, with what a careful reader would say that it answers;
# null where it does not say. In the mode "direct" the first line is the answer.
TABLE = Path(__file__).parent / "fixtures" / "answers.jsonl"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in TABLE.read_text("utf-8").splitlines()]
LETTERED = [row for row in ROWS if row["kind"] == "letter"]
CITIES = ("Rome", "Paris", "Berlin", "Madrid")
YES = ("Yes", "No")


def read(row: dict[str, Any]) -> str | None:
    return extract.read_answer(
        row["answer"], row["kind"], row["options"], announced=row["mode"] == "chain"
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['kind']}: {row['answer'][:60]}")
def test_an_answer_is_read_as_a_careful_reader_reads_it(row: dict[str, Any]) -> None:
    assert read(row) == row["expected"]


def test_the_table_has_enough_of_every_kind() -> None:
    assert len({json.dumps(row) for row in ROWS}) == len(ROWS) >= 150
    for kind in extract.KINDS:
        own = [row for row in ROWS if row["kind"] == kind]
        assert len(own) >= 12 and None in {row["expected"] for row in own}
        assert {row["mode"] for row in own} == {"chain", "direct"}
    for letter in "ABCD":
        assert sum(row["expected"] == letter for row in LETTERED) >= 15


def relabel(text: str, names: dict[str, str]) -> str:
    """Rename letters that stand alone: capitals, and small ones in brackets or before an end."""
    text = re.sub(r"(?<![A-Za-z\\])[A-Z](?![A-Za-z])", lambda m: names.get(m[0], m[0]), text)
    small = {old.lower(): new.lower() for old, new in names.items()}
    return re.sub(
        r"(?<=\()[a-z](?=\))|(?<![a-z'])\b[a-z](?=[.)]|$)", lambda m: small.get(m[0], m[0]), text
    )


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_letter_is_read_otherwise_than_another(data: st.DataObject) -> None:
    """The options change places, and every letter in the answer changes with them."""
    orders = {
        size: data.draw(st.permutations(range(size)))
        for size in sorted({len(row["options"]) for row in LETTERED})
    }
    for row in LETTERED:
        order = orders[len(row["options"])]
        names = {chr(65 + old): chr(65 + new) for old, new in enumerate(order)}
        moved = [""] * len(order)
        for old, new in enumerate(order):
            moved[new] = relabel(row["options"][old], names)
        again = {**row, "answer": relabel(row["answer"], names), "options": moved}
        assert read(again) == names.get(row["expected"] or ""), again


@pytest.mark.parametrize("letter", "ABCD")
@pytest.mark.parametrize(
    "after",
    [
        "because it fits.", "as it fits.", "since it fits.", "for it fits.", "which fits.",
        "and so on.", "but only just.", "(it fits).", "- it fits.", ", it fits.", ": it fits.",
        "in short.", "", ".", "\nbecause it fits", "not the others.", "rather than the others.",
        "by elimination.",
    ],
)  # fmt: skip
def test_a_letter_is_read_before_the_same_words_as_any_other(letter: str, after: str) -> None:
    assert extract.read_answer(f"The answer is {letter} {after}", "letter", CITIES) == letter


@pytest.mark.parametrize("letter", "ABCD")
@pytest.mark.parametrize("denied", ["{}", "({})", "option {}", "**{}**", "{}."])
@pytest.mark.parametrize(
    "before",
    [
        "is not", "isn't", "is anything but", "is neither", "cannot be", "can't be", "is never",
        "is certainly not", "is everything except", "is any but", "is other than", "was not",
        "must not be", "is unlikely to be", "is no longer", "is all but",
    ],
)  # fmt: skip
def test_a_denied_answer_is_unread(letter: str, denied: str, before: str) -> None:
    denial = f"The answer {before} {denied.format(letter)}"
    assert extract.read_answer(denial, "letter", CITIES) is None
    assert extract.read_answer(f"The answer {before} 5.", "number") is None


def test_an_article_before_an_options_text_is_no_letter() -> None:
    options = ["a good idea", "a bad idea", "no idea", "an idea of its own"]
    assert extract.read_answer("The answer is A bad idea.", "letter", options) == "B"


@given(st.text(max_size=80), st.sampled_from(extract.KINDS), st.booleans())
def test_nothing_that_is_generated_can_break_the_reader(
    text: str, kind: str, announced: bool
) -> None:
    options = YES if kind == "word" else CITIES if kind == "letter" else ()
    found = extract.read_answer(text, kind, options, announced=announced)
    if kind == "letter":
        assert found in (None, *"ABCD")
    if kind == "word":
        assert found in (None, "yes", "no")
    assert found != ""


def test_an_options_text_is_read_where_it_names_one_option() -> None:
    assert extract.read_answer("The answer is s.", "letter", ["s", "t", "x", "z"]) == "A"
    assert extract.read_answer("The answer is Rome.", "letter", ["Rome", "rome", "Bonn"]) is None
    assert extract.read_answer("The answer is B.", "letter", ["O", "A", "B", "AB"]) == "B"


def test_an_answer_that_repeats_itself_is_read_in_time() -> None:
    for loop in ("The answer is ", "A or B. So the answer is not ", "\\boxed{", "no, wait: "):
        for kind, options in (("letter", CITIES), ("number", ()), ("word", YES)):
            assert extract.read_answer(loop * 200, kind, options) is None


@given(st.integers(-(10**9), 10**9), st.sampled_from(["{}", "{:,}", "{}.0", "({})", "x = {}"]))
def test_a_number_is_read_in_every_way_of_writing_it(number: int, form: str) -> None:
    text = f"After some steps. So the answer is {form.format(number)}."
    assert extract.read_answer(text, "number") == str(number)


@given(st.lists(st.sampled_from(puzzles.WORDS), min_size=1, max_size=8))
def test_a_list_is_the_same_with_spaces_commas_and_numbers(words: list[str]) -> None:
    expected = extract.normal(" ".join(words), "list")
    numbered = " ".join(f"{i}. {word}" for i, word in enumerate(words, 1))
    for written in (" ".join(words), ", ".join(words), numbered):
        assert extract.read_answer(f"So the answer is {written}.", "list") == expected


@pytest.mark.parametrize("task", puzzles.TASKS)
def test_the_reasoning_of_generated_puzzles_leads_to_their_targets(task: str) -> None:
    made = puzzles.puzzles(task, 12, seed=3, split="test")
    kind, pair = bbh.answer_kind([puzzle.target for puzzle in made])
    for puzzle in made:
        options = bbh.letter_options(task, puzzle.question) if kind == "letter" else pair
        chain = puzzle.worked.partition(puzzles.THINK)[2]
        assert extract.read_answer(chain, kind, options) == extract.normal(puzzle.target, kind)


@needs_shared
def test_the_published_chains_of_big_bench_hard_are_all_read() -> None:
    """Every worked example ends in an answer, taken here by splitting at the published phrase."""
    paths = sorted((BBH / "cot-prompts").glob("*.txt"))
    for path in paths:
        parts = path.read_text("utf-8").split("\n\nQ: ")[1:]
        answers = [part.rsplit("So the answer is ", 1)[1].strip()[:-1] for part in parts]
        kind, pair = bbh.answer_kind(answers)
        options = tuple("abcdefghijklmnopqr") if kind == "letter" else pair
        for part, expected in zip(parts, answers, strict=True):
            found = extract.read_answer(part, kind, options)
            assert found == extract.normal(expected, kind), (path.stem, part[-80:])
    assert len(paths) == 27


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"Unknown kind of answer 'numbers'.*'number'"):
        extract.read_answer("5", "numbers")

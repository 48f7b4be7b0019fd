"""What is read out of generated answers: cases judged by hand, and laws that hold for all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores import BBH, needs_shared
from sycophancy import puzzles
from sycophancy.benchmarks import bbh, extract
from sycophancy.errors import InputError

CITIES = ("Rome", "Paris", "Berlin", "Madrid")
BALLS = ("red ball", "blue ball", "ball")
YES = ("Yes", "No")
TRUE = ("True", "False")
VALID = ("valid", "invalid")

# (text, kind, options, what a careful reader would say it answers; None: it does not say)
CHAINS = [
    # letters
    ("Paris is in France. So the answer is (B).", "letter", CITIES, "B"),
    ("So the answer is B.", "letter", CITIES, "B"),
    ("The answer is (b).", "letter", CITIES, "B"),
    ("The correct answer is: C", "letter", CITIES, "C"),
    ("Therefore, the correct option is D) Madrid.", "letter", CITIES, "D"),
    ("The answer is **(A) Rome**.", "letter", CITIES, "A"),
    ("The final answer is $\\boxed{\\text{C}}$.", "letter", CITIES, "C"),
    ("Answer: B", "letter", CITIES, "B"),
    ("the answer is\n(C)", "letter", CITIES, "C"),
    ("The answer is Paris.", "letter", CITIES, "B"),
    ("The answer is option B, because it is the capital.", "letter", CITIES, "B"),
    ("At first the answer is (A). But no: the answer is (D).", "letter", CITIES, "D"),
    ("It could be many.\n(D).", "letter", CITIES, "D"),
    ("The answer is (A) or (B).", "letter", CITIES, None),
    ("The answer is A and C", "letter", CITIES, None),
    ("The answer is (E).", "letter", CITIES, None),
    ("The answer is not obvious.", "letter", CITIES, None),
    ("The answer is A city in Spain: Madrid.", "letter", CITIES, "D"),
    ("The answer is neither Rome nor Paris.", "letter", CITIES, None),
    ("I think that Paris is nice.", "letter", CITIES, None),
    ("", "letter", CITIES, None),
    ("At the end Ada has the blue ball. So the answer is the blue ball.", "letter", BALLS, "B"),
    ("So the answer is I think the first.", "letter", puzzles.WORDS[:12], None),
    # one of two words
    ("Then False or True is True. So the answer is True.", "word", TRUE, "true"),
    ("So the answer is false", "word", TRUE, "false"),
    ("So the answer is not true.", "word", TRUE, "false"),
    ("The answer is: No, they do not return.", "word", YES, "no"),
    ("So the answer is yes, although no step says so.", "word", YES, "yes"),
    ("So the answer is yes or no.", "word", YES, None),
    ("So the answer is that nobody knows.", "word", YES, None),
    ("So the answer is invalid.", "word", VALID, "invalid"),
    ("The argument holds, so the answer is valid.", "word", VALID, "valid"),
    ("The answer is that it is not valid.", "word", VALID, "invalid"),
    ("We are back where we began.\nYes.", "word", YES, "yes"),
    ("Yes, it is far. But who knows.", "word", YES, None),
    # numbers
    ("Together they are 2 + 3 = 5. So the answer is 5.", "number", (), "5"),
    ("So the answer is -20.", "number", (), "-20"),
    ("So the answer is \u221220", "number", (), "-20"),
    ("So the answer is 1,024.", "number", (), "1024"),
    ("So the answer is 12.0.", "number", (), "12"),
    ("So the answer is 12.50", "number", (), "12.5"),
    ("So the answer is 3 + 4 = 7.", "number", (), "7"),
    ("So the answer is six.", "number", (), "6"),
    ("So the answer is 5 apples.", "number", (), "5"),
    ("So the answer is 5 or 6.", "number", (), None),
    ("So the answer is between 5 and 6.", "number", (), None),
    ("So the answer is unknown.", "number", (), None),
    ("A * B = (-61) * (-3). The answer is $\\boxed{123}$.", "number", (), "123"),
    ("#### 42", "number", (), "42"),
    ("Adding all of them gives 7", "number", (), None),
    ("It is long to count.\n17.", "number", (), "17"),
    # lists
    ("So the answer is costume counterpart oven.", "list", (), "costume counterpart oven"),
    ("So the answer is costume, counterpart, oven", "list", (), "costume counterpart oven"),
    ("The answer is: 1. apple 2. pear 3. plum", "list", (), "apple pear plum"),
    ("So the answer is ] } ].", "list", (), "]}]"),
    ("So the answer is ]}]", "list", (), "]}]"),
    ("So the answer is }>.", "list", (), "}>"),
    ("We still have to sort the rest.", "list", (), None),
    ("So the answer is", "list", (), None),
]
DIRECT = [
    (" 42", "number", (), "42"),
    (" -7\n\nQ: ", "number", (), "-7"),
    (" eleven", "number", (), "11"),
    (" I do not know.", "number", (), None),
    (" apple pear plum", "list", (), "apple pear plum"),
    (" ] ) }", "list", (), "])}"),
    ("\n\n Apple, Pear", "list", (), "apple pear"),
    ("  ", "list", (), None),
    (" (B)", "letter", CITIES, "B"),
    (" No", "word", YES, "no"),
]


@pytest.mark.parametrize(("text", "kind", "options", "expected"), CHAINS)
def test_a_chain_says_what_a_careful_reader_reads(
    text: str, kind: str, options: tuple[str, ...], expected: str | None
) -> None:
    assert extract.read(text, kind, options) == expected


@pytest.mark.parametrize(("text", "kind", "options", "expected"), DIRECT)
def test_a_direct_answer_is_the_first_line(
    text: str, kind: str, options: tuple[str, ...], expected: str | None
) -> None:
    assert extract.read(text, kind, options, announced=False) == expected


def test_there_are_enough_cases_of_every_kind() -> None:
    for kind in extract.KINDS:
        own = [case for case in CHAINS if case[1] == kind]
        assert len(own) >= 7 and None in {expected for *_, expected in own}
    assert len(CHAINS) + len(DIRECT) >= 40


@given(st.text(max_size=80), st.sampled_from(extract.KINDS), st.booleans())
def test_nothing_that_is_generated_can_break_the_reader(
    text: str, kind: str, announced: bool
) -> None:
    options = YES if kind == "word" else CITIES if kind == "letter" else ()
    found = extract.read(text, kind, options, announced=announced)
    if kind == "letter":
        assert found in (None, *"ABCD")
    if kind == "word":
        assert found in (None, "yes", "no")
    assert found != ""


@given(st.integers(-(10**9), 10**9), st.sampled_from(["{}", "{:,}", "{}.0", "({})", "x = {}"]))
def test_a_number_is_read_in_every_way_of_writing_it(number: int, form: str) -> None:
    text = f"After some steps. So the answer is {form.format(number)}."
    assert extract.read(text, "number") == str(number)


@given(st.lists(st.sampled_from(puzzles.WORDS), min_size=1, max_size=8))
def test_a_list_is_the_same_with_spaces_commas_and_numbers(words: list[str]) -> None:
    expected = extract.normal(" ".join(words), "list")
    numbered = " ".join(f"{i}. {word}" for i, word in enumerate(words, 1))
    for written in (" ".join(words), ", ".join(words), numbered):
        assert extract.read(f"So the answer is {written}.", "list") == expected


@pytest.mark.parametrize("task", puzzles.TASKS)
def test_the_reasoning_of_generated_puzzles_leads_to_their_targets(task: str) -> None:
    made = puzzles.puzzles(task, 12, seed=3, split="test")
    kind, pair = bbh.kind_of([puzzle.target for puzzle in made])
    for puzzle in made:
        options = bbh.lettered(task, puzzle.question) if kind == "letter" else pair
        chain = puzzle.worked.partition(puzzles.THINK)[2]
        assert extract.read(chain, kind, options) == extract.normal(puzzle.target, kind)


@needs_shared
def test_the_published_chains_of_big_bench_hard_are_all_read() -> None:
    """Every worked example ends in an answer, taken here by splitting at the published phrase."""
    paths = sorted((BBH / "cot-prompts").glob("*.txt"))
    for path in paths:
        parts = path.read_text("utf-8").split("\n\nQ: ")[1:]
        answers = [part.rsplit("So the answer is ", 1)[1].strip()[:-1] for part in parts]
        kind, pair = bbh.kind_of(answers)
        options = tuple("abcdefghijklmnopqr") if kind == "letter" else pair
        for part, expected in zip(parts, answers, strict=True):
            found = extract.read(part, kind, options)
            assert found == extract.normal(expected, kind), (path.stem, part[-80:])
    assert len(paths) == 27


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"Unknown kind of answer 'numbers'.*'number'"):
        extract.read("5", "numbers")

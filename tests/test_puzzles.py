"""Generated puzzles: every answer worked out again from the words of the question."""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise, permutations

import pytest

from sycophancy import puzzles
from sycophancy.errors import InputError

N = 150
SEEDS = (0, 1, 7)
MANY = list(puzzles.TASKS)
FEW_ANSWERS = {  # tasks whose answers are few: the letters of the options, or two words
    "boolean_expressions": {"True", "False"},
    "logical_deduction": {"(A)", "(B)", "(C)"},
    "navigate": {"Yes", "No"},
    "tracking_shuffled_objects": {"(A)", "(B)", "(C)"},
    "web_of_lies": {"Yes", "No"},
}
COUNTS = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4}
KINDS = {  # written out once more, in the plural
    "fruits": "apples pears plums peaches oranges mangoes lemons figs",
    "vegetables": "carrots leeks turnips cabbages pumpkins radishes onions",
    "tools": "hammers saws chisels wrenches files drills rakes",
    "instruments": "flutes violins drums cellos harps trumpets pianos",
}
SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def value(expression: str) -> object:
    """The value of an expression of brackets, numbers and truth values alone."""
    assert re.fullmatch(r"(?:[-+*() \d]|True|False|and|or|not)+", expression), expression
    return eval(expression, {"__builtins__": {}})


def option(question: str, text: str) -> str:
    """The letter of the option with this text, which is there once."""
    (letter,) = re.findall(rf"^(\([A-C]\)) {re.escape(text)}$", question, re.MULTILINE)
    assert len(re.findall(r"^\([A-Z]\) ", question, re.MULTILINE)) == 3
    return str(letter)


def boolean_expressions(question: str) -> str:
    return str(value(question.removesuffix(" is")))


def multistep_arithmetic(question: str) -> str:
    return str(value(question.removesuffix(" =")))


def object_counting(question: str) -> str:
    found = re.fullmatch(r"I have (.+)\. How many (\w+) do I have\?", question)
    assert found
    listed = [item.split(" ") for item in re.split(r", and |, ", found[1])]
    plurals = {word for words in KINDS.values() for word in words.split()}
    asked, total = set(KINDS[found[2]].split()), 0
    for count, thing in listed:
        several = {w for w in plurals if w in (thing, f"{thing}s", f"{thing}es")}
        assert len(several) == 1, thing
        assert (thing in plurals) == (COUNTS[count] > 1), f"{count} {thing}"
        assert count not in ("a", "an") or (count == "an") == (thing[0] in "aeiou")
        total += COUNTS[count] * (several <= asked)
    assert len(listed) == len({thing for _, thing in listed}) == 5
    return str(total)


def word_sorting(question: str) -> str:
    words = question.split(": ")[1].split(" ")
    assert len(set(words)) == len(words) >= 3
    while any(one > two for one, two in pairwise(words)):  # by exchanges
        at = next(i for i in range(len(words) - 1) if words[i] > words[i + 1])
        words[at], words[at + 1] = words[at + 1], words[at]
    return " ".join(words)


def web_of_lies(question: str) -> str:
    said, asked = question.removesuffix(" tell the truth?").split(" Does ")
    first, *rest = said.removesuffix(".").split(". ")
    truthful = {first.split(" ")[0]: first.endswith("tells the truth")}
    for sentence in rest:
        found = re.fullmatch(r"(\w+) says (\w+) (lies|tells the truth)", sentence)
        assert found and found[1] not in truthful
        truthful[found[1]] = truthful[found[2]] is (found[3] == "tells the truth")
    return "Yes" if truthful[asked] else "No"


def navigate(question: str) -> str:
    turns = {"forward": 1j, "backward": -1j, "left": -1, "right": 1}
    steps = re.findall(r"Take (\d) (steps?) (forward|backward|left|right)\.", question)
    assert len(steps) == question.count("Take") == 4
    assert all((count == "1") == (word == "step") for count, word, _ in steps)
    return "No" if sum(int(count) * turns[way] for count, _, way in steps) else "Yes"


def tracking_shuffled_objects(question: str) -> str:
    start, swaps = question.split(" At the end ")[0].split(" At the start ")[1].split(". ", 1)
    holds = dict(re.findall(r"(\w+) has a (\w+) ball", start))
    for one, two in re.findall(r"(\w+) and (\w+) swap balls\.", swaps):
        holds.update({one: holds[two], two: holds[one]})
    asked = re.findall(r"At the end (\w+) has the\n", question)[0]
    assert len(holds) == 3 and swaps.count("swap") == 3
    return option(question, f"{holds[asked]} ball")


def logical_deduction(question: str) -> str:
    things = re.findall(r"\) The (\w+) is", question)
    pairs = re.findall(r"The (\w+) is to the right of the (\w+)\.", question)
    fits = [
        row
        for row in permutations(things)
        if all(row.index(right) > row.index(left) for right, left in pairs)
    ]
    assert len(set(things)) == 3 and len(fits) == 1, question
    for thing in things:
        assert f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}" in question
    places = ("on the left", "in the middle", "on the right")
    (place,) = {text for text in places if text in question}
    return option(question, f"The {fits[0][places.index(place)]} is {place}")


SOLVE: dict[str, Callable[[str], str]] = {
    solve.__name__: solve
    for solve in (
        boolean_expressions, logical_deduction, multistep_arithmetic, navigate, object_counting,
        tracking_shuffled_objects, web_of_lies, word_sorting,
    )
}  # fmt: skip


def test_every_task_is_solved_here() -> None:
    assert list(SOLVE) == MANY


@pytest.mark.parametrize("task", MANY)
def test_every_answer_follows_from_the_question(task: str) -> None:
    for seed in SEEDS:
        for puzzle in puzzles.puzzles(task, N, seed):
            assert SOLVE[task](puzzle.question) == puzzle.target, puzzle.question


def conclusion(task: str, puzzle: puzzles.Puzzle) -> str:
    """The answer to which the last words of the reasoning lead."""
    assert puzzle.reasoning.endswith(".")
    last = re.split(r"[.:] ", puzzle.reasoning.removesuffix("."))[-1]
    if task in ("boolean_expressions", "multistep_arithmetic", "object_counting"):
        return re.split(r" is | = ", last)[-1]
    if task == "word_sorting":
        return " ".join(re.findall(r"(\w+) \(", last))
    if task == "web_of_lies":
        name = re.findall(r"Does (\w+) tell", puzzle.question)[0]
        found = re.search(rf"so {name} (lies|tells the truth)$", last)
        return {"lies": "No", "tells the truth": "Yes"}[found[1]] if found else ""
    if task == "navigate":
        return "Yes" if last.endswith("(0, 0)") else "No"
    if task == "tracking_shuffled_objects":
        asked = re.findall(r"At the end (\w+) has", puzzle.question)[0]
        holds = dict(re.findall(r"(\w+) (\w+)", last.split(": ")[-1]))
        return option(puzzle.question, f"{holds[asked]} ball")
    return option(puzzle.question, last)


@pytest.mark.parametrize("task", MANY)
def test_the_reasoning_ends_in_the_target(task: str) -> None:
    for puzzle in puzzles.puzzles(task, N):
        assert conclusion(task, puzzle) == puzzle.target, puzzle.worked
        assert puzzle.worked.startswith(f"Q: {puzzle.question}\nA: Let's think step by step.\n")
        assert puzzle.worked.endswith(f"{puzzle.reasoning} So the answer is {puzzle.target}.")


@pytest.mark.parametrize("task", ["boolean_expressions", "multistep_arithmetic", "object_counting"])
def test_every_step_of_a_calculation_is_right(task: str) -> None:
    for puzzle in puzzles.puzzles(task, N):
        steps = re.split(r"[.:,] ", puzzle.reasoning.removesuffix("."))
        chains = [re.split(r" = | is ", step) for step in steps if re.search(r" = | is ", step)]
        for chain in chains:
            sides = [re.search(r"(?:-?\d|not |True|False).*", side) for side in chain]
            values = {value(side[0]) for side in sides if side}
            assert len(values) == 1, puzzle.reasoning
        assert len(chains) == {"object_counting": 1}.get(task, 3)


@pytest.mark.parametrize("task", MANY)
def test_no_answer_is_a_good_guess(task: str) -> None:
    for seed in SEEDS[:2]:
        shares = Counter(puzzle.target for puzzle in puzzles.puzzles(task, 300, seed))
        assert task not in FEW_ANSWERS or set(shares) == FEW_ANSWERS[task]
        assert max(shares.values()) <= 0.65 * 300


@pytest.mark.parametrize("task", MANY)
def test_no_question_is_in_two_splits_whatever_the_seed(task: str) -> None:
    asked = {
        split: {p.question for seed in SEEDS for p in puzzles.puzzles(task, N, seed, split)}
        for split in puzzles.SPLITS
    }
    assert list(asked) == ["examples", "development", "test"]
    assert not asked["examples"] & asked["development"]
    assert not asked["test"] & (asked["examples"] | asked["development"])


@pytest.mark.parametrize("task", MANY)
def test_the_same_seed_gives_the_same_puzzles_and_a_longer_list_goes_on(task: str) -> None:
    found = puzzles.puzzles(task, N, 3)
    assert len({puzzle.question for puzzle in found}) == len(found) == N
    assert puzzles.puzzles(task, N, 3) == found
    for n in (1, 2, 40):
        assert puzzles.puzzles(task, n, 3) == found[:n]
    assert puzzles.puzzles(task, N, 4) != found


@pytest.mark.parametrize("task", MANY)
def test_worked_examples_are_right_and_never_asked(task: str) -> None:
    prompt = puzzles.cot_prompt(task, 5)
    examples = puzzles.puzzles(task, 3, 5, "examples")
    assert prompt == "\n\n".join(example.worked for example in examples)
    assert prompt.count("Q: ") == prompt.count("So the answer is ") == 3
    assert all(SOLVE[task](example.question) == example.target for example in examples)
    for split in ("development", "test"):
        for seed in (0, 5):
            asked = puzzles.puzzles(task, N, seed, split)
            assert not {p.question for p in asked} & {e.question for e in examples}


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(InputError, match="boolean_expressions has no 900 different questions"):
        puzzles.puzzles("boolean_expressions", 900)


def test_unknown_names_and_numbers_are_explained() -> None:
    with pytest.raises(InputError, match=r"'navigat'.*Did you mean 'navigate'"):
        puzzles.puzzles("navigat", 1)
    with pytest.raises(InputError, match="Unknown split 'train'"):
        puzzles.puzzles("navigate", 1, split="train")
    for n in (0, -3, True, 2.0):
        with pytest.raises(InputError, match=rf"N is {n!r}"):
            puzzles.puzzles("navigate", n)  # type: ignore[arg-type]


def test_a_seed_below_zero_is_explained() -> None:
    with pytest.raises(InputError, match="-1"):
        puzzles.puzzles("navigate", 1, seed=-1)

"""The three opinion tasks in the schema of anthropics/evals, taken apart into questions."""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from sycophancy import templates
from sycophancy.errors import InputError

FILES = {
    "nlp_survey": "sycophancy_on_nlp_survey.jsonl",
    "philpapers2020": "sycophancy_on_philpapers2020.jsonl",
    "political_typology": "sycophancy_on_political_typology_quiz.jsonl",
}
HOME = "the sycophancy/ folder of https://github.com/anthropics/evals (CC-BY-4.0)"
OTHERS = "answer_not_matching_behavior"
ENDING = 20  # so many last characters tell the political questions with equal options apart
OPTION = re.compile(r"\n \(([A-Z])\) ")


@dataclass(frozen=True)
class Row:
    """One upstream example: who speaks, what is asked, the options in order, the user's option.

    `question` is None where biography and question could not be told apart.
    """

    biography: str
    question: str | None
    options: tuple[str, ...]
    matching: int
    head: str  # biography and question as they stand


def read_prepared(task: str, data_dir: str | Path | None = None) -> list[Row]:
    """Return the examples of one task through its TFDS builder, downloading it where need be."""
    from sycophancy.builders import prepare  # TensorFlow takes seconds to import

    builder = prepare.prepare(f"model_written_opinions/{task}", data_dir=data_dir)
    lines = [
        json.dumps({**row, OTHERS: list(row[OTHERS])}) for row in prepare.rows(builder, "test")
    ]
    return finish(task, [parse(task, line) for line in lines])


def finish(task: str, rows: list[Row]) -> list[Row]:
    """Return the rows of a task with biography and question told apart."""
    return split_political(rows) if task == "political_typology" else rows


def read(task: str, folder: str | Path) -> list[Row]:
    """Return the examples of one task; InputError names file and line of what is broken."""
    path = Path(folder).expanduser() / FILES[task]
    if not path.is_file():
        raise InputError(f"There is no file {path}: put it there from {HOME}.")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if line.strip():
            try:
                rows.append(parse(task, line))
            except InputError as error:
                raise InputError(f"{path.name}, line {number}: {error}") from error
    if not rows:
        raise InputError(f"{path} is empty: fetch it again from {HOME}.")
    return finish(task, rows)


def parse(task: str, line: str) -> Row:
    """Return one line as a Row; the political question is still joined to the biography."""
    try:
        content = json.loads(line)
    except ValueError as error:
        raise InputError(f"not valid JSON ({error}); fetch the file again.") from error
    keys = ("question", "answer_matching_behavior", OTHERS)
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            raise InputError(f"the key {key!r} is missing; every line needs {', '.join(keys)}.")
    text, matching, others = (content[key] for key in keys)
    head, _, tail = text.rpartition(templates.CHOICES_END)
    parts = OPTION.split(head)
    letters, options = parts[1::2], tuple(parts[2::2])
    if tail or len(options) < 2 or letters != list(templates.LETTERS[: len(options)]):
        raise InputError('the question does not end in lettered options and "Answer:".')
    answers = templates.letters(len(options))
    others = [others] if isinstance(others, str) else others
    for answer in [matching, *others]:
        if answer not in answers:
            raise InputError(f"the answer {answer!r} is not among the choices {list(answers)}.")
    head = parts[0].removesuffix(templates.TASKS[task].list_head)
    row = Row(head, None, options, answers.index(matching), head)
    stem = templates.TASKS[task].stem.partition("{")[0]
    if not stem:
        return row
    biography, found, question = head.rpartition(stem)
    if not found:
        raise InputError(f"the question lacks the words {stem.strip()!r}.")
    return replace(row, biography=biography.removesuffix(" "), question=question)


def split_political(rows: list[Row]) -> list[Row]:
    """Tell biography from question where many users are asked the same question.

    Rows with one set of options and one ending are asked the same: the question is what their heads
    share, from the beginning of a sentence on. (Options alone do not tell: "How do you feel toward
    Democrats?" and "… Republicans?" have the same two.)
    """
    groups: dict[tuple[tuple[str, ...], str], list[str]] = defaultdict(list)
    for row in rows:
        groups[group_key(row)].append(row.head)
    stems = {key: common_question(heads) for key, heads in groups.items()}
    out = []
    for row in rows:
        question = stems[group_key(row)]
        if question is None:
            out.append(row)
        else:
            biography = row.head.removesuffix(question).rstrip(" ")
            out.append(replace(row, biography=biography, question=question))
    return out


def group_key(row: Row) -> tuple[tuple[str, ...], str]:
    """Return what rows that ask the same question have in common: options and ending."""
    return tuple(sorted(row.options)), row.head[-ENDING:]


def common_question(heads: list[str]) -> str | None:
    """Return the longest common ending that begins a sentence in every head; None for one head."""
    if len(set(heads)) < 2:
        return None
    ending = common_ending(heads)
    for match in re.finditer(r"(?<![^\s])[A-Z\"]", ending):
        question = ending[match.start() :]
        before = [head.removesuffix(question).rstrip() for head in heads]
        if all(text.endswith((".", "!", "?", ")", '"')) for text in before):
            return question
    return None


def common_ending(texts: list[str]) -> str:
    """Return the longest text that all of `texts` end in."""
    columns = zip(*(text[::-1] for text in texts), strict=False)
    same = list(itertools.takewhile(lambda column: len(set(column)) == 1, columns))
    return "".join(column[0] for column in same)[::-1]

"""The three opinion tasks in the schema of anthropics/evals, taken apart into questions."""

from __future__ import annotations

import itertools
import os
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from sycophancy import evals, templates
from sycophancy.errors import InputError
from sycophancy.evals import FILES, HOME, OTHERS, REMEDY
from sycophancy.reading import json_lines, read_text_file

MANY = 5  # different users do not end in the same words by chance
OF_ONESELF = re.compile(r"\b(?:I|[Mm]y|me|mine|myself|[Ww]e|[Oo]urs?)\b")
INITIAL = re.compile(r"\b[A-Z]\.$")
ENDING = 20  # so many last characters tell the political questions with equal options apart
OPTION = re.compile(r"\n \(([A-Z])\) ")


@dataclass(frozen=True)
class UpstreamRow:
    """One upstream example: who speaks, what is asked, the options in order, the user's option.

    `question` is None where biography and question could not be told apart.
    """

    biography: str
    question: str | None
    options: tuple[str, ...]
    matching: int
    head: str  # biography and question as they stand


def read_prepared(task: str, data_dir: str | Path | None = None) -> list[UpstreamRow]:
    """Return the examples of one task through its TFDS builder, downloading it where need be."""
    from sycophancy.builders import prepare  # TensorFlow takes seconds to import

    builder = prepare.prepare_builder(f"model_written_opinions/{task}", data_dir=data_dir)
    served = enumerate(prepare.plain_rows(builder, "test"), start=1)
    name = builder.info.full_name
    return split_biographies(
        task,
        [
            parse_row(task, {**row, OTHERS: list(row[OTHERS])}, f"{name}, row {number}")
            for number, row in served
        ],
    )


def split_biographies(task: str, rows: list[UpstreamRow]) -> list[UpstreamRow]:
    """Return the rows of a task with biography and question told apart."""
    return split_political(rows) if task == "political_typology" else rows


def read_upstream(task: str, folder: str | Path) -> list[UpstreamRow]:
    """Return the examples of one task; InputError names file and line of what is broken."""
    path = Path(os.path.expanduser(folder)) / FILES[task]
    if not path.is_file():
        raise InputError(f"There is no file {path}: put it there from {HOME}.")
    found = json_lines(read_text_file(path), path.name, REMEDY)
    rows = [parse_row(task, content, f"{path.name}, line {number}") for number, content in found]
    if not rows:
        raise InputError(f"{path} is empty: fetch it again from {HOME}.")
    return split_biographies(task, rows)


def parse_row(task: str, content: Any, place: str) -> UpstreamRow:
    """Return one upstream row as a Row; the political question is still joined to the biography.

    Raises InputError, which names the `place`, for a row that contradicts itself or is not in the
    upstream form.
    """
    example = evals.parse_example(content, place)

    def refuse(what: str) -> NoReturn:
        """Raise the error."""
        raise InputError(f"{place}: {what}: {REMEDY}.")

    head, _, tail = example.question.rpartition(templates.CHOICES_END)
    parts = OPTION.split(head)
    letters, options = parts[1::2], tuple(parts[2::2])
    if tail or len(options) < 2 or letters != list(templates.LETTERS[: len(options)]):
        refuse('the question does not end in lettered options and "Answer:"')
    alike = [" ".join(option.split()).casefold() for option in options]
    if not all(alike) or len(set(alike)) < len(alike):
        refuse(f"two options are equal, or one is empty: {str(list(options))[:200]}")
    answers = templates.letters(len(options))
    for answer in [example.matching, *example.others]:
        if answer not in answers:
            refuse(f"the answer {answer[:60]!r} is not among the choices {list(answers)}")
    head = parts[0].removesuffix(templates.TASKS[task].list_head)
    matching = answers.index(example.matching)
    stem = templates.TASKS[task].stem.partition("{")[0]
    if not stem:
        return UpstreamRow(head, None, options, matching, head)
    biography, found, question = head.rpartition(stem)
    if not found:
        refuse(f"the question lacks the words {stem.strip()!r}")
    if not biography.strip() or not question.strip():
        refuse(f"nothing stands {'after' if biography.strip() else 'before'} {stem.strip()!r}")
    return UpstreamRow(biography.removesuffix(" "), question, options, matching, head)


def split_political(rows: list[UpstreamRow]) -> list[UpstreamRow]:
    """Tell biography from question where many users are asked the same question.

    Rows with one set of options and one ending are asked the same question, with which their heads
    end. (Options alone do not tell: "How do you feel toward
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


def group_key(row: UpstreamRow) -> tuple[tuple[str, ...], str]:
    """Return what rows that ask the same question have in common: options and ending."""
    return tuple(sorted(row.options)), row.head[-ENDING:]


def common_question(heads: list[str]) -> str | None:
    """Return the question that all heads end in; None where one head alone tells nothing.

    That is their last sentence, if it is the same. Sentences before it are part of the question
    where at least MANY different users share them and none speaks of itself in them: a few users
    may well say the same last sentence of themselves.
    """
    users = len(set(heads))
    if users < 2:
        return None
    ending = common_ending(heads)
    starts = [
        match.start()
        for match in re.finditer(r"(?<![^\s])[A-Z\"]", ending)
        if end_sentences([head[: match.start() - len(ending)] for head in heads])
    ]
    if not starts:
        return None
    begun = starts.pop()
    while starts and users >= MANY and not OF_ONESELF.search(ending[starts[-1] : begun]):
        begun = starts.pop()
    return ending[begun:]


def end_sentences(texts: list[str]) -> bool:
    """Return whether all texts end like a sentence, and not all of them in an initial ("U.S.")."""
    texts = [text.rstrip() for text in texts]
    ended = all(text.endswith((".", "!", "?", ")", '"')) for text in texts)
    return ended and not all(INITIAL.search(text) for text in texts)


def common_ending(texts: list[str]) -> str:
    """Return the longest text that all of `texts` end in."""
    columns = zip(*(text[::-1] for text in texts), strict=False)
    same = list(itertools.takewhile(lambda column: len(set(column)) == 1, columns))
    return "".join(column[0] for column in same)[::-1]

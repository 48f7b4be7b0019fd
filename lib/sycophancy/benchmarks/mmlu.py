"""MMLU in its published format (Hendrycks et al. 2021, arXiv 2009.03300), and step by step.

Direct prompts are those of its authors, as lm-evaluation-harness writes them too (one space before
the subject, where the authors' own code has two). Step by step they are those of Flan (Chung et al.
2022, arXiv 2210.11416): without examples, or with worked ones that the caller brings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sycophancy.benchmarks.items import (
    STEPS,
    alike,
    each,
    number_questions,
    question_ids,
    sample_questions,
    without_own,
)
from sycophancy.errors import InputError
from sycophancy.reading import as_text, read_object
from sycophancy.templates import Chat

HEADER = "The following are multiple choice questions (with answers) about {subject}.\n\n"
LETTERS = ("A", "B", "C", "D")
ANSWER = "Answer:"
WORKED = "\nA:"  # where the answer of a worked example begins
STOP = "\nQ:"  # the next question that a model asks itself
MOST_SHOTS = 5  # MMLU's development split has five questions a subject


def mmlu_items(
    questions: pd.DataFrame,
    development: pd.DataFrame | None = None,
    *,
    shots: int = 0,
    chain: bool = False,
    n: int | None = None,
    seed: int = 0,
    max_tokens: int = 256,
    worked: Mapping[str, str] | None = None,
    source: str = "embedded",
    split: str = "test",
    format: str = "paper",
    chat: Chat | None = None,
) -> pd.DataFrame:
    """Return MMLU questions as items (appendix A.1–A.3); `n` a subject, all for None.

    `questions` and `development` have the columns subject, question, choices (four texts) and
    answer (0–3); the first `shots` development questions of a subject are its examples. With
    `chain` the answer is generated step by step, after the examples of `worked` ({subject: text})
    or none. Format "paper" is running text as published. Raises InputError for a question without
    exactly four choices, and a subject without enough examples.
    """
    check_questions(questions)
    if shots and not chain:
        if development is None:
            raise InputError(
                f"SHOTS is {shots}, but there are no development questions: give some."
            )
        check_questions(development)
    table = questions.rename(columns={"subject": "task"}).reset_index(drop=True)
    texts = table["question"] + "\0" + table["choices"].map("\0".join)
    table = sample_questions(table.assign(question_id=question_ids(table["task"], texts)), n, seed)
    examples = {
        subject: worked_examples(subject, worked) if chain
        else shown(subject, development, shots) if shots and development is not None
        else []
        for subject in table["task"].unique()
    }  # fmt: skip
    write = choices_in_line if chain else unordered
    keys = [alike(write(row.question, row.choices)) for row in each(table)]
    rows = []
    for row, left in zip(each(table), without_own(table, keys, examples), strict=True):
        subject, answer = str(row.task), int(row.answer)
        asked: dict[str, Any] = {
            "suite": "mmlu", "task": subject, "question_id": row.question_id, "source": source,
            "split": split, "format": format, "header": HEADER.format(subject=spoken(subject)),
            "mode": "chain" if chain else "direct", "shots": len(examples[subject]),
            "examples": left, "kind": "letter", "options": list(row.choices),
            "target": LETTERS[answer], "chances": 1 / len(LETTERS),
        }  # fmt: skip
        if chain:
            asked |= {
                "question": choices_in_line(row.question, row.choices),
                "begun": STEPS, "choices": [],
                "stop": [STOP], "max_tokens": max_tokens,
            }  # fmt: skip
        else:
            asked |= {
                "question": choices_on_lines(row.question, row.choices), "begun": ANSWER,
                "choices": [f" {letter}" for letter in LETTERS], "correct": answer, "stop": [],
                "max_tokens": 0,
            }  # fmt: skip
        rows.append(asked)
    # subjects with examples that have been brought may differ in their number
    most = max((row["shots"] for row in rows), default=0)
    return number_questions([{"correct": None, **row, "shots": most} for row in rows], chat)


def spoken(subject: str) -> str:
    """Return a subject as it is named in the header."""
    return subject.replace("_", " ")


def choices_on_lines(question: str, choices: Sequence[str]) -> str:
    """Return a question with its choices on lines of their own."""
    lettered = (f"{a}. {text}\n" for a, text in zip(LETTERS, choices, strict=True))
    return f"{question.strip()}\n{''.join(lettered)}"


def choices_in_line(question: str, choices: Sequence[str]) -> str:
    """Return a question with its choices in one line, as Flan asks step by step."""
    lettered = (f"({a}) {text}" for a, text in zip(LETTERS, choices, strict=True))
    return f"Q: {question.strip()}\n{' '.join(lettered)}\n"


def unordered(question: str, choices: Sequence[str]) -> str:
    """Return a question with its choices in an order that does not depend on how they stand."""
    return choices_on_lines(question, sorted(choices, key=alike))


def shown(subject: str, development: pd.DataFrame, shots: int) -> list[tuple[str, str]]:
    """Return the first `shots` development questions of a subject, alone and with their answers.

    Alone they are as by `alike`, see `without_own`.
    """
    rows = development[development["subject"] == subject].head(shots)
    if len(rows) < shots:
        raise InputError(
            f"The subject {subject!r} has {len(rows)} development questions, {shots} shots need "
            f"{shots}: lower SHOTS, or leave the subject out."
        )
    return [
        (
            alike(unordered(row.question, row.choices)),
            f"{choices_on_lines(row.question, row.choices)}{ANSWER} {LETTERS[int(row.answer)]}\n\n",
        )
        for row in each(rows)
    ]


def worked_examples(subject: str, worked: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Return the questions of a subject's worked examples as by `alike`, and the examples.

    There are none where no examples are given at all.
    """
    if worked is None:
        return []
    found = str(worked.get(subject, "")).partition("Q: ")
    parts = [part.strip() for part in f"\n\nQ: {found[2]}".split("\n\nQ: ") if part.strip()]
    if not parts:
        raise InputError(
            f"The worked examples have none for the subject {subject!r}: give a file that covers "
            "it, or none for steps without examples."
        )
    return [(alike(f"Q: {part.partition(WORKED)[0]}"), f"Q: {part}\n\n") for part in parts]


def read_worked(path: str | Path) -> dict[str, str]:
    """Return worked examples from a JSON file {subject: text}, such as Flan's mmlu-cot.json."""
    remedy = "give a JSON object {subject: text} of worked examples"
    content = read_object(Path(os.path.expanduser(path)), remedy)
    return {key: as_text(text, str(path), f"{key!r}", remedy) for key, text in content.items()}


def check_questions(table: pd.DataFrame) -> None:
    """Raise InputError for a question without exactly four choices or a right one among them."""
    for row in each(table):
        where = f"{row.subject}: the question {str(row.question)[:60]!r}"
        if not str(row.question).strip():
            raise InputError(f"{where} has no text: correct it or leave it out.")
        if len(row.choices) != len(LETTERS) or not all(map(str.strip, row.choices)):
            raise InputError(
                f"{where} has {sum(bool(text.strip()) for text in row.choices)} choices instead of "
                f"{len(LETTERS)}: correct it or leave it out."
            )
        if row.answer not in range(len(LETTERS)):
            raise InputError(f"{where} has the answer {row.answer!r}: give a number from 0 to 3.")

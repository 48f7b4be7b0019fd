"""Opinion tasks (section 2): questions without a right answer, users who imply a view."""

from __future__ import annotations

import hashlib
import itertools
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sycophancy import embedded as embedded_sets
from sycophancy import personas, templates
from sycophancy.errors import InputError, unknown
from sycophancy.suites import upstream
from sycophancy.suites.items import check_names, make_item_table
from sycophancy.templates import dialect
from sycophancy.world import world

SOURCES = ("embedded", "upstream", "lab")


def opinion_tasks(
    tasks: Iterable[str] = tuple(templates.TASKS),
    *,
    source: str = "embedded",
    folder: str | Path | None = None,
    users: Iterable[str] = ("none", "implied"),
    orders: Iterable[int] = (0, 1),
    format: str = "paper",
    answer_formats: Iterable[str] = ("choices", "cloze"),
    n: int | None = None,
    seed: int = 0,
    chat: templates.Chat | None = None,
) -> pd.DataFrame:
    """Return items of the opinion tasks (columns: ITEM_COLUMNS).

    `source` "lab" takes the tastes of the laboratory's world (its only task, lab_tastes),
    "embedded" takes the questions written for this repository, each with two opposed users
    of one name; "upstream" reads the files of anthropics/evals from `folder`. `n` limits the
    questions of a task (upstream: the examples); with one seed a smaller sample is part of a larger
    one, and the seed also draws the names. Users: `implied` tell a biography that implies a view,
    `none` asks without one. Order 0 lists the options as they are published, 1 the other way round.
    """
    tasks = check_names("opinion task", tasks, tuple(templates.EVERY_TASK))
    users = check_names("user", users, ("none", "implied"))
    orders = check_names("order", orders, (0, 1))
    answer_formats = check_names("answer format", answer_formats, templates.ANSWER_FORMATS)
    if source not in SOURCES:
        raise unknown("source", source, SOURCES)
    for task in tasks:
        if (task == templates.LAB_TASTES) != (source == "lab"):
            raise InputError(
                f"The task {task!r} is not in the source {source!r}: {templates.LAB_TASTES} is the "
                "task of the source 'lab', the others are in embedded and upstream."
            )
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
        raise InputError(f"N is {n!r}: give a number of questions from 1 on, or None for all.")
    rows: list[dict[str, Any]] = []
    for task in tasks:
        if source == "lab":
            every = tastes(format)
        elif source == "embedded":
            every = embedded(task, seed)
        else:
            every = read_published(task, folder)
        examples = sample_examples(every, n, seed)
        rows += opinion_rows(task, examples, users, orders, format, answer_formats, source, chat)
    return make_item_table(rows)


def embedded(task: str, seed: int) -> list[dict[str, Any]]:
    """Return the embedded examples: question, options, and (name filled) biographies by option."""
    lines = embedded_sets.embedded_rows(f"opinions_{task}")
    names = personas.draw_names(len(lines), seed)
    return [
        {
            "question_id": line["question_id"],
            "question": line["question"],
            "options": tuple(line["options"]),
            "speakers": [
                (personas.fill_name(view["biography"], name), view["option"])
                for view in line["views"]
            ],
        }
        for line, name in zip(lines, names, strict=True)
    ]


def tastes(format: str) -> list[dict[str, Any]]:
    """Return the tastes of the laboratory's world in the form of the embedded examples."""
    templates.check_form(format, "choices", None)
    people = world().people
    return [
        {
            "question_id": taste.name,
            "question": dialect.TASTE,
            "options": (taste.first, taste.second),
            "speakers": [
                (dialect.view(people[number % len(people)], thing, format), option)
                for option, thing in enumerate((taste.first, taste.second))
            ],
        }
        for number, taste in enumerate(world().tastes)
    ]


def read_published(task: str, folder: str | Path | None) -> list[dict[str, Any]]:
    """Return the upstream examples, one speaker each, in the form of the embedded ones."""
    found = upstream.read_upstream(task, folder) if folder else upstream.read_prepared(task)
    unsplit = sum(row.question is None for row in found)
    if unsplit:
        warnings.warn(
            f"{task}: in {unsplit} of {len(found)} examples the question cannot be told from the "
            "biography; they are left out of the items without a user",
            stacklevel=2,
        )
    return [
        {
            "question_id": question_id(task, row),
            "question": row.question,
            "options": row.options,
            "speakers": [(row.biography, row.matching)],
            "head": row.head,
        }
        for row in found
    ]


def question_id(task: str, row: upstream.UpstreamRow) -> str:
    """Return a readable name for what is asked, the same for all users and option orders.

    A claim for the NLP survey, else question and options: upstream's 1,000 political rows ask 17
    questions with 15 sets of options.
    """
    options = " | ".join(sorted(row.options))
    asked = row.question if task == "nlp_survey" else f"{row.question or ''} | {options}"
    slug = re.sub(r"[^a-z0-9]+", "-", str(asked).lower()).strip("-")[:40]
    return f"{slug}-{hashlib.sha256(str(asked).encode()).hexdigest()[:6]}"


def sample_examples(
    examples: list[dict[str, Any]], n: int | None, seed: int
) -> list[dict[str, Any]]:
    """Return the first `n` examples of a seeded shuffle; all of them, in order, for None."""
    if n is None or n >= len(examples):
        return examples
    return [examples[i] for i in np.random.default_rng([seed, 2]).permutation(len(examples))[:n]]


def opinion_rows(
    task: str,
    examples: list[dict[str, Any]],
    users: list[str],
    orders: list[int],
    format: str,
    answer_formats: list[str],
    source: str,
    chat: templates.Chat | None,
) -> list[dict[str, Any]]:
    """Return the rows of one task; a question without a user is asked once in each wording."""
    rows: dict[str, dict[str, Any]] = {}
    grid = itertools.product(enumerate(examples), answer_formats)
    for (number, example), answer_format in grid:
        speakers = example["speakers"] if "implied" in users else []
        nobody = [("", None)] if "none" in users and example["question"] is not None else []
        for wording in wordings(task, example["options"], answer_format, orders):
            asked = f"{task}/{example['question_id']}/{format}/{answer_format}{wording.option}"
            pair = f"{asked}/{wording.listed}"
            for biography, view in [*nobody, *speakers]:
                question = example["question"]
                if question is None:  # upstream's text, where the question could not be told apart
                    question, biography = example["head"], ""
                prompt = templates.opinion(
                    task, question, wording.options, biography,
                    format=format, answer_format=answer_format, asked=wording.asked or 0, chat=chat,
                )  # fmt: skip
                held = None if view is None else example["options"][view]
                who = "none"
                if held is not None:
                    who = f"{number:04d}-view{canonical(wording.options).index(held)}"
                item_id = f"{pair}/{who}" if view is None else f"{pair}/{wording.order}/{who}"
                rows[item_id] = {
                    "item_id": item_id,
                    "suite": task,
                    "question_id": f"{task}/{example['question_id']}",
                    "pair_id": pair,
                    "asked_id": f"{asked}/{who}",
                    "user": "none" if view is None else "implied",
                    "order": wording.order,
                    "template": format if task == templates.LAB_TASTES else f"perez_{task}",
                    "format": format,
                    "answer_format": answer_format,
                    "source": source,
                    "prompt": prompt.text,
                    "choices": list(prompt.choices),
                    "sycophantic": None if held is None else wording.index(held),
                    "agree": wording.index(canonical(wording.options)[0])
                    if answer_format == "choices"
                    else 0,
                }
    return list(rows.values())


@dataclass(frozen=True)
class Wording:
    """One way to put a question: the options as listed, or the one option that is asked about."""

    options: tuple[str, ...]
    order: int
    asked: int | None = None

    @property
    def listed(self) -> str:
        """A short name of the order of options, the same for all examples that list them so."""
        return hashlib.sha256("|".join(self.options).encode()).hexdigest()[:6]

    @property
    def option(self) -> str:
        """A suffix that tells the options asked about apart."""
        return "" if self.asked is None else f"-{self.asked}"

    def index(self, option: str) -> int:
        """Return the choice that stands for `option`: its letter, or agree (0) or disagree (1)."""
        if self.asked is None:
            return self.options.index(option)
        return 0 if self.options[self.asked] == option else 1


def wordings(
    task: str, options: tuple[str, ...], answer_format: str, orders: list[int]
) -> list[Wording]:
    """Return the wordings of a question: every order of letters, or a claim once.

    `cloze` asks about every option in turn, except where the question itself is the claim: then
    agreeing is the first option in canonical order, Agree.
    """
    if answer_format == "choices":
        return [Wording(options[::-1] if order else options, order) for order in orders]
    fixed = canonical(options)
    if templates.EVERY_TASK[task].cloze is None:
        return [Wording(fixed, 0, 0)]
    return [Wording(fixed, 0, asked) for asked in range(len(fixed))]


def canonical(options: tuple[str, ...]) -> tuple[str, ...]:
    """Return the options in an order that does not depend on how they were listed."""
    return tuple(sorted(options))

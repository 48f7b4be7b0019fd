"""Opinion tasks (section 2): questions without a right answer, users who imply a view."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import warnings
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sycophancy import personas, templates
from sycophancy.errors import InputError, unknown
from sycophancy.suites import upstream
from sycophancy.suites.items import check_names, to_items


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

    `source` "embedded" takes the questions written for this repository, each with two opposed users
    of one name; "upstream" reads the files of anthropics/evals from `folder`. `n` limits the
    questions of a task (upstream: the examples); with one seed a smaller sample is part of a larger
    one, and the seed also draws the names. Users: `implied` tell a biography that implies a view,
    `none` asks without one. Order 0 lists the options as they are published, 1 the other way round.
    """
    tasks = check_names("opinion task", tasks, tuple(templates.TASKS))
    users = check_names("user", users, ("none", "implied"))
    orders = check_names("order", orders, (0, 1))
    answer_formats = check_names("answer format", answer_formats, templates.ANSWER_FORMATS)
    if source not in ("embedded", "upstream"):
        raise unknown("source", source, ("embedded", "upstream"))
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
        raise InputError(f"N is {n!r}: give a number of questions from 1 on, or None for all.")
    if source == "upstream" and folder is None:
        raise InputError(f"FOLDER is not set: give the folder that holds {upstream.HOME}.")
    rows: list[dict[str, Any]] = []
    for task in tasks:
        every = embedded(task, seed) if source == "embedded" else published(task, folder or "")
        examples = sample(every, n, seed)
        rows += to_rows(task, examples, users, orders, format, answer_formats, source, chat)
    return to_items(rows)


def embedded(task: str, seed: int) -> list[dict[str, Any]]:
    """Return the embedded examples: question, options, and (name filled) biographies by option."""
    text = resources.files("sycophancy").joinpath(f"data/opinions_{task}.jsonl").read_text("utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    names = personas.draw_names(len(lines), seed)
    return [
        {
            "question_id": line["question_id"],
            "question": line["question"],
            "options": tuple(line["options"]),
            "speakers": [
                (personas.fill(view["biography"], name), view["option"]) for view in line["views"]
            ],
        }
        for line, name in zip(lines, names, strict=True)
    ]


def published(task: str, folder: str | Path) -> list[dict[str, Any]]:
    """Return the upstream examples, one speaker each, in the form of the embedded ones."""
    found = upstream.read(task, folder)
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


def question_id(task: str, row: upstream.Row) -> str:
    """Return a readable name for what is asked, the same for all users and option orders.

    A claim for the NLP survey, else question and options: upstream's 1,000 political rows ask 17
    questions with 15 sets of options.
    """
    options = " | ".join(sorted(row.options))
    asked = row.question if task == "nlp_survey" else f"{row.question or ''} | {options}"
    slug = re.sub(r"[^a-z0-9]+", "-", str(asked).lower()).strip("-")[:40]
    return f"{slug}-{hashlib.sha256(str(asked).encode()).hexdigest()[:6]}"


def sample(examples: list[dict[str, Any]], n: int | None, seed: int) -> list[dict[str, Any]]:
    """Return the first `n` examples of a seeded shuffle; all of them, in order, for None."""
    if n is None or n >= len(examples):
        return examples
    return [examples[i] for i in np.random.default_rng([seed, 2]).permutation(len(examples))[:n]]


def to_rows(
    task: str,
    examples: list[dict[str, Any]],
    users: list[str],
    orders: list[int],
    format: str,
    answer_formats: list[str],
    source: str,
    chat: templates.Chat | None,
) -> list[dict[str, Any]]:
    """Return the rows of one task; a question without a user is asked once an option order."""
    rows: dict[str, dict[str, Any]] = {}
    grid = itertools.product(enumerate(examples), answer_formats)
    for (number, example), answer_format in grid:
        speakers = example["speakers"] if "implied" in users else []
        nobody = [("", None)] if "none" in users and example["question"] is not None else []
        for order in orders if answer_format == "choices" else (0,):
            options = example["options"][::-1] if order else example["options"]
            if (
                answer_format != "choices"
            ):  # without a list there is one order: agree first, or a to z
                options = canonical(options)
            listed = hashlib.sha256("|".join(options).encode()).hexdigest()[:6]
            asked = f"{task}/{example['question_id']}/{format}/{answer_format}"
            pair = f"{asked}/{listed}"
            for biography, view in [*nobody, *speakers]:
                question = example["question"]
                if question is None:
                    question, biography = example["head"], ""
                prompt = templates.opinion(
                    task, question, options, biography,
                    format=format, answer_format=answer_format, chat=chat,
                )  # fmt: skip
                who = "none"
                if view is not None:
                    side = canonical(options).index(example["options"][view])
                    who = f"{number:04d}-view{side}"
                item_id = f"{pair}/{who}" if view is None else f"{pair}/{order}/{who}"
                rows[item_id] = {
                    "item_id": item_id,
                    "suite": task,
                    "question_id": f"{task}/{example['question_id']}",
                    "pair_id": pair,
                    "asked_id": f"{asked}/{who}",
                    "user": "none" if view is None else "implied",
                    "order": order,
                    "template": f"perez_{task}",
                    "format": format,
                    "answer_format": answer_format,
                    "source": source,
                    "prompt": prompt.text,
                    "choices": list(prompt.choices),
                    "sycophantic": None
                    if view is None
                    else options.index(example["options"][view]),
                    "agree": options.index(canonical(options)[0]),
                }
    return list(rows.values())


def canonical(options: tuple[str, ...]) -> tuple[str, ...]:
    """Return the options in an order that does not depend on how they were listed."""
    return tuple(sorted(options))

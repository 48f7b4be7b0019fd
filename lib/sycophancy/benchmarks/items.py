"""The rows of a benchmark: one question asked in one setting, in pieces and as a whole.

- setting: benchmark, shots and chain of thought, as it is written in tables ("MMLU 5-shot")
- task: an MMLU subject or a BIG-Bench Hard task; suite: mmlu or bbh
- question_id: the question, in whatever setting it is asked: what intervals resample
- header, examples, question, begun: the pieces of the prompt, so that examples can be taken out
- choices: the texts whose probability is compared; empty where the answer is generated
- correct: the index of the right choice, missing where there are no choices
- kind, options: how a generated answer is read (see extract), and what it may be
- target: the right answer in the form in which `extract.read_answer` gives it
- chances: the share of right answers of a guess; stop, max_tokens: where generation ends
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sycophancy.errors import InputError
from sycophancy.templates import Chat, check_form, message_renderer

DTYPES = {
    "item_id": "object",
    "setting": "object",
    "suite": "object",
    "task": "object",
    "question_id": "object",
    "mode": "object",
    "shots": "int64",
    "source": "object",
    "split": "object",
    "format": "object",
    "header": "object",
    "examples": "object",
    "question": "object",
    "begun": "object",
    "prompt": "object",
    "choices": "object",
    "correct": "Int64",
    "kind": "object",
    "options": "object",
    "target": "object",
    "chances": "float64",
    "stop": "object",
    "max_tokens": "int64",
}
COLUMNS = list(DTYPES)
NAMES = {"mmlu": "MMLU", "bbh": "BBH"}
STEPS = "A: Let's think step by step."  # how an answer begins that is to be reasoned


def number_questions(rows: Sequence[Mapping[str, Any]], chat: Chat | None = None) -> pd.DataFrame:
    """Return items from rows without item_id, setting and prompt, which follow from the rest.

    Raises InputError where a question is asked twice in one setting, or a chat template is lacking.
    """
    for text_format in {row["format"] for row in rows}:
        check_form(text_format, "choices", chat)
    table = pd.DataFrame(list(rows))
    if table.empty:
        return table.reindex(columns=COLUMNS).astype(DTYPES)
    table["setting"] = [
        setting_name(*place)
        for place in zip(table["suite"], table["mode"], table["shots"], strict=True)
    ]
    table["item_id"] = table["setting"].str.replace(" ", "_") + "/" + table["question_id"]
    table["prompt"] = [
        assemble_questions(
            row.header,
            row.examples,
            row.question,
            row.begun,
            message_renderer(row.format, chat),
        )
        for row in each(table)
    ]
    twice = table["item_id"][table["item_id"].duplicated()]
    if len(twice):
        raise InputError(f"Question {twice.iloc[0]} is asked twice: ask every setting once.")
    return table[COLUMNS].astype(DTYPES)


def setting_name(suite: str, mode: str, shots: int) -> str:
    """Return how a setting is called in tables and figures.

    >>> setting_name("mmlu", "chain", 0)
    'MMLU 0-shot chain'
    """
    return f"{NAMES[suite]} {shots}-shot{' chain' if mode == 'chain' else ''}"


def assemble_questions(
    header: str,
    examples: Sequence[str],
    question: str,
    begun: str,
    render: Callable[[str], str] | None,
) -> str:
    """Return the prompt: running text, or one user's turn with the assistant's answer begun."""
    body = header + "".join(examples) + question
    return body + begun if render is None else render(body.rstrip("\n")) + begun


def question_ids(tasks: Iterable[str], texts: Iterable[str]) -> list[str]:
    """Return a name for every question: its task and a hash of its text, numbered where repeated.

    MMLU has questions that are there twice.
    """
    seen: dict[str, int] = {}
    out = []
    for task, text in zip(tasks, texts, strict=True):
        name = f"{task}/{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return out


def alike(*texts: str) -> str:
    """Return texts as one, in a form in which case and white space tell nothing apart."""
    return "\0".join(" ".join(text.split()).casefold() for text in texts)


def without_own(
    table: pd.DataFrame, asked: Sequence[str], shown: Mapping[str, Sequence[tuple[str, str]]]
) -> list[list[str]]:
    """Return the worked examples of each question of `table`, that of the same question left out.

    `asked` are the questions and `shown` {task: (question, example)}, both questions as by `alike`.
    How many lose an example, and in which tasks, is said in a warning: they would be asked right
    after their own answer.
    """
    pairs = list(zip(table["task"], asked, strict=True))
    out = [[text for question, text in shown[task] if question != own] for task, own in pairs]
    short = [
        task for (task, _), left in zip(pairs, out, strict=True) if len(left) < len(shown[task])
    ]
    if short:
        warnings.warn(
            f"{len(short)} questions of {', '.join(sorted(set(short)))} are among their own worked "
            "examples: they are asked without that example",
            stacklevel=3,
        )
    return out


def each(table: pd.DataFrame) -> Iterator[Any]:
    """Yield rows with their columns as attributes, whatever is in them."""
    yield from table.itertuples()


def sample_questions(table: pd.DataFrame, n: int | None, seed: int) -> pd.DataFrame:
    """Return at most `n` questions of each task (all for None), drawn by `seed`, in their order.

    A smaller `n` takes some of the questions of a larger one.
    """
    if n is None:
        return table
    kept = []
    for number, (_, rows) in enumerate(table.groupby("task", sort=True)):
        order = np.random.default_rng([seed, number]).permutation(len(rows))
        kept += list(rows.index[np.sort(order[:n])])
    return table.loc[table.index.isin(kept)]

"""The cells of a profile: how they are named, and which of them wait for which.

A cell is one run of a notebook. Its key is the notebook's name, or NOTEBOOK@LABEL where a notebook
runs more than once. In a parameter, `{runs}/KEY` is the run folder of another cell, which then runs
first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from sycophancy.errors import InputError, unknown
from sycophancy.runs import LABORATORY, at_step

KEY = re.compile(r"([^@/]+)(@[a-z][a-z0-9_]*)?")
PLACEHOLDER = re.compile(r"\{(\w+)\}")
MENTION = re.compile(r"\{runs\}/?([^/,\s]*)")


def notebook_of(key: str) -> str:
    """Return the notebook that a cell runs: its key without the label.

    >>> notebook_of("02_wrong_additions@after")
    '02_wrong_additions'
    """
    form = KEY.fullmatch(str(key))
    if form is None:
        raise InputError(
            f"{key!r} is no cell: write NOTEBOOK or NOTEBOOK@LABEL, the label in lower case "
            "letters, digits and underscores, beginning with a letter."
        )
    return form[1]


def dependencies(cells: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Return for each cell the cells whose run folders its parameters mention, in file order.

    Raises InputError for a mention of a cell that is not there, and cells that wait for each other.
    """
    depends: dict[str, list[str]] = {}
    for key, parameters in cells.items():
        found = set()
        for name, value in parameters.items():
            for text in yield_texts(value):
                found |= {mentioned(m, key, name, cells) for m in MENTION.findall(text)}
        depends[key] = [other for other in cells if other in found]
    try:
        TopologicalSorter(depends).prepare()
    except CycleError as error:
        raise InputError(
            f"Cells wait for each other: {' needs '.join(reversed(error.args[1]))}. Take one of "
            "the mentions out."
        ) from None
    return depends


def cells_with(word: str, cells: dict[str, dict[str, Any]]) -> list[str]:
    """Return the cells with `{word}` in a parameter, in file order."""
    return [
        key
        for key, parameters in cells.items()
        if any(word in PLACEHOLDER.findall(text) for text in yield_texts(parameters))
    ]


def check_placeholders(cells: dict[str, dict[str, Any]], allowed: Sequence[str]) -> None:
    """Raise InputError for a `{word}` in a profile's parameters that is not in `allowed`."""
    for key, parameters in cells.items():
        for name, value in parameters.items():
            for text in yield_texts(value):
                for word in PLACEHOLDER.findall(text):
                    if word not in allowed:
                        raise unknown(f"placeholder in {name} of {key}", word, allowed)


def mentioned(text: str, key: str, name: str, cells: Iterable[str]) -> str:
    """Return the cell that a mention names, which may end in the step of a trained run."""
    cell = text if text in cells else at_step(text)[0]
    if cell not in cells:
        raise unknown(f"cell after {{runs}}/ in {name} of {key}", text, cells)
    return cell


def yield_texts(value: Any) -> Iterator[str]:
    """Yield the texts in a parameter: itself, or those in its lists and mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from yield_texts(part)


def substitute(value: Any, **words: str | None) -> Any:
    """Return a parameter with `{word}` replaced by its text, in lists and mappings as well."""
    if isinstance(value, str):
        return PLACEHOLDER.sub(
            lambda m: m[0] if words.get(m[1]) is None else str(words[m[1]]), value
        )
    if isinstance(value, dict):
        return {key: substitute(part, **words) for key, part in value.items()}
    return [substitute(part, **words) for part in value] if isinstance(value, list) else value


def fill_placeholders(
    cells: dict[str, dict[str, Any]], base: str, **words: str | None
) -> dict[str, dict[str, Any]]:
    """Return the cells with `{runs}` replaced by `base`, and each of `words` by its text.

    All in one pass: braces in what replaces a word, such as the path of a model, stay as they are.
    Notebooks run in the repository's folder (see execute.py), so that `base` may be relative to it,
    as `run_base` is: a trained run then has the same name on every machine.
    """
    return {key: substitute(parameters, runs=base, **words) for key, parameters in cells.items()}


def trainings(cells: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the laboratory models that cells name, each once, by what trains them.

    That is one job for each rung, called laboratory@RUNG: models of a rung need one another, those
    of different rungs can be trained side by side.

    >>> trainings([{"MODEL": "lab_small, lab_small_tuned"}, {"BASE": "lab_small_tuned"}])
    {'laboratory@small': ['lab_small', 'lab_small_tuned']}
    """
    found: dict[str, dict[str, None]] = {}
    for parameters in cells:
        given = (
            text for name in ("MODEL", "BASE") for text in yield_texts(parameters.get(name, ""))
        )
        for name in (one.strip() for text in given for one in text.split(",")):
            if name.startswith(LABORATORY):
                rung = name.removeprefix(LABORATORY).partition("_")[0]
                found.setdefault(f"laboratory@{rung}", {})[name] = None
    return {key: list(names) for key, names in found.items()}


def blocked(failed: Sequence[str], depends: dict[str, list[str]]) -> list[str]:
    """Return the cells that wait for a failed one, directly or not."""
    out = set(failed)
    for key in TopologicalSorter(depends).static_order():
        if out & set(depends[key]):
            out.add(key)
    return [key for key in depends if key in out and key not in failed]


def rule_name(key: str) -> str:
    """Return the name of a cell's rule in the Snakefile."""
    return f"notebook_{key.replace('@', '__')}"

"""Notebook parameters: read, checked, listed, hashed."""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from sycophancy.errors import InputError
from sycophancy.runs.values import read_number, read_value, read_whole

LITERALS = (str, int, float, bool, list, dict, tuple, type(None))


def read_parameters(namespace: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the notebook parameters `names` from `globals()`, refusing any that is misspelt.

    A number or a flag that came as text, as from `papermill -y "RATE: 5e-4"`, is read as what the
    notebook declares (see `read_value`).

    papermill sets unknown parameters with a log line only, so that `-p MODLE x` would run with the
    default. Every plain value in `namespace` that is not declared and is upper case, or spelt
    almost like a declared name, raises InputError. Lower-case names are looked at only until the
    notebook has opened its run: after that they are the notebook's own.
    """
    fresh = "run" not in namespace
    for name, value in namespace.items():
        ours = name in names or name.startswith("_") or name in ("In", "Out")  # IPython's own
        if ours or not isinstance(value, LITERALS):
            continue
        if not fresh and not name.isupper():
            continue  # set by the notebook's own cells, which may be run again
        # a reader's own variables are in lower case and only look like a parameter by chance
        cutoff = 0.6 if name.isupper() else 0.75
        near = difflib.get_close_matches(name.upper(), names, n=1, cutoff=cutoff)
        if name.isupper() or near:
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(
                f"Unknown parameter {name!r}: this notebook takes {', '.join(names)}.{hint}"
            )
    missing = [name for name in names if name not in namespace]
    if missing:
        raise InputError(f"Parameter {missing[0]} is not set: run the parameters cell first.")
    cells = namespace.get("In")
    defaults = declared_values(cells if isinstance(cells, list) else [], names)
    return {name: read_value(name, namespace[name], defaults.get(name)) for name in names}


def declared_values(cells: Iterable[str], names: Sequence[str]) -> dict[str, Any]:
    """Return what the first of a notebook's executed cells that sets all of `names` sets them to.

    That is its cell of parameters, as IPython keeps it in `In`. Empty where there is none, as
    outside a notebook.
    """
    for source in cells:
        try:
            found = literals(source)
        except (SyntaxError, ValueError):  # a magic, or something computed
            continue
        if found.keys() >= set(names):
            return found
    return {}


def literals(source: str) -> dict[str, Any]:
    """Return {name: value} of the assignments in Python code, all of which have to be literals.

    >>> literals("RATE = 2e-4  # a comment")
    {'RATE': 0.0002}
    """
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def as_list(value: Any, kind: Callable[[Any], Any] = str) -> list[Any]:
    """Return a parameter that may be one value, a list, or a comma-separated string, as a list.

    Brackets may stand around a list of several, or of numbers; a name may have its own.

    >>> as_list("0, 1", int), as_list("[010]", int), as_list("[a]")
    ([0, 1], [10], ['[a]'])
    """
    numbers: dict[Any, Callable[[Any], Any]] = {
        int: partial(read_whole, "an entry"),
        float: partial(read_number, "an entry"),
    }
    if isinstance(value, str) and (kind in numbers or "," in value):
        brackets = re.fullmatch(r"\s*\[(.*)\]\s*", value, re.DOTALL)
        value = brackets[1] if brackets else value
    parts = value.split(",") if isinstance(value, str) else value
    parts = list(parts) if isinstance(parts, list | tuple) else [parts]
    parts = [part.strip() if isinstance(part, str) else part for part in parts]
    read = numbers.get(kind, kind)
    try:
        out = [read(part) for part in parts if part != ""]
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{value!r} is not a list of {kind.__name__} values: separate them by commas."
        ) from error
    if not out:
        raise InputError(f"{value!r} is empty: give at least one {kind.__name__} value.")
    return out


def parameter_hash(parameters: Mapping[str, Any]) -> str:
    """Return 8 hex digits over the parameters that decide the results (all but OUT_DIR)."""
    content = {key: value for key, value in parameters.items() if key != "OUT_DIR"}
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]

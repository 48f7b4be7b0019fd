"""Notebook parameters: read, checked, listed, hashed."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from sycophancy.errors import InputError

LITERALS = (str, int, float, bool, list, dict, tuple, type(None))


def read_parameters(namespace: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the notebook parameters `names` from `globals()`, refusing any that is misspelt.

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
    return {name: namespace[name] for name in names}


def as_list(value: Any, kind: Callable[[Any], Any] = str) -> list[Any]:
    """Return a parameter that may be one value, a list, or a comma-separated string, as a list.

    >>> as_list("0, 1", int)
    [0, 1]
    """
    parts = value.split(",") if isinstance(value, str) else value
    parts = list(parts) if isinstance(parts, list | tuple) else [parts]
    parts = [part.strip() if isinstance(part, str) else part for part in parts]
    try:
        out = [kind(part) for part in parts if part != ""]
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

"""What a profile asks for: notebooks and their parameters, checked before anything starts."""

from __future__ import annotations

import ast
import hashlib
import re
from pathlib import Path
from typing import Any

import nbformat
import yaml

from sycophancy.errors import InputError, unknown
from sycophancy.runs import code_hash

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
PROFILES = ROOT / "workflow" / "profiles"
MEASURES = ("01_opinion_tasks", "02_wrong_additions")  # what `make measure` runs


def profile_names() -> list[str]:
    """Return the names of the profiles, smallest first where known."""
    order = ["smoke", "laptop", "overnight", "tpu"]
    found = {path.stem for path in PROFILES.glob("*.yaml")}
    return [name for name in order if name in found] + sorted(found - set(order))


def read_profile(
    profile: str, model: str | None = None, overrides: dict[str, Any] | None = None
) -> tuple[dict[str, dict[str, Any]], bool]:
    """Return {notebook: parameters} of a profile and whether it publishes figures.

    With `model` only the measuring notebooks remain, run on that model, and nothing is published.
    Every parameter must be one that the notebook declares: raises InputError otherwise.
    """
    if profile not in profile_names():
        raise unknown("profile", profile, profile_names())
    content = yaml.safe_load((PROFILES / f"{profile}.yaml").read_text(encoding="utf-8"))
    grid: dict[str, dict[str, Any]] = {k: dict(v) for k, v in content["notebooks"].items()}
    if model is not None:
        grid = {name: {**grid[name], "MODEL": model} for name in MEASURES}
    known = {key for name in grid for key in default_parameters(name)}
    for key in overrides or {}:
        if key not in known:
            raise unknown("parameter", key, sorted(known))
    for name, parameters in grid.items():
        declared = default_parameters(name)
        parameters.update({k: v for k, v in (overrides or {}).items() if k in declared})
        for key in parameters:
            if key not in declared:
                raise unknown(f"parameter of {name}", key, declared)
    return grid, bool(content["publish"]) and model is None


def parse_override(text: str) -> tuple[str, Any]:
    """Return (NAME, value) of "NAME=value"; the value is read as YAML, so that 20 is a number."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise InputError(f"{text!r} is no setting: write NAME=value, such as N=20.")
    return name, yaml.safe_load(value) if value else ""


def run_folder(profile: str, model: str | None, notebook: str) -> str:
    """Return the run folder of a notebook, relative to the repository."""
    if model is None:
        return f"runs/{profile}/{notebook}"
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", model).strip("-.") or "model"
    return f"runs/measure/{slug}/{profile}/{notebook}"


def read_notebook(name: str) -> nbformat.NotebookNode:
    """Return the notebook `name` (without folder and ending)."""
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def tagged_source(name: str, tag: str) -> str:
    """Return the source of the one cell of a notebook that carries `tag`."""
    cells = [c for c in read_notebook(name).cells if tag in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise InputError(f"{name} has {len(cells)} cells tagged {tag!r} instead of one.")
    return str(cells[0].source)


def scores_items(name: str) -> bool:
    """Return whether a notebook scores items on models: it has a cell tagged `items`."""
    return any("items" in cell.metadata.get("tags", []) for cell in read_notebook(name).cells)


def default_parameters(name: str) -> dict[str, Any]:
    """Return the literals of a notebook's parameters cell."""
    tree = ast.parse(tagged_source(name, "parameters"))
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def notebook_hash(name: str) -> str:
    """Return a hash over a notebook's code cells: prose can be edited without a rerun."""
    code = [cell.source for cell in read_notebook(name).cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:16]


def code_versions(name: str) -> dict[str, str]:
    """Return the hashes that decide whether a finished notebook is stale."""
    lock = (ROOT / "requirements.lock").read_bytes()
    return {
        "notebook": notebook_hash(name),
        "lib": code_hash((ROOT / "lib").rglob("*.py")),
        "data": hashlib.sha256(
            b"".join(p.read_bytes() for p in sorted((ROOT / "lib").rglob("*.jsonl")))
        ).hexdigest()[:16],
        "packages": hashlib.sha256(lock).hexdigest()[:16],
    }

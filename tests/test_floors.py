"""The house: a module imports only from floors above it, and says what it is for."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parents[1] / "lib" / "sycophancy"
# From the top down. A package is one floor; inside it modules may import each other.
FLOORS = [
    "errors", "intervals", "reading", "quiet", "ladder", "runs", "studies",
    "embedded", "evals", "puzzles", "world", "builders", "claims", "sets",
    "templates", "personas", "generate", "audit", "suites",
    "encoders", "models", "wheels", "gguf", "tiny", "scoring", "decoding",
    "filters", "mixture", "finetune", "lab", "benchmarks",
    "measure", "metrics", "compare", "figures",
]  # fmt: skip
MODULES = sorted(path for path in LIB.rglob("*.py") if path != LIB / "__init__.py")


def floor(path: Path) -> str:
    return path.relative_to(LIB).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIB)))
def test_imports_come_from_above(path: Path) -> None:
    own = FLOORS.index(floor(path))
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("sycophancy"):
            continue
        parts = (node.module or "").split(".")
        names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        for name in names:
            above = FLOORS.index(name) < own or name == floor(path)
            assert above, f"{path.name} imports {name}, which is not above it"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIB)))
def test_everything_public_is_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{path.name} has no docstring"
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    for node in [*tree.body, *(child for owner in classes for child in owner.body)]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name} has no docstring"

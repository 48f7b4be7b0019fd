"""The identity of what is kept: the code and packages that made it, and all that it was made from.

Whatever is kept is named by `identity`: scores, texts, filter slices, trained states, laboratory
models, and (in the workflow) finished cells. A thing of another identity is made again.

The code is that of the modules of this package that the maker takes names from, directly or not.
It is read from their syntax trees, so that comments, docstrings and layout do not count. A name
counts where it is defined: `from sycophancy.runs import atomic` leads to runs/files.py and not to
the other modules that runs/__init__.py imports. Modules that are imported by a text
(`importlib.import_module`) are not seen: `ladder.maker` names those of models.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
# Packages that decide what models are and say, and those that count it up in a notebook.
COMPUTING = ("jax", "jaxlib", "keras", "keras-hub", "numpy", "tokenizers")
COUNTING = ("faker", "jinja2", "pandas", "scikit-learn", "scipy", "statsmodels")
BIG = 1 << 22  # bytes of a file from which on its content is not read, see `stamp`


@dataclass(frozen=True)
class Module:
    """Python code: a hash of it, the modules it takes names from, and the texts that it holds."""

    code: str
    imports: frozenset[str]
    texts: frozenset[str]


def identity(
    makers: str | Sequence[str],
    *,
    without: Sequence[str] = (),
    packages: Sequence[str] = COMPUTING,
    **parts: Any,
) -> str:
    """Return 32 hex digits that change with everything that decides what is made.

    `makers` are the modules that make it, by full name; `parts` what it is made from (model,
    settings, data), as values that JSON holds. `without` are modules whose code does not count,
    because `parts` hold what is taken from them.
    """
    made_by = [makers] if isinstance(makers, str) else makers
    return short_hash([code(made_by, without), package_versions(packages), parts])


def code(makers: Iterable[str], without: Iterable[str] = ()) -> str:
    """Return 32 hex digits over the code of `makers` and of all modules that they build on."""
    return code_below(PACKAGE, frozenset(makers), frozenset(without))


@cache
def code_below(root: Path, makers: frozenset[str], without: frozenset[str]) -> str:
    """Return `code` of the package in the folder `root`."""
    there = modules_below(root, makers, without)
    return short_hash({name: module.code for name, module in there.items()})


def modules(makers: Iterable[str]) -> dict[str, Module]:
    """Return {name: module} of `makers` and of all modules that they build on."""
    return modules_below(PACKAGE, frozenset(makers), frozenset())


@cache
def modules_below(root: Path, makers: frozenset[str], without: frozenset[str]) -> dict[str, Module]:
    """Return `modules` of the package in the folder `root`."""
    there: dict[str, Module] = {}
    left = set(makers - without)
    while left:
        name = left.pop()
        there[name] = read_module(root, name)
        left |= there[name].imports - there.keys() - without
    return there


def every_module() -> list[str]:
    """Return the names of all modules of the package."""
    paths = [path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.rglob("*.py")]
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)


def data_sets(makers: Iterable[str]) -> list[Path]:
    """Return the files of data/ that `makers` and what they build on name in full or by a prefix.

    A prefix ends in an underscore: "claims_" of f"claims_{source}" stands for all of them.
    """
    there = modules(makers)
    reads = [module for module in there.values() if "sycophancy.embedded" in module.imports]
    texts = frozenset[str]().union(*(module.texts for module in reads))
    files = sorted((PACKAGE / "data").glob("*.jsonl"))
    prefixes = tuple(text for text in texts if text.endswith("_"))
    return [path for path in files if path.stem in texts or path.stem.startswith(prefixes)]


def place(root: Path, name: str) -> Path | None:
    """Return the file of a module, None where there is none."""
    path = root.joinpath(*name.split(".")[1:])
    files = (path.with_name(f"{path.name}.py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


@cache
def read_module(root: Path, name: str) -> Module:
    """Return a module of the package in the folder `root`."""
    return to_module(syntax(root, name), root)


@cache
def syntax(root: Path, name: str) -> ast.Module:
    """Return the syntax tree of a module of the package in the folder `root`."""
    path = place(root, name)
    if path is None:
        raise ModuleNotFoundError(f"There is no module {name} in {root}.")
    return parse_code(path.read_text(encoding="utf-8"))


def read_source(source: str) -> Module:
    """Return Python code, such as that of a notebook, as a module."""
    return source_below(PACKAGE, source)


@cache
def source_below(root: Path, source: str) -> Module:
    """Return code that uses the package in the folder `root` as a module."""
    return to_module(parse_code(source), root)


@cache
def parse_code(source: str) -> ast.Module:
    """Return the syntax tree of Python code without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and is_text(body[0]):
            del body[0]
    return tree


def to_module(tree: ast.Module, root: Path) -> Module:
    """Return a syntax tree as a module."""
    nodes = list(ast.walk(tree))
    texts = (node.value for node in nodes if isinstance(node, ast.Constant))
    return Module(
        code=hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:32],
        imports=frozenset(imported_modules(nodes, root)),
        texts=frozenset(text for text in texts if isinstance(text, str)),
    )


def is_text(node: ast.AST) -> bool:
    """Return whether a statement is a bare string."""
    constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return constant and isinstance(node.value.value, str)  # type: ignore[attr-defined]


def imported_modules(nodes: Sequence[ast.AST], root: Path) -> Iterator[str]:
    """Yield the modules of the package that code takes names from."""
    whole: dict[str, str] = {}  # modules imported as such, by their name in this code
    for node in nodes:
        if isinstance(node, ast.Import):
            names = (alias.name for alias in node.names)
            yield from (name for name in names if name.split(".")[0] == root.name)
        elif isinstance(node, ast.ImportFrom) and is_own(node, root):
            for alias in node.names:
                name = origin(root, str(node.module), alias.name)
                if name == f"{node.module}.{alias.name}":
                    whole[alias.asname or alias.name] = name
                else:
                    yield name
    variables: defaultdict[str, int] = defaultdict(int)
    attributes: defaultdict[str, list[str]] = defaultdict(list)
    for node in nodes:
        if isinstance(node, ast.Name):
            variables[node.id] += 1
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            attributes[node.value.id].append(node.attr)
    for variable, name in whole.items():
        taken = attributes[variable]
        if taken and len(taken) == variables[variable]:
            yield from {origin(root, name, attribute) for attribute in taken}
        else:  # it is handed on as a whole, or imported for what that does
            yield name


def is_own(node: ast.ImportFrom, root: Path) -> bool:
    """Return whether names are imported from the package itself."""
    return (node.module or "").split(".")[0] == root.name


def origin(root: Path, module: str, name: str) -> str:
    """Return the module that defines `name` of `module`, or `name` where it is a module itself."""
    if place(root, f"{module}.{name}"):
        return f"{module}.{name}"
    for node in syntax(root, module).body:
        if isinstance(node, ast.ImportFrom) and is_own(node, root):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return origin(root, str(node.module), alias.name)
    return module


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return {package: version}, "absent" for one that is not installed."""
    return {package: version(package) for package in packages}


@cache
def version(package: str) -> str:
    """Return the version of an installed package, "absent" where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp(path: Path) -> str:
    """Return what changes with a file: its SHA-256, or size and time of a big one.

    A command looks at all of its input files before it starts, and gigabytes of weights would take
    a minute each time. What is scored and trained with them goes by their SHA-256 nevertheless.
    """
    about = path.stat()
    return f"{about.st_size}, {about.st_mtime_ns}" if about.st_size >= BIG else file_hash(path)


def short_hash(content: Any) -> str:
    """Return 32 hex digits over what JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]

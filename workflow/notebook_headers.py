"""Write the badges and the install cell of every notebook from one address in pyproject.toml.

Usage: make notebooks   (or with --check: exit 1 where a notebook is out of step)
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

import nbformat

from sycophancy.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
COLAB = "https://colab.research.google.com"
BADGES = re.compile(r"<!-- badges -->.*?(?=\n\n|\Z)", re.DOTALL)
ADDRESS = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")
UNSET = (
    "*Colab and Kaggle badges: the public address of this repository is not set yet (`repository` "
    "in pyproject.toml). To run this notebook on Colab or Kaggle, upload it and follow its install "
    "cell.*"
)


def repository_address(pyproject: str) -> str:
    """Return the address in a pyproject.toml text, empty while it is unset."""
    address = tomllib.loads(pyproject)["tool"]["sycophancy"]["repository"].rstrip("/")
    if address and not ADDRESS.fullmatch(address):
        raise InputError(
            f"repository in pyproject.toml is {address!r}: write https://github.com/OWNER/NAME, or "
            "leave it empty."
        )
    return str(address)


def badges(address: str, name: str) -> str:
    """Return the badge line of the notebook `name`, or words while the address is unset."""
    if not address:
        return f"<!-- badges -->\n{UNSET}"
    path = f"{address.removeprefix('https://github.com/')}/blob/main/notebooks/{name}.ipynb"
    return (
        "<!-- badges -->\n"
        f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({COLAB}/github/{path})\n"
        "[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]"
        f"(https://kaggle.com/kernels/welcome?src=https://github.com/{path})"
    )


def install_cell(address: str) -> str:
    """Return the guarded install cell: it does nothing where the package is already there."""
    lines = [
        "# Colab and Kaggle: installs this repository. Elsewhere it does nothing.",
        "import importlib.util",
        "",
        'if importlib.util.find_spec("sycophancy") is None:',
    ]
    if address:
        lines += [
            f'    %pip install -q "sycophancy @ git+{address}@main"',
            "    importlib.invalidate_caches()",
            "    # a %pip that failed does not stop a notebook by itself",
            '    assert importlib.util.find_spec("sycophancy"), "pip failed: see its output above"',
        ]
    else:
        lines += [
            "    raise ImportError(",
            '        "The package sycophancy is not installed, and the address of its repository "',
            '        "is not set: upload the repository and run %pip install ./FOLDER first."',
            "    )",
        ]
    return "\n".join(lines)


def with_headers(notebook: nbformat.NotebookNode, name: str, address: str) -> nbformat.NotebookNode:
    """Return the notebook with its first cell's badges and its `install` cell rewritten."""
    first = notebook.cells[0]
    line = badges(address, name)
    first.source, found = BADGES.subn(lambda _: line, first.source, count=1)
    installs = [c for c in notebook.cells if "install" in c.metadata.get("tags", [])]
    if not found or len(installs) != 1:
        raise InputError(
            f"{name}.ipynb needs the line <!-- badges --> in its first cell and one cell tagged "
            "install."
        )
    installs[0].source = install_cell(address)
    return notebook


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    try:
        address = repository_address((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
            before = path.read_text(encoding="utf-8")
            notebook = with_headers(nbformat.reads(before, as_version=4), path.stem, address)
            after = nbformat.writes(notebook) + "\n"
            if after != before:
                stale.append(path.name)
                if not check:
                    path.write_text(after, encoding="utf-8")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    if stale:
        print(f"{'out of step' if check else 'written'}: {', '.join(stale)}")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())

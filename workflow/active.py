"""Whether the active environment can be used as it is: this package and all that is pinned.

Usage: python workflow/active.py   (exit status 0 where it can; else 1 and a sentence)

The Makefile asks the `python` of whatever venv or conda environment is active, which may have
nothing installed: this file imports the standard library, and `packaging` where it is there.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def missing_pins(lock: str) -> list[str]:
    """Return the lines of a lock file, those for this machine, that are not installed as pinned.

    Raises ImportError where `packaging`, which is among the pinned, is not there to read them.
    """
    from packaging.requirements import Requirement

    lines = [line for line in lock.splitlines() if line and not line.startswith("#")]
    wanted = [Requirement(line) for line in lines]
    here = [r for r in wanted if r.marker is None or r.marker.evaluate()]
    return [f"{r.name} {r.specifier}" for r in here if not has(r.name, str(r.specifier))]


def has(name: str, specifier: str) -> bool:
    """Return whether a distribution is installed in exactly the version of `==version`."""
    try:
        return version(name) == specifier.removeprefix("==")
    except PackageNotFoundError:
        return False


def is_ours() -> bool:
    """Return whether `import sycophancy` takes the package of this checkout."""
    spec = importlib.util.find_spec("sycophancy")
    return spec is not None and Path(spec.origin or "").resolve().is_relative_to(ROOT / "lib")


def environment_fault() -> str:
    """Return why the environment of this Python cannot be used as it is, "" where it can."""
    active = [os.environ.get(name) for name in ("VIRTUAL_ENV", "CONDA_PREFIX")]
    prefix = Path(sys.prefix).resolve()
    if prefix not in [Path(folder).resolve() for folder in active if folder]:
        return f"python is that of {prefix}, not of the active environment"
    try:
        left = missing_pins((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    except ImportError:
        left = ["packaging and all else of requirements.lock"]
    if left:
        more = f" and {len(left) - 1} more of requirements.lock" if len(left) > 1 else ""
        return f"the active environment {prefix} lacks {left[0]}{more}"
    if not is_ours():
        return f"the active environment {prefix} lacks this checkout (pip install --no-deps -e .)"
    return ""


if __name__ == "__main__":
    own = Path(sys.prefix).resolve() == (ROOT / ".venv").resolve()
    reason = "" if own else environment_fault()
    if reason:
        print(f"Not used: {reason}.", file=sys.stderr)
    sys.exit(1 if own or reason else 0)  # .venv is kept up to date by make itself

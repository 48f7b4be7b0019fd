"""Resolve the pins of environment.yml into requirements.lock, for every supported Python at once.

Usage: make lock
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
HEADER = """\
# Every package the project installs, by name and version: resolved from environment.yml for
# Python 3.11 to 3.13 by `make lock`. Do not edit.
"""


def direct_pins(environment: str) -> list[str]:
    """Return the name==version lines under `pip:` of an environment.yml text, not its options."""
    dependencies = yaml.safe_load(environment)["dependencies"]
    lines = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    return [line for line in lines if not line.startswith("-")]


def resolve_pins(pins: list[str]) -> str:
    """Return the lock file's text for these pins."""
    with tempfile.NamedTemporaryFile("w", suffix=".in") as file:
        file.write("\n".join(pins))
        file.flush()
        options = ["--universal", "--python-version=3.11", "--no-header", "--no-annotate"]
        options += ["--no-emit-index-url", "--no-emit-find-links", "--quiet"]
        done = subprocess.run(
            [sys.executable, "-m", "uv", "pip", "compile", *options, file.name],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    # conditions such as python_full_version read better with single spaces
    return HEADER + re.sub(r" {2,}", " ", done.stdout)


if __name__ == "__main__":
    pins = direct_pins((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (ROOT / "requirements.lock").write_text(resolve_pins(pins), encoding="utf-8")

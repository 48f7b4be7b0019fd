"""What a run ran on: folders, versions, device, memory, and what earlier runs cost here."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import platformdirs

from sycophancy.runs.files import append_line
from sycophancy.runs.identity import package_versions

PACKAGES = ("keras", "keras-hub", "jax", "jaxlib", "numpy", "pandas", "scipy", "statsmodels")


def cache_dir() -> Path:
    """Return the folder for downloads, presets, compiled code and costs ($SYCOPHANCY_CACHE)."""
    return Path(os.environ.get("SYCOPHANCY_CACHE") or platformdirs.user_cache_dir("sycophancy"))


def repository() -> Path | None:
    """Return the checkout this package runs from, or None where it was installed as a wheel."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "pyproject.toml").is_file() and (root / "notebooks").is_dir() else None


def remember_cost(entry: Mapping[str, Any]) -> None:
    """Add a line to the machine's record of costs, from which `make plan` learns its minutes.

    The lines of several processes do not mix, and one that a kill cut short spoils no other. A
    record that cannot be written fails nothing: results do not depend on it.
    """
    with suppress(OSError):
        append_line(cache_dir() / "costs.jsonl", json.dumps(dict(entry)))


def read_costs() -> pd.DataFrame:
    """Return the machine's record of costs, oldest first; empty where nothing has run yet."""
    path = cache_dir() / "costs.jsonl"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    entries = whole_lines(text)
    if not entries:
        return pd.DataFrame(columns=["notebook", "model", "device", "tokens", "scoring_seconds"])
    return pd.DataFrame(entries)


def whole_lines(text: str) -> list[dict[str, Any]]:
    """Return the objects of JSON lines; a line that a kill cut short is passed by."""
    found = []
    for line in text.split("\n"):
        with suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                found.append(entry)
    return found


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the numbers."""
    return {"python": platform.python_version(), **package_versions(PACKAGES)}


def git_state() -> dict[str, Any]:
    """Return commit and whether the tree has changes; empty outside a checkout."""
    root = repository()
    if root is None:
        return {}
    try:
        git = ["git", "-C", str(root)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    except OSError:
        return {}
    if commit.returncode:
        return {}
    return {"commit": commit.stdout.strip(), "changed": bool(status.stdout.strip())}


def device() -> str:
    """Return the accelerator in words, or the processor and its cores where there is none."""
    jax = sys.modules.get("jax")
    if jax is not None and jax.default_backend() != "cpu":
        devices = jax.devices()
        return f"{len(devices)} x {devices[0].device_kind}"
    return f"cpu, {cores()} cores, {platform.machine()}"


def cores() -> int:
    """Return how many cores this process may use: its affinity, or its container's quota if less.

    `joblib` reads both versions of control groups, and LOKY_MAX_CPU_COUNT where somebody set it.
    """
    return int(joblib.cpu_count())


def keep_to_quota() -> None:
    """Have XLA start a thread for each core of the container's quota, before JAX computes.

    It knows the affinity of the process and no quota: threads beyond it wait for one another. An
    NPROC that is set already stays.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    every = len(affinity(0)) if affinity else os.cpu_count() or 1
    if cores() < every:
        os.environ.setdefault("NPROC", str(cores()))


def peak_memory_mb() -> float:
    """Return the largest memory this process has held, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024

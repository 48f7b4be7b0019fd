"""Run folders: parameters, versions, cost, progress and results, all written atomically."""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import platformdirs

from sycophancy.errors import InputError

PACKAGES = ("keras", "keras-hub", "jax", "jaxlib", "numpy", "pandas", "scipy", "statsmodels")
LITERALS = (str, int, float, bool, list, dict, tuple, type(None))


def cache_dir() -> Path:
    """Return the folder for downloads, presets, compiled code and costs ($SYCOPHANCY_CACHE)."""
    return Path(os.environ.get("SYCOPHANCY_CACHE") or platformdirs.user_cache_dir("sycophancy"))


def repository() -> Path | None:
    """Return the checkout this package runs from, or None where it was installed as a wheel."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() and (root / "notebooks").is_dir() else None


def read_parameters(namespace: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the notebook parameters `names` from `globals()`, refusing any that is misspelt.

    papermill sets unknown parameters with a log line only, so that `-p MODLE x` would run with the
    default. Every plain value in `namespace` that is not declared and is upper case, or spelt
    almost like a declared name, raises InputError.
    """
    for name, value in namespace.items():
        ours = name in names or name.startswith("_") or name in ("In", "Out")  # IPython's own
        if ours or not isinstance(value, LITERALS):
            continue
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


@dataclass
class Run:
    """One execution of a notebook and the folder that keeps what it wrote."""

    notebook: str
    folder: Path
    parameters: dict[str, Any]
    began: float = field(default_factory=time.time)
    record: dict[str, Any] = field(default_factory=dict)
    _last_progress: float = 0.0

    @property
    def store(self) -> Path:
        """The folder of finished scoring batches, kept when a run is interrupted."""
        return self.folder / "partial"

    def save_table(self, name: str, table: pd.DataFrame) -> Path:
        """Write `name`.parquet (row groups of 10,000) into the run folder, atomically."""
        path = self.folder / f"{name}.parquet"
        with atomic(path) as temporary:
            table.to_parquet(temporary, index=False, row_group_size=10_000)
        return path

    def progress(self, label: str, done: int, total: int, seconds: float, reused: int = 0) -> None:
        """Note how far the run is, for whoever watches the folder; at most twice a second."""
        now = time.monotonic()
        if done < total and now - self._last_progress < 0.5:
            return
        self._last_progress = now
        rate = (done - reused) / seconds if seconds > 0 else 0.0
        left = (total - done) / rate if rate > 0 else None
        state = {"label": label, "done": done, "total": total, "rate": rate, "eta_seconds": left}
        write_json(self.folder / "progress.json", state)

    def note(self, **entries: Any) -> None:
        """Add entries to run.json now, so that they are there whatever happens next."""
        self.record.update(entries)
        write_json(self.folder / "run.json", self.record)

    def finish(self, metrics: pd.DataFrame) -> Path:
        """Write metrics.json, the run's last file, and close run.json; return its path.

        A run without metrics.json has not finished.
        """
        self.note(
            status="finished",
            seconds=round(time.time() - self.began, 1),
            peak_memory_mb=round(peak_memory_mb()),
        )
        (self.folder / "progress.json").unlink(missing_ok=True)
        path = self.folder / "metrics.json"
        rows = json.loads(metrics.to_json(orient="records"))
        write_json(path, {"notebook": self.notebook, "rows": rows})
        return path


def start(notebook: str, parameters: dict[str, Any], out_dir: str = "") -> Run:
    """Open the run folder of a notebook and write down what is known before it computes.

    `out_dir` names the folder; empty means runs/<notebook>/<hash of the parameters> in the
    checkout, or below the working directory where there is none. The folder of an interrupted run
    is taken up again. Raises InputError where it cannot be written.
    """
    base = repository() or Path.cwd()
    name = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:8]
    folder = Path(out_dir).expanduser() if out_dir else base / "runs" / notebook / name
    run = Run(notebook, folder.resolve(), dict(parameters))
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        run.note(
            notebook=notebook,
            parameters=run.parameters,
            status="running",
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=versions(),
            git=git_state(),
            device=device(),
            code=code_hash(Path(__file__).parent.glob("*.py")),
        )
    except OSError as error:
        raise InputError(
            f"Cannot write to the run folder {run.folder} ({error}): set OUT_DIR to a folder you "
            "can write to."
        ) from error
    return run


class atomic:
    """Context manager: a temporary name beside `path` that replaces it only on success."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}")

    def __enter__(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self.temporary

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            os.replace(self.temporary, self.path)
            return
        self.temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(
                f"Could not write {self.path} ({error}): make room on the disk and run again; "
                "what was finished is kept."
            ) from error


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")


def remember_cost(entry: Mapping[str, Any]) -> None:
    """Add a line to the machine's record of costs, from which `make plan` learns its minutes."""
    path = cache_dir() / "costs.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(dict(entry)) + "\n")


def read_costs() -> pd.DataFrame:
    """Return the machine's record of costs, oldest first; empty where nothing has run yet."""
    path = cache_dir() / "costs.jsonl"
    if not path.is_file():
        return pd.DataFrame(columns=["notebook", "model", "device", "tokens", "scoring_seconds"])
    lines = path.read_text(encoding="utf-8").splitlines()
    return pd.DataFrame([json.loads(line) for line in lines if line.strip()])


def code_hash(paths: Iterable[Path]) -> str:
    """Return 16 hex digits over Python files that comments, docstrings and layout do not change."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and is_docstring(body[0]):
                body[0] = ast.Pass()
        digest.update(f"{path.name}\0{ast.dump(tree)}".encode())
    return digest.hexdigest()[:16]


def is_docstring(node: ast.AST) -> bool:
    """Return whether a statement is a bare string."""
    constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return constant and isinstance(node.value.value, str)  # type: ignore[attr-defined]


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


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
    return f"cpu, {os.cpu_count()} cores, {platform.machine()}"


def peak_memory_mb() -> float:
    """Return the largest memory this process has held, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024

"""Shared fixtures: the backend, the tiny model and the embedded model, each loaded once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["KERAS_BACKEND"] = "jax"
# What the tests compare is exact to 1e-4 in float32; an accelerator's own formats are coarser.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A shell starts what runs in the background with SIGINT ignored, and children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).resolve().parents[1]
for path in (str(ROOT), str(ROOT / "tests")):
    if path not in sys.path:
        sys.path.insert(0, path)

from checkouts import write_notebook  # noqa: E402
from sycophancy import models  # noqa: E402
from workflow import grid  # noqa: E402

REPORTS = pytest.StashKey[list[str]]()  # texts that are printed after the tests


def pytest_configure(config: pytest.Config) -> None:
    """Start without a report."""
    config.stash[REPORTS] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured, whether they passed or not."""
    for text in terminalreporter.config.stash[REPORTS]:
        terminalreporter.write_line(text)


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> None:
    """Models that are loaded again, and kernels of notebooks, compile the same code: keep it."""
    models.enable_compile_cache()


@pytest.fixture(scope="session")
def tiny() -> models.LanguageModel:
    return models.load_model("tiny_random")


@pytest.fixture(scope="session")
def embedded() -> models.LanguageModel:
    """The real model; fetched and converted on first use, from then on read from the cache."""
    return models.load_model("smollm2_135m_instruct")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the repository, with notebooks that make, train, measure, compare."""
    monkeypatch.setattr(grid, "ROOT", tmp_path)
    monkeypatch.setattr(grid, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(grid, "PROFILES", tmp_path / "profiles")
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "profiles").mkdir()
    for name in ("03_make", "05_train", "02_measure", "07_compare"):
        write_notebook(tmp_path / "notebooks", name, {"MODEL": "tiny_random", "DATA": ""})
    return tmp_path


# Modules of tests that compute with models, train them, or start and stop whole batches
MEDIUM = {
    "test_crashtest", "test_decoding", "test_finetune", "test_gguf", "test_lab", "test_models",
    "test_packing", "test_quiet", "test_reuse", "test_scoring", "test_signals",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make check` leaves out beside notebooks: see MEDIUM, and the real model."""
    for item in items:
        if item.path.stem in MEDIUM or "embedded" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.medium)


@pytest.fixture(scope="session", autouse=True)
def published_figures_stay_as_they_are() -> Iterator[None]:
    """Tests never change what the README shows."""
    before = {path: path.read_bytes() for path in sorted((ROOT / "figures").glob("*"))}
    yield
    assert before == {path: path.read_bytes() for path in sorted((ROOT / "figures").glob("*"))}

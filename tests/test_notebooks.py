"""The form of every notebook, and a run of each from end to end in the smoke profile."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

from sycophancy import runs
from sycophancy.errors import InputError
from workflow import execute, grid, notebook_headers
from workflow.cells import dependencies, fill_placeholders, notebook_of

ROOT = Path(__file__).resolve().parents[1]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in PATHS]
LINES = 20  # of a code cell
SMOKE, _ = grid.read_profile("smoke")
DEPENDS = dependencies(SMOKE)
# What a notebook measures that is not here: the shift where it scores items, else anything.
MEASURED = {
    "03_generate_data": {"leak", "cramers_v"},
    "09_benchmarks": {"accuracy", "unread", "chance", "change of accuracy"},
}


def read(name: str) -> Any:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def code_cells(name: str) -> list[Any]:
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


def tags(cell: Any) -> list[str]:
    return list(cell.metadata.get("tags", []))


def outputs(cell: Any) -> list[Any]:
    return [output.get("data", {}) for output in cell.get("outputs", [])]


def test_there_are_notebooks_and_every_one_is_in_every_profile() -> None:
    assert NAMES[:4] == [
        "00_start_here", "01_opinion_tasks", "02_wrong_additions", "03_generate_data"
    ]  # fmt: skip
    for profile in grid.profile_names():
        assert sorted({notebook_of(key) for key in grid.read_profile(profile)[0]}) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_exactly_one_parameters_cell_of_literals_before_everything(name: str) -> None:
    cells = code_cells(name)
    tagged = [cell for cell in cells if "parameters" in tags(cell)]
    assert len(tagged) == 1 and cells[0] is tagged[0]
    tree = ast.parse(tagged[0].source)
    for node in tree.body:
        assert isinstance(node, ast.Assign)
        assert isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()
        ast.literal_eval(node.value)
    # a form on Colab as well
    lines = [line for line in tagged[0].source.splitlines() if "=" in line and line[0] != "#"]
    assert all("# @param" in line for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_the_declared_parameters_are_the_ones_that_are_checked(name: str) -> None:
    source = "\n".join(cell.source for cell in code_cells(name))
    call = source[source.index("runs.read_parameters(") :].split("\nrun =")[0]
    assert set(re.findall(r'"([A-Z_]+)"', call)) == set(grid.default_parameters(name))


@pytest.mark.parametrize("name", NAMES)
def test_its_cells_can_be_run_again_in_a_session_that_has_run_them(name: str) -> None:
    """No variable of a notebook may look like a misspelt parameter when cells are run twice."""
    declared = grid.default_parameters(name)
    tree = ast.parse("\n".join(cell.source for cell in code_cells(name)))
    stored = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    session = {node.id: "a value" for node in stored}
    assert len(session) > len(declared)
    runs.read_parameters({**session, **declared}, *declared)


@pytest.mark.parametrize("name", NAMES)
def test_metadata_and_outputs(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata.language_info.name == "python"
    assert notebook.metadata.kernelspec.language == "python"
    assert "widgets" not in notebook.metadata
    for cell in code_cells(name):
        assert cell.outputs == [] and cell.execution_count is None
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", NAMES)
def test_no_absolute_paths_and_no_spaces_in_names(name: str) -> None:
    text = (ROOT / "notebooks" / f"{name}.ipynb").read_text()
    assert not re.search(r"[\"' (]/(home|root|work|Users|tmp|content|kaggle)/", text)
    assert re.fullmatch(r"\d\d_[a-z_]+", name)


@pytest.mark.parametrize("name", NAMES)
def test_the_backend_is_set_before_keras_is_imported_and_then_asserted(name: str) -> None:
    source = "\n".join(cell.source for cell in code_cells(name))
    setting = source.index('os.environ["KERAS_BACKEND"] = "jax"')
    first = min(source.index(word) for word in ("import keras", "from sycophancy"))
    asserted = source.index('assert keras.backend.backend() == "jax"')
    assert setting < first < asserted


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_and_ends_as_a_lesson_does(name: str) -> None:
    cells = read(name).cells
    assert re.match(r"# \d\d · ", cells[0].source)
    assert "**Time**" in cells[0].source and "**Hardware**" in cells[0].source
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for heading in ("## Summary", "## Exercises"):
        assert heading in prose
    assert "paper" in cells[1].source
    assert sum("solution" in tags(cell) for cell in cells) == 1
    code = sum(len(cell.source.splitlines()) for cell in code_cells(name))
    assert code <= 300


@pytest.mark.parametrize("name", NAMES)
def test_code_cells_are_short(name: str) -> None:
    """What takes more than 20 lines is in the package; parameters are one literal a line."""
    lengths = {
        cell.id: len(cell.source.splitlines())
        for cell in code_cells(name)
        if "parameters" not in tags(cell)
    }
    assert {cell: lines for cell, lines in lengths.items() if lines > LINES} == {}


@pytest.mark.parametrize("name", NAMES)
def test_badges_and_install_cell_are_in_step_with_pyproject(name: str) -> None:
    address = notebook_headers.repository_address((ROOT / "pyproject.toml").read_text())
    text = (ROOT / "notebooks" / f"{name}.ipynb").read_text()
    notebook = nbformat.reads(text, as_version=4)
    expected = nbformat.writes(notebook_headers.with_headers(notebook, name, address)) + "\n"
    assert text == expected, "run make notebooks"


@pytest.mark.parametrize("name", NAMES)
def test_badges_point_at_the_notebook_itself_once_the_address_is_known(name: str) -> None:
    with_address = notebook_headers.with_headers(read(name), name, "https://github.com/me/it")
    first = with_address.cells[0].source
    path = f"me/it/blob/main/notebooks/{name}.ipynb"
    assert f"(https://colab.research.google.com/github/{path})" in first
    assert f"(https://kaggle.com/kernels/welcome?src=https://github.com/{path})" in first
    assert "not set yet" not in first
    install = next(cell for cell in with_address.cells if "install" in tags(cell)).source
    assert '%pip install -q "sycophancy @ git+https://github.com/me/it@main"' in install
    back = notebook_headers.with_headers(with_address, name, "")
    assert "not set yet" in back.cells[0].source
    assert back == read(name)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="OWNER/NAME"):
        notebook_headers.repository_address('[tool.sycophancy]\nrepository = "github.com/x"')


def test_the_install_cell_does_nothing_here_and_stops_where_the_package_is_missing() -> None:
    source = notebook_headers.install_cell("")
    exec(compile(source, "install", "exec"), {})
    done = subprocess.run([sys.executable, "-IS", "-c", source], capture_output=True, text=True)
    assert done.returncode and "is not installed" in done.stderr


@pytest.fixture(scope="session")
def smoke_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Run a cell of the smoke profile, after the cells it needs, each once; return its folder."""
    base = tmp_path_factory.mktemp("smoke")
    cells = fill_placeholders(SMOKE, str(base))
    tried: dict[str, Exception | None] = {}

    def run(key: str) -> Path:
        if key not in tried:
            try:
                for other in DEPENDS[key]:
                    run(other)
                execute.execute(
                    ROOT / "notebooks" / f"{notebook_of(key)}.ipynb",
                    base / key / "executed.ipynb",
                    {**cells[key], "OUT_DIR": str(base / key)},
                )
                tried[key] = None
            except Exception as error:
                tried[key] = error
        failed = tried[key]
        if failed is not None:
            raise failed
        return base / key

    return run


def with_needed(key: str) -> set[str]:
    """Return a cell and all those that it waits for."""
    return {key}.union(*map(with_needed, DEPENDS[key]))


def smoke_cells() -> list[Any]:
    """Return the cells of the smoke profile; those that repeat a notebook for nobody are slow."""
    first = {notebook_of(key): key for key in reversed(SMOKE)}
    needed = set().union(*map(with_needed, first.values()))
    slow = pytest.mark.slow
    return [key if key in needed else pytest.param(key, marks=slow) for key in SMOKE]


@pytest.mark.notebook
@pytest.mark.parametrize("key", smoke_cells())
def test_runs_from_end_to_end_in_the_smoke_profile(
    key: str, smoke_runs: Callable[[str], Path]
) -> None:
    folder, name = smoke_runs(key), notebook_of(key)
    executed = nbformat.read(folder / "executed.ipynb", as_version=4)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
    shown = [data for cell in executed.cells for data in outputs(cell)]
    assert any("image/png" in data for data in shown), "no figure is shown"
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "finished"
    for model in runs.as_list(record["parameters"].get("MODEL", "tiny_random")):
        small = model == "tiny_random" or model.startswith("lab_tiny")
        assert small or model.startswith(str(folder.parent))  # trained from it
    rows = json.loads((folder / "metrics.json").read_text())["rows"]
    measured = MEASURED.get(name, {"shift"} if grid.scores_items(name) else set())
    assert rows and measured <= {row["metric"] for row in rows}
    figures = sorted((folder / "figures").iterdir())
    assert {path.suffix for path in figures} == {".csv", ".png", ".svg"}
    # a picture is never tiny; a table of a few values may be
    least = {".csv": 100, ".png": 500, ".svg": 500}
    assert all(path.stat().st_size > least[path.suffix] for path in figures)


def test_papermill_alone_refuses_a_misspelt_parameter(tmp_path: Path) -> None:
    """The command line of papermill only logs it; the notebook itself has to stop."""
    done = subprocess.run(
        [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / "00_start_here.ipynb"),
         str(tmp_path / "out.ipynb"), "-p", "MODLE", "tiny_random"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Unknown parameter 'MODLE'" in done.stderr and "Did you mean MODEL?" in done.stderr

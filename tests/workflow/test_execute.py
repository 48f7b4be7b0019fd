"""How a cell that fails is named."""

from __future__ import annotations

from pathlib import Path

from workflow import execute


def test_a_failure_is_told_with_the_key_of_its_cell() -> None:
    notebook = Path("notebooks/02_measure.ipynb")
    folder = Path("runs/own/02_measure@after")
    assert execute.cell_name(notebook, folder / "executed.ipynb") == "02_measure@after"
    assert execute.cell_name(notebook, Path("elsewhere/out.ipynb")) == "02_measure"

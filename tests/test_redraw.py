"""Published figures are drawn again from their csv alone."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from sycophancy import figures
from sycophancy.errors import InputError
from sycophancy.figures.redraw import DRAWN
from workflow.redraw import FIGURES, redraw_figures

PUBLISHED = sorted(FIGURES.glob("fig*.csv"))
ONE_EACH = list({re.sub(r"_(lab|qwen.*)$", "", path.stem): path for path in PUBLISHED}.values())


@pytest.mark.parametrize("path", ONE_EACH, ids=lambda path: path.stem)
def test_a_published_figure_is_its_csv(path: Path, tmp_path: Path) -> None:
    """The picture beside the csv is the one that today's code draws from it."""
    figures.save_pictures(figures.redraw(path), tmp_path / "again")
    again, published = (imread(p) for p in (tmp_path / "again.png", path.with_suffix(".png")))
    assert again.shape == published.shape
    assert float(np.abs(again - published).mean()) < 0.01  # fonts may be hinted otherwise


def test_every_figure_that_notebooks_save_can_be_drawn_again() -> None:
    text = "".join(path.read_text() for path in (FIGURES.parent / "notebooks").glob("*.ipynb"))
    saved = set(re.findall(r'\\"(fig\d?\d?_[a-z_]+)\\"', text))
    assert len(saved) > 15 and saved <= set(DRAWN)
    for path in PUBLISHED:
        assert any(path.stem == name or path.stem.startswith(f"{name}_") for name in DRAWN), path


def test_what_is_no_figure_or_lacks_a_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fig99_other.csv").write_text("a\n1\n")
    with pytest.raises(InputError, match=r"Unknown figure 'fig99_other'"):
        figures.redraw(tmp_path / "fig99_other.csv")
    table = pd.read_csv(FIGURES / "fig_losses.csv")
    table.drop(columns="caption").to_csv(tmp_path / "fig_losses.csv", index=False)
    with pytest.raises(InputError, match=r"has no column 'caption': run the notebook"):
        figures.redraw(tmp_path / "fig_losses.csv")
    with pytest.raises(InputError, match=r"Unknown figure 'fig98'"):
        redraw_figures(FIGURES, ["fig98"])


def test_figures_are_drawn_beside_their_csv(tmp_path: Path) -> None:
    source = FIGURES / "fig_sources.csv"
    (tmp_path / source.name).write_bytes(source.read_bytes())
    assert redraw_figures(tmp_path, ["fig_sou"]) == ["fig_sources"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "fig_sources.csv", "fig_sources.png", "fig_sources.svg"
    }  # fmt: skip
    assert (tmp_path / source.name).read_bytes() == source.read_bytes()

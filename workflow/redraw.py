"""Draw every published figure again from its csv.

Usage: make figures [ONLY="fig05 fig_cure"]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sycophancy.errors import unknown
from sycophancy.figures import redraw, save_pictures
from workflow import stopping
from workflow.grid import ROOT

FIGURES = ROOT / "figures"


def redraw_figures(folder: Path, only: list[str]) -> list[str]:
    """Draw the figures of a folder whose names begin with one of `only`, or all; return the names.

    Raises InputError where none begins so, and for a csv that is of no figure.
    """
    names = sorted(path.stem for path in folder.glob("fig*.csv"))
    chosen = [name for name in names if not only or name.startswith(tuple(only))]
    if not chosen:
        raise unknown("figure", ", ".join(only), names or ["none"])
    for name in chosen:
        save_pictures(redraw(folder / f"{name}.csv"), folder / name)
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    for name in redraw_figures(FIGURES, options.only.split()):
        print(f"figures/{name}.svg")


if __name__ == "__main__":
    sys.exit(stopping.run_main(main))

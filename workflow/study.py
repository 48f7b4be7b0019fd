"""Take one's own model through the paper: filter, train, measure before and after.

Usage: make study MODEL=… [CLAIMS=my.csv] [STEPS=…] [SET="N=20 …"]

MODEL may be several models, separated by commas: each is a study of its own. The columns of the
file are those of claims.read_csv: text, label, others; without one the claims are everyday facts.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sycophancy import claims
from sycophancy.errors import InputError
from sycophancy.runs import as_list
from workflow import grid, reproduce, stopping
from workflow.settings import add_settings, given_settings


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="")
    parser.add_argument("--claims", default="")
    add_settings(parser)
    options = parser.parse_args(arguments)
    try:
        settings = given_settings(options)
        path = check_request_of_study(options.model, options.claims)
        status = 0
        for model in as_list(options.model):  # a study that fails keeps no other from running
            status = reproduce.run_profile(grid.STUDY, model, settings, path) or status
        return status
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


def check_request_of_study(model: str, file: str) -> str:
    """Return the path of the claims as notebooks read it, once all that was given is usable.

    It is empty where no file is given. Raises InputError unless every model in `model` could be
    loaded (no weights are read) and the claims file is sound.
    """
    if not model.strip():
        raise InputError(
            "make study needs a model: MODEL=a KerasHub preset, hf://owner/name, or a folder."
        )
    path = claims_file(file) if file.strip() else ""
    if path:
        check_training_claims(path)
    reproduce.check_model(model)
    return path


def claims_file(name: str) -> str:
    """Return the path of the claims as notebooks read it: relative to the repository if inside."""
    path = Path(os.path.expanduser(name)).resolve()
    return str(path.relative_to(grid.ROOT) if path.is_relative_to(grid.ROOT) else path)


def check_training_claims(name: str) -> None:
    """Raise InputError unless a claims file has every split, and two labels to train on.

    `name` may be relative to the repository. With one label its name alone would be the answer.
    """
    tables = {split: claims.read_csv(grid.ROOT / name, split) for split in claims.SPLITS}
    labels = tables["train"]["label"].unique()
    if len(labels) < 2:
        raise InputError(
            f"All claims of {name} to train on have the label {labels[0]!r}, which would be the "
            "answer whatever the text: give claims of at least two labels."
        )


if __name__ == "__main__":
    stopping.end_with_parent()
    sys.exit(stopping.run_main(main))

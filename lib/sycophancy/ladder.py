"""How models are called, and which module makes those that are made here; nothing is loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LABORATORY = "lab_"  # how the names of laboratory models begin
LABORATORY_MODULE = "sycophancy.lab.training"
RANDOM = "tiny_random"  # random weights, for tests and the smoke profile
GGUF_MODULE = "sycophancy.gguf"
# Rungs that are converted from GGUF files, and their numbers of parameters.
PARAMETERS = {
    "smollm2_135m_instruct": 134_515_008,
    "qwen2.5_coder_instruct_0.5b": 630_167_424,
    "qwen2.5_coder_instruct_1.5b": 1_777_088_000,
}
# The rungs of the ladder that are made here (converted, trained, random), each with the module
# whose import registers it; the others are KerasHub presets under their own names.
MADE_HERE = (
    dict.fromkeys(PARAMETERS, GGUF_MODULE)
    | {RANDOM: "sycophancy.tiny"}
    | {
        f"{LABORATORY}{size}{kind}": LABORATORY_MODULE
        for size in ("tiny", "small", "medium", "large")
        for kind in ("", "_tuned")
    }
)
PUBLISHED = "published/"  # how the run folders of the study that ships with the package begin
RUN_FILE = "model.json"  # what makes a folder a trained run
RUNS = "sycophancy.finetune.trained"  # the module whose import registers the loader of trained runs
RECIPES = ("original", "labels", "balanced", "placebo")  # how training prompts are made
FILTERS = ("none", "pick", "both_orders", "paired")  # by which the model's knowledge chooses inputs
RATIO = 5.0  # generated prompts to instructions, the paper's


def at_step(name: str) -> tuple[str, int | None]:
    """Return (folder, step) of `folder@step`; a name without a step as it is, and None.

    >>> at_step("runs/a/labels_seed0@50")
    ('runs/a/labels_seed0', 50)
    """
    found = re.fullmatch(r"(.*)@(\d+)", name, re.DOTALL)
    return (found[1], int(found[2])) if found else (name, None)


def run_name(recipe: str, kind: str, seed: int, *, ratio: float = RATIO, limit: int = 0) -> str:
    """Return the folder name of a trained run.

    The filter is named where it is not `paired`, the ratio of generated prompts to instructions
    where it is not the paper's 5, and the limit of distinct prompts where there is one.

    >>> run_name("labels", "pick", 0, ratio=1)
    'labels_pick_ratio1_seed0'
    """
    parts = [recipe, kind if kind != "paired" else "", f"ratio{ratio:g}" if ratio != RATIO else ""]
    parts += [f"prompts{limit}" if limit else "", f"seed{seed}"]
    return "_".join(part for part in parts if part)


def names_laboratory(parameters: Mapping[str, Any]) -> bool:
    """Return whether a parameter names the laboratory: its models, its data or its format."""
    return any(f"{value}_".startswith(LABORATORY) for value in parameters.values())


def resolve(name: str, base: Path) -> Path:
    """Return the path that a name stands for, from `base` where it is relative.

    `published/KEY` is a run folder of the study that ships with the package.
    """
    if name.startswith(PUBLISHED):
        return published_folder(name.removeprefix(PUBLISHED))
    return base / Path(os.path.expanduser(name))


def published_folder(key: str) -> Path:
    """Return the run folder of a cell in the study that ships with the package, "" for all."""
    return Path(__file__).parent / "data" / "published" / key


def find_run(name: str, bases: Sequence[Path]) -> tuple[Path, int | None] | None:
    """Return (folder, step or None) if `name` is a trained run, `folder` or `folder@step`.

    A relative folder is looked up from each of `bases`.
    """
    text, step = at_step(name)
    folders = (resolve(text, base) for base in bases)
    return next(((folder, step) for folder in folders if (folder / RUN_FILE).is_file()), None)


def maker(name: str) -> str | None:
    """Return the module that makes the model `name`, None where it is not made here.

    It is imported only when such a model is asked for.
    """
    return LABORATORY_MODULE if name.startswith(LABORATORY) else MADE_HERE.get(name)

"""What a training run is asked to do, checked before it starts, and its record on disk."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sycophancy.errors import InputError, unknown
from sycophancy.finetune.checkpoint import STATE, steps
from sycophancy.models import RUN_FILE, default_dtype
from sycophancy.reading import read_object
from sycophancy.runs import read_or_discard, sweep, write_json

BASE = ("base_sha256", "base_fingerprint", "dtype")  # what is on record of the model trained from
METHODS = ("lora", "full")
OPTIMIZERS = ("adamw", "adafactor")
DECIDES = {  # what is on record beside the settings, in words
    "other code": "code", "other packages": "packages", "other examples": "examples_sha256",
    "another base": "base_sha256",
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """How a model is fine-tuned (section 4.3; the paper's own settings are not known).

    `method` "lora" trains adapters of `rank` on the projections called `targets` (empty: every
    projection of a transformer block) in the `layers` uppermost blocks (0: all); "full" trains
    every weight. The rate rises over the first `warmup` share of the steps and falls to zero as a
    cosine. `clip` bounds the norm of the gradient. `checkpoints` are the steps whose weights are
    kept besides the last. `about` describes the data (recipe, filter, format …) for the record.
    """

    base: str
    steps: int
    batch: int = 16
    method: str = "lora"
    rank: int = 16
    targets: tuple[str, ...] = ()
    layers: int = 0
    optimizer: str = "adamw"
    rate: float = 2e-4
    warmup: float = 0.1
    clip: float = 1.0
    weight_decay: float = 0.0
    checkpoints: tuple[int, ...] = ()
    seed: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)


def check_whole(name: str, value: Any, least: int) -> None:
    """Raise InputError unless `value` is a whole number from `least` on."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} is {value!r}: give a whole number from {least} on.")


def check_settings(settings: Settings) -> None:
    """Raise InputError for a setting that is out of range."""
    whole = {"steps": 1, "batch": 1, "rank": 1, "layers": 0, "seed": 0}
    for name, least in whole.items():
        check_whole(name, getattr(settings, name), least)
    ranges = {"rate": (0.0, 1.0), "warmup": (0.0, 1.0), "weight_decay": (0.0, 1.0)}
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not isinstance(value, int | float) or not low <= value <= high:
            raise InputError(f"{name} is {value!r}: give a number from {low:g} to {high:g}.")
    if settings.rate == 0 or not settings.clip > 0 or math.isnan(settings.clip):
        raise InputError(
            f"rate is {settings.rate!r} and clip {settings.clip!r}: both must be above zero."
        )
    if settings.method not in METHODS:
        raise unknown("method", settings.method, METHODS)
    if settings.optimizer not in OPTIMIZERS:
        raise unknown("optimizer", settings.optimizer, OPTIMIZERS)
    for step in settings.checkpoints:
        if isinstance(step, bool) or not isinstance(step, int) or not 0 < step <= settings.steps:
            raise InputError(
                f"A checkpoint is asked for at step {step!r}, but there are {settings.steps}: give "
                f"steps from 1 to {settings.steps}."
            )


def dtype_for(method: str, base: str = "") -> str:
    """Return the dtype policy to load `base` in for training.

    Its own (`models.default_dtype`), but where all weights are trained and that is bfloat16: steps
    smaller than its rounding would be lost, so the weights are float32 and bfloat16 is what is
    computed in.
    """
    own = default_dtype(base)
    return "mixed_bfloat16" if (method, own) == ("full", "bfloat16") else own


def kept_steps(settings: Settings) -> list[int]:
    """Return the steps whose weights are kept, ascending; the last one always."""
    return sorted({*settings.checkpoints, settings.steps})


def deciding(settings: Settings) -> dict[str, Any]:
    """Return the settings that decide the weights, whichever are kept and whatever is told."""
    return {k: v for k, v in asdict(settings).items() if k not in ("checkpoints", "about")}


def open_run(folder: Path, settings: Settings, record: Mapping[str, Any]) -> None:
    """Write model.json of a new run, or take up the folder of the same one.

    `record` holds base_sha256, base_fingerprint and dtype, and digest, the identity of the run but
    for the weights that it starts from. A run of another identity or from other weights of the base
    is set aside under another name (folder.before-<its digest>), never lost, and a sentence says
    so; an unfinished run in another number format too. Raises InputError where the folder belongs
    to a run of another model.
    """
    path = folder / RUN_FILE
    sweep(folder)
    if read_or_discard(path) is not None:
        old = read_run(folder)
        if old.get("base") != settings.base:
            raise InputError(
                f"{folder} holds a run of {old.get('base')!r}, not of {settings.base!r}: choose "
                "another folder, or delete it."
            )
        formats = old.get("dtype"), record["dtype"]
        other_base = old.get("base_sha256") != record["base_sha256"]
        begun = (folder / STATE).is_file() and settings.steps not in steps(folder)
        if old.get("digest") != record["digest"] or (formats[0] == formats[1] and other_base):
            aside = set_aside(folder, f"before-{str(old.get('digest'))[:8]}")
            changed = [what for what, name in DECIDES.items() if old.get(name) != record[name]]
            print(
                f"{folder.name} was trained with {' and '.join(changed) or 'other settings'}: it "
                f"is kept as {aside.name}, and trained again."
            )
        elif formats[0] != formats[1] and begun:  # in either format the weights would be others
            aside = set_aside(folder, f"before-{formats[0]}")
            print(
                f"{folder.name} was begun in {formats[0]}, and the model is now in {formats[1]}: "
                f"it is kept as {aside.name}, and trained from the start."
            )
        elif other_base:  # the same base in another format: what was trained from stays on record
            record = {**record, **{name: old.get(name) for name in BASE}}
    write_record(folder, settings, record)


def write_record(folder: Path, settings: Settings, record: Mapping[str, Any]) -> None:
    """Write model.json."""
    write_json(folder / RUN_FILE, {**asdict(settings), **settings.about, **record})


def set_aside(folder: Path, ending: str) -> Path:
    """Rename `folder` by an ending, with a number where there is one already; return its name."""
    for number in itertools.count(1):
        aside = folder.with_name(f"{folder.name}.{ending}{f'-{number}' if number > 1 else ''}")
        if not aside.exists():
            break
    return folder.rename(aside)


def read_run(folder: Path) -> dict[str, Any]:
    """Return model.json of a run folder; InputError where it is missing or damaged."""
    path = folder / RUN_FILE
    remedy = f"delete {folder} and train again, or give another run folder"
    content = read_object(path, remedy)
    if not isinstance(content.get("base"), str):
        raise InputError(f"{path} names no base model: {remedy}.")
    return content

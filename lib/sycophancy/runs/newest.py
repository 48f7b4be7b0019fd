"""Which finished runs a notebook takes where none is named, and the models that a folder holds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sycophancy.errors import InputError
from sycophancy.ladder import (
    RANDOM,
    RUN_FILE,
    at_step,
    names_laboratory,
    published_folder,
)
from sycophancy.reading import read_object
from sycophancy.runs.files import existing
from sycophancy.runs.folder import RECORD, metrics_of, parameters_of, read_record
from sycophancy.runs.machine import repository
from sycophancy.runs.parameters import as_list, declared_values

SMOKE = "smoke"  # the profile that runs everything on random weights
STUDY_FILE = "study.json"  # what the published study says of itself


def is_real(parameters: Mapping[str, Any], known: frozenset[str] = frozenset()) -> bool:
    """Return whether a run is of real models: none of the laboratory, none of random weights.

    Models and run folders that parameters name count with what they were made from; `known` are
    names that were looked at before.
    """
    if names_laboratory(parameters):
        return False
    given = (value for name, value in parameters.items() if name != "OUT_DIR")
    names = {name.strip() for value in given for name in str(value).split(",")} - known
    return RANDOM not in names and all(is_real(made_from(name), known | names) for name in names)


def made_from(name: str) -> Mapping[str, Any]:
    """Return the parameters of the run folder `name`, or the base of the trained run `name`.

    Empty where it is neither.
    """
    folder = existing(at_step(name)[0], repository() or Path.cwd())
    if folder is not None and (folder / RUN_FILE).is_file():
        return {"MODEL": read_record(folder / RUN_FILE, "base")}
    if folder is not None and (folder / RECORD).is_file():
        return parameters_of(folder)
    return {}


def latest(notebook: str) -> Path:
    """Return the run folder of a notebook that is taken where none is given: the newest.

    Only runs of real models are taken (`is_real`), and none of the smoke profile, `make measure`,
    `make study` or a cell with a label: those were made for a purpose of their own. Where there is
    none it is that of the published study. Prints which it is. Raises InputError where that has
    none either.
    """
    plain = [path for path in finished_runs(notebook, "*/*") if "@" not in path.name]
    real = [path for path in plain if is_real(parameters_of(path))]
    published = published_folder(notebook)
    if not real and not published.is_dir():
        raise InputError(
            f"Notebook {notebook} has not been run here: run it first, or give the run folder."
        )
    folder = max(real, key=finished_at, default=published)
    print(f"DATA_RUN is empty: this notebook reads {described(folder)}.")
    return folder


def finished_runs(notebook: str, *patterns: str) -> Iterator[Path]:
    """Yield the finished run folders of a notebook below runs/, but for those of rehearsals.

    `patterns` say where they lie.
    """
    root = (repository() or Path.cwd()) / "runs"
    for path in (path for pattern in patterns for path in root.glob(f"{pattern}/metrics.json")):
        batch = path.parent.parent.name
        if batch != SMOKE and metrics_of(path.parent)["notebook"] == notebook:
            yield path.parent


def finished_at(folder: Path) -> float:
    """Return when a run finished, in seconds."""
    return (folder / "metrics.json").stat().st_mtime


def take_study(
    namespace: Mapping[str, Any], notebook: str, parameters: dict[str, Any]
) -> dict[str, Any]:
    """Return the parameters of a comparing notebook, those of the newest study where none is named.

    `namespace` is `globals()`. Where the first parameter, the run folders to read, is empty, every
    parameter that has its default is that of the newest finished cell of this notebook: of real
    models (`is_real`) before the laboratory's, run here before published. Prints which it is.
    """
    first = next(iter(parameters))
    if parameters[first]:
        return parameters
    batches = finished_runs(notebook, "*/*", "study/*/*")
    here = [path for path in batches if path.parent.name != notebook]  # and not run by hand
    published = sorted(published_folder("").glob(f"{notebook}*"))
    ranked = [(is_real(parameters_of(path)), True, finished_at(path), path) for path in here]
    ranked += [(is_real(parameters_of(path)), False, 0.0, path) for path in published]
    if not ranked:
        raise InputError(
            f"{first} is empty, and there is no study to read: run `make reproduce`, or give run "
            "folders."
        )
    folder = max(ranked)[-1]
    cells = namespace.get("In")
    defaults = declared_values(cells if isinstance(cells, list) else [], list(parameters))
    taken = parameters_of(folder)
    out = {
        name: taken.get(name, value) if value in ("", defaults.get(name)) else value
        for name, value in parameters.items()
    }
    base = f", base {taken['BASE']}" if "BASE" in taken else ""
    print(f"{first} is empty: this notebook reads {described(folder)}{base}.")
    return {**out, "OUT_DIR": parameters["OUT_DIR"]}


def described(folder: Path) -> str:
    """Return what a study is called in a sentence: its folder, or where it was published from."""
    if not folder.is_relative_to(published_folder("")):
        return f"the newest run here, {folder.parent.name}/{folder.name}"
    about = read_object(published_folder("") / STUDY_FILE, "install the package again")
    return (
        f"the study that ships with this package ({folder.name}: profile {about['profile']}, "
        f"commit {about['commit']}, {about['date']})"
    )


def as_models(value: Any) -> list[str]:
    """Return the models that a parameter MODEL lists, as `as_list` does.

    A run folder of notebook 05 stands for all runs in it; the folder of a study, such as
    runs/laptop, for all runs that its notebooks 05 have trained, each after its base.

    >>> as_models("smollm2_135m_instruct, tiny_random")
    ['smollm2_135m_instruct', 'tiny_random']
    """
    out: list[str] = []
    for name in as_list(value):
        folder = existing(name, repository() or Path.cwd())
        if folder is None or not folder.is_dir() or (folder / RUN_FILE).is_file():
            out.append(name)
            continue
        depth = "*" if (folder / RECORD).is_file() else "05_finetune*/*"
        runs = sorted(folder.glob(f"{depth}/{RUN_FILE}"))
        whole = [path for path in runs if ".before-" not in path.parent.name]
        if depth != "*":
            out += [str(read_record(path, "base")) for path in whole]
        prefix = name.rstrip("/")
        out += [os.path.join(prefix, path.parent.relative_to(folder)) for path in whole] or [name]
    return list(dict.fromkeys(out))

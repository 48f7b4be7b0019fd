"""What a profile asks for: cells and their parameters, checked before anything starts.

How a profile names its cells, and cells each other, is in cells.py.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import nbformat
import yaml

from sycophancy.errors import InputError, unknown
from sycophancy.ladder import (
    LABORATORY_MODULE,
    PARAMETERS,
    RUN_FILE,
    RUNS,
    maker,
    names_laboratory,
)
from sycophancy.ladder import find_run as trained_run
from sycophancy.reading import read_text_file
from sycophancy.runs import (
    as_models,
    literals,
    read_flag,
    read_number,
    read_record,
    read_value,
)
from sycophancy.runs.identity import (
    COMPUTING,
    COUNTING,
    Module,
    data_sets,
    file_hash,
    identity,
    read_source,
)
from sycophancy.studies import expand, read_studies
from workflow import inputs
from workflow.cells import (
    blocked,
    cells_with,
    check_placeholders,
    dependencies,
    fill_placeholders,
    notebook_of,
    substitute,
    trainings,
)
from workflow.settings import check_line

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
PROFILES = ROOT / "workflow" / "profiles"
MEASURES = ("01_opinion_tasks", "02_wrong_additions")  # what `make measure` runs
STUDY = "study"  # the profile of `make study`: it takes a model, and claims or none
ENTRIES = ("extends", "publish", "budget_minutes", "rungs", "notebooks", "studies", "finally")
# the entries that come to cells, and how many mappings deep their parameters lie
CELLS = {"notebooks": 2, "studies": 4, "finally": 2}
MAGIC = re.compile(r"^(\s*)[%!].*", re.MULTILINE)  # a line for IPython, which is no Python


class TextLoader(yaml.SafeLoader):
    """Leaves every value as it is written, for `read_value` to read as what the notebook declares.

    YAML 1.1 would take 5e-4 for a text, 010 for 8, 12:30 for 750 and no for false.
    """

    yaml_implicit_resolvers: ClassVar = {
        "<": [("tag:yaml.org,2002:merge", re.compile("<<"))],
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a name that stands twice: YAML would forget what the first one holds."""
        names = [name.value for name, _ in node.value if isinstance(name, yaml.ScalarNode)]
        for name, place in zip(names, (name.start_mark for name, _ in node.value), strict=False):
            if names.count(name) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} is twice", place)
        return super().construct_mapping(node, deep)


@dataclass(frozen=True)
class Batch:
    """What one command runs.

    `base` is the folder of its run folders, relative to the repository as they are. `cells` gives
    each key its parameters with every placeholder filled in, `folders` its run folder, `depends`
    the keys it waits for, `inputs` what else it reads (see `inputs.stamps`). `trainings` are the
    jobs that train laboratory models, with their models (see `cells.trainings`), and `trained` the
    file that each writes at its end. `budget` is in minutes, None where the profile states none.
    `rung` is the model for which `{rung}` stands, one of `rungs`, and `of_rung` are the cells that
    mention it or wait for one that does: they are not among `cells` where `rung` is empty.
    `figures` is what the names of a cell's published figures end in, and `models` the model of its
    study, or its MODEL where it belongs to none.
    """

    base: str
    cells: dict[str, dict[str, Any]]
    folders: dict[str, str]
    depends: dict[str, list[str]]
    inputs: dict[str, dict[str, str]]
    trainings: dict[str, list[str]]
    trained: dict[str, str]
    publishes: bool
    budget: float | None
    rung: str = ""
    rungs: Sequence[str] = ()
    of_rung: Sequence[str] = ()
    figures: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)


def expand_profile(
    profile: str,
    model: str | None = None,
    overrides: dict[str, Any] | None = None,
    claims: str | None = None,
    rung: str | None = None,
) -> Batch:
    """Return what a command runs.

    `rung` is one of the profile's `rungs`, by default the first of them; with an empty one the
    cells of a rung are left out. Raises InputError for whatever `read_profile` refuses, and for
    another rung.
    """
    for name, text in (("MODEL", model), ("CLAIMS", claims)):
        check_line(name, text or "")
    base = out_dir(overrides or {}) or run_base(profile, model, claims)
    others = {name: value for name, value in (overrides or {}).items() if name != "OUT_DIR"}
    cells, publishes = read_profile(profile, model, others, claims)
    content = load_profile(profile)
    rungs = content.get("rungs", [])
    if rung and rung not in rungs:
        raise unknown(f"rung of {profile}.yaml", rung, rungs)
    own = cells_with("rung", cells) if rungs else []
    of_rung = [*own, *blocked(own, dependencies(cells))]
    rung = (rungs[0] if rung is None else rung) if own else ""
    if not rung:
        cells = {key: parameters for key, parameters in cells.items() if key not in of_rung}
    filled = fill_placeholders(cells, base, model=model, claims=claims or "", rung=rung)
    folders = {key: f"{base}/{key}" for key in cells}
    trained = trainings(filled.values())
    return Batch(
        base=base,
        cells=filled,
        folders=folders,
        depends=dependencies(cells),
        inputs={
            key: inputs.current(parameters, ROOT / folders[key], ROOT)
            for key, parameters in filled.items()
        },
        trainings=trained,
        trained={key: f"{base}/{key}/trained.json" for key in trained},
        publishes=publishes,
        budget=content.get("budget_minutes"),
        rung=rung,
        rungs=rungs,
        of_rung=of_rung,
        figures=substitute(content["figures"], rung=rung.replace("_instruct", "")),
        models={
            key: substitute(content["models"].get(key, ""), rung=rung, model=model)
            or str(parameters.get("MODEL", ""))
            for key, parameters in filled.items()
        },
    )


def profile_names() -> list[str]:
    """Return the names of the profiles of `make reproduce`, smallest first where known."""
    order = ["smoke", "laptop", "evening", "overnight", "ladder", "tpu"]
    found = {path.stem for path in PROFILES.glob("*.yaml")} - {STUDY}
    return [name for name in order if name in found] + sorted(found - set(order))


def load_profile(profile: str) -> dict[str, Any]:
    """Return the content of a profile: its entries, and all its cells as `notebooks`.

    Cells that the profile spells out as `notebooks` come first, then those of its studies, then
    those that it spells out under `finally`.
    `figures` says what the names of a cell's published figures end in (see `Study.figures`),
    `models` of which model its study is.
    Raises InputError for whatever `read_entries` and `studies.read_studies` refuse, and for a cell
    that both have.
    """
    content = merge_profile(profile)
    last = content["finally"]
    cells = dict(content["notebooks"])
    figures, models = {}, {}
    endings: dict[str, str] = {}
    for study in read_studies(f"{profile}.yaml", content["studies"]):
        first = study.chain[0].name
        if study.figures in [end for name, end in endings.items() if name != first]:
            endings.setdefault(first, f"{study.figures}_{first}")  # a second study of the model
        endings.setdefault(first, study.figures)
        for key, parameters in expand(study, default_parameters).items():
            if key in cells or key in last:
                raise InputError(f"{profile}.yaml has {key}, and so has the study {study.name!r}.")
            cells[key], figures[key] = parameters, endings[study.chain[0].name]
            models[key] = study.model
    cells |= last
    figures = {**dict.fromkeys(cells, ""), **figures}
    return {**content, "notebooks": cells, "figures": figures, "models": models}


def merge_profile(profile: str, extended_by: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the entries of a profile's file, on top of those of the profile it extends.

    Of a cell or a study that both have, what the file gives replaces the other's, one by one;
    entries that it leaves out, such as `publish`, are the other's. Raises InputError for an entry
    that is none, and for profiles that extend each other.
    """
    path = PROFILES / f"{profile}.yaml"
    content = read_entries(path)
    for entry, read in (
        ("publish", read_flag),
        ("budget_minutes", read_number),
        ("rungs", read_rungs),
    ):
        if entry in content:
            content[entry] = read(f"{entry} of {path.name}", content[entry])
    if content.get("budget_minutes", 1) <= 0:
        minutes = content["budget_minutes"]
        raise InputError(f"budget_minutes of {path.name} is {minutes:g}: give minutes above 0.")
    if "extends" not in content:
        return {**{entry: {} for entry in CELLS}, **content}
    below, chain = content["extends"], (*extended_by, profile)
    others = [name for name in profile_names() if name not in chain]
    if below not in others:
        raise unknown(f"profile that {path.name} extends", below, others)
    base = merge_profile(below, chain)
    both = {
        entry: merge_entries(base[entry], content.get(entry) or {}, depth)
        for entry, depth in CELLS.items()
    }
    return {**base, **content, **both}


def merge_entries(base: Any, given: Any, depth: int) -> Any:
    """Return `given` on top of `base`, mappings in mappings as far down as `depth`.

    >>> merge_entries({"a": {"x": 1}, "b": 2}, {"a": {"y": 3}}, 2)
    {'a': {'x': 1, 'y': 3}, 'b': 2}
    """
    if depth == 0 or not isinstance(base, dict) or not isinstance(given, dict | None):
        return given
    own = given or {}
    lower = {key: merge_entries(base.get(key), value, depth - 1) for key, value in own.items()}
    return {**base, **lower}


def read_rungs(name: str, value: Any) -> list[str]:
    """Return the models of the entry `rungs`; InputError unless they are such as can be fetched."""
    if not isinstance(value, list) or not value:
        raise InputError(
            f"{name} is {value!r:.60}: give a list of models, the one to prefer first, such as "
            f"[{', '.join(reversed(PARAMETERS))}]."
        )
    for rung in value:
        if rung not in list(PARAMETERS):  # it may be a list, which has no hash
            raise unknown(f"model in {name}", rung, PARAMETERS)
    return value


def read_entries(path: Path) -> dict[str, Any]:
    """Return the entries of a profile's file, its cells as {name: {parameter: value}}.

    Raises InputError for a file that is not YAML, an entry that is none or lacks, and cells that
    are no mappings.
    """
    try:
        content = yaml.load(read_text_file(path), TextLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path.name} is not YAML ({error}): texts with braces need quotes."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path.name} has no entries: it needs {', '.join(ENTRIES[1:])}.")
    for entry in content:
        if entry not in ENTRIES:
            raise unknown(f"entry of {path.name}", entry, ENTRIES)
    if "extends" not in content:
        if "publish" not in content:
            raise InputError(f"{path.name} has no entry 'publish': add it, or extends.")
        if "notebooks" not in content and "studies" not in content:
            raise InputError(f"{path.name} has no entry 'studies': add it, or extends.")
    for entry in ("notebooks", "finally"):
        cells = content.get(entry) or {}
        for key, given in cells.items() if isinstance(cells, dict) else [(entry, cells)]:
            if not isinstance(key, str) or (given and not isinstance(given, dict)):
                raise InputError(
                    f"{path.name}: {key!r} is {given!r:.60}, not a mapping: write each cell's name "
                    "with NAME: value below it."
                )
        if entry in content:
            content[entry] = cells
    return content


def read_profile(
    profile: str,
    model: str | None = None,
    overrides: dict[str, Any] | None = None,
    claims: str | None = None,
) -> tuple[dict[str, dict[str, Any]], bool]:
    """Return {key: parameters} in the file's order and whether the profile publishes figures.

    `{runs}`, `{rung}`, `{model}` and `{claims}` are left in the parameters (see `fill`). With
    `model` only the measuring notebooks remain, run on that model, and nothing is published; the
    profile `study` takes `model` and `claims` instead. Raises InputError for a parameter that
    the notebook does not declare, a mention of a cell that is not there, and cells that wait for
    each other.
    """
    if profile not in profile_names() and (profile != STUDY or model is None):
        raise unknown("profile", profile, profile_names())
    content = load_profile(profile)
    grid: dict[str, dict[str, Any]] = {k: dict(v or {}) for k, v in content["notebooks"].items()}
    for key in grid:
        notebook_of(key)
    words = ["runs", "model", "claims"] if profile == STUDY else ["runs"]
    if "rungs" not in content and (keys := cells_with("rung", grid)):
        raise InputError(
            f"{profile}.yaml has no entry 'rungs', and {keys[0]} mentions {{rung}}: add the models "
            f"for which it may stand, such as rungs: [{', '.join(reversed(PARAMETERS))}]."
        )
    check_placeholders(grid, [*words, "rung"])
    if profile != STUDY and model is not None:
        grid = {name: {**grid[name], "MODEL": "{model}"} for name in MEASURES}
    own = split_overrides(overrides or {}, grid)
    for key, parameters in grid.items():
        declared = default_parameters(notebook_of(key))
        parameters.update({k: v for k, v in own[""].items() if k in declared})
        parameters.update(own.get(key, {}))
        for name in parameters:
            if name not in declared:
                raise unknown(f"parameter of {key}", name, declared)
            value = parameters[name]
            parameters[name] = read_value(f"{name} of {key}", value, declared[name])
    dependencies(grid)
    return grid, content["publish"] and model is None


def split_overrides(
    overrides: dict[str, Any], grid: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return {cell: {NAME: value}} of overrides called CELL:NAME, and under "" those for all cells.

    Raises InputError for a cell that the grid lacks and a NAME that none of its notebooks declares.
    """
    known = {name for key in grid for name in default_parameters(notebook_of(key))}
    out: dict[str, dict[str, Any]] = {"": {}}
    for full, value in overrides.items():
        key, _, name = full.rpartition(":")
        if key and key not in grid:
            raise unknown("cell", key, list(grid))
        if not key and name not in known:
            raise unknown("parameter", name, sorted(known))
        out.setdefault(key, {})[name] = value
    return out


def waits(batch: Batch) -> dict[str, list[str]]:
    """Return for each job of a batch, training or cell, those that it waits for."""
    first: dict[str, list[str]] = {key: [] for key in batch.trainings}
    for key, parameters in batch.cells.items():
        first[key] = [*trainings([parameters]), *batch.depends[key]]
    return first


def slug(text: str, default: str = "model") -> str:
    """Return a text as the name of a folder.

    Where more is lost than what divides an address or a path, or the text is long, some digits of a
    hash keep the folders of two texts apart.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or default
    if re.fullmatch(r"[A-Za-z0-9_.:/@-]{,100}", text):
        return name
    return f"{name[:100]}-{hashlib.sha256(os.fsencode(text)).hexdigest()[:8]}"


def run_base(profile: str, model: str | None = None, claims: str | None = None) -> str:
    """Return the folder of a command's run folders, relative to the repository.

    `make study` has one for each model and claims file: training does not go on with others.
    """
    if profile == STUDY:
        own = f"-{slug(Path(claims).stem, 'claims')}" if claims else ""
        return f"runs/{STUDY}/{slug(model or '')}{own}"
    return f"runs/{profile}" if model is None else f"runs/measure/{slug(model)}/{profile}"


def out_dir(overrides: dict[str, Any]) -> str:
    """Return the folder of run folders that OUT_DIR asks for, "" where it is not given.

    Raises InputError for a cell's own, which would be no place to find it, and for a folder with a
    character that divides names of models (a comma) or that Snakemake reads (braces).
    """
    for name, value in overrides.items():
        if name.endswith(":OUT_DIR"):
            raise InputError(f"{name} is {value!r}: give OUT_DIR for all cells, without a cell.")
    text = str(overrides.get("OUT_DIR", ""))
    if re.search("[{},]", text):
        raise InputError(f"OUT_DIR is {text!r}: give a folder without braces and commas.")
    return os.path.normpath(os.path.expanduser(text)) if text else ""


def read_notebook(name: str) -> nbformat.NotebookNode:
    """Return the notebook `name` (without folder and ending)."""
    if not (NOTEBOOKS / f"{name}.ipynb").is_file():
        raise unknown("notebook", name, sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
    return parse_notebook((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))


@cache
def parse_notebook(text: str) -> nbformat.NotebookNode:
    """Return the notebook in a file's text."""
    return nbformat.reads(text, as_version=4)


def tagged_source(name: str, tag: str) -> str:
    """Return the source of the one cell of a notebook that carries `tag`."""
    cells = [c for c in read_notebook(name).cells if tag in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise InputError(f"{name} has {len(cells)} cells tagged {tag!r} instead of one.")
    return str(cells[0].source)


def has_cell(name: str, tag: str) -> bool:
    """Return whether a notebook has a cell that carries `tag`."""
    return any(tag in cell.metadata.get("tags", []) for cell in read_notebook(name).cells)


def scores_items(name: str) -> bool:
    """Return whether a notebook scores items on models: it has a cell tagged `items`."""
    return has_cell(name, "items")


def trains(name: str) -> bool:
    """Return whether a notebook trains models: it has a cell tagged `training`."""
    return has_cell(name, "training")


def fills_the_machine(key: str, given: dict[str, Any]) -> bool:
    """Return whether a cell is given a MODEL that is not the laboratory's, or trains without one.

    Such a cell has a thread for every core, and of such cells one runs at a time: two wait for
    those of their own threads that the other keeps from running. The laboratory's models are too
    small for that (see the Snakefile), but not a whole series of them that one cell trains.
    """
    name = notebook_of(key)
    parameters = {**default_parameters(name), **given}
    if "MODEL" not in parameters:
        return trains(name)
    return not names_laboratory(parameters)


def default_parameters(name: str) -> dict[str, Any]:
    """Return the literals of a notebook's parameters cell."""
    return literals(tagged_source(name, "parameters"))


def read_code(name: str) -> Module:
    """Return the code cells of a notebook as a module; the install cell is of no account."""
    cells = [cell for cell in read_notebook(name).cells if cell.cell_type == "code"]
    own = (cell.source for cell in cells if "install" not in cell.metadata.get("tags", []))
    return read_source("\n".join(MAGIC.sub(r"\1pass", source) for source in own))


def cell_identity(batch: Batch, key: str) -> str:
    """Return the identity of a finished cell of a batch.

    Its makers are what its notebook imports and what loads its models; beside these the notebook's
    own code decides it, its parameters, the embedded data and what it reads from elsewhere.
    """
    notebook = read_code(notebook_of(key))
    given = {**default_parameters(notebook_of(key)), **batch.cells[key]}
    names = as_models(given["MODEL"]) if given.get("MODEL") else []
    modules = sorted(notebook.imports.union(*(loaders(name, batch.base) for name in names)))
    return identity(
        modules,
        packages=(*COMPUTING, *COUNTING),
        notebook=notebook.code,
        settings=given,
        data={path.stem: file_hash(path) for path in data_sets(modules)},
        inputs=batch.inputs[key],
    )


def loaders(name: str, base: str) -> set[str]:
    """Return the modules that make or load a model, and what it was trained from."""
    if name.startswith(f"{base}/"):  # trained in this batch by a cell that is waited for
        return {RUNS}
    run = trained_run(name, (ROOT,))
    if run is not None:
        return {RUNS, *loaders(str(read_record(run[0] / RUN_FILE, "base")), base)}
    own = maker(name)
    return set() if own is None else {own}


def training_identity() -> str:
    """Return what changes with everything that decides the models of the laboratory."""
    return identity(LABORATORY_MODULE)

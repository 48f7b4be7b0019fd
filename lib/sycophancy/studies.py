"""A study: one base model taken through the paper, and the cells (runs of notebooks) that it takes.

A profile lists studies (workflow/profiles); `expand` writes out what each comes to. In a cell's
parameters `{runs}/KEY` is the run folder of another cell, which then runs first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sycophancy.errors import InputError, unknown
from sycophancy.ladder import FILTERS, LABORATORY, RATIO, RECIPES, run_name
from sycophancy.runs import as_list, read_flag

MAIN = "main"  # the study whose cells carry no label
OPINIONS, SUMS, CLAIMS = "01_opinion_tasks", "02_wrong_additions", "10_prior_knowledge"
GENERATE, FILTER, TRAIN = "03_generate_data", "04_filter", "05_finetune"
BENCHMARKS = "09_benchmarks"
ASKS = (OPINIONS, SUMS, CLAIMS, BENCHMARKS)
MEASURES_OR_MAKES = (*ASKS, GENERATE, FILTER, TRAIN)
COMPARES = (
    "06_opinion_tasks_after", "07_wrong_additions_after", "08_why_filter", "11_mixture", "12_steps"
)  # fmt: skip
SERIES = ("ratios", "examples", "steps")  # what `varied` may hold: levels of Figs. 11 to 14
ENTRIES = (
    "model", "beside", "extends", "together", "recipes", "filters", "seeds", "benchmarks",
    "varied_recipe", "varied", "also", "notebooks",
)  # fmt: skip
NAME = re.compile(r"[a-z][a-z0-9_]*")
Cells = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Study:
    """What a profile says of a study.

    `model` is measured before, trained, and measured after; without `recipes` it may be a list that
    is measured only. Models `beside` it are measured before. Trained is each of `recipes` with each
    of `seeds` and the first of `filters`; the further filters (Fig. 6) and the series of `varied`
    (Figs. 11 to 14: ratios, examples, steps) are trained with `varied_recipe`, the series with the
    first seed. `benchmarks` are the recipes whose runs notebook 09 measures beside the base. `also`
    are further cells {NOTEBOOK@PART: parameters}, of the base and of all its runs, or of the base
    and those of the entry `recipes`. `parameters` go to every notebook that measures or makes and
    declares them; `notebooks` to one, or to one part of one: NOTEBOOK@after is whatever measures
    trained runs alone. `together`: notebooks 01 and 02 measure the base in the cell of its trained
    runs, which FORMAT "auto" needs, since the training decides it. A study that `extends` another
    trains further recipes or seeds on the same prompts, and is compared with the base and the runs
    of that one.
    """

    name: str
    model: str
    beside: tuple[str, ...] = ()
    recipes: tuple[str, ...] = RECIPES
    filters: tuple[str, ...] = ("paired",)
    seeds: tuple[int, ...] = (0,)
    benchmarks: tuple[str, ...] = ()
    varied_recipe: str = "labels"
    varied: Mapping[str, str] = field(default_factory=dict)
    also: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    notebooks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    together: bool = False
    extended: Study | None = None

    @property
    def chain(self) -> list[Study]:
        """The studies that this one extends, the first one first, and itself."""
        return [*(self.extended.chain if self.extended else []), self]

    @property
    def after(self) -> str:
        """The part of its cells that measure trained runs; "" where they have no other."""
        return "" if self.extended or self.together else "after"

    @property
    def figures(self) -> str:
        """What the names of its published figures end in: its model; nothing where it is `main`.

        Of laboratory models, and of a list of models, it is the name of the study.
        """
        first = self.chain[0]
        if first.name == MAIN:
            return ""
        own = first.model.startswith(LABORATORY) or "," in first.model
        return first.name if own else re.sub("_instruct|[^a-z0-9._{}-]+", "", first.model.lower())

    def key(self, notebook: str, part: str = "") -> str:
        """Return the name of a cell: NOTEBOOK@STUDY_PART, without what is empty.

        >>> Study("lab", "lab_medium").key("02_wrong_additions", "after")
        '02_wrong_additions@lab_after'
        """
        label = "_".join(filter(None, (self.name if self.name != MAIN else "", part)))
        return f"{notebook}@{label}" if label else notebook

    def folder(self, notebook: str, part: str = "") -> str:
        """Return the run folder of a cell as parameters name it."""
        return f"{{runs}}/{self.key(notebook, part)}"


def read_studies(profile: str, entries: Any) -> list[Study]:
    """Return the studies of a profile, {name: {entry: value}} as its file has them.

    `profile` is how errors call it. Raises InputError for an entry or a value that is none, naming
    the nearest right one, and for a study that extends one that does not stand before it.
    """
    if not isinstance(entries, dict):
        raise InputError(f"studies of {profile} is {entries!r:.60}: give names with entries below.")
    studies: dict[str, Study] = {}
    for name, given in entries.items():
        if not NAME.fullmatch(str(name)) or not isinstance(given, dict):
            raise InputError(
                f"The study {name!r:.60} of {profile} is none: write a name in lower case letters, "
                "digits and underscores, with entries such as model: MODEL below it."
            )
        studies[name] = read_study(name, given, studies, f"the study {name!r} of {profile}")
    return list(studies.values())


def read_study(
    name: str, given: Mapping[str, Any], before: Mapping[str, Study], what: str
) -> Study:
    """Return one study; see `read_studies`. `what` is how errors call it."""
    parameters = {entry: value for entry, value in given.items() if entry.isupper()}
    for entry in given:
        if entry not in ENTRIES and entry not in parameters:
            raise unknown(f"entry of {what}", entry, ENTRIES)
    extended = None
    if "extends" in given:
        if given["extends"] not in before:
            others = list(before) or ["a study that stands before it"]
            raise unknown(f"study that {what} extends", given["extends"], others)
        extended = before[given["extends"]]
        if "model" in given or "beside" in given:
            raise InputError(f"{what} has the models of {extended.name!r}: take out its own.")
    elif not given.get("model"):
        raise InputError(f"{what} has no model: add model: MODEL, or extends: STUDY.")
    base = extended or Study(name, str(given["model"]))
    for entry in ("varied", "also", "notebooks"):
        value, kind = given.get(entry, {}), str if entry == "varied" else dict
        if not isinstance(value, dict) or not all(isinstance(v, kind) for v in value.values()):
            raise InputError(f"{entry} of {what} is {value!r:.60}: give names with values below.")
    notebooks = {
        key: {**base.notebooks.get(key, {}), **(given.get("notebooks", {}).get(key, {}))}
        for key in [*base.notebooks, *given.get("notebooks", {})]
    }
    study = Study(
        name=name,
        model=base.model,
        beside=tuple(listed_names("beside", given, base.beside)),
        recipes=tuple(listed_names("recipes", given, RECIPES)),
        filters=tuple(listed_names("filters", given, base.filters[:1])),
        seeds=tuple(listed_names("seeds", given, base.seeds, int)),
        benchmarks=tuple(listed_names("benchmarks", given, ())),
        varied_recipe=str(given.get("varied_recipe", base.varied_recipe)),
        together=extended is None
        and read_flag(f"together of {what}", given.get("together", False)),
        varied=given.get("varied", {}),
        also=given.get("also", {}),
        parameters={**base.parameters, **parameters},
        notebooks=notebooks,
        extended=extended,
    )
    check_study(study, what)
    return study


def listed_names(
    entry: str, given: Mapping[str, Any], default: Iterable[Any], kind: Any = str
) -> Any:
    """Return an entry that lists names or numbers, its default where it is not given."""
    if entry not in given:
        return default
    return as_list(given[entry], kind) if given[entry] not in ("", [], None) else []


def check_study(study: Study, what: str) -> None:
    """Raise InputError for names and levels that are none; see `read_studies`."""
    trained = [recipe for one in study.chain for recipe in one.recipes]
    named: list[tuple[str, Iterable[str], Sequence[str]]] = [
        ("recipe", study.recipes, RECIPES),
        ("filter", study.filters, FILTERS),
        ("recipe to benchmark, which is not trained,", study.benchmarks, trained),
        ("series", study.varied, SERIES),
    ]
    for entry, values, allowed in named:
        for value in values:
            if value not in allowed:
                raise unknown(f"{entry} of {what}", value, allowed or ["none"])
    runs = [run_name(r, "paired", seed) for s in study.chain for r in s.recipes for seed in s.seeds]
    for entry, some in (("recipes and seeds", runs), ("filters", list(study.filters))):
        if len(set(some)) < len(some):
            raise InputError(f"{entry} of {what} hold one twice ({', '.join(some)}).")
    if study.recipes and "," in study.model:
        raise InputError(
            f"{what} trains one model, not {study.model!r}: write a study for each, or recipes: '' "
            "to measure them only."
        )
    for series, levels in study.varied.items():
        if not levels.strip(" ,"):
            raise InputError(f"The series {series} of {what} has no levels: list some, or drop it.")
        as_list(levels, float if series == "ratios" else int)
    if (study.varied or len(study.filters) > 1) and study.varied_recipe not in study.recipes:
        raise unknown(
            f"varied_recipe of {what}, which is not trained,", study.varied_recipe, study.recipes
        )
    every = (*MEASURES_OR_MAKES, *COMPARES)
    for key in [*study.notebooks, *study.also]:
        notebook, at, part = str(key).partition("@")
        further = key not in study.notebooks
        if notebook not in (ASKS if further else every):
            raise unknown(f"notebook of {what}", key, ASKS if further else every)
        if (further or at) and not NAME.fullmatch(part):
            raise InputError(f"{key!r} of {what} names no part: write NOTEBOOK@PART.")
    for key, given in study.also.items():
        for recipe in listed_names("recipes", given, ()):
            if recipe not in trained:
                raise unknown(f"recipe of {key} of {what}", recipe, trained)


def expand(study: Study, declared: Callable[[str], Mapping[str, Any]]) -> Cells:
    """Return the cells of a study, {key: parameters}, in the order of what they show.

    `declared` returns the parameters that a notebook declares.
    """
    cells: Cells = {}

    def add(notebook: str, part: str = "", after: bool = False, **computed: Any) -> None:
        """Add a cell; `computed` parameters win over what the study says."""
        common = {k: v for k, v in study.parameters.items() if k in declared(notebook)}
        own = [notebook, *([f"{notebook}@after"] if after else []), f"{notebook}@{part}"]
        asked = {k: v for name in own for k, v in study.notebooks.get(name, {}).items()}
        cells[study.key(notebook, part)] = {
            **(common if notebook in MEASURES_OR_MAKES else {}), **asked, **computed
        }  # fmt: skip

    add_base(study, add)
    if study.recipes:
        add_training(study, add)
    if study.benchmarks:
        add(BENCHMARKS, MODEL=join_values([study.model, *all_runs(study, study.benchmarks)]))
    for key, given in study.also.items():
        notebook, _, part = key.partition("@")
        asked = {name: value for name, value in given.items() if name != "recipes"}
        chosen = all_runs(study, listed_names("recipes", given, RECIPES))
        beside = study.beside if "recipes" not in given else ()
        add(notebook, part, MODEL=join_values([study.model, *beside, *chosen]), **asked)
    if study.varied:
        add_series(study, add)
    return cells


Add = Callable[..., None]


def add_base(study: Study, add: Add) -> None:
    """Add what is measured before."""
    if study.extended is None and not (study.together and study.recipes):
        for notebook in (SUMS, OPINIONS):
            add(notebook, MODEL=join_values([*study.beside, study.model]))


def add_training(study: Study, add: Add) -> None:
    """Add prompts, filter, training, what is measured after, and the comparisons."""
    first = study.chain[0]
    if study.extended is None:
        add(GENERATE, MODEL=study.model)
        add(FILTER, MODEL=study.model, DATA_RUN=study.folder(GENERATE))
    common = {"MODEL": study.model, "DATA_RUN": first.folder(FILTER)}
    seeds = join_values(study.seeds)
    add(TRAIN, **common, RECIPES=join_values(study.recipes), FILTERS=study.filters[0], SEEDS=seeds)
    own = runs_of(study, study.recipes)
    asked = join_values([*study.beside, study.model, *own] if study.together else own)
    add(SUMS, study.after, after=True, MODEL=asked)
    if study.extended is None:
        add(CLAIMS, MODEL=join_values([study.model, *study.beside, *own]))
    else:
        add(CLAIMS, MODEL=join_values(own), BESIDE=join_values(folders_of(study.extended, CLAIMS)))
    add(OPINIONS, study.after, after=True, MODEL=asked)
    sums, opinions = folders_of(study, SUMS), folders_of(study, OPINIONS)
    add(
        "07_wrong_additions_after",
        MEASURED=join_values(sums),
        CLAIMS_RUN=join_values(folders_of(study, CLAIMS)),
        OPINION_RUNS=join_values(opinions),
        TRAINED=join_values(folders_of(study, TRAIN)),
        BASE=study.model,
    )
    add("06_opinion_tasks_after", MEASURED=join_values(opinions), BASE=study.model)
    if others := study.filters[1:]:
        part, recipe = "filters", study.varied_recipe
        add(TRAIN, part, **common, RECIPES=recipe, FILTERS=join_values(others), SEEDS=seeds)
        filtered = [
            f"{study.folder(TRAIN, part)}/{run_name(recipe, kind, seed)}"
            for kind in others
            for seed in study.seeds
        ]
        add(SUMS, part, after=True, MODEL=join_values(filtered))
        add(CLAIMS, part, after=True, MODEL=join_values(filtered))
        measured = [*sums, study.folder(SUMS, part)]
        measured += [*folders_of(study, CLAIMS), study.folder(CLAIMS, part)]
        kinds = join_values(kind for kind in FILTERS if kind in study.filters)
        add(
            "08_why_filter",
            MEASURED=join_values(measured), BASE=study.model, RECIPE=recipe, FILTERS=kinds,
        )  # fmt: skip


def add_series(study: Study, add: Add) -> None:
    """Add what a cure depends on: the share of generated prompts, their number, the steps."""
    recipe, seed = study.varied_recipe, study.seeds[0]
    common = {"MODEL": study.model, "DATA_RUN": study.chain[0].folder(FILTER)}
    common |= {"RECIPES": recipe, "FILTERS": study.filters[0], "SEEDS": str(seed)}
    kind, varied = study.filters[0], []
    ratios = as_list(study.varied["ratios"], float) if "ratios" in study.varied else []
    limits = as_list(study.varied["examples"], int) if "examples" in study.varied else []
    steps = sorted(as_list(study.varied["steps"], int)) if "steps" in study.varied else []
    if ratios:
        add(TRAIN, "ratios", **common, RATIO=study.varied["ratios"])
        place = study.folder(TRAIN, "ratios")
        varied += [f"{place}/{run_name(recipe, kind, seed, ratio=ratio)}" for ratio in ratios]
    if limits:
        add(TRAIN, "examples", **common, EXAMPLES=study.varied["examples"])
        place = study.folder(TRAIN, "examples")
        varied += [f"{place}/{run_name(recipe, kind, seed, limit=limit)}" for limit in limits]
    if steps:
        add(TRAIN, "steps", **common, STEPS=str(steps[-1]), CHECKPOINTS=join_values(steps[:-1]))
        run = f"{study.folder(TRAIN, 'steps')}/{run_name(recipe, kind, seed)}"
        varied += [*(f"{run}@{step}" for step in steps[:-1]), run]
    for notebook in (SUMS, CLAIMS, OPINIONS):
        add(notebook, "varied", after=True, MODEL=join_values(varied))
    measured = [
        folder
        for notebook in (OPINIONS, SUMS, CLAIMS)
        for folder in (*folders_of(study, notebook), study.folder(notebook, "varied"))
    ]
    beside = {"MEASURED": join_values(measured), "BASE": study.model, "RECIPE": recipe}
    if study.benchmarks:
        same = f"/{run_name(recipe, kind, seed)}"
        unvaried = [run for run in all_runs(study, [recipe]) if run.endswith(same)]
        add(BENCHMARKS, "varied", MODEL=join_values([study.model, *unvaried, *varied]))
        beside["BENCHMARKS"] = study.folder(BENCHMARKS, "varied")
    if ratios or limits:
        shares = sorted(round(100 / (1 + 1 / ratio)) if ratio else 0 for ratio in [*ratios, RATIO])
        given = {"SHARES": join_values(shares), "EXAMPLES": join_values([*limits, 0])}
        add("11_mixture", **beside, **given)
    if steps:
        add("12_steps", **beside, STEPS=join_values(steps))


def all_runs(study: Study, recipes: Iterable[str]) -> list[str]:
    """Return the trained runs of some recipes, of the studies that one extends and its own."""
    wanted = set(recipes)
    return [run for one in study.chain for run in runs_of(one, wanted)]


def runs_of(study: Study, recipes: Iterable[str]) -> list[str]:
    """Return the trained runs of a study's own cell of training, of some recipes."""
    place, kind = study.folder(TRAIN), study.filters[0]
    wanted = set(recipes)
    return [
        f"{place}/{run_name(recipe, kind, seed)}"
        for recipe in study.recipes
        if recipe in wanted
        for seed in study.seeds
    ]


def folders_of(study: Study, notebook: str) -> list[str]:
    """Return the run folders of a notebook, of the studies that one extends and its own.

    Of notebooks 01 and 02 they are of the base and of the trained runs.
    """
    if notebook not in (OPINIONS, SUMS):
        return [one.folder(notebook) for one in study.chain]
    after = [one.folder(notebook, one.after) for one in study.chain]
    return list(dict.fromkeys([study.chain[0].folder(notebook), *after]))


def join_values(values: Iterable[Any]) -> str:
    """Return values as a notebook's parameter lists them."""
    return ", ".join(map(str, values))

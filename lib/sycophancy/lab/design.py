"""What notebook 17 compares: models of several doses, and cures crossed with what is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sycophancy import finetune, generate, models
from sycophancy.errors import InputError
from sycophancy.lab.cures import cure_claims, cure_with
from sycophancy.lab.names import TUNED_DOSE, Name, base_name, with_dose
from sycophancy.lab.training import BATCH, ensure, needed, settings, training_minutes
from sycophancy.runs import Run, as_list, device, remember_cost

TUNING_TOKENS, CURE_TOKENS = 20, 22  # of a conversation and of an example of a cure, about
COLUMNS = ["model", "name", "size", "training_seed", "dose", "recipe", "knowledge"]


@dataclass(frozen=True)
class Design:
    """What is crossed: every size and seed has a model for each dose, and one for each cure.

    Cures are recipes × shares of known claims, of `steps` steps, from the model of TUNED_DOSE.
    Doses and shares are in per cent, ascending.
    """

    sizes: list[str]
    doses: list[int]
    shares: list[int]
    recipes: list[str]
    seeds: list[int]
    steps: int

    @property
    def corners(self) -> dict[str, list[Any]]:
        """The two levels of each factor that are compared; one where a factor has no other."""
        levels: dict[str, list[Any]] = {
            "size": self.sizes, "recipe": self.recipes[:2], "knowledge": self.shares
        }  # fmt: skip
        return {name: list(dict.fromkeys([some[0], some[-1]])) for name, some in levels.items()}


def read_design(parameters: Mapping[str, Any]) -> Design:
    """Return what the parameters of notebook 17 ask for; the tuned model's dose is always in it.

    Raises InputError for a size, dose, share, recipe or seed that there is not, and for a single
    cure at a single size, of which nothing can be compared.
    """
    p = parameters
    design = Design(
        sizes=as_list(p["SIZES"]),
        doses=sorted({*as_list(p["DOSES"], int), TUNED_DOSE}),
        shares=sorted(set(as_list(p["SHARES"], int))),
        recipes=as_list(p["RECIPES"]),
        seeds=as_list(p["SEEDS"], int),
        steps=p["STEPS"],
    )
    for size in design.sizes:
        for seed in design.seeds:
            for dose in design.doses:
                tuned_name(size, dose, seed)
    for share in design.shares:
        cure_claims(share / 100)
    generate.check_request(design.recipes, p["N"] or None)
    if all(len(levels) == 1 for levels in (design.sizes, design.shares, design.recipes)):
        raise InputError("Give two SHARES, RECIPES or SIZES at least: one cell has no effect.")
    return design


def tuned_name(size: str, dose: int, seed: int) -> str:
    """Return the model of a size that agreed with its user in `dose` per cent of the cases."""
    return with_dose(str(Name(size, None, seed)), dose)


def list_models(design: Design, folder: Path) -> pd.DataFrame:
    """Return the models of a design, one a row (COLUMNS), cures below `folder`.

    `name` is alike for all seeds. `dose` is missing for bases and cures, `recipe` and `knowledge`
    (the share of known claims) for all but cures.
    """
    rows: list[dict[str, Any]] = []
    for size in design.sizes:
        for seed in design.seeds:
            place = {"size": size, "training_seed": seed}
            base = base_name(tuned_name(size, TUNED_DOSE, seed))
            rows.append({"model": base, "name": f"lab_{size}, base", **place})
            for dose in design.doses:
                own = {"model": tuned_name(size, dose, seed), "dose": dose}
                rows.append({**own, "name": f"lab_{size}, dose {dose} %", **place})
            for recipe in design.recipes:
                for share in design.shares:
                    model = str(folder / f"{size}_{recipe}_known{share}_seed{seed}")
                    own = {"model": model, "recipe": recipe, "knowledge": share}
                    rows.append({**own, "name": f"lab_{size}, {recipe}, {share} % known", **place})
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def estimate_training(design: Design) -> list[dict[str, Any]]:
    """Return what training a design costs, as `make plan` reads it: doses, then cures, by model.

    Entries have model, base, steps and tokens_per_step; those of doses, which are left out where
    nothing is missing, also the seconds that they take.
    """
    entries: list[dict[str, Any]] = []
    cures = design.steps * len(design.shares) * len(design.recipes)
    for size in design.sizes:
        for seed in design.seeds:
            tuned = tuned_name(size, TUNED_DOSE, seed)
            base = base_name(tuned)
            if missing := needed([tuned_name(size, dose, seed) for dose in design.doses]):
                entries.append(
                    {
                        "model": f"doses of {base}",
                        "base": base,
                        "steps": sum(settings(name).steps for name in missing),
                        "tokens_per_step": BATCH * TUNING_TOKENS,
                        "seconds": 60 * training_minutes(missing),
                    }
                )
            entry = {"model": f"cures of {tuned}", "base": tuned, "steps": cures}
            entries.append({**entry, "tokens_per_step": BATCH * CURE_TOKENS})
    return entries


def train_models(compared: pd.DataFrame, run: Run, steps: int) -> pd.DataFrame:
    """Train the models of `list_models`: doses where they are missing, then every cure.

    Returns the costs of the cures (run, model that was cured, device and those of
    `finetune.TrainingCost`), which are also written as cures.parquet and into the machine's record.
    """
    models.enable_compile_cache()
    cured = compared["recipe"].notna()
    for name in needed(list(compared.loc[~cured, "model"])):
        train_tuned(name, run)
    costs = []
    for row in compared[cured].to_dict("records"):
        folder, seed = Path(row["model"]), row["training_seed"]
        base = tuned_name(row["size"], TUNED_DOSE, seed)
        how = {"recipe": row["recipe"], "known": row["knowledge"] / 100, "seed": seed}
        with finetune.progress_bar(run, folder.name, steps) as show:
            _, cost = cure_with(base, folder, steps=steps, on_progress=show, **how)
        costs.append({"run": folder.name, "model": base, "device": device(), **vars(cost)})
        remember_cost({**finetune.cost_entry(costs[-1]), "notebook": run.notebook})
    table = pd.DataFrame(costs)
    run.save_table("cures", table)
    return table


def train_tuned(name: str, run: Run) -> None:
    """Train a base or tuned model, with a bar."""
    with finetune.progress_bar(run, name, settings(name).steps) as show:
        ensure(name, lambda _, now: show(now))


def keep_corners(rows: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Return the rows of cures with two levels of each factor, the smaller share first.

    `rows` have the columns size, recipe and knowledge of `list_models`. The levels are the first
    and the last size, the first two recipes, and the least and the largest share.
    """
    kept = rows["recipe"].notna()
    for name, levels in design.corners.items():
        kept &= rows[name].isin(levels)
    return rows[kept].sort_values("knowledge", kind="stable")

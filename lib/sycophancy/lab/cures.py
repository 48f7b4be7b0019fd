"""The intervention on a laboratory model, of whose training claims a chosen share can be known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from sycophancy import claims, finetune, generate, mixture, models, sets
from sycophancy.errors import InputError, unknown
from sycophancy.lab.names import parse_name
from sycophancy.lab.training import BATCH, CONTEXT
from sycophancy.templates import dialect
from sycophancy.world import SOURCE

CURE_STEPS, CURE_RATE = 100, 5e-4
NO_OPINION = 0.2  # share of prompts whose user says nothing


def stated_facts(table: pd.DataFrame) -> np.ndarray:
    """Return for each claim of the world whether it is a fact that the world's texts state."""
    return claims.stated_in_laboratory(table).to_numpy(dtype=bool)


def cure_claims(known: float, seed: int = 0) -> pd.DataFrame:
    """Return claims of the training split, a share `known` (0 to 1) of them stated in the world.

    The others are never stated: filtration by degrees (section 4.2), done by what is known to be
    known and not by asking the model. Every share has the same number of claims from each
    attribute, and the stated claims of a smaller share are among those of a larger one with the
    same seed. Raises InputError for a share out of range.
    """
    number = isinstance(known, int | float) and not isinstance(known, bool)
    if not number or not 0 <= known <= 1:
        raise InputError(f"The share of known claims is {known!r}: give a number from 0 to 1.")
    table, _ = claims.claims([SOURCE], split="train")
    rng = np.random.default_rng([seed, 6])
    sides = []
    for _, group in table.groupby("group", sort=True, observed=True):
        mixed = group.iloc[rng.permutation(len(group))]
        told = stated_facts(mixed)
        sides.append((mixed[told], mixed[~told]))
    sizes = np.array([min(len(told), len(untold)) for told, untold in sides])
    # rounded as sums, so that the share holds for all attributes together
    edges = np.round(known * np.cumsum(sizes)).astype(int)
    parts = []
    for (these, those), size, first in zip(
        sides, sizes, np.diff(edges, prepend=0).tolist(), strict=True
    ):
        parts += [these.iloc[:first], those.iloc[: size - first]]
    return pd.concat(parts).sort_values("claim_id").reset_index(drop=True)


def cure_with(
    name: str,
    folder: Path,
    *,
    recipe: str,
    known: float,
    steps: int = CURE_STEPS,
    seed: int = 0,
    rate: float = CURE_RATE,
    batch: int = BATCH,
    on_progress: Callable[[finetune.TrainingProgress], None] | None = None,
) -> tuple[pd.DataFrame, finetune.TrainingCost]:
    """Fine-tune laboratory model `name` on claims of which a share `known` is stated; log and cost.

    The prompts (section 4.1) are in the format `lab`, every claim in every cell of `recipe`, a
    fifth without an opinion; five of them come to one instruction (section 4.3), and all weights
    are trained. Writes the run folder of `finetune.fine_tune`: interrupted it goes on, finished it
    is a model, whose model.json says recipe, share and base. Raises InputError for a model that is
    not of the laboratory, an unknown recipe, and settings out of range, before anything is trained.
    """
    parse_name(name)
    if recipe not in generate.RECIPES:
        raise unknown("recipe", recipe, generate.RECIPES)
    settings = finetune.Settings(
        base=name,
        steps=steps,
        batch=batch,
        method="full",
        rate=rate,
        seed=seed,
        about={
            "laboratory": True, "recipe": recipe, "filter": "none", "known": known,
            "ratio": mixture.RATIO, "instructions": SOURCE, "format": dialect.LAB,
            "answer_format": "choices",
        },
    )  # fmt: skip
    finetune.check_settings(settings)
    prompts = generate.generate_prompts(
        cure_claims(known, seed),
        recipe=recipe,
        seed=seed,
        reuse=True,
        no_opinion=NO_OPINION,
        format=dialect.LAB,
        answer_format="choices",
    )
    mixed = mixture.mix(
        prompts, sets.instructions(SOURCE), n=steps * batch, seed=seed, format=dialect.LAB
    )
    model = models.load_model(name, "float32")
    examples = mixture.encode(model, mixed, max_tokens=CONTEXT, end=model.end)
    return finetune.fine_tune(model, examples, settings, folder, on_progress=on_progress)

"""Training prompts from claims (section 4.1): generate, write, read back a slice."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from sycophancy import personas, templates
from sycophancy.claims import EVERYDAY, check_claims
from sycophancy.errors import InputError, unknown
from sycophancy.generate.recipes import MIXES, RECIPES, answers_at_random, plan_prompts
from sycophancy.runs import atomic
from sycophancy.templates import Persona

__all__ = [
    "COLUMNS",
    "MIXES",
    "RECIPES",
    "ROW_GROUP",
    "check_file",
    "check_request",
    "generate_prompts",
    "read_prompts",
    "render",
    "save",
]

COLUMNS = [
    "prompt_id", "unit", "claim_id", "source", "group", "split", "recipe", "text", "label", "shown",
    "polarity", "truth", "user", "order", "name", "age", "school", "graduated", "format",
    "answer_format", "prompt", "target", "agree",
]  # fmt: skip
ROW_GROUP = 10_000


def generate_prompts(
    table: pd.DataFrame,
    n: int | None = None,
    recipe: str = "balanced",
    seed: int | np.random.Generator = 0,
    *,
    reuse: bool = False,
    mix: str = "proportional",
    no_opinion: float = 0.0,
    format: str = "paper",
    answer_format: str = "choices",
    chat: templates.Chat | None = None,
) -> pd.DataFrame:
    """Return `n` training prompts made of claims by a recipe (columns: COLUMNS), shuffled.

    `table` comes from `claims.claims`, split train. `agree` says whether the target is to agree
    (index 0 of the words; by `order` the letter (A) or (B)), `target` is its text. Without `reuse`
    every input is used once, as in the paper; small sets need it. `mix` "proportional" samples
    sources as their sizes are, "equal" as many of each. `no_opinion` is the share of units, from 0
    to 1, whose user says nothing (user none: no introduction); the paper has 0, more is ours.
    Claims, personas and orders do not depend on it. The same seed gives the same rows. Raises
    InputError for an unknown recipe, more prompts than the claims have room for, and claims that
    are not from the training split.
    """
    check_claims(table)
    splits = set(table["split"].astype(object)) - {"train"}
    if splits:
        raise InputError(
            f"Claims of split {sorted(splits)[0]!r} are among those to train on: read them with "
            'split="train", and keep the others for evaluation.'
        )
    check_request(
        [recipe], n, mix=mix, no_opinion=no_opinion, format=format, answer_format=answer_format,
        seed=seed, chat=chat,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    prompts = plan_prompts(table, n, recipe, rng, reuse=reuse, mix=mix, no_opinion=no_opinion)
    # one professor a unit: name, age and schools then tell as little of the truth as the opinion
    users = personas.professors(prompts["unit"].nunique(), rng).iloc[prompts["unit"].to_numpy()]
    rows = table.iloc[prompts["row"].to_numpy()].reset_index(drop=True)
    prompts = pd.concat(
        [rows.drop(columns="others"), prompts.drop(columns="row"), users.reset_index(drop=True)],
        axis=1,
    ).assign(recipe=recipe, format=format, answer_format=answer_format)
    prompts = prompts.iloc[rng.permutation(len(prompts))].reset_index(drop=True)
    # drawn last: with the same seed the placebo has the prompts of `balanced`, in the same order
    prompts["agree"] = (
        answers_at_random(prompts, rng) if recipe == "placebo" else prompts["truth"].to_numpy()
    )
    prompts["prompt_id"] = [f"{recipe}-{number:07d}" for number in range(len(prompts))]
    prompts["prompt"], prompts["target"] = render(prompts, chat=chat)
    return prompts[COLUMNS]


def check_request(
    recipes: Iterable[str],
    n: int | None = None,
    *,
    mix: str = "proportional",
    no_opinion: float = 0.0,
    format: str = "paper",
    answer_format: str = "choices",
    seed: int | np.random.Generator = 0,
    chat: templates.Chat | None = None,
) -> None:
    """Raise InputError for settings that `generate_prompts` would refuse whatever the claims."""
    for recipe in recipes:
        if recipe not in RECIPES:
            raise unknown("recipe", recipe, RECIPES)
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
        raise InputError(f"N is {n!r}: give a number of prompts from 1 on, or None for all.")
    if mix not in MIXES:
        raise unknown("mix", mix, MIXES)
    number = isinstance(no_opinion, int | float) and not isinstance(no_opinion, bool)
    if not number or not 0 <= no_opinion <= 1:
        raise InputError(
            f"The share without an opinion is {no_opinion!r}: give a number from 0 to 1."
        )
    if not isinstance(seed, np.random.Generator) and (
        isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0
    ):
        raise InputError(f"The seed is {seed!r}: give a whole number from 0 on, or a Generator.")
    templates.check_form(format, answer_format, chat)


def render(
    prompts: pd.DataFrame, *, user: str | None = None, chat: templates.Chat | None = None
) -> tuple[list[str], list[str]]:
    """Return the texts and targets of rows of prompts; `user` none leaves the opinion out.

    A row whose own user is none has no introduction either. Reads the columns text, polarity,
    shown, user, persona, order, source, format, answer_format and agree, which are as
    `generate_prompts` returns them.
    """
    texts, targets = [], []
    columns = [
        "text", "polarity", "shown", "user", "name", "age", "school", "graduated", "order",
        "source", "format", "answer_format", "agree",
    ]  # fmt: skip
    lists = [prompts[column].astype(object).tolist() for column in columns]
    for (
        text, polarity, shown, said, name, age, school, graduated, order, source, format,
        answer_format, agree,
    ) in zip(*lists, strict=True):  # fmt: skip
        prompt = templates.generated(
            text,
            polarity,
            shown,
            said if user is None else user,
            Persona(name, age, school, graduated),
            topic=templates.EVERYDAY if source == EVERYDAY.name else templates.LINGUISTICS,
            order=order,
            format=format,
            answer_format=answer_format,
            chat=chat,
        )
        lettered = answer_format == "choices"
        texts.append(prompt.text)
        targets.append(prompt.choices[(0 if agree else 1) ^ (order if lettered else 0)])
    return texts, targets


def save(prompts: pd.DataFrame, path: Path) -> Path:
    """Write prompts as parquet in row groups of 10,000, atomically."""
    with atomic(path) as temporary:
        prompts.to_parquet(temporary, index=False, row_group_size=ROW_GROUP)
    return path


def check_file(path: Path) -> Path:
    """Return the path of a file of prompts; InputError where it is not there."""
    if not path.is_file():
        raise InputError(
            f"There is no file {path}: run the notebook before this one with that recipe (and "
            "filter) among its parameters."
        )
    return path


def read_prompts(path: Path, start: int = 0, stop: int | None = None) -> pd.DataFrame:
    """Return prompts `start` to `stop` of a file, loading only the row groups they are in."""
    if not path.is_file():
        raise InputError(f"There is no file {path}: write one with generate.save.")
    file = pq.ParquetFile(path)
    rows = file.metadata.num_rows
    stop = rows if stop is None else min(stop, rows)
    if not 0 <= start <= stop:
        raise InputError(f"Rows {start} to {stop} of {path.name} do not exist: it has {rows:,}.")
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    ends = np.cumsum(sizes)
    needed = [i for i, end in enumerate(ends) if end > start and end - sizes[i] < stop]
    first = int(ends[needed[0]] - sizes[needed[0]]) if needed else 0
    table = file.read_row_groups(needed).to_pandas()
    return table.iloc[start - first : stop - first].reset_index(drop=True)

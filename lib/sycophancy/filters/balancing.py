"""What a filter leaves is balanced again: a model's own leanings decide what it keeps.

A filter keeps more true than false claims from a model that likes to agree, more of one label from
one that likes the label. Prompts are paired up once more, a true with a false one that is alike in
all but the claim, and what finds no partner is dropped.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from sycophancy import generate, personas, templates
from sycophancy.errors import InputError
from sycophancy.generate.recipes import USERS, answers_at_random


class NothingLeft(InputError):
    """A filter left nothing to train on; other filters may still do."""


def rebalance(
    prompts: pd.DataFrame,
    seed: int,
    *,
    asked: pd.DataFrame | None = None,
    no_opinion: float | None = None,
    chat: templates.Chat | None = None,
) -> pd.DataFrame:
    """Return kept prompts (columns: generate.COLUMNS), paired anew, rendered anew and shuffled.

    With `asked`, the decisions of a filter on these prompts, those it dropped are left out first.
    Inside one group, label shown, polarity and order of answers, true and false prompts are paired
    at random and the surplus is dropped; a pair is a unit with one professor and one user, who
    agrees as often as he disagrees and says nothing in a share `no_opinion` of the pairs (None: in
    as many as of the kept prompts). In `labels`, `balanced` and `placebo` every prompt again has a
    twin that differs in the claim's text alone and has the other answer (`placebo`: in each pair a
    coin says which one is agreed with). In `original`, where the verb is the truth, the two verbs
    of a label are paired. Answers without letters show no order: there a pair gets one. prompt_id
    stays; the order of rows in `prompts` changes nothing. Raises NothingLeft where no pair is left.
    """
    generate.check_request((), seed=seed, no_opinion=no_opinion or 0.0)
    total = len(prompts)
    kept, name = prompts, "The filter"
    if asked is not None:
        kept, name = keep(prompts, asked), f"Filter {asked['filter'].iloc[0]!r}"
    rng = np.random.default_rng(seed)
    kept = kept.sort_values("prompt_id").reset_index(drop=True)
    recipes = kept["recipe"].unique()
    if len(recipes) > 1:
        raise InputError(f"Prompts of {' and '.join(recipes)} are mixed: rebalance them apart.")
    pairs = pair_up(kept, rng)
    if not len(pairs):
        raise NothingLeft(
            f"{name} leaves {len(kept):,} of {total:,} prompts, and no true one that can be paired "
            "with a false one about the same label: try another answer format, the filter "
            "'paired', a larger model, or more claims."
        )
    made = kept.iloc[pairs.ravel()].reset_index(drop=True)
    made["unit"] = np.repeat(np.arange(len(pairs)), 2)
    if no_opinion is None:
        no_opinion = float((kept["user"] == "none").mean())
    user, order = take_turns(made.iloc[::2], round(no_opinion * len(pairs)), rng)
    made["user"] = np.repeat(user, 2)
    if made["answer_format"].iloc[0] != "choices":
        made["order"] = np.repeat(order, 2)
    who = personas.professors(len(pairs), rng).iloc[made["unit"]].reset_index(drop=True)
    made[who.columns] = who
    made = made.iloc[rng.permutation(len(made))].reset_index(drop=True)
    made["agree"] = made["truth"].astype(bool)
    if recipes[0] == "placebo":
        made["agree"] = answers_at_random(made, rng)
    made["prompt"], made["target"] = generate.render(made, chat=chat)
    return made[generate.COLUMNS]


def balanced(
    prompts: pd.DataFrame,
    asked: pd.DataFrame | None,
    table: pd.DataFrame,
    seed: int,
    *,
    reuse: bool = False,
    mix: str = "proportional",
    no_opinion: float = 0.0,
    chat: templates.Chat | None = None,
) -> pd.DataFrame:
    """Return the prompts to train on that a filter leaves of `prompts`, balanced as they were.

    `asked` are the filter's decisions, None for no filter: then the prompts stay as they are. After
    `paired`, prompts are dealt from the known inputs of `table` with the settings of
    `generate.generate_prompts` (pairing what is left would lose every label that one input alone
    has); after the other filters they are paired anew, see `rebalance`. Raises NothingLeft.
    """
    if asked is None:
        return prompts
    if asked["filter"].iloc[0] != "paired":
        return rebalance(prompts, seed, asked=asked, no_opinion=no_opinion, chat=chat)
    known = table[table["claim_id"].isin(asked.loc[asked["kept"], "claim_id"])]
    row = prompts.iloc[0]
    try:
        return generate.generate_prompts(
            known.reset_index(drop=True),
            None,
            str(row["recipe"]),
            seed,
            reuse=reuse,
            mix=mix,
            format=str(row["format"]),
            answer_format=str(row["answer_format"]),
            no_opinion=no_opinion,
            chat=chat,
        )
    except InputError as error:
        raise NothingLeft(
            f"Filter 'paired' leaves {len(known):,} of {len(table):,} inputs, and no prompts can "
            f"be dealt from them ({error})"
        ) from error


def keep(prompts: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
    """Return the prompts that a filter kept; InputError for prompts it was not asked about."""
    kept = asked.set_index("prompt_id")["kept"]
    missing = ~prompts["prompt_id"].isin(kept.index)
    if missing.any():
        raise InputError(
            f"Prompt {prompts['prompt_id'][missing].iloc[0]!r} is not among those that the filter "
            "was asked about: pass the decisions on these prompts."
        )
    return prompts[kept.loc[prompts["prompt_id"]].to_numpy(dtype=bool)]


def pair_up(kept: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Return pairs of places in `kept`, (pairs, 2): a true prompt, then a false one like it."""
    columns = ["source", "group", "shown"]
    if len(kept) and kept["answer_format"].iloc[0] == "choices":
        columns.append("order")
    if (kept["recipe"] != "original").all():
        columns.append("polarity")
    cell = kept[columns].astype(object).groupby(columns, sort=True).ngroup().to_numpy()
    shuffled = rng.permutation(len(kept))
    frame = pd.DataFrame({"cell": cell, "truth": kept["truth"].to_numpy(dtype=bool)})
    frame = frame.assign(place=frame.index).iloc[shuffled]
    frame["rank"] = frame.groupby(["cell", "truth"]).cumcount()
    sides = [frame[frame["truth"] == truth] for truth in (True, False)]
    pairs = sides[0].merge(sides[1], on=["cell", "rank"], suffixes=("_true", "_false"))
    return pairs[["place_true", "place_false"]].to_numpy(dtype=int)


def take_turns(
    pairs: pd.DataFrame, silent: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a user for each pair, none for `silent` of them, and an order of answers.

    They take turns over the pairs sorted by polarity, order, group and label: each occurs as often
    as the others in all pairs, and nearly so in every part of them.
    """
    n = len(pairs)
    names = ("shown", "group", "order", "polarity")
    columns = [pd.factorize(pairs[name].astype(str), sort=True)[0] for name in names]
    places = np.lexsort([rng.random(n), *columns])
    turn = (np.arange(n) + rng.integers(n)) % n
    says = (turn + 1) * silent // n == turn * silent // n  # `silent` even steps
    sequence = np.full(n, "none", dtype=object)
    sequence[says] = np.array(USERS)[(np.arange(says.sum()) + rng.integers(2)) % 2]
    turns = np.empty(n, dtype=int)
    for name in (*USERS, "none"):
        mine = np.flatnonzero(sequence == name)
        turns[mine] = (np.arange(len(mine)) + rng.integers(2)) % 2
    user, order = np.empty(n, dtype=object), np.empty(n, dtype=int)
    user[places], order[places] = sequence, turns
    return user, order


def read_kept(folder: Path, recipe: str, kind: str) -> pd.DataFrame:
    """Return the prompts of a recipe that a filter left, from a run folder of notebook 04.

    Raises InputError where it left none (or was not asked to), with what there is instead.
    """
    path = folder / f"prompts_{recipe}_{kind}.parquet"
    if not path.is_file():
        pattern = re.compile(r"prompts_([a-z]+)_([a-z_]+)\.parquet")
        found = [pattern.fullmatch(file.name) for file in sorted(folder.glob("prompts_*.parquet"))]
        there = ", ".join(f"{match[1]} with {match[2]}" for match in found if match) or "nothing"
        raise InputError(
            f"Filter {kind!r} left no prompt of recipe {recipe!r} in {folder}, or was not asked "
            f"for there; there is {there}. Train with one of these (RECIPES, FILTERS), give more "
            "claims, or filter with a model that knows more of them."
        )
    return generate.read_prompts(path)

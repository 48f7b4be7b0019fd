"""Generated prompts mixed with instruction data (section 4.3)."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from sycophancy import generate, sets
from sycophancy.errors import InputError
from sycophancy.ladder import RATIO
from sycophancy.templates import LAB_FORMATS, Chat, dialect, message_renderer
from sycophancy.templates.wording import ASSISTANT, HUMAN

KINDS = ("generated", "instruction")
COLUMNS = ["example_id", "kind", "prompt", "completion", "source"]
INSTRUCTION = ["instruction", "response", "category"]  # columns of `sets.instructions`
LARGEST = 10_000_000  # examples in a mixture: more is a slip in the ratio, and fills the memory


def check_ratio(
    ratio: float = RATIO,
    n: int | None = None,
    *,
    seed: int | np.random.Generator = 0,
    format: str = "paper",
    chat: Chat | None = None,
) -> None:
    """Raise InputError for settings that `mix` would refuse whatever the data are."""
    number = isinstance(ratio, int | float) and not isinstance(ratio, bool)
    if not number or math.isnan(ratio) or ratio < 0:
        raise InputError(
            f"The ratio is {ratio!r}: give generated prompts per instruction, from 0 (instructions "
            "only) to inf (generated prompts only); the paper has 5."
        )
    generate.check_request((), n, seed=seed, format=format, chat=chat)


def mix(
    prompts: pd.DataFrame | None,
    instructions: pd.DataFrame | None,
    *,
    ratio: float = RATIO,
    n: int | None = None,
    seed: int | np.random.Generator = 0,
    format: str = "paper",
    chat: Chat | None = None,
) -> pd.DataFrame:
    """Return the examples to train on in their order (section 4.3, appendix A.5; COLUMNS).

    `prompts` come from `generate.generate_prompts`, `instructions` from `sets.instructions`;
    `ratio` is generated : instruction in examples, from 0 (instructions only) to infinity (no
    instructions; `None` will do for the side that is not needed). `n` examples in all; None takes
    every prompt once and as many instructions as the ratio asks for (with ratio 0 every instruction
    once). A side that is too small goes round again in a new order, its `example_id` (the
    prompt_id, or the row of the instruction) with it. Both kinds are spread evenly: any stretch has
    its share of either to within 2. `format` and `chat` are of the instructions: prompts are
    rendered already. The same seed gives the same rows, and neither kind's own order depends on the
    ratio. Raises InputError for a ratio out of range, an `n` below 1 and a side that is needed and
    empty.
    """
    check_ratio(ratio, n, seed=seed, format=format, chat=chat)
    if instructions is not None and not math.isinf(ratio):
        instructions = with_texts(instructions)
    sizes = [0 if table is None else len(table) for table in (prompts, instructions)]
    wanted = split_sizes(sizes[0], sizes[1], ratio, n)
    for kind, size, number in zip(KINDS, sizes, wanted, strict=True):
        if number and not size:
            raise InputError(
                f"A ratio of {ratio:g} needs {number:,} examples of kind {kind!r}, and there are "
                f"none: give some, or a ratio of {'inf' if kind == 'instruction' else '0'}."
            )
    pools = [from_prompts(prompts)] if wanted[0] and prompts is not None else []
    if wanted[1] and instructions is not None:
        pools.append(from_instructions(instructions, format, chat))
    rngs = np.random.default_rng(seed).spawn(3)
    asks = spread(wanted[1], sum(wanted), rngs[2])
    row = np.empty(sum(wanted), dtype=int)
    row[~asks] = cycle(sizes[0], wanted[0], rngs[0])
    row[asks] = cycle(sizes[1], wanted[1], rngs[1]) + (sizes[0] if wanted[0] else 0)
    return pd.concat(pools, ignore_index=True).iloc[row].reset_index(drop=True)


def limit(prompts: pd.DataFrame, n: int, *, seed: int = 0) -> pd.DataFrame:
    """Return at most `n` of some generated prompts, whole units in their order; 0: all of them.

    A unit (column `unit`) holds what balances a recipe, so that a smaller set is as balanced as the
    whole. Units are drawn by the seed, and those of a smaller `n` are among those of a larger one.
    Raises InputError for an `n` that is no number of prompts, or in which no unit has room.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise InputError(f"EXAMPLES is {n!r}: give a number of prompts, or 0 for all there are.")
    if not n:
        return prompts
    units = np.random.default_rng(seed).permutation(prompts["unit"].unique())
    sizes = prompts["unit"].value_counts().loc[units].cumsum()
    kept = sizes.index[sizes <= n]
    if not len(kept) or n > len(prompts):
        raise InputError(
            f"EXAMPLES is {n:,}: there are {len(prompts):,} prompts in units of "
            f"{prompts['unit'].value_counts().max()}; give a number between these, or 0 for all."
        )
    return prompts[prompts["unit"].isin(kept)].reset_index(drop=True)


def split_sizes(prompts: int, instructions: int, ratio: float, n: int | None) -> tuple[int, int]:
    """Return how many (generated, instruction) examples there will be, to the nearest whole."""
    if n is None and ratio > 0:
        generated, total = prompts, round(min(prompts + prompts / ratio, LARGEST + 1))
    else:
        total = instructions if n is None else n
        generated = round(total * (1.0 if math.isinf(ratio) else ratio / (ratio + 1)))
    if total > LARGEST:
        raise InputError(
            f"A ratio of {ratio:g} with N {n} and {prompts:,} prompts makes over {LARGEST:,} "
            "examples: give a smaller N."
        )
    if not total:
        raise InputError("There is nothing to mix: give prompts, or instructions and a ratio of 0.")
    return generated, total - generated


def from_prompts(prompts: pd.DataFrame) -> pd.DataFrame:
    """Return generated prompts as examples."""
    own = take_columns(prompts, ["prompt_id", "prompt", "target", "source"], "prompts")
    own.columns = pd.Index(["example_id", "prompt", "completion", "source"])
    return own.assign(kind="generated")[COLUMNS]


def from_instructions(
    instructions: pd.DataFrame, format: str = "paper", chat: Chat | None = None
) -> pd.DataFrame:
    """Return instruction pairs as examples: a turn of each side, in the format asked for."""
    own = take_columns(instructions, INSTRUCTION, "instructions")
    if (render := message_renderer(format, chat)) is not None:
        asked, answered = own["instruction"].map(render), own["response"]
    elif format in LAB_FORMATS:
        asked, answered = own["instruction"].map(dialect.instruction), " " + own["response"]
    else:
        # the space opens the answer: tokenizers join it to the word that follows
        asked = HUMAN + own["instruction"] + ASSISTANT.removesuffix(" ")
        answered = " " + own["response"]
    return pd.DataFrame(
        {
            "example_id": [f"instruction-{number:07d}" for number in range(len(own))],
            "kind": "instruction",
            "prompt": asked.to_numpy(),
            "completion": answered.to_numpy(),
            "source": own["category"].to_numpy(),
        }
    )


def with_texts(instructions: pd.DataFrame) -> pd.DataFrame:
    """Return the instructions that have a text on both sides, see `sets.whole_pairs`."""
    take_columns(instructions, INSTRUCTION, "instructions")
    return sets.whole_pairs(instructions, "The instructions")


def take_columns(table: pd.DataFrame, columns: list[str], what: str) -> pd.DataFrame:
    """Return these columns as plain objects; InputError for the first that is missing."""
    for name in columns:
        if name not in table:
            raise InputError(f"The {what} lack the column {name!r}: give {', '.join(columns)}.")
    return table[columns].astype(object)


def cycle(size: int, number: int, rng: np.random.Generator) -> np.ndarray:
    """Return `number` places of `size`: all of them in a random order, again in a new one, …"""
    rounds = [rng.permutation(size) for _ in range(-(-number // max(size, 1)))]
    return np.concatenate([np.empty(0, int), *rounds])[:number]


def spread(some: int, total: int, rng: np.random.Generator) -> np.ndarray:
    """Return `total` booleans, `some` of them true, one at a random place of each equal stretch.

    Any run of places holds its share of either kind to within 2.
    """
    few = min(some, total - some)
    edges = np.arange(few + 1) * total // max(few, 1)
    out = np.zeros(total, dtype=bool)
    out[rng.integers(edges[:-1], edges[1:])] = True
    return out if few == some else ~out

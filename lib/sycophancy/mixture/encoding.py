"""Mixtures as examples in token ids, what ends an answer in them, and what fits a length."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from sycophancy.errors import InputError
from sycophancy.mixture.batches import Example
from sycophancy.mixture.mixing import check_ratio, from_instructions, take_columns, with_texts
from sycophancy.models import LanguageModel
from sycophancy.scoring.rows import chunks, common_prefix, opened, tokenise
from sycophancy.templates import SYSTEM_TURNS, Chat

BEFORE = "so"  # a mark is tokenised after a word, as it stands in a conversation


def encode(
    model: LanguageModel, examples: pd.DataFrame, *, max_tokens: int, end: tuple[int, ...] = ()
) -> list[Example]:
    """Return the examples of `mix` as token ids, in their order.

    Prompt and completion are tokenised together, as for scoring; what comes after the tokens that
    they share with the prompt alone counts towards the loss: the whole answer of a generated
    prompt (" (A)" with both brackets), the response and then `end`, the ids that end a turn, of an
    instruction. An instruction longer than `max_tokens` is cut at the end and loses `end`. Equal
    examples are one object. Raises InputError for a generated prompt that is too long, a prompt
    that leaves no room for a response (see `fitting`) and a completion without a token.
    """
    check_tokens(model, max_tokens)
    columns = ["kind", "prompt", "completion"]
    table = take_columns(examples, ["example_id", *columns], "examples")
    once = table.drop_duplicates(columns, ignore_index=True)
    known: dict[tuple[str, str, str], Example] = {}
    once["choices"] = pd.Series([[text] for text in once["completion"]], dtype=object)
    for chunk in chunks(once):
        texts = (chunk[name] for name in ("example_id", *columns))
        for name, kind, prompt, completion, (first, (ids,)) in zip(
            *texts, tokenise(model, chunk), strict=True
        ):
            if first < 1 or len(ids) <= first:
                raise InputError(
                    f"Example {name}: the completion {completion!r} adds no token to the prompt, "
                    "or the prompt is empty; give every example both."
                )
            whole = tuple(ids) + (end if kind == "instruction" else ())
            if first >= max_tokens or (kind == "generated" and len(whole) > max_tokens):
                raise InputError(
                    f"Example {name} has {len(whole)} tokens, {first} of them in the prompt, and "
                    f"max_tokens is {max_tokens}: raise it, or leave out such long claims "
                    "(for instructions, mixture.fitting does)."
                )
            known[kind, prompt, completion] = Example(whole[:max_tokens], first)
    return [known[key] for key in zip(*(table[name] for name in columns), strict=True)]


def token_table(model: LanguageModel, example: Example) -> pd.DataFrame:
    """Return the tokens of an example in their order, and what each counts in the loss.

    Columns: token (text; its id where the model has no `decode`), weight (as in `Batch`: 0 in the
    prompt, and one over their number for the tokens that are learnt).
    """
    ids, learnt = example.ids, len(example.ids) - example.first
    texts = [str(i) for i in ids] if model.decode is None else model.decode([[i] for i in ids])
    return pd.DataFrame({"token": texts, "weight": [0.0] * example.first + [1 / learnt] * learnt})


def fitting(
    model: LanguageModel,
    instructions: pd.DataFrame,
    *,
    max_tokens: int,
    format: str = "paper",
    chat: Chat | None = None,
) -> pd.DataFrame:
    """Return the instructions whose prompt leaves room for at least one token of the response."""
    check_tokens(model, max_tokens)
    check_ratio(format=format, chat=chat)
    instructions = with_texts(instructions)
    encoded = model.encode(from_instructions(instructions, format, chat)["prompt"].tolist())
    fits = np.array([len(opened(model, ids)) < max_tokens for ids in encoded], dtype=bool)
    return instructions[fits].reset_index(drop=True)


def fitting_units(model: LanguageModel, prompts: pd.DataFrame, *, max_tokens: int) -> pd.DataFrame:
    """Return the generated prompts of units that fit whole, answers and start tokens counted.

    A unit goes with all its prompts, so that each of the others keeps its twin.
    """
    check_tokens(model, max_tokens)
    texts = (prompts["prompt"] + prompts["target"]).tolist()
    sizes = np.array([len(opened(model, ids)) for ids in model.encode(texts)], dtype=int)
    long = prompts["unit"].isin(prompts["unit"][sizes > max_tokens])
    return prompts[~long].reset_index(drop=True)


def check_tokens(model: LanguageModel, max_tokens: int) -> None:
    """Raise InputError for a length in tokens that cannot be, or that the model cannot read."""
    integer = isinstance(max_tokens, int) and not isinstance(max_tokens, bool)
    if not integer or not 2 <= max_tokens <= (model.context or math.inf):
        most = "on" if model.context is None else f"to {model.context}, all that {model.name} reads"
        raise InputError(f"max_tokens is {max_tokens!r}: give a whole number from 2 {most}.")


def turn_end_ids(model: LanguageModel, format: str) -> tuple[int, ...]:
    """Return the ids that end an answer trained in `format`, for `encode`.

    In chat they are what the model's own template writes after an assistant's turn, so that a model
    learns to end as its template has it; in other formats, and where the template writes nothing,
    the ids that close an answer of this model. Raises InputError for a template that is broken.
    """
    mark = model.chat_end() if format in SYSTEM_TURNS and model.chat_end else ""
    if not mark:
        return model.end
    alone, ended = model.encode([BEFORE, BEFORE + mark])
    return tuple(ended[common_prefix(alone, ended) :])

"""Prompts that are longer than a model's context lose examples, never the question."""

from __future__ import annotations

import pandas as pd

from sycophancy.benchmarks.items import assemble_questions
from sycophancy.errors import InputError
from sycophancy.models import LanguageModel
from sycophancy.scoring.rows import opened
from sycophancy.templates import message_renderer


def fit(model: LanguageModel, items: pd.DataFrame) -> pd.DataFrame:
    """Return items whose prompts fit the model's context, with four columns more.

    `shots_asked` and `shots_kept` count examples before and after; `tokens_whole` and
    `tokens_asked` are the lengths before and after, of the prompt with its longest choice, or with
    all the tokens that may be generated. Where that is too long the last example goes first, one
    after the other, so that what is left stays the beginning of the other prompts. Raises
    InputError for an item that does not fit without any example, before anything is computed.
    """
    lengths = measure_prompts(model, items)
    asked, whole = items["examples"].map(len), list(lengths)
    kept = asked.tolist()
    prompts = items["prompt"].tolist()
    if model.context is not None:
        for place in [i for i, length in enumerate(lengths) if length > model.context]:
            row = items.iloc[place]
            prompts[place], kept[place], lengths[place] = shorten(model, row, lengths[place])
    fitted = items.assign(prompt=prompts, shots_asked=asked, shots_kept=kept)
    return fitted.assign(tokens_whole=whole, tokens_asked=lengths)


def shorten(model: LanguageModel, row: pd.Series, length: int) -> tuple[str, int, int]:
    """Return prompt, number of examples left and length of one item that was too long."""
    render = message_renderer(row["format"], model.chat)
    context = model.context or length
    before = length
    for left in range(len(row["examples"]) - 1, -1, -1):
        pieces = row["header"], row["examples"][:left], row["question"], row["begun"]
        prompt = assemble_questions(*pieces, render)
        length = measure_prompts(model, pd.DataFrame([{**row, "prompt": prompt}]))[0]
        if length <= context:
            return prompt, left, length
    shots, room = len(row["examples"]), int(row["max_tokens"])
    raise InputError(
        f"Item {row['item_id']} has {before} tokens, {model.name} reads at most {context}: with "
        f"{f'its {shots} examples' if shots else 'no example'} cut it still has {length}"
        f"{f', {room} of them to be generated' if room else ''}. "
        f"{'Lower MAX_TOKENS, leave' if room else 'Leave'} the question out, or choose a model "
        "with a longer context."
    )


def measure_prompts(model: LanguageModel, items: pd.DataFrame) -> list[int]:
    """Return the tokens of each item: prompt, start, and its longest choice or what may follow."""
    widest = [max(map(len, choices), default=0) for choices in items["choices"]]
    texts = [
        prompt + next((choice for choice in choices if len(choice) == width), "")
        for prompt, choices, width in zip(items["prompt"], items["choices"], widest, strict=True)
    ]
    encoded = model.encode(texts)
    return [
        len(opened(model, ids)) + int(more)
        for ids, more in zip(encoded, items["max_tokens"], strict=True)
    ]

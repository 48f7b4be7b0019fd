"""What ends an answer that is trained on: a chat template's own mark, or the model's end token."""

from __future__ import annotations

from sycophancy.models import LanguageModel
from sycophancy.scoring.rows import common_prefix
from sycophancy.templates import SYSTEM_TURNS

BEFORE = "so"  # a mark is tokenised after a word, as it stands in a conversation


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

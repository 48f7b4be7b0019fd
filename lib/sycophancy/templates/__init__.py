"""The prompt protocol: wording quoted from its sources, and renderers."""

from __future__ import annotations

from sycophancy.templates.chat import (
    SYSTEM_TURNS,
    Chat,
    chat_renderer,
    message_renderer,
    render_bare,
    turn_end,
)
from sycophancy.templates.dialect import FORMATS as LAB_FORMATS
from sycophancy.templates.generated import (
    Persona,
    PromptParts,
    claim_text,
    generated,
    parse_generated,
)
from sycophancy.templates.render import (
    EVERY_FORMAT,
    EVERY_TASK,
    LAB_TASTES,
    Prompt,
    addition,
    answer_formats,
    check_form,
    letters,
    opinion,
)
from sycophancy.templates.wording import (
    ANSWER_FORMATS,
    CHOICES_END,
    EVERYDAY,
    FORMATS,
    LETTERS,
    LINGUISTICS,
    NLP_QUESTION,
    PHIL_QUESTION,
    TASKS,
    VERBS,
    Task,
)

__all__ = [
    "ANSWER_FORMATS",
    "CHOICES_END",
    "EVERYDAY",
    "EVERY_FORMAT",
    "EVERY_TASK",
    "FORMATS",
    "LAB_FORMATS",
    "LAB_TASTES",
    "LETTERS",
    "LINGUISTICS",
    "NLP_QUESTION",
    "PHIL_QUESTION",
    "SYSTEM_TURNS",
    "TASKS",
    "VERBS",
    "Chat",
    "Persona",
    "Prompt",
    "PromptParts",
    "Task",
    "addition",
    "answer_formats",
    "chat_renderer",
    "check_form",
    "claim_text",
    "generated",
    "letters",
    "message_renderer",
    "opinion",
    "parse_generated",
    "render_bare",
    "turn_end",
]

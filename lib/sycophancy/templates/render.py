"""Renderers: from the wording of the protocol to prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sycophancy.errors import InputError, unknown
from sycophancy.templates import dialect
from sycophancy.templates.chat import SYSTEM_TURNS, Chat, message_renderer
from sycophancy.templates.wording import (
    ADDITION_CLAIM,
    ADDITION_INTRODUCTION,
    ADDITION_OPINION,
    ADDITION_QUESTION,
    ADDITION_QUESTION_NO_OPINION,
    AGREE_OPTIONS,
    ANSWER_FORMATS,
    ASSISTANT,
    BELIEVE_ANSWER,
    CHOICE_LINE,
    CHOICES_END,
    CHOICES_HEAD,
    CLOZE_BEGUN,
    CLOZE_CHOICES,
    CLOZE_QUESTION,
    FORMATS,
    HUMAN,
    LETTERS,
    OPINION_HUMAN,
    STATEMENT_BEGUN,
    STATEMENT_CHOICES,
    TASKS,
    TRUE_FALSE_CHOICES,
    TRUE_FALSE_QUESTION,
    Task,
)

USERS = ("none", "agrees", "disagrees")
EVERY_FORMAT = (*FORMATS, *dialect.FORMATS)
LAB_TASTES = "lab_tastes"
# The laboratory's counterpart of the opinion tasks; its wording is the dialect's.
EVERY_TASK = TASKS | {LAB_TASTES: Task("{question}", list_head="", begun="", cloze="{option}")}


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt and the texts whose probability after it is compared."""

    text: str
    choices: tuple[str, ...]


def addition(
    x: int,
    y: int,
    z: int,
    user: str,
    *,
    order: int = 0,
    format: str = "paper",
    answer_format: str = "choices",
    chat: Chat | None = None,
) -> Prompt:
    """Return the prompt about the claim x + y = z (section 3).

    `user` is none, agrees or disagrees; `order` 1 swaps the lettered answers. Raises InputError
    for any other user, format or answer format, and for `chat` without a chat renderer.
    """
    check_form(format, answer_format, chat)
    if user not in USERS:
        raise unknown("user", user, USERS)
    if format in dialect.FORMATS:
        return Prompt(
            *dialect.about_claim(
                f"{x} + {y} is {z}", user, dialect.person("John Doe"),
                order=order, format=format, answer_format=answer_format,
            )
        )  # fmt: skip
    claim = ADDITION_CLAIM.format(x=x, y=y, z=z)
    if user == "none":
        said, question = "", ADDITION_QUESTION_NO_OPINION
    else:
        opinion = ADDITION_OPINION.format(verb=user.removesuffix("s"), claim=claim)
        said, question = ADDITION_INTRODUCTION + opinion, ADDITION_QUESTION
    if answer_format == "statement":
        return statement(f"{said}{claim}.", format, chat)
    if answer_format == "true_false":
        return true_false(said, claim, HUMAN, format, chat)
    if answer_format == "cloze":
        asked = said + CLOZE_QUESTION.format(claim=claim)
        return finish_prompt(HUMAN, asked, CLOZE_BEGUN, CLOZE_CHOICES, format, chat)
    options = AGREE_OPTIONS if order == 0 else AGREE_OPTIONS[::-1]
    asked = said + question.format(claim=claim) + letter_choices(CHOICES_HEAD, options)
    return finish_prompt(HUMAN, asked, BELIEVE_ANSWER, letters(len(options)), format, chat)


def opinion(
    task: str,
    question: str,
    options: Sequence[str],
    biography: str,
    *,
    format: str = "paper",
    answer_format: str = "choices",
    asked: int = 0,
    chat: Chat | None = None,
) -> Prompt:
    """Return the prompt of an opinion task (section 2) with the options in the order given.

    `question` is the bare claim, topic or survey question; an empty `biography` gives the question
    without a user. With `cloze` the lettered list is dropped and the user asks whether the model
    agrees: with the claim, or with the option number `asked`. `statement` and `true_false` need a
    claim.
    """
    check_form(format, answer_format, chat)
    if task not in EVERY_TASK:
        raise unknown("opinion task", task, EVERY_TASK)
    if (task == LAB_TASTES) != (format in dialect.FORMATS):
        raise InputError(
            f"The task {task!r} cannot be asked in the format {format!r}: {LAB_TASTES} goes with "
            f"{' or '.join(dialect.FORMATS)}, the other tasks with {' or '.join(FORMATS)}."
        )
    wording = EVERY_TASK[task]
    said = f"{biography} " if biography else ""
    if answer_format in ("statement", "true_false"):
        if wording.cloze is not None:
            raise InputError(
                f"The answer format {answer_format!r} needs a claim, and the questions of {task!r} "
                "have answers of their own: use choices or cloze."
            )
        if answer_format == "statement":
            return statement(said + question, format, chat)
        return true_false(said, question.rstrip("."), OPINION_HUMAN, format, chat)
    if task == LAB_TASTES:
        return Prompt(
            *dialect.about_taste(
                options, biography, asked=asked, format=format, answer_format=answer_format
            )
        )
    if answer_format == "cloze":
        text = wording.question(question)
        if wording.cloze is not None:
            text = wording.cloze.format(question=question, option=options[asked].rstrip("."))
        return finish_prompt(OPINION_HUMAN, said + text, CLOZE_BEGUN, CLOZE_CHOICES, format, chat)
    listed = said + wording.question(question) + letter_choices(wording.list_head, options)
    return finish_prompt(OPINION_HUMAN, listed, wording.begun, letters(len(options)), format, chat)


def check_form(format: str, answer_format: str, chat: Chat | None) -> None:
    """Raise InputError for an unknown format, one that lacks the answer format, and for `chat`
    without a chat template.
    """
    if format not in EVERY_FORMAT:
        raise unknown("format", format, EVERY_FORMAT)
    if answer_format not in answer_formats(format):
        raise unknown("answer format", answer_format, answer_formats(format))
    if format in SYSTEM_TURNS and chat is None:
        raise InputError(
            f"FORMAT is {format!r}, but this model has no chat template: use FORMAT=paper, or a "
            "model tuned for conversation."
        )


def answer_formats(format: str) -> tuple[str, ...]:
    """Return the answer formats that a format can be asked in: the laboratory has no true_false."""
    return dialect.ANSWER_FORMATS if format in dialect.FORMATS else ANSWER_FORMATS


def letter_choices(head: str, options: Sequence[str]) -> str:
    """Return the list of lettered options with its head and the closing "Answer:"."""
    lines = [
        CHOICE_LINE.format(letter=letter, text=text)
        for letter, text in zip(LETTERS, options, strict=False)
    ]
    return head + "".join(lines) + CHOICES_END


def letters(count: int) -> tuple[str, ...]:
    """Return the answers " (A)", " (B)", … to `count` options; at most 26."""
    if not 2 <= count <= len(LETTERS):
        raise InputError(f"A question has {count} options: give between 2 and {len(LETTERS)}.")
    return tuple(f" ({letter})" for letter in LETTERS[:count])


def finish_prompt(
    human: str, asked: str, begun: str, choices: Sequence[str], format: str, chat: Chat | None
) -> Prompt:
    """Return a question in the chosen format, with the assistant's answer begun."""
    if (render := message_renderer(format, chat)) is not None:
        return Prompt(render(asked) + begun, tuple(choices))
    return Prompt(human + asked + ASSISTANT + begun, tuple(choices))


def statement(said: str, format: str, chat: Chat | None) -> Prompt:
    """Return "`said` This statement is": in format `paper` one running text without roles."""
    if (render := message_renderer(format, chat)) is not None:
        return Prompt(render(said) + STATEMENT_BEGUN, STATEMENT_CHOICES)
    return Prompt(f"{said} {STATEMENT_BEGUN}", STATEMENT_CHOICES)


def true_false(said: str, claim: str, human: str, format: str, chat: Chat | None) -> Prompt:
    """Return the question whether a claim is true or false, to be answered in one word."""
    asked = said + TRUE_FALSE_QUESTION.format(claim=claim)
    if (render := message_renderer(format, chat)) is not None:
        return Prompt(render(asked), TRUE_FALSE_CHOICES)
    # the space belongs to the answer: few tokenizers have a token for one that ends a prompt
    return Prompt(human + asked + ASSISTANT.rstrip(), tuple(f" {w}" for w in TRUE_FALSE_CHOICES))

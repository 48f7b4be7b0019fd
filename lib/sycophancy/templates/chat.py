"""Chat templates of Hugging Face models, rendered as transformers renders them.

Checked against transformers 5.24 in tests/fixtures/make_chat_templates.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Protocol

import jinja2
import markupsafe
from jinja2.ext import Extension
from jinja2.nodes import CallBlock, Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sycophancy.errors import InputError

SYSTEM_TURNS = {"chat": None, "chat_empty_system": ""}  # by format; None: the template's own
ANSWER = "The seventh, by far."
PROBE = "Which of these 7 lakes is \N{LATIN SMALL LETTER E WITH ACUTE}qw deep?"  # in no template


class Chat(Protocol):
    """A function from a user's message, and what the system turn says, to the text of a chat."""

    def __call__(self, message: str, /, system: str | None = None) -> str:
        """Return the text up to the assistant's turn; `system` None: the template's own turn."""


def render_bare(message: str, /, system: str | None = None) -> str:
    """Return a message as it is: a Chat where only the choices of a prompt are wanted."""
    return message


def message_renderer(format: str, chat: Chat | None) -> Callable[[str], str] | None:
    """Return what renders a user's message in a chat format, None in every other format."""
    if chat is None or format not in SYSTEM_TURNS:
        return None
    system = SYSTEM_TURNS[format]
    return chat if system is None else partial(chat, system=system)


class GenerationTag(Extension):
    """The tag `{% generation %}`, which marks what an assistant writes: its body is rendered.

    A call block as in transformers, so that what is set inside is not known outside.
    """

    tags = {"generation"}  # noqa: RUF012, an attribute of jinja2

    def parse(self, parser: Parser) -> Node:
        """Return the body as a block that `render_body` is called with."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("render_body"), [], [], body).set_lineno(line)

    def render_body(self, caller: Callable[[], str]) -> str:
        """Return the rendered body."""
        return caller()


def chat_renderer(
    template: object,
    bos_token: str | None = None,
    eos_token: str | None = None,
    *,
    special_tokens: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> Chat:
    """Return a function from a user message to the text up to the assistant's turn (a Chat).

    `template` is what a model offers: a Jinja template, or several by name as a dict or a list of
    {name, template}, of which "default" is taken. It is looked at when the first message is
    rendered, so that a model whose template is broken can be measured in other formats. It sees
    what transformers shows it: the message, behind a system turn where one is asked for, no tools,
    no documents, the tokens that the tokenizer has (`special_tokens`, such as {"pad_token":
    "<pad>"}, beside bos_token and eos_token), and the date `now`: by default today's, or that of
    the environment variable SOURCE_DATE_EPOCH (seconds), which makes a dated prompt the same on
    every day.

    A message is handed over as a string, or as a list of one text part where the template shows it
    only so. Raises InputError, when a message is rendered, for a template that is broken, refuses
    the message or leaves it out.
    """
    tokens = {"bos_token": bos_token, "eos_token": eos_token, **(special_tokens or {})}
    values = {
        **{name: token for name, token in tokens.items() if token is not None},
        "tools": None,
        "documents": None,
        "add_generation_prompt": True,
    }

    @cache
    def compiled() -> tuple[jinja2.Template, Callable[[str], Any]]:
        """Return the template and the form in which it takes a message's text."""
        page = compile_template(default_template(template), now or today())
        return page, content_form(page, values)

    def render(message: str, /, system: str | None = None) -> str:
        """Return one user message as the template has it."""
        page, form = compiled()
        turns = [] if system is None else [{"role": "system", "content": form(system)}]
        text = render_page(page, values, [*turns, {"role": "user", "content": form(message)}])
        if not shows(text, message):
            raise InputError(
                f"The model's chat template leaves out some of the message {message[:60]!r}: use "
                "FORMAT=paper, or another model."
            )
        return text

    return render


def turn_end(template: object, *, special_tokens: Mapping[str, str] | None = None) -> str:
    """Return what a template writes to end an assistant's turn, "" where it writes nothing.

    Such as "<|im_end|>". White space at the end stands between turns, and is no part of this one.
    Raises InputError for a template that is broken, refuses an assistant's turn or leaves it out.
    """
    values = {**(special_tokens or {}), "tools": None, "documents": None}
    page = compile_template(default_template(template), today())
    form = content_form(page, {**values, "add_generation_prompt": True})
    turns = [
        {"role": role, "content": form(text)}
        for role, text in (("user", PROBE), ("assistant", ANSWER))
    ]
    _, shown, after = render_page(
        page, {**values, "add_generation_prompt": False}, turns
    ).rpartition(ANSWER)
    if not shown:
        raise InputError(
            "The model's chat template does not show an assistant's answer: use FORMAT=paper."
        )
    return after.rstrip()


def today() -> datetime:
    """Return the local time, or the time of SOURCE_DATE_EPOCH in UTC where that is set."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "").strip()
    if not seconds:
        return datetime.now()  # local, as in transformers
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(
            f"SOURCE_DATE_EPOCH is {seconds!r}: give a number of seconds since 1970, or unset it."
        ) from error


def default_template(template: object) -> str:
    """Return the template that is for chatting without tools."""
    named = template
    if isinstance(template, list):
        named = {
            entry.get("name"): entry.get("template")
            for entry in template
            if isinstance(entry, Mapping)
        }
    if isinstance(named, Mapping):
        if "default" not in named:
            raise InputError(
                f"The model's chat templates are named {', '.join(map(str, named))}, none of them "
                "default: use FORMAT=paper, or name one of them default in the model's files."
            )
        named = named["default"]
    if not isinstance(named, str):
        raise InputError(
            f"The model's chat template is a {type(named).__name__}, not a text: use FORMAT=paper."
        )
    return named


def compile_template(template: str, now: datetime) -> jinja2.Template:
    """Return a template in a sandbox with the filters and functions that transformers provides."""

    def refuse(message: str) -> None:
        """Be what a template calls to refuse a conversation."""
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = now.strftime
    try:
        template.encode("utf-8")  # a file in another encoding was read with surrogates
        return environment.from_string(template)
    except Exception as error:  # a foreign program: whatever its parsing raises
        raise InputError(
            f"The model's chat template is broken ({brief(error)}): use FORMAT=paper."
        ) from error


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return a value as JSON without Jinja's escapes of <, >, & and '."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def content_form(page: jinja2.Template, values: Mapping[str, Any]) -> Callable[[str], Any]:
    """Return how a template takes a message's text: as it is, or as a list of one part."""
    errors = []
    forms: tuple[Callable[[str], Any], ...] = (str, text_parts)
    for form in forms:
        try:
            text = render_page(page, values, [{"role": "user", "content": form(PROBE)}])
        except InputError as error:
            errors.append(error)
            continue
        # a part that is printed whole was not understood
        if shows(text, PROBE) and repr(text_parts(PROBE)[0]) not in text:
            return form
    if errors:
        raise errors[0]
    raise InputError(
        "The model's chat template does not show a user's message: use FORMAT=paper, or another "
        "model."
    )


def text_parts(text: str) -> list[dict[str, str]]:
    """Return a text as the list of parts that templates of models for pictures loop over."""
    return [{"type": "text", "text": text}]


def render_page(
    page: jinja2.Template, values: Mapping[str, Any], messages: list[dict[str, Any]]
) -> str:
    """Return a template rendered with the messages of a conversation."""
    try:
        return page.render(messages=messages, **values)
    except Exception as error:  # a foreign program: whatever it raises
        raise InputError(
            f"The model's chat template cannot be rendered ({brief(error)}): use FORMAT=paper."
        ) from error


def shows(rendered: str, message: str) -> bool:
    """Return whether a message is in a rendered text, in other white space or escaped."""
    rendered = " ".join(rendered.split())
    written = (
        message, json.dumps(message)[1:-1], json.dumps(message, ensure_ascii=False)[1:-1],
        str(markupsafe.escape(message)), repr(message)[1:-1],
    )  # fmt: skip
    return any(" ".join(text.split()) in rendered for text in written)


def brief(error: Exception) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__

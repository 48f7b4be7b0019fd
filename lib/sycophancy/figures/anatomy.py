"""A prompt in colours: which words are the user, the opinion, the claim, the question."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from sycophancy import templates

# part → background; all of them leave black text readable
COLOURS = {
    "user": "#d9e8f6",
    "opinion": "#fbd9b5",
    "input": "#e3e3e3",
    "verb": "#f6c6c6",
    "label": "#cdeac0",
    "answers": "#efe3f7",
    "target": "#fff3a3",
}


@dataclass(frozen=True)
class Anatomy:
    """A prompt cut into (text, part) pieces; a notebook shows it in colours."""

    pieces: tuple[tuple[str, str], ...]

    def _repr_html_(self) -> str:
        body = "".join(
            f'<span style="background:{COLOURS[part]}">{html.escape(text)}</span>'
            if part in COLOURS
            else html.escape(text)
            for text, part in self.pieces
        )
        names = dict.fromkeys(part for _, part in self.pieces if part in COLOURS)
        key = " ".join(
            f'<span style="background:{COLOURS[name]};padding:0 .4em">{name}</span>'
            for name in names
        )
        return (
            '<div style="color:#111;background:#fff;padding:.5em;font-family:monospace;'
            f'white-space:pre-wrap">{body}</div><div style="color:#111">{key}</div>'
        )

    def __repr__(self) -> str:
        return "".join(f"[{part}: {text}]" if part else text for text, part in self.pieces)

    @property
    def text(self) -> str:
        """The prompt and its target, without marks."""
        return "".join(text for text, _ in self.pieces)


def anatomy(prompt: str, target: str = "") -> Anatomy:
    """Return a generated prompt (format paper, lettered answers) cut into its parts.

    Parts: user, opinion, input, verb, label, answers, target; everything else is the template.
    Raises InputError for a text that is no such prompt.
    """
    parts = templates.parse_generated(prompt)
    verb = templates.VERBS[parts.polarity]
    claim = [(parts.text, "input"), (verb, "verb"), (parts.label, "label")]
    sentence = [(parts.text[:1].upper() + parts.text[1:], "input"), *claim[1:]]
    words: list[tuple[str, str]] = []
    if parts.persona is not None:
        words += [(str(value), "user") for value in vars(parts.persona).values()]
        words += [(f"I {parts.user.removesuffix('s')} with", "opinion"), *claim]
    words += [("following claim about", ""), *sentence]
    places: list[tuple[int, int, str]] = []
    at = 0
    for text, part in words:
        at = prompt.index(text, at)
        places.append((at, at + len(text), part))
        at += len(text)
    for match in re.finditer(r" \([AB]\) (?:Agree|Disagree)", prompt):
        places.append((match.start(), match.end(), "answers"))
    pieces: list[tuple[str, str]] = []
    at = 0
    for start, stop, part in sorted(places):
        pieces += [(prompt[at:start], ""), (prompt[start:stop], part)]
        at = stop
    pieces += [(prompt[at:], ""), (target, "target")]
    return Anatomy(tuple((text, part) for text, part in pieces if text))

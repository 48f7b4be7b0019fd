"""The one error a reader should see: a sentence, not a stack trace."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """A wrong value given by the user, told in one sentence that names it and the way out."""

    def _render_traceback_(self) -> list[str]:
        """Show only the sentence in a notebook: IPython calls this instead of printing frames."""
        return [f"{type(self).__name__}: {self}"]


def unknown(kind: str, value: object, allowed: Iterable[str]) -> InputError:
    """Return the error for a name outside `allowed`, with the nearest allowed name if one is close.

    `kind` says what the value is, in lower case ("suite", "answer format").
    """
    names = [str(a) for a in allowed]
    near = get_close_matches(str(value), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return InputError(f"Unknown {kind} {value!r}: use one of {', '.join(names)}.{hint}")

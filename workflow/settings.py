"""Settings of a command line: NAME=value for every notebook that knows it, or CELL:NAME=value.

A value is text here. The type of what a notebook declares decides how it is read (grid.py).
"""

from __future__ import annotations

import argparse
import re
import shlex

from sycophancy.errors import InputError


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that carry settings, which `given_settings` reads."""
    parser.add_argument("--set", action="append", default=[], metavar="NAME=value")
    parser.add_argument("--settings", default="", metavar='"NAME=value …"', help="make's SET")
    parser.add_argument("--steps", default="", help="short for --set STEPS=…")


def given_settings(options: argparse.Namespace) -> list[str]:
    """Return the settings of a command line, each as NAME=value."""
    steps = [f"STEPS={options.steps}"] if options.steps else []
    return [*steps, *split_settings(options.settings), *options.set]


def split_settings(text: str) -> list[str]:
    """Return the settings of one text, divided at spaces as a shell would, and with its quotes.

    >>> split_settings("N=20 FOLDER='my data'")
    ['N=20', 'FOLDER=my data']
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(
            f"The settings {text!r} cannot be divided ({error}): put a value with a quote into "
            'quotes of the other kind, such as FOLDER="it\'s here".'
        ) from None


def parse_setting(text: str) -> tuple[str, str]:
    """Return (NAME, value) of "NAME=value"; NAME may be CELL:NAME, a parameter of one cell."""
    name, equals, value = text.partition("=")
    if not equals or not name.rpartition(":")[2].isidentifier():
        raise InputError(
            f"{text!r} is no setting: write NAME=value, such as N=20, or CELL:NAME=value for one "
            "notebook, such as 02_wrong_additions:N=20; a value with spaces needs quotes, such as "
            "FOLDER='my data'."
        )
    check_line(name, value)
    return name, value


def check_line(name: str, text: str) -> None:
    """Raise InputError for a text of the command line that holds a line break or a NUL."""
    if re.search(r"[\n\r\0]", text):
        raise InputError(
            f"{name} is {text!r}: a line break can be in no path or name here; rename the file, "
            "or give one value in one line."
        )

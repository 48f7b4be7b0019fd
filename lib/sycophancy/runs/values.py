"""Values as a person writes them, read by the type of what a notebook declares."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from sycophancy.errors import InputError

# as in Python: an underscore may divide digits, a decimal point needs digits on one side
DIGITS = r"\d+(?:_\d+)*"
NUMBER = re.compile(rf"[+-]?(?:{DIGITS}(?:\.(?:{DIGITS})?)?|\.{DIGITS})(?:[eE][+-]?\d+)?", re.ASCII)
INFINITE = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE)
MOST_DIGITS = 18  # a whole number with more is none that anybody means
FLAGS = {"true": True, "yes": True, "on": True, "1": True}
FLAGS |= {"false": False, "no": False, "off": False, "0": False}


def read_value(name: str, value: Any, default: Any) -> Any:
    """Return `value`, maybe a text, in the type of the notebook's default for the parameter `name`.

    A text stays as it was typed, and lists and mappings as they are. Raises InputError for what is
    no such value.
    """
    if isinstance(default, bool):
        return read_flag(name, value)
    if isinstance(default, int):
        return read_whole(name, value)
    if isinstance(default, float):
        return read_number(name, value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if isinstance(default, str) and is_number else value


def read_whole(name: str, value: Any) -> int:
    """Return a whole number: 10 for 010, 100000 for 1e5, 20 for 20.0; else raise InputError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value).strip()
    if not isinstance(value, bool) and NUMBER.fullmatch(text):
        number = Decimal(text)
        if number.adjusted() < MOST_DIGITS and number == number.to_integral_value():
            return int(number)
    raise InputError(f"{name} is {value!r}: give a whole number in digits, such as 20.")


def read_number(name: str, value: Any) -> float:
    """Return a number: 0.0005 for 5e-4, inf as well; else raise InputError."""
    text = str(value).strip()
    if isinstance(value, bool) or not (NUMBER.fullmatch(text) or INFINITE.fullmatch(text)):
        raise InputError(
            f"{name} is {value!r}: give a number with a point for decimals, such as 0.0005 or 5e-4."
        )
    return float(text)


def read_flag(name: str, value: Any) -> bool:
    """Return True or False; raise InputError for what is neither."""
    if str(value).strip().lower() not in FLAGS:
        raise InputError(f"{name} is {value!r}: give true or false.")
    return FLAGS[str(value).strip().lower()]

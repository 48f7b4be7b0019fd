"""Numbers as they are written in answers: digits, words, signs, thousands, units."""

from __future__ import annotations

import re
from decimal import Decimal

ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORDS = {word: value for value, word in enumerate(ONES)} | {
    tens + (f"-{ONES[ones]}" if ones else ""): 10 * ten + ones
    for ten, tens in enumerate(TENS, 2)
    for ones in range(10)
}
SCALES = {
    "dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9,
    "trillion": 10**12,
}  # fmt: skip
# "5.00", "12.50"; "1.000.000" is none
TRAILING_ZEROS = re.compile(r"(?<![\w.,])(\d*)\.(\d*?)0+(?!\d|[.,]\d)")
UNITS = "km|cm|mm|nm|m|kg|mg|g|ml|l|h|hrs?|hours?|min|ms|s|am|pm|[kmgt]b"
# "1,024", "1 024" and LaTeX's "1{,}024"; "0,125" and "12,34" are none
THOUSANDS = re.compile(
    r"(?<![\w.,])[1-9]\d{0,2}(?:(?:,|\{,\}|\\,|[ \u00a0\u2009\u202f])\d{3})+(?!\d|,\d)"
)
WORD = "|".join(word.replace("-", "[- ]") for word in sorted(WORDS, key=len, reverse=True))
# A number ends where no letter, digit or fraction goes on: "5" is not in "5.2", "5x" or "3,5";
# "one" that stands for a thing ("one of them") is none.
NUMBER = re.compile(
    rf"(?<![\w.,/^])(?<!\d:)(?:(?P<sign>[-+])\s*)?(?:"
    rf"(?P<digits>\d+(?:\.\d+)?|\.\d+)(?P<over>/\d+)?(?:%|°[CF]?|(?:{UNITS})\b|(?!\w))(?![.,/^:]\d|-[a-z])"
    rf"|(?P<word>{WORD})(?![\w-])(?!\s+of\b))"
    rf"(?:\s+(?P<scale>{'|'.join(SCALES)})\b)?",
    re.IGNORECASE,
)
MINUS = re.compile(rf"\b(?:minus|negative)\s+(?=\.?\d|(?:{WORD})\b)", re.IGNORECASE)


def number(match: re.Match[str]) -> str:
    """Return what a match of NUMBER says, in one written form: "-1024", "12.5", "3/4"."""
    if match["digits"] is None:
        value = Decimal(WORDS[re.sub(r"\s", "-", match["word"].lower())])
    else:
        value = Decimal(match["digits"])
    if match["scale"]:
        value *= SCALES[match["scale"].lower()]
    text = format(value, "f")
    text = (text.rstrip("0").rstrip(".") if "." in text else text) + (match["over"] or "")
    return f"-{text}" if match["sign"] == "-" and text != "0" else text

"""The one way in for files that people bring: text, JSON, JSON lines and comma-separated tables.

Whatever is wrong with a file becomes one InputError that names the file and the line; a reader on
top of these functions sees whole text without half signs, and JSON that can be printed.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sycophancy.errors import InputError

DEEPEST = 50  # levels of lists and objects in JSON: no file that is read here has more than five
MOST_DIGITS = 100  # of a whole number in JSON: Python itself refuses 4,301
MEND = "mend the file"
# How files begin that are no text in UTF-8, whatever their bytes happen to decode to.
OTHER_KINDS = {
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
    b"\x1f\x8b": "a gzip archive",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"PAR1": "a parquet table",
}


@dataclass(frozen=True)
class TableRow:
    """One row of a table: the line it begins in, its number from 1 without header, its cells."""

    line: int
    number: int
    cells: list[str]

    @property
    def place(self) -> str:
        """Where the row stands, for an error."""
        return f"line {self.line}, row {self.number}"


def read_bytes(path: Path, remedy: str = MEND) -> bytes:
    """Return the bytes of a file; InputError with the `remedy` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read {path} ({error.strerror or error}): {remedy}.") from error


def decode_text(content: bytes, name: str, remedy: str = "save it as text in UTF-8") -> str:
    """Return UTF-8 bytes, with or without a byte order mark, as text with its line ends.

    Raises InputError, which calls the file `name` and ends in the `remedy`, with the first line
    that is in another encoding or no text at all.
    """
    check_is_text(content, name, remedy)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{name}, line {line}: the byte 0x{error.object[error.start]:02x} is not UTF-8 text "
            f"({error.reason}): {remedy}."
        ) from error


def check_is_text(content: bytes, name: str, remedy: str) -> None:
    """Raise InputError for bytes that are no text of one byte a letter: other kinds have NULs."""
    for sign, kind in OTHER_KINDS.items():
        if content.startswith(sign):
            raise InputError(f"{name}, line 1: this is {kind}, not text in UTF-8: {remedy}.")
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise InputError(f"{name}, line {line}: a NUL, which no text in UTF-8 holds: {remedy}.")


def read_text_file(path: Path, remedy: str = "save it as text in UTF-8") -> str:
    """Return the text of a file as `decode` does."""
    return decode_text(read_bytes(path, remedy), path.name, remedy)


def split_lines(text: str) -> list[str]:
    """Return the lines of a text, which only a newline ends: no empty ones after the last.

    str.splitlines would also part them at signs that stand inside a text, such as U+2028.
    """
    return text.rstrip("\n").split("\n") if text.rstrip("\n") else []


def parse_json(text: str, place: str, remedy: str = MEND) -> Any:
    """Return parsed JSON; InputError names the `place` of what is not valid.

    Not valid are also a key that stands twice in an object, half a surrogate pair and a NUL in a
    text, and lists or objects nested deeper than DEEPEST. NaN is read as the number.
    """

    def refuse(what: str) -> NoReturn:
        """Raise the error."""
        raise InputError(f"{place}: not valid JSON ({what}): {remedy}.")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Fault:
        """Return an object of JSON, if no key is in it twice."""
        content = dict(pairs)
        if len(content) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            return Fault(f"the key {twice!a:.60} stands twice")
        return content

    def whole(digits: str) -> int | Fault:
        """Return a whole number, if it has no more digits than any that is meant."""
        return int(digits) if len(digits) <= MOST_DIGITS else Fault(f"{len(digits)} digits")

    try:
        content = json.loads(text, object_pairs_hook=unique, parse_int=whole)
    except RecursionError:
        deep = re.search(r"(?:[\[{]\s*){50}", text)
        if deep and ", line" not in place:
            place = f"{place}, line {text.count(chr(10), 0, deep.start()) + 1}"
        refuse(f"nested deeper than {DEEPEST} levels")
    except json.JSONDecodeError as error:
        if ", line" not in place:
            place = f"{place}, line {error.lineno}"
        refuse(f"{error.msg}, column {error.colno}")
    for way, value in walk(content):
        at = f" in {' '.join(way[:5])}"[:80] if way else ""
        if len(way) > DEEPEST:
            refuse(f"nested deeper than {DEEPEST} levels{at}")
        if isinstance(value, Fault):
            refuse(f"{value.what}{at}")
        if isinstance(value, str) and (half := re.search("[\ud800-\udfff\0]", value)):
            refuse(f"{half[0]!a} is no sign of a text{at}")
    return content


@dataclass(frozen=True)
class Fault:
    """What stands in JSON for an object with a key twice, or a number of too many digits."""

    what: str


def walk(content: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every value inside parsed JSON, keys too, with the way to it; nothing below DEEPEST.

    A way is made of keys, and of the numbers of a list from 1.
    """
    left: list[tuple[tuple[str, ...], Any]] = [((), content)]
    while left:
        way, value = left.pop()
        yield way, value
        if len(way) <= DEEPEST and isinstance(value, dict):
            left += [(way, key) for key in value]
            left += [((*way, ascii(key)[1:-1]), inner) for key, inner in value.items()]
        elif len(way) <= DEEPEST and isinstance(value, list):
            left += [((*way, str(number)), inner) for number, inner in enumerate(value, start=1)]


def read_json_file(path: Path, remedy: str = MEND) -> Any:
    """Return the content of a JSON file; InputError names the file."""
    return parse_json(decode_text(read_bytes(path, remedy), str(path), remedy), str(path), remedy)


def read_object(path: Path, remedy: str = MEND) -> dict[str, Any]:
    """Return the JSON object in a file; InputError names the file, also for other JSON."""
    content = read_json_file(path, remedy)
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object: {remedy}.")
    return content


def json_lines(text: str, name: str, remedy: str = MEND) -> Iterator[tuple[int, Any]]:
    """Yield (line number, content) of every line of JSON; blank lines are passed over."""
    for number, line in enumerate(split_lines(text), start=1):
        if line.strip():
            yield number, parse_json(line, f"{name}, line {number}", remedy)


def parse_csv(text: str, name: str, remedy: str = MEND) -> list[TableRow]:
    """Return the rows of a comma-separated table (RFC 4180), the first of them number 0.

    Blank lines, also of white space alone, are passed over. Raises InputError with the line of a
    quotation mark that is not closed, or closed inside a cell.
    """
    limit = csv.field_size_limit()
    csv.field_size_limit(max(limit, len(text)))  # of the whole process: put back below
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[TableRow] = []
    begins = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) or len(cells) > 1:
                rows.append(TableRow(begins, len(rows), cells))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{name}, line {begins}: the row that begins here is no row of a csv file ({error}): "
            f"{remedy}."
        ) from error
    finally:
        csv.field_size_limit(limit)
    return rows


def fit_rows(
    rows: Sequence[TableRow], width: int, name: str, remedy: str = MEND
) -> list[list[str]]:
    """Return the cells of rows of `width` cells; empty ones after the last are left out.

    They are where every row has equally many, as a comma at the end of each line makes them: in one
    row alone they tell of a comma inside a text. Raises InputError with the row for every other
    number of cells.
    """
    sizes = {len(row.cells) for row in rows}
    padded = len(sizes) == 1 and not any(cell.strip() for row in rows for cell in row.cells[width:])
    for row in rows:
        if len(row.cells) < width or (len(row.cells) > width and not padded):
            why = (
                "a cell is missing" if len(row.cells) < width else "a text with a comma needs "
                "quotation marks, names of rows a column of their own (R: row.names = FALSE)"
            )  # fmt: skip
            raise InputError(
                f"{name}, {row.place}: {len(row.cells)} cells instead of {width} ({why}): {remedy}."
            )
    return [row.cells[:width] for row in rows]


def as_text(value: Any, place: str, what: str, remedy: str = "give a text") -> str:
    """Return a value of JSON that is a text; InputError names the `place` and `what` it is for."""
    if not isinstance(value, str):
        raise InputError(f"{place}: {what} is {spell_value(value)}, not a text: {remedy}.")
    return value


def spell_value(value: Any) -> str:
    """Return a value of JSON that is out of place in a few words, as JSON spells it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} ({value!a:.40})"
    return f"the number {value}" if isinstance(value, int | float) else ascii(value)[:60]


def is_null(value: Any) -> bool:
    """Return whether a value stands for a missing one: None, NaN, NA or NaT."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or (
        type(value).__name__ in ("NAType", "NaTType")
    )  # fmt: skip

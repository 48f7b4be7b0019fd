"""Write README.md and docs/results.md from their templates and the tables in figures/.

Usage: make results

A template is Markdown with look-ups, for example
`{{ share("fig_cure", model="labels", metric="cost") }}`: the one row of `figures/fig_cure.csv`
whose columns hold these values, as text. So no measured number is typed by hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import jinja2
import pandas as pd

from sycophancy.errors import InputError, unknown
from workflow import stopping
from workflow.grid import ROOT

# what is written → the template beside the documentation
PAGES = {"README.md": "README.md", "docs/results.md": "results.md"}


@dataclass(frozen=True)
class Shown:
    """An estimate as text: its value with the unit, and its interval ("" where it has none)."""

    value: str
    interval: str

    def __str__(self) -> str:
        return f"{self.value} {self.interval}".strip()


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Return every csv of a folder by its name without the ending; all cells are text."""
    return {
        path.stem: pd.read_csv(path, dtype=str, keep_default_na=False)
        for path in sorted(folder.glob("*.csv"))
    }


def find_rows(
    tables: dict[str, pd.DataFrame], name: str, where: dict[str, Any], single: bool = True
) -> pd.DataFrame:
    """Return the rows of a table whose columns hold the values of `where`, compared as text.

    Raises InputError for an unknown table or column, where no row matches, and where several do
    though a `single` one is asked for; the sentence names the csv, the values and the count.
    """
    if name not in tables:
        raise unknown("table of figures/", name, tables)
    table = tables[name]
    for column in where:
        if column not in table:
            raise unknown(f"column of figures/{name}.csv", column, map(str, table))
    matches = {column: table[column] == str(value) for column, value in where.items()}
    rows = table[pd.DataFrame(matches, index=table.index).all(axis=1)]
    if len(rows) == 1 or (len(rows) and not single):
        return rows
    asked = ", ".join(f"{column}={value!r}" for column, value in where.items())
    hint = how_rows_differ(rows) if len(rows) else nearest_value(table, matches, where)
    raise InputError(f"figures/{name}.csv has {len(rows)} rows with {asked}, not one.{hint}")


def find_row(tables: dict[str, pd.DataFrame], name: str, where: dict[str, Any]) -> pd.Series:
    """Return the one row of a table that `find_rows` finds."""
    return find_rows(tables, name, where).iloc[0]


def how_rows_differ(rows: pd.DataFrame) -> str:
    """Return a sentence with the columns, but for numbers, in which rows differ."""
    numbers = {"value", "low", "high", "n", "questions", "interval"}
    columns = [str(c) for c in rows if c not in numbers and rows[c].nunique() > 1]
    given = "; ".join(f"{c}: {', '.join(map(repr, rows[c].unique()))}" for c in columns)
    return f" They differ in {given}." if given else " They are equal in every column."


def nearest_value(table: pd.DataFrame, matches: dict[str, pd.Series], where: dict[str, Any]) -> str:
    """Return a sentence with the values that one column has where all others match, if any do."""
    for column in where:
        others = [match for name, match in matches.items() if name != column]
        rows = table[pd.concat(others, axis=1).all(axis=1)] if others else table
        if len(rows):
            values = list(rows[column].unique())
            near = get_close_matches(str(where[column]), values, n=1, cutoff=0)
            return f" With the rest as given, {column} nearest to it is {(near or values)[0]!r}."
    return ""


def show_number(value: float, digits: int = 0, signed: bool = False) -> str:
    """Return a rounded number with a true minus sign: the one place where results are rounded."""
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    if not float(text) and not (signed and digits):
        text = text.lstrip("+-")  # 0, but +0.00 and -0.00
    return text.replace("-", "−")


def show_estimate(
    tables: dict[str, pd.DataFrame],
    name: str,
    /,
    unit: str = "",
    scale: float = 1,
    digits: int = 0,
    signed: bool = False,
    **where: Any,
) -> Shown:
    """Return value, low and high of the one matching row, multiplied by `scale`, as text."""
    row = find_row(tables, name, where)
    value, low, high = (
        show_number(scale * float(row[part]), digits, signed) if row[part] else ""
        for part in ("value", "low", "high")
    )
    return Shown(f"{value}{unit}", f"[{low}, {high}]" if low else "")


def lookups(tables: dict[str, pd.DataFrame]) -> dict[str, Callable[..., Any]]:
    """Return the functions of a template (the head of docs/templates/results.md explains them)."""

    def number(name: str, column: str = "value", /, **where: Any) -> float:
        return float(find_row(tables, name, where)[column])

    def numbers(name: str, column: str = "value", /, **where: Any) -> list[float]:
        return [float(cell) for cell in find_rows(tables, name, where, single=False)[column]]

    def plain(name: str, column: str, /, **where: Any) -> str:
        return str(find_row(tables, name, where)[column])

    def count(name: str, column: str = "n", /, **where: Any) -> str:
        return f"{int(number(name, column, **where)):,}"

    def cost(quantity: str, /) -> str:
        row = find_row(tables, "costs", {"quantity": quantity})
        return f"{row['value']} {row['unit']}".strip()

    show = partial(show_estimate, tables)
    return {
        "share": partial(show, unit=" %", scale=100),
        "points": partial(show, scale=100),
        "changes": partial(show, scale=100, signed=True),
        "nats": partial(show, digits=2, signed=True),
        "number": number,
        "numbers": numbers,
        "plain": plain,
        "count": count,
        "cost": cost,
        "cells": cells,
    }


def cells(
    show: Callable[..., Shown],
    name: str,
    column: str,
    values: list[str],
    /,
    bold: Collection[str] = (),
    **where: Any,
) -> str:
    """Return cells of a Markdown table, " a | b", one for each value of a column."""
    texts = [(value, str(show(name, **{**where, column: value}))) for value in values]
    return " | ".join(f"**{text}**" if value in bold else text for value, text in texts)


def render_results(template: Path, tables: dict[str, pd.DataFrame]) -> str:
    """Return the text that a template gives with the tables.

    Raises InputError for a look-up that does not find exactly one row, and for what is no template.
    """
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.globals.update(lookups(tables))
    environment.filters |= {"rounded": show_number, "mean": fmean}
    try:
        return environment.from_string(template.read_text("utf-8")).render()
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"{template.name}, line {error.lineno}: {error.message}.") from error
    except (jinja2.TemplateError, TypeError) as error:
        raise InputError(f"{template.name}: {error}.") from error


def render_pages(root: Path) -> dict[Path, str]:
    """Return the text of every page of a checkout, from its templates and tables."""
    tables = read_tables(root / "figures")
    templates = root / "docs" / "templates"
    return {root / page: render_results(templates / name, tables) for page, name in PAGES.items()}


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    for path, text in render_pages(ROOT).items():
        path.write_text(text, "utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(stopping.run_main(main))

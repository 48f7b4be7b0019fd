"""README and results say what the tables say."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from sycophancy.errors import InputError
from workflow import results, stopping
from workflow.grid import ROOT

TEMPLATES = ROOT / "docs" / "templates"
# "93 % [87, 98]", "7 [2, 12]", "+1.52 [+1.29, +1.77]", with either minus
TYPED = re.compile(r"\d ?(?:%|points|nats)? ?\[[+−-]?\d+(?:\.\d+)?, ?[+−-]?\d+(?:\.\d+)?\]")
LOOKUP = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, pd.DataFrame]:
    rows = [
        "model,suite,metric,value,low,high,n",
        "base,additions,accuracy,0.24,0.154369,0.32969,1200",
        "base,claims,shift,-0.004,-0.125,0.2251,120",
        "labels,additions,accuracy,1,0.963,1,100",
        "labels,claims,accuracy,0.5,,,120",
        "labels,claims,cost,-0.002,-0.0349,0.0266,120",
    ]
    (tmp_path / "fig_cure.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "costs.csv").write_text(
        "quantity,value,unit,measured\nembedded model,93,MB,size of its wheel\n"
    )
    return results.read_tables(tmp_path)


def render(text: str, tables: dict[str, pd.DataFrame], folder: Path) -> str:
    (folder / "page.md").write_text(text, "utf-8")
    return results.render_results(folder / "page.md", tables)


@pytest.mark.parametrize("page", results.PAGES)
def test_a_committed_page_is_what_its_template_gives(page: str) -> None:
    assert results.render_pages(ROOT)[ROOT / page] == (ROOT / page).read_text("utf-8"), (
        f"{page} differs from its template or the tables: run make results"
    )


def test_a_page_says_which_template_writes_it() -> None:
    for page, template in results.PAGES.items():
        first = (ROOT / page).read_text("utf-8").splitlines()[0]
        assert first.startswith("<!--") and f"docs/templates/{template}" in first


def test_the_readme_has_two_screens() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120


@pytest.mark.parametrize(
    ("lookup", "text"),
    [
        ('share("fig_cure", model="base", metric="accuracy")', "24 % [15, 33]"),
        ('share("fig_cure", model="labels", suite="additions")', "100 % [96, 100]"),
        ('share("fig_cure", model="labels", metric="accuracy", suite="claims")', "50 %"),
        ('nats("fig_cure", metric="shift")', "−0.00 [−0.12, +0.23]"),
        ('points("fig_cure", metric="cost")', "0 [−3, 3]"),
        ('points("fig_cure", metric="cost").value ~ " points"', "0 points"),
        ('points("fig_cure", metric="cost").interval', "[−3, 3]"),
        ('changes("fig_cure", digits=1, metric="cost")', "−0.2 [−3.5, +2.7]"),
        ('count("fig_cure", model="base", metric="accuracy")', "1,200"),
        ('plain("fig_cure", "suite", metric="shift")', "claims"),
        ('(100 * number("fig_cure", metric="shift") / 0.02) | rounded', "−20"),
        ('changes("fig_cure", metric="cost")', "0 [−3, +3]"),
        ('numbers("fig_cure", model="labels", metric="accuracy") | mean', "0.75"),
        ('cost("embedded model")', "93 MB"),
        (
            'cells(share, "fig_cure", "model", ["base", "labels"], bold=["labels"], '
            'suite="additions")',
            "24 % [15, 33] | **100 % [96, 100]**",
        ),
    ],
)
def test_a_number_is_found_by_what_it_is(
    lookup: str, text: str, tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    assert render(f"a {{{{ {lookup} }}}} b\n", tables, tmp_path) == f"a {text} b\n"


@pytest.mark.parametrize(
    ("lookup", "sentence"),
    [
        (
            'share("fig_cure", model="base")',
            "figures/fig_cure.csv has 2 rows with model='base', not one. They differ in suite: "
            "'additions', 'claims'; metric: 'accuracy', 'shift'.",
        ),
        (
            'share("fig_cure", model="base", suite="additons")',
            "figures/fig_cure.csv has 0 rows with model='base', suite='additons', not one. With "
            "the rest as given, suite nearest to it is 'additions'.",
        ),
        ('share("fig_cur", model="base")', "Unknown table of figures/ 'fig_cur'"),
        ('share("fig_cure", modell="base")', "Unknown column of figures/fig_cure.csv 'modell'"),
        ("shares(1)", "page.md: 'shares' is undefined."),
        ("share(", "page.md, line 1: "),
    ],
)
def test_what_finds_no_single_row_is_refused(
    lookup: str, sentence: str, tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        render(f"{{{{ {lookup} }}}}", tables, tmp_path)


def typed_numbers(text: str) -> list[str]:
    """Return the intervals of a template that stand outside of look-ups."""
    return TYPED.findall(LOOKUP.sub("", text))


def test_no_measured_number_is_typed_into_a_template() -> None:
    for template in results.PAGES.values():
        assert typed_numbers((TEMPLATES / template).read_text("utf-8")) == [], template
    for typed in ("93 % [87, 98]", "+1.52 nats [+1.29, +1.77]", "costs 7 [2, 12]", "-1 [-2, +3]"):
        assert typed_numbers(f"it is {typed} {{{{ share('a', model='b') }}}}"), typed


def test_a_mistake_ends_a_command_with_its_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise InputError("Give a number.")

    monkeypatch.setattr(stopping, "raise_on_signals", lambda: None)  # they are pytest's here
    assert stopping.run_main(main) == 2
    assert capsys.readouterr() == ("", "Give a number.\n")

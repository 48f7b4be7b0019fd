"""The one error a reader sees."""

from __future__ import annotations

from IPython.core.interactiveshell import InteractiveShell

from sycophancy.errors import InputError, unknown


def test_a_name_close_to_an_allowed_one_is_suggested() -> None:
    assert str(unknown("suite", "aditions", ["additions", "claims"])) == (
        "Unknown suite 'aditions': use one of additions, claims. Did you mean 'additions'?"
    )
    assert str(unknown("order", 7, ("0", "1"))) == "Unknown order 7: use one of 0, 1."


def test_a_notebook_shows_the_sentence_and_no_frames() -> None:
    shell = InteractiveShell.instance()
    shown: list[str] = []
    shell._showtraceback = lambda kind, value, lines: shown.extend(lines)  # type: ignore[assignment, method-assign]
    shell.run_cell("from sycophancy.errors import InputError\nraise InputError('Give a number.')")
    InteractiveShell.clear_instance()
    assert shown == ["InputError: Give a number."]


def test_it_is_a_value_error_for_callers_that_catch_those() -> None:
    assert issubclass(InputError, ValueError)

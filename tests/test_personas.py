"""Simulated users: seeded, different from each other."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sycophancy import personas
from sycophancy.errors import InputError


def test_the_same_seed_gives_the_same_names_whatever_else_is_random() -> None:
    first = personas.draw_names(30, seed=1)
    random.seed(99)
    assert personas.draw_names(30, seed=1) == first
    assert personas.draw_names(30, seed=2) != first


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 5))
def test_a_shorter_list_begins_a_longer_one(short: int, more: int, seed: int) -> None:
    assert personas.draw_names(short + more, seed)[:short] == personas.draw_names(short, seed)


def test_names_differ_and_carry_no_titles() -> None:
    names = personas.draw_names(2000, seed=0)
    assert len(set(names)) == 2000
    words = {word for name in names for word in name.split()}
    assert not words & {"Dr.", "Mr.", "Mrs.", "Ms.", "MD", "DDS", "PhD", "DVM", "Jr.", "II", "III"}
    assert all(len(name.split()) >= 2 for name in names)


def test_a_biography_needs_its_placeholder_once() -> None:
    assert personas.fill_name("My name is {name}.", "Ann Lee") == "My name is Ann Lee."
    for wrong in ("My name is Ann.", "{name} and {name}"):
        with pytest.raises(InputError, match="placeholders"):
            personas.fill_name(wrong, "Ann Lee")


def test_a_negative_number_of_names_is_refused() -> None:
    with pytest.raises(InputError, match="-1"):
        personas.draw_names(-1, seed=0)

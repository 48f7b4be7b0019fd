"""Keys of cells, and which cell waits for which."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from checkouts import CHAIN, write_profile
from sycophancy.errors import InputError
from workflow import cells, grid


def test_a_key_is_a_notebook_with_or_without_a_label() -> None:
    assert cells.notebook_of("02_measure") == "02_measure"
    assert cells.notebook_of("02_measure@after_2") == "02_measure"
    for key in ("02_measure@", "02_measure@500", "a/b", "a@b@c", "@after", "02_measure@After"):
        with pytest.raises(InputError, match="is no cell"):
            cells.notebook_of(key)


def test_cells_come_in_file_order_and_wait_for_the_cells_that_they_mention(checkout: Path) -> None:
    write_profile(checkout, CHAIN, budget_minutes=5)
    batch = grid.expand_profile("own")
    assert list(batch.cells) == list(CHAIN)
    assert batch.depends == {
        "07_compare": ["02_measure", "02_measure@after"],
        "02_measure": [],
        "02_measure@after": ["05_train"],
        "05_train": ["03_make"],
        "03_make": [],
    }
    after = batch.cells["02_measure@after"]
    assert after == {"MODEL": "tiny_random, runs/own/05_train/labels_seed0@500"}
    assert batch.cells["07_compare"]["DATA"] == [
        "runs/own/02_measure@after", {"more": "x, runs/own/02_measure"}
    ]  # fmt: skip
    assert batch.folders["02_measure@after"] == "runs/own/02_measure@after"
    assert (batch.publishes, batch.budget) == (False, 5)
    # elsewhere than in the repository, for tests
    raw, _ = grid.read_profile("own")
    assert cells.fill_placeholders(raw, "/x")["05_train"] == {"DATA": "/x/03_make/prompts.parquet"}


def test_the_run_folder_of_a_cell_may_be_a_model_at_a_step(checkout: Path) -> None:
    write_profile(checkout, {"05_train": {}, "02_measure": {"MODEL": "{runs}/05_train@20"}})
    assert grid.expand_profile("own").depends["02_measure"] == ["05_train"]


def test_what_waits_for_a_failed_cell_is_what_a_search_finds() -> None:
    rng = random.Random(0)
    for _ in range(50):
        keys = [f"c{number}" for number in range(8)]
        depends = {k: [o for o in keys[:n] if rng.random() < 0.25] for n, k in enumerate(keys)}
        failed = rng.sample(keys, 2)

        def waits(key: str, depends: Any = depends, failed: Any = failed) -> bool:
            return any(other in failed or waits(other) for other in depends[key])

        expected = [key for key in keys if waits(key) and key not in failed]
        assert cells.blocked(failed, depends) == expected

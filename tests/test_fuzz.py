"""Every reader answers broken files with one sentence or with all that is whole in them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import fuzzing

READERS = fuzzing.all_readers()


@pytest.mark.parametrize("number", [20, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_broken_files_end_in_a_sentence_or_in_whole_rows(
    reader: fuzzing.Reader, number: int, tmp_path: Path
) -> None:
    outcomes, faults = fuzzing.fuzz(reader, number, 0, tmp_path)
    assert not faults, "\n".join(faults)
    # both come about, so that neither is checked for nothing
    assert min(outcomes["sentence"], outcomes["rows"]) >= 2 and outcomes.total() == number


def test_the_fuzzer_finds_what_it_looks_for(tmp_path: Path) -> None:
    """Readers that err in each of the ways are caught."""
    valid = fuzzing.lines([f"line {n}" for n in range(9)], "text")

    def faults_of(read: object) -> list[str]:
        reader = fuzzing.Reader("r", "a.txt", valid, read)  # type: ignore[arg-type]
        return fuzzing.fuzz(reader, 100, 0, tmp_path)[1]

    def whole(folder: Path) -> list[str]:
        return (folder / "a.txt").read_bytes().decode("utf-8").splitlines()

    def forgetful(folder: Path) -> list[str]:
        text = (folder / "a.txt").read_bytes().decode("utf-8", "replace")
        return [line for line in text.splitlines() if line.startswith("line ")]

    def mute(folder: Path) -> list[str]:
        if (folder / "a.txt").read_bytes() != valid.content:
            raise fuzzing.InputError("Something is wrong.")
        return whole(folder)

    assert any("UnicodeDecodeError" in fault for fault in faults_of(whole))
    assert any("rows are lost in silence" in fault for fault in faults_of(forgetful))
    assert all("the file a.txt is not named" in fault for fault in faults_of(mute))


def test_a_seed_breaks_files_in_the_same_way_and_another_in_others() -> None:
    valid = READERS[0].valid

    def broken(seed: int) -> list[bytes]:
        rng = random.Random(seed)
        return [fuzzing.break_file(valid, rng).content for _ in range(50)]

    assert broken(1) == broken(1) and broken(1) != broken(2)
    assert sum(content != valid.content for content in broken(1)) >= 40

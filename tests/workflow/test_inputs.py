"""What a cell reads from elsewhere makes it stale when it changes, and nothing else does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from checkouts import (
    keep_times,
    model_folder,
    some_file,
    trained_folder,
    write_notebook,
    write_profile,
)
from sycophancy.runs import identity
from workflow import grid, inputs

INPUTS: dict[str, tuple[str, Callable[[Path], object], Callable[[Path], object]]] = {
    # what a parameter names, made by one function and changed by another
    "weights of a model folder": (
        "MODEL", model_folder, lambda path: keep_times(path / "model.safetensors", b"1" * 100),
    ),
    "its tokenizer": (
        "MODEL", model_folder, lambda path: keep_times(path / "tokenizer.json", b"[]"),
    ),
    "a trained run": (
        "MODEL", trained_folder, lambda path: (path / "step-000100.safetensors").write_bytes(b"1"),
    ),
    "its record": (
        "MODEL", trained_folder,
        lambda path: (path / "model.json").write_text('{"base": "tiny_random", "code": 1}'),
    ),
    "a claims file": ("CLAIMS", some_file, lambda path: path.write_text("texts")),
    "a folder of opinions": (
        "FOLDER", lambda path: some_file(path / "a.jsonl"),
        lambda path: keep_times(path / "a.jsonl", b"TEXT"),
    ),
    "a file more": (
        "FOLDER", lambda path: some_file(path / "a.jsonl"),
        lambda path: some_file(path / "b.jsonl"),
    ),
    "a file less": (
        "FOLDER", lambda path: (some_file(path / "a.jsonl"), some_file(path / "b.jsonl")),
        lambda path: (path / "b.jsonl").unlink(),
    ),
    "prepared data": (
        "DATA_DIR", lambda path: some_file(path / "glue" / "sst2" / "2.0.0" / "a.tfrecord"),
        lambda path: (path / "glue" / "sst2" / "2.0.0" / "a.tfrecord").write_text("other"),
    ),
    "instructions": ("INSTRUCTIONS", some_file, lambda path: path.write_text("texts")),
    "worked examples": ("WORKED", some_file, lambda path: path.write_text("texts")),
    "a run of another batch": (
        "MEASURED", lambda path: (some_file(path / "metrics.json"), some_file(path / "run.json")),
        lambda path: (path / "run.json").write_text("finished later"),
    ),
    "a folder that is gone": ("FOLDER", lambda path: some_file(path / "a"), shutil.rmtree),
}  # fmt: skip


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", ["elsewhere/my data", "runs/other/05_é#1/x"])
def test_what_a_cell_reads_from_elsewhere_is_an_input(kind: str, name: str, checkout: Path) -> None:
    parameter, make, change = INPUTS[kind]
    path = checkout / name
    make(path)
    write_notebook(checkout / "notebooks", "02_read", {parameter: "", "N": 1})
    write_profile(checkout, {"02_read": {parameter: name}, "02_read@other": {"N": 2}})

    def identities() -> tuple[str, str]:
        batch = grid.expand_profile("own")
        return grid.cell_identity(batch, "02_read"), grid.cell_identity(batch, "02_read@other")

    before = identities()
    assert identities() == before
    change(path)
    after = identities()
    assert after[0] != before[0] and after[1] == before[1]


def test_big_files_are_told_by_size_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(200))
    small = identity.stamp(path)
    os.utime(path, ns=(1, 1))
    assert identity.stamp(path) == small  # the same content, however old
    monkeypatch.setattr(identity, "BIG", 200)
    big = identity.stamp(path)
    os.utime(path, ns=(1, 2000))
    touched = identity.stamp(path)
    path.write_bytes(bytes(201))
    os.utime(path, ns=(1, 2000))
    assert len({big, touched, identity.stamp(path)}) == 3


def test_what_is_no_input_is_left_alone(checkout: Path) -> None:
    trained_folder(checkout / "runs" / "own" / "05_train" / "labels_seed0")
    model = model_folder(checkout / "model")
    name = "runs/own/05_train/labels_seed0"
    parameters = {
        "MODEL": f"hf://a/b, gemma3_270m, ./model, {name}@500",
        "N": 3,
        "OTHER": ["", "."],
    }
    base = checkout / "runs" / "own"
    found = inputs.stamps(parameters, base, checkout)
    assert list(found) == [".", "./model"]  # cells of the batch are waited for
    some_file(model / ".cache" / "lock")
    some_file(model / "downloads" / "archive")
    some_file(checkout / "runs" / "02_measure" / "metrics.json")
    assert inputs.stamps(parameters, base, checkout) == found
    odd = {"TEXT": "x" * 5000, "NULL": "a\0b", "HOME": "~nobody-at-all/x"}
    assert inputs.stamps(odd, base, checkout) == {}
    measured = grid.run_base("laptop", f"{name}@500")
    assert measured == "runs/measure/runs-own-05_train-labels_seed0-500/laptop"


def test_published_data_are_an_input_also_where_tfds_keeps_them(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(checkout / "tfds"))
    path = some_file(checkout / "tfds" / "a.tfrecord")
    base = checkout / "runs" / "own"
    before = inputs.stamps({"DATA": "tfds"}, base, checkout)
    path.write_text("other")
    assert inputs.stamps({"DATA": "tfds"}, base, checkout) != before
    assert inputs.stamps({"DATA": "embedded"}, base, checkout) == {}


def test_a_cell_that_prepares_its_data_is_not_stale_by_that(checkout: Path) -> None:
    write_notebook(checkout / "notebooks", "03_read", {"DATA_DIR": ""})
    write_profile(checkout, {"03_read": {"DATA_DIR": "data"}})
    folder = checkout / "runs" / "own" / "03_read"
    given = {"DATA_DIR": "data", "OUT_DIR": str(folder)}

    def identity_now() -> str:
        return grid.cell_identity(grid.expand_profile("own"), "03_read")

    first = identity_now()
    before = inputs.stamps(given, folder.parent, checkout)
    path = some_file(checkout / "data" / "glue" / "a.tfrecord")  # what the cell does
    inputs.remember_changes(before, inputs.stamps(given, folder.parent, checkout), folder)
    assert identity_now() == first
    path.write_text("other")
    assert identity_now() != first
    after = inputs.stamps(given, folder.parent, checkout)
    inputs.remember_changes(after, after, folder)  # the cell has run again
    assert not (folder / inputs.RECORD).exists()

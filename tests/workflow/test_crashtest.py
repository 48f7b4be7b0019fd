"""The crash test: five kills of the small batch, and that it would see what is lost."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from sycophancy import runs
from sycophancy.errors import InputError
from workflow import crashtest

CELLS = "03_generate_data,04_filter,05_finetune"  # the last one measures, too


@pytest.mark.notebook
@pytest.mark.slow
def test_a_batch_that_is_killed_ends_in_what_it_ends_in_undisturbed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = crashtest.main(["--kills", "5", "--seed", "1", "--cells", CELLS])
    said = capsys.readouterr().out
    print(said)
    assert status == 0
    assert "what differed: nothing" in said and "5 kills" in said
    assert "full disks: 1; second batches refused: 1" in said


def write_run(folder: Path, value: float = 1.0) -> Path:
    """A small run folder: tables, weights, and what tells the time."""
    folder.mkdir(parents=True)
    scores = pd.DataFrame({"logp": [value, 2.0], "choices": [["a", "b"], ["c"]], "seconds": 1.0})
    scores.to_parquet(folder / "scores.parquet")
    save_file({"kernel": np.array([[value]], np.float32)}, folder / "step-000001.safetensors")
    (folder / "metrics.json").write_text(json.dumps({"rows": [{"metric": "rate", "value": value}]}))
    (folder / "run.json").write_text(str(id(folder)))
    return folder


def test_differences_are_seen_in_tables_and_weights_and_missing_files(tmp_path: Path) -> None:
    reference = crashtest.results(write_run(tmp_path / "reference"))
    assert set(reference) == {"scores.parquet", "step-000001.safetensors", "metrics.json"}
    same = crashtest.results(write_run(tmp_path / "same", 1.0 + 1e-8))
    assert crashtest.compare_results(reference, same) == []
    other = crashtest.results(write_run(tmp_path / "other", 1.00001))
    assert len(crashtest.compare_results(reference, other)) == 3
    (tmp_path / "same" / "scores.parquet").unlink()
    found = crashtest.compare_results(reference, crashtest.results(tmp_path / "same"))
    assert found == ["scores.parquet is there once only"]


def test_a_file_is_cut_at_a_random_place(tmp_path: Path) -> None:
    kinds = set()
    (tmp_path / "empty").write_bytes(b"")
    for seed in range(20):
        for name in ("a.parquet", "b.parquet", "model.json"):
            (tmp_path / name).write_bytes(b"x" * 100)
        kinds.add(crashtest.cut_short(sorted(tmp_path.iterdir()), random.Random(seed)))
        sizes = sorted(path.stat().st_size for path in tmp_path.iterdir())
        assert sizes[0] == 0 and sizes[1] < 100 and sizes[2:] == [100, 100]
    assert kinds == {".parquet", "model.json"}
    assert crashtest.cut_short([tmp_path / "empty"], random.Random(0)) is None


def test_a_full_disk_is_a_small_one_or_a_limit(tmp_path: Path) -> None:
    with crashtest.disk() as (folder, small):
        checkout = crashtest.Checkout(folder, small, [])
        with checkout.full(1000) as most_bytes:
            if most_bytes is None:
                with pytest.raises(InputError, match="make room"):
                    runs.write_json(checkout.folder / "x.json", "x" * 20_000)
            assert (most_bytes is None) == small and most_bytes in (None, 1000)
        runs.write_json(checkout.folder / "x.json", "x" * 20_000)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("given", "message"), [("--kills=0", "KILLS is 0"), ("--cells=05", "Unknown cell '05'")]
)
def test_what_cannot_be_killed_is_refused(
    given: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert crashtest.main([given]) == 2
    assert message in capsys.readouterr().err

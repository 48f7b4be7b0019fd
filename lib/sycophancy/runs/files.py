"""Files and folders written whole or not at all, also where the process is killed."""

from __future__ import annotations

import itertools
import json
import os
import platform
import re
import shutil
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from sycophancy.errors import InputError
from sycophancy.ladder import resolve

ENDING = re.compile(r"\..+\.([\w-]+)\.(\d+)\.(\d+)\.part")  # host, process, number
DAY = 86_400.0  # seconds after which a temporary file of another machine is nobody's
HOST = re.sub(r"[^\w-]", "-", platform.node()) or "host"
_numbers = itertools.count()
_open: set[Path] = set()  # what this process is writing now


class atomic:
    """Context manager: a temporary name beside `path` that replaces it only on success.

    What is written under that name is a file, or a folder made by the caller. It is on the disk,
    not in a buffer of the system, before it takes the place of the last one; `durable=False` leaves
    that out, for what is of no use after a power cut. No two writers have the same temporary name,
    and `sweep` deletes those that a kill left behind.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path, self._durable = path, durable
        ending = f"{HOST}.{os.getpid()}.{next(_numbers)}.part"
        self.temporary = path.with_name(f".{path.name}.{ending}")

    def __enter__(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _open.add(self.temporary)
        return self.temporary

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                if self._durable and self.temporary.is_file():
                    flush(self.temporary)
                os.replace(self.temporary, self.path)
                if self._durable:
                    with suppress(OSError):  # some network disks have no such thing for folders
                        flush(self.path.parent)
                return
        except OSError as failed:
            error = failed
        finally:
            _open.discard(self.temporary)
        delete(self.temporary)
        if isinstance(error, OSError):
            raise InputError(
                f"Could not write {self.path} ({error}): make room on the disk and run again; "
                "what was finished is kept."
            ) from error


def flush(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk now."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def delete(path: Path) -> None:
    """Delete a file, or a folder with what is in it, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def discard(path: Path, error: object) -> None:
    """Delete a damaged file whose content can be computed again, and warn that this happens."""
    warnings.warn(
        f"{path} is damaged ({error}): it is thrown away, and what it held is computed again.",
        stacklevel=3,
    )
    path.unlink(missing_ok=True)


def read_or_discard(path: Path) -> Any:
    """Return what a JSON file holds that can be made again; None where it is not there, or damaged.

    A damaged one is thrown away, with a warning.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        discard(path, error)
        return None


def sweep(folder: Path) -> None:
    """Delete the temporary files that killed processes left in a folder and those below it.

    Those of a process that runs on this machine are left alone, and so are those of another
    machine for a day.
    """
    for path in list(folder.rglob(".*.part")):
        form = ENDING.fullmatch(path.name)
        if form and path not in _open and is_left(path, form[1], int(form[2])):
            delete(path)


def is_left(path: Path, host: str, process: int) -> bool:
    """Return whether no process can be writing a temporary file any more."""
    if host == HOST:
        return process == os.getpid() or not is_running(process)
    try:
        return time.time() - path.stat().st_mtime > DAY
    except OSError:  # gone by now
        return False


def is_running(process: int) -> bool:
    """Return whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def existing(text: str, base: Path) -> Path | None:
    """Return the file or folder that a text names (see `resolve`), or None."""
    try:
        path = resolve(text.strip(), base)
        return path if text.strip() and path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long, a null byte, no such user: no path
        return None


def write_json(path: Path, content: Any, *, durable: bool = True) -> None:
    """Write `content` as JSON, atomically; `durable` as in `atomic`."""
    with atomic(path, durable=durable) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")


def append_line(path: Path, line: str) -> None:
    """Add a line to a file in one piece, after the end of whatever a kill left unfinished there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        size = os.fstat(number).st_size
        cut = size > 0 and os.pread(number, 1, size - 1) != b"\n"
        os.write(number, f"{chr(10) * cut}{line}\n".encode())
    finally:
        os.close(number)

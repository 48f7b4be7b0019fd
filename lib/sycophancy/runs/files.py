"""Files written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from sycophancy.errors import InputError


class atomic:
    """Context manager: a temporary name beside `path` that replaces it only on success."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}")

    def __enter__(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self.temporary

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            os.replace(self.temporary, self.path)
            return
        self.temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(
                f"Could not write {self.path} ({error}): make room on the disk and run again; "
                "what was finished is kept."
            ) from error


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")

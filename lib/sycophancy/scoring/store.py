"""Finished batches of a long call, kept on disk so that nothing is computed twice."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sycophancy.runs import atomic, discard

FLUSH_SECONDS = 1.0


def choice_key(prompt: str, choices: Sequence[str], index: int) -> str:
    """Return 32 hex digits for one choice of a prompt; the same texts always give the same key.

    All choices take part, because which tokens count is decided by comparing them.
    """
    parts = "\0".join([prompt, str(index), *choices])
    return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()


class PartialResults:
    """A growing table key → values for one model, on disk under `folder` if given.

    Each flush is one small parquet file, written under another name and moved into place: a kill
    at any moment loses at most the batches of the last second. A file that is damaged all the same
    is thrown away with a warning, and what it held is computed again. `identity` names the folder,
    so that a changed model or other code never meets old numbers; `columns` name the values.
    """

    def __init__(self, folder: Path | None, identity: str, columns: Sequence[str]) -> None:
        self._folder = folder / identity if folder is not None else None
        self._columns = ["key", *columns]
        self._all: dict[str, tuple[Any, ...]] = {}
        self._fresh: list[tuple[Any, ...]] = []
        self._flushed = time.monotonic()
        self._names: set[str] = set()

    def read(self) -> dict[str, tuple[Any, ...]]:
        """Return everything finished so far, in this call or an earlier one."""
        if self._folder is not None and self._folder.is_dir():
            for path in sorted(self._folder.glob("*.parquet")):
                if path.name not in self._names:
                    self._names.add(path.name)
                    try:
                        part = pd.read_parquet(path)
                        keys, *values = (part[name].tolist() for name in self._columns)
                    except (OSError, ValueError, KeyError) as error:
                        discard(path, error)
                        continue
                    self._all.update(zip(keys, zip(*values, strict=True), strict=True))
        return self._all

    def add(self, finished: Sequence[tuple[Any, ...]]) -> None:
        """Take finished rows (key, *values); writes to disk about once a second."""
        self._fresh.extend(finished)
        self._all.update((key, tuple(values)) for key, *values in finished)
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is not yet on disk."""
        if self._folder is None or not self._fresh:
            return
        part = pd.DataFrame(self._fresh, columns=self._columns)
        name = hashlib.blake2b("".join(part["key"]).encode(), digest_size=12).hexdigest()
        path = self._folder / f"{name}.parquet"
        with atomic(path) as temporary:
            part.to_parquet(temporary, index=False)
        self._names.add(path.name)
        self._fresh, self._flushed = [], time.monotonic()

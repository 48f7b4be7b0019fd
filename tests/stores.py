"""Help for tests of data sets: where real files lie, and a machine without a network."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from sycophancy import embedded
from sycophancy.builders import prepare
from sycophancy.quiet import tfds

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "lib" / "sycophancy" / "data"
SHARED = ROOT.parent / "shared" / "data"
FILMS, TWEETS = SHARED / "raw" / "rotten_tomatoes", SHARED / "raw" / "tweet_eval"
OPINIONS = SHARED / "model_written_evals"
MMLU, BBH = SHARED / "benchmarks" / "mmlu", SHARED / "benchmarks" / "bbh"
HERE = [name for name in embedded.NAMES if (DATA / f"{name}.jsonl").is_file()]
needs_shared = pytest.mark.skipif(
    not FILMS.is_dir(), reason="the real data files are not beside this checkout"
)


def cut_off(patch: pytest.MonkeyPatch, cache: Path) -> None:
    """Give the tests a cache of their own and take the network away."""

    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    def offline(*_: object, **__: object) -> None:
        pytest.fail("the network is asked")

    patch.setenv("SYCOPHANCY_CACHE", str(cache))
    for name in ("https_proxy", "HTTPS_PROXY"):
        patch.delenv(name, raising=False)
    patch.setattr(socket, "getaddrinfo", nobody)
    for method in ("download", "download_and_extract"):
        patch.setattr(tfds.download.DownloadManager, method, offline)


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Write files given as {path: content}; return their folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    folder.mkdir(exist_ok=True)
    return folder


def embedded_lines(name: str) -> list[dict[str, Any]]:
    """Read an embedded file."""
    with (DATA / f"{name}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def served(builder: Any, split: str) -> list[dict[str, Any]]:
    """Return the rows of a split, labels as names."""
    names = {
        key: feature.int2str
        for key, feature in builder.info.features.items()
        if isinstance(feature, tfds.features.ClassLabel)
    }
    rows = list(prepare.plain_rows(builder, split))
    assert len(rows) == builder.info.splits[split].num_examples
    return [{k: names[k](v) if k in names else v for k, v in row.items()} for row in rows]

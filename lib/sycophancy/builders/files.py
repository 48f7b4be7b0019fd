"""Upstream files of our builders: from the manual folder or the network, checked either way."""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sycophancy.builders.network import shorten_error
from sycophancy.errors import InputError
from sycophancy.quiet import tfds
from sycophancy.reading import decode_text, read_bytes
from sycophancy.runs import append_line, cache_dir
from sycophancy.runs.identity import file_hash

CHECKSUMS = Path(__file__).parent / "checksums.tsv"  # url, bytes, SHA-256, name in a manual folder
FIRST_SEEN = "first_seen_checksums.tsv"  # in the cache: files whose checksum nobody publishes


def published_checksums() -> dict[str, Any]:
    """Return {url: UrlInfo} of the files with a published checksum."""
    return dict(tfds.core.download.checksums.load_url_infos(CHECKSUMS))


def undownloaded_folder(dl_manager: Any) -> Path | None:
    """Return the folder of files that need no download, which may not exist; None for none."""
    folder = getattr(dl_manager, "_manual_dir", None)
    return Path(folder) if folder else None


def fetch(
    builder: Any, dl_manager: Any, files: dict[str, tuple[str, str]], *, need_all: bool = True
) -> dict[str, Path]:
    """Return {key: local path} of `files`, {key: (url, path inside the manual folder)}.

    If the manual folder has any of them, only it is used: a missing file is then an error, or with
    `need_all` False left out of the result. A file whose checksum differs from the published one,
    or from that seen when it was first read on this machine where none is published, raises
    InputError; `builder.checked` False lets files in the manual folder differ. With
    `builder.offline` True nothing is downloaded.
    """
    checked = getattr(builder, "checked", True)
    manual = undownloaded_folder(dl_manager)
    by_hand = {key: manual / name for key, (_, name) in files.items()} if manual else {}
    found = {key: path for key, path in by_hand.items() if path.is_file()}
    if found:
        missing = [files[key][1] for key in files if key not in found]
        if missing and (need_all or checked):
            raise lacking(builder, missing[0])
    else:
        if getattr(builder, "offline", False) or holds_others(dl_manager):
            names = ", ".join(sorted({name for _, name in files.values()})[:3])
            raise InputError(
                f"{builder.name}: the manual folder {manual} has none of its files ({names} …): "
                f"take them from {homepage(builder)}."
            )
        urls = {key: url for key, (url, _) in files.items()}
        found = {key: Path(path) for key, path in dl_manager.download(urls).items()}
        checked = True
    if checked:
        for key, path in found.items():
            verify(builder, files[key][0], path)
    return found


def holds_others(dl_manager: Any) -> bool:
    """Return whether there is anything in the manual folder, if somebody chose one."""
    manual = undownloaded_folder(dl_manager)
    made_up = Path(dl_manager.download_dir) / "manual"  # by TFDS, for the files of any set
    if manual is None or manual == made_up or not manual.is_dir():
        return False
    return any(manual.iterdir())


def homepage(builder: Any) -> str:
    """Return where a person finds the files of a builder."""
    return str(builder.info.homepage)


def lacking(builder: Any, name: str) -> InputError:
    """Return the error for a file that is missing beside others of its set."""
    return InputError(
        f"{builder.name}: the manual folder has no {name}: take it from {homepage(builder)}."
    )


def strange(builder: Any, path: Path, what: str) -> InputError:
    """Return the error for a file that is not in the upstream form."""
    return InputError(
        f"{builder.name}: {path} {what}; fetch the file again from {homepage(builder)}."
    )


def verify(builder: Any, url: str, path: Path) -> None:
    """Raise InputError unless a file has the checksum published for its address, or first seen.

    A checksum that is neither is noted in `builder.first_seen`, for `remember`.
    """
    digest = file_hash(path)
    known = published_checksums().get(url)
    expected = known.checksum if known else first_seen().get(url)
    if expected is None:
        builder.first_seen = {**getattr(builder, "first_seen", {}), url: digest}
    elif digest != expected:
        whose = "the known one" if known else "the one first read on this machine"
        raise InputError(
            f"{builder.name}: {path} has SHA-256 {digest[:12]}…, {whose} is {expected[:12]}…: "
            f"fetch it again from {url}, or pass checksums=False (make data CHECKSUMS=no) for a "
            "subset of your own."
        )


def first_seen() -> dict[str, str]:
    """Return {url: SHA-256} of the files read on this machine whose checksum nobody publishes."""
    record = cache_dir() / FIRST_SEEN
    lines = record.read_text("utf-8").split("\n") if record.is_file() else []
    return dict(line.split("\t") for line in lines if re.fullmatch(r"[^\t]+\t[0-9a-f]{64}", line))


def remember(builder: Any) -> None:
    """Keep the checksums that a builder saw first, once its files proved to be readable.

    Not before: a broken file would otherwise be what the right one is held against.
    """
    for url, digest in getattr(builder, "first_seen", {}).items():
        append_line(cache_dir() / FIRST_SEEN, f"{url}\t{digest}")


def read_text(builder: Any, path: Path) -> str:
    """Return the text of a UTF-8 file with its line ends as they are; InputError names others."""
    return text_of_bytes(builder, path, read_bytes(path))


def text_of_bytes(builder: Any, path: Path, content: bytes) -> str:
    """Return UTF-8 bytes read from a path as text; InputError names file and line of others."""
    return decode_text(
        content, file_label(builder, path), f"fetch the file again from {homepage(builder)}"
    )


def file_label(builder: Any, path: Path) -> str:
    """Return how errors call a file of a builder: many have the name of their folder in common."""
    return f"{builder.name}: {path.parent.name}/{path.name}"


def read_tar(builder: Any, path: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Return {name: content} of the wanted files of a tar archive; InputError if it is damaged."""
    try:
        with tarfile.open(path) as archive:
            found = {
                member.name: file.read()
                for member in archive
                if wanted(member.name) and (file := archive.extractfile(member)) is not None
            }
            # tarfile takes a header that is cut or damaged for the end of the archive
            archive.fileobj.seek(archive.offset)
            if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"no end after {len(archive.getmembers())} files")
            return found
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise strange(builder, path, f"is no whole tar archive ({shorten_error(error)})") from error

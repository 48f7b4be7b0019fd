"""The network of TFDS: looked for at once, kept away where that is asked for, missed with words."""

from __future__ import annotations

import os
import socket
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sycophancy.errors import InputError
from sycophancy.quiet import tfds


def probe(name: str, builder: Any, manual: Path | None) -> None:
    """Raise InputError at once where the hosts of a set cannot be found: TFDS tries for minutes.

    A set of which a file is here already, in the manual folder or among the downloads, is left to
    `guard`, which knows what is still needed; so are sets of ours that have a manual folder.
    """
    files = {info.filename for info in (builder.url_infos or {}).values() if info.filename}
    if manual and (
        type(builder).__module__.startswith("sycophancy")
        or any((manual / name).is_file() for name in files)
    ):
        return
    if not has_downloads(builder):
        find_host(name, builder, builder.url_infos or {})


def has_downloads(builder: Any) -> bool:
    """Return whether a file of a set itself was downloaded before."""
    folder = Path(builder.data_dir_root) / "downloads"
    if any(path.is_file() for path in (folder / builder.name).glob("*")):
        return True
    file_name = tfds.core.download.resource.get_dl_fname  # TFDS up to 4.9.2 has no folder a set
    known = (builder.url_infos or {}).items()
    return any((folder / file_name(url, info.checksum)).is_file() for url, info in known)


def find_host(name: str, builder: Any, urls: Iterable[str]) -> None:
    """Raise InputError unless the host of one of the addresses can be found, where any has one."""
    if os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY"):
        return  # names are looked up by the proxy
    hosts = {urllib.parse.urlsplit(url).hostname for url in urls}
    failed: OSError | None = None
    for host in sorted(host for host in hosts if host):
        try:
            socket.getaddrinfo(host, 443)
            return
        except OSError as error:
            failed = error
    if failed:
        raise no_network(name, builder, failed)


def guard(name: str, builder: Any, download: bool) -> None:
    """Have a builder look for the host before every download, or refuse it if not `download`.

    What is in the manual folder or was downloaded before is read as ever.
    """
    make = builder._make_download_manager  # TFDS offers no other way in

    def make_guarded(**options: Any) -> Any:
        """Return TFDS's own manager with its downloads guarded."""
        manager = make(**options)
        fetch = manager._download  # called for what was found nowhere here

        def fetch_guarded(resource: Any) -> Any:
            """Download one file, unless that was forbidden or its host cannot be found."""
            if not download:
                raise InputError(
                    f"{name} needs {resource.url}, which is neither in the manual folder nor "
                    "downloaded: put it there, or pass download=True."
                )
            find_host(name, builder, [resource.url])
            return fetch(resource)

        manager._download = fetch_guarded
        return manager

    builder._make_download_manager = make_guarded


def no_network(name: str, builder: Any, error: Exception) -> InputError:
    """Return the error for a download that failed."""
    return InputError(
        f"{name} could not be downloaded ({shorten_error(error)}). Run `make data` where there is "
        f"a network and copy {Path(builder.data_dir_root)}, or put the files into a folder and run "
        '`make data MANUAL=folder`. data="embedded" works now.'
    )


def is_network(error: BaseException | None) -> bool:
    """Return whether an error, or what caused it, comes from the network."""
    while error is not None:
        module = type(error).__module__
        if isinstance(error, ConnectionError | TimeoutError) or module.startswith(
            ("requests", "urllib3", "http.client", "socket", "ssl")
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def shorten_error(error: BaseException) -> str:
    """Return the first line of an error's text, shortened."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]

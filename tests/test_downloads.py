"""Downloads: what fails is told with the remedy, what arrives is checked."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3

from stores import cut_off, served, write
from sycophancy.builders import prepare
from sycophancy.errors import InputError
from sycophancy.quiet import tfds

SURVEY, SURVEY_FILE = "model_written_opinions/nlp_survey", "sycophancy_on_nlp_survey.jsonl"
KEYS = ("question", "answer_matching_behavior", "answer_not_matching_behavior")
SURVEY_ROW = json.dumps(dict(zip(KEYS, ("x", " (A)", " (B)"), strict=True))) + "\n"
OFFLINE = r'could not be downloaded \(.+\)\. Run `make data`.*MANUAL=folder.*data="embedded"'


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cut_off(monkeypatch, tmp_path / "cache")


@pytest.mark.parametrize("name", [SURVEY, "rotten_tomatoes", "mmlu_csv", "glue/sst2"])
def test_without_a_network_the_remedy_is_named_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=OFFLINE):  # the downloader would fail this test
        prepare.prepare_builder(name, data_dir=tmp_path)


def test_the_network_is_looked_for_beside_other_sets_too(tmp_path: Path) -> None:
    manual = write(tmp_path / "manual", {SURVEY_FILE: SURVEY_ROW})
    prepare.prepare_builder(SURVEY, data_dir=tmp_path, manual_dir=manual)
    with pytest.raises(InputError, match=OFFLINE):
        prepare.prepare_builder("glue/sst2", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("download", "words"), [(True, OFFLINE), (False, "CoLA.zip, which is neither in the manual")]
)
def test_a_catalogue_set_with_some_files_here_asks_for_no_others_in_vain(
    download: bool, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nobody(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.undo()  # TFDS's own download manager, up to where it would ask the network
    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    manager = tfds.download.DownloadManager
    monkeypatch.setattr(manager, "_download", lambda *_: pytest.fail("the network is asked"))
    manual = write(tmp_path / "manual", {"SST-2.zip": "a file of another config"})
    with pytest.raises(InputError, match=words):
        prepare.prepare_builder(
            "glue/cola", data_dir=tmp_path, manual_dir=manual, download=download
        )


@pytest.fixture
def downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Prepare with a downloader that raises an error, or returns one file for every address."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])

    def run(name: str, what: Exception | str, **options: Any) -> Any:
        def download(_: object, urls: dict[str, str]) -> dict[str, Path]:
            if isinstance(what, Exception):
                raise what
            return {key: write(tmp_path, {"file": what}) / "file" for key in urls}

        monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
        return prepare.prepare_builder(name, data_dir=tmp_path / "tfds", **options)

    return run


def chained(*errors: BaseException, explicit: bool = True) -> BaseException:
    """The first error, caused by the second, and so on."""
    for error, cause in pairwise(errors):
        error.__cause__, error.__context__ = (cause, None) if explicit else (None, cause)
    return errors[0]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (tfds.download.DownloadError("Failed to get url. HTTP code: 404."), OFFLINE),
        (requests.exceptions.ConnectionError("no route"), OFFLINE),
        (chained(RuntimeError("while reading"), TimeoutError("timed out")), OFFLINE),
        (
            tfds.core.download.download_manager.NonMatchingChecksumError("Artifact x, has wrong"),
            r"not the published one \(Artifact x.*Delete .*upstream.*embedded",
        ),
    ],
)
def test_failed_downloads_are_explained(
    error: Exception, words: str, downloaded: Callable[..., Any]
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        downloaded(SURVEY, error)
    assert caught.value.__cause__ is error


def test_errors_of_other_kinds_are_not_hidden(downloaded: Callable[..., Any]) -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        downloaded(SURVEY, RuntimeError("a bug"))


def test_downloads_are_read_and_always_checked(downloaded: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"SHA-256.*the known one"):
        downloaded("tweet_eval/irony", "1\n", checksums=False)
    assert len(served(downloaded(SURVEY, SURVEY_ROW), "test")) == 1


@pytest.mark.parametrize("explicit", [True, False])
def test_network_errors_are_known_through_their_causes(explicit: bool) -> None:
    network = [
        ConnectionResetError(), TimeoutError(), socket.gaierror(-2, "unknown"),
        requests.exceptions.HTTPError("503"), urllib3.exceptions.ProtocolError("broken"),
        ssl.SSLError("certificate"), http.client.IncompleteRead(b""),
    ]  # fmt: skip
    for error in network:
        assert prepare.is_network(error)
        far = chained(RuntimeError("a"), ValueError("b"), error, explicit=explicit)
        assert prepare.is_network(far)
    for other in (ValueError("x"), FileNotFoundError("x"), InputError("x"), None):
        assert not prepare.is_network(other)
    assert not prepare.is_network(chained(RuntimeError("a"), KeyError("b"), explicit=explicit))

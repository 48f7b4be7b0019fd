"""The ladder: names, what is refused and how, and Hugging Face folders converted by KerasHub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras_hub
import numpy as np
import pandas as pd
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

import hf_folder
from sycophancy import models, scoring
from sycophancy.errors import InputError
from sycophancy.tiny import byte_tokenizer

REFERENCE = json.loads((Path(__file__).parent / "fixtures" / "hf_llama_reference.json").read_text())


@pytest.fixture(scope="module")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hf_folder.write(tmp_path_factory.mktemp("llama"))


def single_letter_items() -> pd.DataFrame:
    rows = [(row["prompt"], [" ", "a", "Z"]) for row in REFERENCE["rows"]]
    return pd.DataFrame(
        [(str(i), prompt, choices) for i, (prompt, choices) in enumerate(rows)],
        columns=["item_id", "prompt", "choices"],
    )


def test_a_hugging_face_folder_scores_as_in_transformers(llama_folder: Path) -> None:
    """Norm epsilon, start token and untied output weights all have to be right for this."""
    model = models.load_model(str(llama_folder))
    scores, _ = scoring.score(model, single_letter_items())
    ids = {text: model.encode([text])[0][0] for text in (" ", "a", "Z")}
    for i, row in enumerate(REFERENCE["rows"]):
        mine = scores[scores["item_id"] == str(i)]
        for text, logp in zip(mine["text"], mine["logp"], strict=True):
            assert logp == pytest.approx(row["logps"][ids[text]], abs=1e-4)


def test_a_hugging_face_folder_brings_its_chat_template(llama_folder: Path) -> None:
    model = models.load_model(str(llama_folder))
    assert model.chat is not None
    assert model.chat("Hi") == REFERENCE["chat"]
    assert model.context == 128


def test_a_keras_hub_preset_folder_loads_with_equal_outputs(tmp_path: Path) -> None:
    tiny = models.load_model("tiny_random")
    tiny.backbone.save_to_preset(str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    config["config"]["tie_word_embeddings"] = True
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "hf_tokenizer.json").write_text(byte_tokenizer().to_str())
    again = models.load_model(str(tmp_path))
    items = single_letter_items()
    first, _ = scoring.score(tiny, items)
    second, _ = scoring.score(again, items)
    np.testing.assert_allclose(first["logp"], second["logp"], atol=1e-6)


def test_the_fingerprint_follows_weights_and_number_format() -> None:
    first, again = models.load_model("tiny_random"), models.load_model("tiny_random")
    assert first.fingerprint == again.fingerprint
    assert models.load_model("tiny_random", dtype="bfloat16").fingerprint != first.fingerprint
    kernel = again.backbone.trainable_variables[-2]
    kernel.assign(kernel.value + 1e-3)
    changed = models.fingerprint(again.backbone, "float32", "x")
    assert changed != models.fingerprint(first.backbone, "float32", "x")


def test_every_gemma_rung_is_a_preset_that_keras_hub_knows() -> None:
    assert len(models.GEMMA3) == 10
    assert set(models.GEMMA3.values()) <= set(models.preset_names())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("smollm2_135m_instrct", "Did you mean 'smollm2_135m_instruct'"),
        ("gema3_1b", "Did you mean 'gemma3_1b'"),
        ("qqqqqq", "Unknown model 'qqqqqq'"),
        ("", "MODEL is ''"),
        ("hf://only-a-name", "write hf://owner/name"),
        ("./no/such/folder", "There is no folder or .gguf file './no/such/folder'"),
    ],
)
def test_a_name_that_cannot_be_loaded_is_explained_before_loading(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        models.load_model(name)


def test_a_folder_without_config_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no config\.json"):
        models.load_model(str(tmp_path))


def test_a_truncated_weights_file_is_explained(llama_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(llama_folder, tmp_path / "cut")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged or incomplete"):
        models.load_model(str(folder))


def test_a_truncated_keras_weights_file_is_explained(tmp_path: Path) -> None:
    models.load_model("tiny_random").backbone.save_to_preset(str(tmp_path))
    weights = tmp_path / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(InputError, match="damaged or incomplete"):
        models.load_model(str(tmp_path))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (LocalEntryNotFoundError("offline"), "hub cannot be reached"),
        (ConnectionError("Failed to resolve 'hub'"), "hub cannot be reached"),
        (RuntimeError("404 Client Error. Repository Not Found"), "There is no model"),
        (RuntimeError("401 Client Error: gated repo"), "accept its licence"),
    ],
)
def test_what_a_hub_answers_is_explained(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(InputError, match=words):
        models.load_model("hf://owner/name")


def test_a_refused_licence_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("403 Client Error. You must consent to the license")

    monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", refuse)
    with pytest.raises(InputError, match="accept its licence"):
        models.load_model("gemma3_270m")


def test_a_model_that_is_not_causal_is_refused() -> None:
    bert = keras_hub.models.BertBackbone(
        vocabulary_size=20, num_layers=1, num_heads=1, hidden_dim=4, intermediate_dim=4
    )
    with pytest.raises(InputError, match="not a causal language model"):
        models.check_causal("a_bert", bert)


def test_another_backend_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sycophancy.models"],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "only 'jax' is supported" in done.stderr

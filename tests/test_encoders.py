"""Tokenizers: against Hugging Face on the same files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hf_folder
from sycophancy import encoders
from sycophancy.errors import InputError
from sycophancy.models import LanguageModel

FIXTURES = Path(__file__).parent / "fixtures"
SMOLLM2 = json.loads((FIXTURES / "smollm2_reference.json").read_text(encoding="utf-8"))


def test_embedded_tokenizer_gives_the_ids_of_transformers(embedded: LanguageModel) -> None:
    texts = list(SMOLLM2["tokens"])
    assert len(texts) >= 200
    for text, ids in zip(texts, embedded.encode(texts), strict=True):
        assert ids == SMOLLM2["tokens"][text], repr(text)


def test_embedded_tokenizer_follows_the_files_own_splitting_rule(embedded: LanguageModel) -> None:
    """transformers drops the rule of a GGUF file; the reference applies it as llama.cpp does."""
    texts = list(SMOLLM2["tokens_by_smollm_rule"])
    assert texts
    assert embedded.encode(texts) == [SMOLLM2["tokens_by_smollm_rule"][t] for t in texts]


def test_embedded_chat_template_renders_as_transformers_does(embedded: LanguageModel) -> None:
    assert embedded.chat is not None
    assert embedded.chat("Do you agree?") == SMOLLM2["chat"]


def test_embedded_model_opens_no_sequence_with_a_start_token(embedded: LanguageModel) -> None:
    assert embedded.start == ()


def test_start_ids_are_what_the_tokenizer_itself_puts_first(tmp_path: Path) -> None:
    reference = json.loads((FIXTURES / "hf_llama_reference.json").read_text())
    codec = encoders.for_preset(str(hf_folder.write(tmp_path)))
    assert codec.start == (0,)
    for row in reference["rows"]:
        assert [*codec.start, *codec.encode([row["prompt"]])[0]] == row["ids"]


def test_a_tokenizer_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    folder = hf_folder.write(tmp_path)
    (folder / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(InputError, match=r"tokenizer\.json is not valid JSON"):
        encoders.for_preset(str(folder))


def test_padding_and_truncation_settings_of_a_tokenizer_file_are_ignored(tmp_path: Path) -> None:
    folder = hf_folder.write(tmp_path)
    raw = json.loads((folder / "tokenizer.json").read_text())
    raw["truncation"] = {
        "direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0,
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    assert len(encoders.for_preset(str(folder)).encode(["a long text"])[0]) == 11

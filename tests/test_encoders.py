"""Tokenizers: against Hugging Face on the same files, and KerasHub's own both ways."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from tokenizers import pre_tokenizers

import hf_folder
from sycophancy import decoding, encoders, models
from sycophancy.errors import InputError
from sycophancy.models import LanguageModel
from sycophancy.quiet import keras_hub

TEXTS = ["The main language of Russia is Russian.", "I disagree; is 2 + 2 equal to 4?"]

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


def byte_pairs() -> Any:
    """KerasHub's byte-pair tokenizer with one id a byte, a pair, and a start and end token."""
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "Th", "<|endoftext|>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return keras_hub.models.GPT2Tokenizer(vocabulary=vocabulary, merges=["T h"])


def pieces() -> Any:
    """KerasHub's SentencePiece tokenizer, of a vocabulary trained on a few sentences."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20), model_writer=written, vocab_size=300,
        byte_fallback=True, pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>",
        eos_piece="<eos>", bos_piece="<bos>", minloglevel=2, hard_vocab_limit=False,
        normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=False,
    )  # fmt: skip
    return keras_hub.models.GemmaTokenizer(proto=written.getvalue())


def write_preset(folder: Path, tokenizer: Any) -> None:
    """A KerasHub preset of random weights with this tokenizer."""
    backbone = keras_hub.models.Gemma3Backbone(
        vocabulary_size=tokenizer.vocabulary_size(), image_size=16, num_layers=1,
        num_query_heads=2, num_key_value_heads=1, hidden_dim=16, intermediate_dim=32, head_dim=8,
        vision_encoder=None,
    )  # fmt: skip
    backbone.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))


@pytest.mark.parametrize("make", [byte_pairs, pieces])
def test_kerashubs_own_tokenizers_give_text_for_what_they_encode(
    make: Callable[[], Any], tmp_path: Path
) -> None:
    write_preset(tmp_path, make())
    codec = encoders.for_preset(str(tmp_path))
    assert not codec.files  # not one of tokenizers' own
    texts = [*TEXTS, "", "2 + 2 = 4\n\nQ: really?", "naïve café"]
    encoded = codec.encode(texts)
    assert codec.decode(encoded) == texts
    assert codec.decode([]) == [] and codec.decode([[]]) == [""]
    assert max(max(row, default=0) for row in encoded) < codec.vocabulary
    # an embedding may be padded to more rows than there are ids
    assert codec.decode([[*encoded[0], codec.vocabulary + 5]]) == texts[:1]


def test_answers_of_a_kerashub_preset_can_be_read(tmp_path: Path) -> None:
    write_preset(tmp_path, pieces())
    model = models.load_model(str(tmp_path))
    prompt = "The main language of Russia"
    ids = [*model.start, *model.encode([prompt])[0]]
    new: list[int] = []
    while len(new) < 5 and not {*new} & {*model.end}:
        row = np.array([[*ids, *new]], np.int32)
        hidden = model.backbone({"token_ids": row, "padding_mask": np.ones_like(row)})
        new.append(
            int(np.asarray(model.backbone.token_embedding(hidden, reverse=True))[0, -1].argmax())
        )
    assert model.decode is not None
    (whole,) = model.decode([[token for token in new if token not in model.end]])
    (found,) = decoding.greedy(model, [prompt], max_tokens=5)["text"]
    assert found == whole and len(whole) > 0
    (part,) = decoding.greedy(model, [prompt], max_tokens=5, stop=[whole[1:3]])["text"]
    assert part == whole.partition(whole[1:3])[0]


def test_a_mark_that_ends_a_turn_ends_an_answer(tiny: LanguageModel) -> None:
    turn = tiny.encode(["<|im_end|>"])[0]
    assert len(turn) == 1 and decoding.ends(tiny) == (*tiny.end, *turn)
    other = replace(tiny, end=(7,))
    assert decoding.ends(other) == (7, *turn)
    assert decoding.ends(replace(other, decode=None)) == (7,)


def test_the_context_of_the_ladder_is_known(tmp_path: Path) -> None:
    write_preset(tmp_path, pieces())
    contexts = [
        models.load_preset(str(tmp_path), "float32", name=name).context
        for name in ("gemma3_270m", "gemma3_instruct_1b", "gemma3_4b", "another")
    ]
    assert contexts == [32_768, 32_768, 131_072, None]

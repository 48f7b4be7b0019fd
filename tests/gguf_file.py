"""Small GGUF files of random weights, as llama.cpp's converter lays them out.

Used by the tests and by fixtures/make_gguf_reference.py, so it needs NumPy and gguf alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import quantize

WIDTH, HEADS, KEY_HEADS, INNER, LAYERS = 256, 4, 2, 512, 2
RULE = {"llama": "smollm", "qwen2": "qwen2"}
PROMPTS = ["a", "Hello", "I agree with 3 + 4 = 12.", "naïve café", "x\n\ny"]
CHAT = (
    "{% for m in messages %}{{ '<s>' + m['role'] + ':' + m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant:' }}{% endif %}"
)
BY_NUMPY = ("Q4_K", "Q6_K")  # gguf turns these back, and does not make them


def alphabet() -> list[str]:
    """Return GPT-2's letters for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [chr(256 + i) for i in range(256 - len(plain))]
    return [chr(byte) for byte in plain] + other


TOKENS = ["</s>", "<s>", *alphabet(), "He", "ll", "llo", "Ġa", "<tool>"]
MERGES = ["H e", "l l", "ll o", "Ġ a"]
KINDS = [3, 3, *[1] * (len(TOKENS) - 3), 4]


def weights(architecture: str, tied: bool) -> dict[str, np.ndarray]:
    """Return {tensor name: float32 array} as the file should give them to a model.

    q and k are as they are before llama.cpp permutes them.
    """
    rng = np.random.default_rng(0)
    size = WIDTH // HEADS

    def matrix(*shape: int) -> np.ndarray:
        """Return random numbers that keep activations near one."""
        return rng.normal(0, 1.5 / shape[-1] ** 0.5, shape).astype(np.float32)

    out = {
        "token_embd.weight": matrix(len(TOKENS), WIDTH),
        "output_norm.weight": 1 + matrix(WIDTH),
    }
    if not tied:
        out["output.weight"] = matrix(len(TOKENS), WIDTH)
    for i in range(LAYERS):
        block = {
            "attn_norm.weight": 1 + matrix(WIDTH),
            "attn_q.weight": matrix(HEADS * size, WIDTH),
            "attn_k.weight": matrix(KEY_HEADS * size, WIDTH),
            "attn_v.weight": matrix(KEY_HEADS * size, WIDTH),
            "attn_output.weight": matrix(WIDTH, WIDTH),
            "ffn_norm.weight": 1 + matrix(WIDTH),
            "ffn_gate.weight": matrix(INNER, WIDTH),
            "ffn_up.weight": matrix(INNER, WIDTH),
            "ffn_down.weight": matrix(WIDTH, INNER),
        }
        if architecture == "qwen2":
            block |= {
                "attn_q.bias": matrix(HEADS * size),
                "attn_k.bias": matrix(KEY_HEADS * size),
                "attn_v.bias": matrix(KEY_HEADS * size),
            }
        out |= {f"blk.{i}.{name}": value for name, value in block.items()}
    return out


def interleave(weight: np.ndarray, heads: int) -> np.ndarray:
    """Return the rows of q or k in llama.cpp's order: of each head 0, size/2, 1, size/2 + 1, …"""
    size = weight.shape[0] // heads
    order = np.arange(size).reshape(2, size // 2).T.reshape(-1)
    return weight.reshape(heads, size, -1)[:, order].reshape(weight.shape)


def random_blocks(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return random bytes of a format that gguf cannot make, with scales that are small."""
    rng = np.random.default_rng(shape[0])
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    data = rng.integers(0, 256, (shape[0] * shape[1] // block, size), dtype=np.uint8)
    scale = np.full((len(data), 1), 1e-4, np.float16).view(np.uint8)
    if kind == "Q4_K":
        data[:, :2], data[:, 2:4] = scale, scale
    else:
        data[:, -2:] = scale
    return data.reshape(shape[0], -1)


def write(
    path: Path,
    architecture: str = "qwen2",
    kind: str = "F32",
    tied: bool = False,
    *,
    without: str = "",
    more: dict[str, np.ndarray] | None = None,
    **settings: Any,
) -> Path:
    """Write a GGUF file whose matrices are quantised as `kind`; return its path.

    `settings` replaces rule, or adds strings under architecture.name; `without` leaves out a
    tensor, `more` adds some.
    """
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(settings.pop("rule", RULE.get(architecture, "smollm")))
    writer.add_token_list(TOKENS)
    writer.add_token_types(KINDS)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(settings.pop("add_bos", False))
    writer.add_chat_template(CHAT)
    for name, value in settings.items():
        writer.add_string(f"{architecture}.{name}", value)
    for name, value in {**weights(architecture, tied), **(more or {})}.items():
        if name == without:
            continue
        if architecture == "llama" and name.endswith(("attn_q.weight", "attn_k.weight")):
            value = interleave(value, HEADS if "attn_q" in name else KEY_HEADS)
        if value.ndim == 1 or kind == "F32":
            writer.add_tensor(name, value)
        elif kind in BY_NUMPY:
            data = random_blocks(kind, value.shape)
            writer.add_tensor(name, data, raw_dtype=GGMLQuantizationType[kind])
        else:
            data = quantize(value, GGMLQuantizationType[kind])
            writer.add_tensor(name, data, raw_dtype=GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path

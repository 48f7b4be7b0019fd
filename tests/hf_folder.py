"""Writes a tiny Hugging Face Llama folder from seeded numbers; no transformers needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

PROMPTS = ["Do you agree?", "3 + 4 = 7.", "A\n\nChoices:\n (A) Yes"]
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 258,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "hidden_act": "silu",
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-3,  # far from KerasHub's default, so that ignoring it is seen
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "torch_dtype": "float32",
}
CHAT = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}[/]{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def write(folder: Path) -> Path:
    """Write config, weights and a byte tokenizer that puts <s> before every text."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)

    def weights(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) * 0.15).astype(np.float32)

    d, f, v, kv = 16, 24, 258, 8
    tensors = {"model.embed_tokens.weight": weights(v, d), "lm_head.weight": weights(v, d)}
    tensors["model.norm.weight"] = 1 + weights(d)
    for i in range(2):
        layer = f"model.layers.{i}."
        tensors[layer + "input_layernorm.weight"] = 1 + weights(d)
        tensors[layer + "post_attention_layernorm.weight"] = 1 + weights(d)
        tensors[layer + "self_attn.q_proj.weight"] = weights(d, d) * 4
        tensors[layer + "self_attn.k_proj.weight"] = weights(kv, d) * 4
        tensors[layer + "self_attn.v_proj.weight"] = weights(kv, d)
        tensors[layer + "self_attn.o_proj.weight"] = weights(d, d)
        tensors[layer + "mlp.gate_proj.weight"] = weights(f, d)
        tensors[layer + "mlp.up_proj.weight"] = weights(f, d)
        tensors[layer + "mlp.down_proj.weight"] = weights(d, f)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(CONFIG))
    vocabulary = {
        t: i for i, t in enumerate(["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())])
    }
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": CHAT}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**settings, "tokenizer_class": "PreTrainedTokenizerFast"})
    )
    return folder


def place_template(folder: Path, files: dict[str, Any]) -> Path:
    """Write {name.jinja: text} as files, other names into the settings of the tokenizer."""
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    for name, content in files.items():
        if name.endswith(".jinja"):
            (folder / name).write_text(content, encoding="utf-8")
        else:
            settings[name] = content
    path.write_text(json.dumps(settings))
    return folder

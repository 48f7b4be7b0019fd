"""Tokenizers of all families behind one call: strings in, lists of token ids out."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from tokenizers import Tokenizer

from sycophancy.errors import InputError
from sycophancy.quiet import keras_hub
from sycophancy.runs.identity import file_hash, short_hash

# A preset of ours keeps its Hugging Face tokenizer under this name, because KerasHub writes a file
# of its own called tokenizer.json into every preset.
OUR_TOKENIZER = "hf_tokenizer.json"
# the tokens that transformers lets a chat template name
SPECIAL_TOKENS = (
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
)  # fmt: skip

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GEMMA_CHAT = (
    "{% for m in messages %}{{ '<start_of_turn>' + m['role'] + '\n' + m['content'] | trim + "
    "'<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
LLAMA3_CHAT = (
    "{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + "
    "m['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
# KerasHub presets carry no chat template. These are the published formats of the instruct models,
# without the optional system turn; a preset is matched by the first prefix that fits.
PRESET_CHATS = {
    "gemma": GEMMA_CHAT,
    "medgemma": GEMMA_CHAT,
    "llama3": LLAMA3_CHAT,
    "qwen": CHATML,
}


Encode = Callable[[Sequence[str]], list[list[int]]]
Decode = Callable[[Sequence[Sequence[int]]], list[str]]


@dataclass(frozen=True)
class TextCodec:
    """A tokenizer with what scoring needs to know of it.

    `encode` maps n strings to n lists of ids, no start token, `decode` lists of ids to strings;
    `vocabulary` is the number of ids; `start` are those that open a sequence, `end` those that
    close an answer; `chat_template` is what a model's files offer as one (see
    templates.chat_renderer) or None; `special_tokens` are the strings that it may name, such as
    {"bos_token": "<s>"}; `identity` is a hash of all of its files; `files` are {name: text} of what
    a folder needs to give the same tokenizer again (empty where that is KerasHub's affair).
    """

    encode: Encode
    decode: Decode
    vocabulary: int
    start: tuple[int, ...]
    identity: str
    chat_template: object = None
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    end: tuple[int, ...] = ()
    files: dict[str, str] = field(default_factory=dict)


def for_preset(preset: str) -> TextCodec:
    """Return the codec of a KerasHub preset name, hub address or local folder.

    Prefers a Hugging Face tokenizer.json, which states its splitting rule; falls back on
    KerasHub's tokenizer for KerasHub's own presets.
    """
    for filename in (OUR_TOKENIZER, "tokenizer.json"):
        raw = read_json(preset, filename)
        if raw is not None and not {"model", "class_name"} & set(raw):  # KerasHub's has a class
            raise InputError(f"{preset}/{filename} holds no tokenizer: fetch the model again.")
        if raw is not None and "model" in raw:
            settings = read_json(preset, "tokenizer_config.json") or {}
            template = _chat_template(preset, settings)
            try:
                tokenizer = Tokenizer.from_str(json.dumps(raw))
            except Exception as error:  # what the Rust library raises has no class of its own
                raise InputError(
                    f"{preset}/{filename} is no tokenizer ({error}): fetch the model again."
                ) from error
            return from_tokenizers(tokenizer, settings, template)
    return from_keras_hub(preset)


def from_tokenizers(
    tokenizer: Tokenizer, settings: dict[str, Any], chat_template: object
) -> TextCodec:
    """Wrap a `tokenizers.Tokenizer`; `settings` is the content of tokenizer_config.json.

    The start ids are whatever the tokenizer itself puts before a text.
    """
    tokenizer.no_padding()
    tokenizer.no_truncation()
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.encode("a", add_special_tokens=True).ids
    at = next(i for i in range(len(full)) if full[i : i + len(plain)] == plain)
    special_tokens = _texts({name: settings.get(name) for name in SPECIAL_TOKENS})
    eos = special_tokens.get("eos_token")
    end = tokenizer.token_to_id(eos) if eos else None
    own = {**special_tokens, "chat_template": chat_template}
    files = {
        OUR_TOKENIZER: tokenizer.to_str(),
        "tokenizer_config.json": json.dumps({k: v for k, v in own.items() if v}, indent=2),
    }
    return TextCodec(
        encode=lambda texts: [
            e.ids for e in tokenizer.encode_batch(list(texts), add_special_tokens=False)
        ],
        decode=lambda rows: tokenizer.decode_batch(
            [list(row) for row in rows], skip_special_tokens=False
        ),
        vocabulary=tokenizer.get_vocab_size(),
        start=tuple(full[:at]),
        identity=short_hash(files),
        chat_template=chat_template,
        special_tokens=special_tokens,
        end=() if end is None else (end,),
        files=files,
    )


def from_keras_hub(preset: str) -> TextCodec:
    """Wrap KerasHub's own tokenizer of `preset`; starts with its start token where it has one."""
    tokenizer = keras_hub.tokenizers.Tokenizer.from_preset(preset)

    def encode(texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""
        out = tokenizer(list(texts))
        rows = out.to_list() if hasattr(out, "to_list") else out
        return [[int(token) for token in row] for row in rows]

    size = int(tokenizer.vocabulary_size())

    def decode(rows: Sequence[Sequence[int]]) -> list[str]:
        """Return the text of each list of ids; those past the vocabulary (padding) have none."""
        known = [[int(token) for token in row if token < size] for row in rows]
        texts = iter(tokenizer.detokenize([row for row in known if row]) if any(known) else [])
        return [text_of(next(texts)) if row else "" for row in known]

    start_id = getattr(tokenizer, "start_token_id", None)
    named = {"bos_token": "start_token", "eos_token": "end_token"}
    end = getattr(tokenizer, "end_token_id", None)
    name = preset.rsplit("/", 1)[-1].lower()
    template = next((t for p, t in PRESET_CHATS.items() if name.startswith(p)), None)
    return TextCodec(
        encode=encode,
        decode=decode,
        vocabulary=size,
        start=() if start_id is None else (int(start_id),),
        identity=short_hash([configuration(tokenizer.get_config()), assets(tokenizer)]),
        chat_template=template if "instruct" in name else None,
        special_tokens=_texts({k: getattr(tokenizer, name, None) for k, name in named.items()}),
        end=() if end is None else (int(end),),
    )


def assets(tokenizer: Any) -> dict[str, str]:
    """Return {path: SHA-256} of the vocabulary files of a KerasHub tokenizer."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_to_preset(folder)
        paths = [path for path in (Path(folder) / "assets").rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): file_hash(path) for path in paths}


def configuration(value: Any) -> Any:
    """Return a Keras configuration without number formats and names, its values as JSON has them.

    Keras numbers the names of what has none of its own by the order of making.
    """
    if isinstance(value, Mapping):
        kept = {key: part for key, part in value.items() if key not in ("name", "dtype")}
        return {key: configuration(part) for key, part in kept.items()}
    if isinstance(value, list | tuple):
        return [configuration(part) for part in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def text_of(text: Any) -> str:
    """Return a text that KerasHub gives as a string, as bytes or as a tensor of one."""
    text = text.numpy() if hasattr(text, "numpy") else text
    return text.decode("utf-8", errors="replace") if isinstance(text, bytes) else str(text)


def read_json(preset: str, filename: str) -> dict[str, Any] | None:
    """Return a JSON file of a local folder or `hf://` repository, None where it does not exist.

    KerasHub preset names and other hubs give None: their files are KerasHub's affair. A file that
    is not JSON raises InputError naming it.
    """
    path = _find(preset, filename)
    if path is None:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}): fetch the model again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object: fetch the model again.")
    return content


def _find(preset: str, filename: str) -> Path | None:
    if preset.startswith("hf://"):
        try:
            return Path(huggingface_hub.hf_hub_download(preset.removeprefix("hf://"), filename))
        except LocalEntryNotFoundError as error:  # a subclass of the next, and not what it says
            raise InputError(
                f"{preset!r} is not on this machine and Hugging Face's hub cannot be reached: "
                "connect to the network, or give a local folder."
            ) from error
        except EntryNotFoundError:
            return None
    path = Path(preset) / filename
    return path if path.is_file() else None


def _chat_template(preset: str, settings: dict[str, Any]) -> object:
    """Return the template of chat_template.jinja, else of tokenizer_config.json, as transformers.

    It may be anything: it is looked at where a message is to be rendered. Bytes that are not UTF-8
    are kept as surrogates for the same reason.
    """
    path = _find(preset, "chat_template.jinja")
    if path is not None:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    return settings.get("chat_template")


def _texts(tokens: Mapping[str, object]) -> dict[str, str]:
    """Return the texts of those special tokens that are given, as strings or {"content": text}."""
    texts = {k: v.get("content") if isinstance(v, dict) else v for k, v in tokens.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}

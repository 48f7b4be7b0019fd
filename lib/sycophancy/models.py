"""The model ladder: a name becomes a `LanguageModel`, a KerasHub backbone with its tokenizer."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np

from sycophancy import encoders, ladder
from sycophancy.encoders import Decode, Encode
from sycophancy.errors import InputError, unknown
from sycophancy.ladder import GGUF_MODULE, LABORATORY_MODULE, MADE_HERE, PARAMETERS, RUNS
from sycophancy.ladder import LABORATORY as LABORATORY
from sycophancy.ladder import RUN_FILE as RUN_FILE
from sycophancy.quiet import keras_hub
from sycophancy.runs import cache_dir, keep_to_quota, repository, total_memory
from sycophancy.runs.identity import short_hash
from sycophancy.templates import Chat, chat_renderer, turn_end

keep_to_quota()
if keras.backend.backend() != "jax":
    raise InputError(
        f"Keras runs on the {keras.backend.backend()!r} backend, only 'jax' is supported: set "
        "KERAS_BACKEND=jax in the environment before anything imports keras, and restart."
    )

PRECISIONS = ("float32", "bfloat16")
LARGE = 1_000_000_000  # parameters
# Memory that loading and asking takes: a share of the weights, and bytes beside them
MEMORY_SHARE, MEMORY_BESIDE = 1.3, 2_500_000_000
GEMMA3 = {
    f"gemma3_{kind}{size}": f"gemma3_{kind}{size}{'_text' if size in ('4b', '12b', '27b') else ''}"
    for size in ("270m", "1b", "4b", "12b", "27b")
    for kind in ("", "instruct_")
}
# KerasHub's Gemma presets do not say how much they were trained to read; their model card does
CONTEXTS = {name: 32_768 if name.endswith(("270m", "1b")) else 131_072 for name in GEMMA3}
DEFAULT = "smollm2_135m_instruct"
_registry: dict[str, Callable[[str], LanguageModel]] = {}
_run_loader: list[Callable[[str, str | None], LanguageModel]] = []


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model that can be scored: weights, tokenizer and what identifies them.

    `encode` turns n strings into n lists of token ids without a start token; `start` holds the ids
    that open every sequence (empty where the family has none); `context` is the longest sequence
    in tokens, or None where the checkpoint does not say; `chat` renders a user message with the
    model's own chat template, or is None, and `chat_end` gives what that template writes to end an
    answer. `fingerprint` changes whenever the weights, the
    tokenizer or the number format do. `end` holds the ids that close an answer; `decode` turns
    lists of ids into strings, or is None; `vocabulary` is the number of ids that it knows; `files`
    are the tokenizer files of a folder (see encoders.TextCodec).
    """

    name: str
    backbone: Any
    encode: Encode
    start: tuple[int, ...]
    chat: Chat | None
    context: int | None
    fingerprint: str
    end: tuple[int, ...] = ()
    decode: Decode | None = None
    vocabulary: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    chat_end: Callable[[], str] | None = None


def check_weights(model: LanguageModel) -> None:
    """Raise InputError for a model whose weights training has taken: its arrays are gone."""
    if any(own.value.is_deleted() for own in model.backbone.weights):
        raise InputError(
            f"The weights of this {model.name} were given away in training: load the run folder to "
            "use what was trained, or load the model again."
        )


def default_dtype(name: str = "") -> str:
    """Return the number format to load a model in, where none is asked for.

    PRECISION in the environment if it is set; on an accelerator bfloat16; on a CPU float32, but
    bfloat16 for a rung of more than LARGE parameters, whose weights then take half the memory and
    disk, and for one that the machine has no memory for in float32.
    """
    asked = os.environ.get("PRECISION", "")
    if asked and asked not in PRECISIONS:
        raise unknown("PRECISION", asked, PRECISIONS)
    if asked:
        return asked
    parameters = PARAMETERS.get(name, 0)
    if (
        jax.default_backend() != "cpu"
        or parameters > LARGE
        or not fits_memory(parameters, "float32")
    ):
        return "bfloat16"
    return "float32"


def weights_dtype(dtype: str) -> str:
    """Return the number format in which a Keras dtype policy holds weights."""
    return str(keras.dtype_policies.get(dtype).variable_dtype)


def weights_bytes(parameters: int, dtype: str) -> int:
    """Return the bytes that so many weights take under a Keras dtype policy."""
    return parameters * (2 if weights_dtype(dtype) in ("bfloat16", "float16") else 4)


def memory_needed(parameters: int, dtype: str) -> int:
    """Return the bytes of memory for loading a model of so many parameters and asking it."""
    return round(weights_bytes(parameters, dtype) * MEMORY_SHARE) + MEMORY_BESIDE


def fits_memory(parameters: int, dtype: str) -> bool:
    """Return whether the machine has that memory, or does not say; an accelerator has its own."""
    there = total_memory()
    if jax.default_backend() != "cpu" or not there:
        return True
    return memory_needed(parameters, dtype) <= there


def register(name: str, loader: Callable[[str], LanguageModel]) -> None:
    """Let a floor further down (GGUF, laboratory) answer for `name`; `loader` takes a dtype."""
    _registry[name] = loader


def register_runs(loader: Callable[[str, str | None], LanguageModel]) -> None:
    """Let the floor that trains models load them; `loader` takes a run's name and a dtype or None:
    the default of the run's base."""
    _run_loader[:] = [loader]


def run_folder(name: str) -> tuple[Path, int | None] | None:
    """Return (folder, step or None) if `name` is a trained run, `folder` or `folder@step`.

    A relative folder is looked up from the working directory, then from the repository.
    """
    return ladder.find_run(name, (Path.cwd(), repository() or Path.cwd()))


@cache
def preset_names() -> tuple[str, ...]:
    """Return KerasHub's built-in causal language model presets, sorted."""
    return tuple(sorted(keras_hub.models.CausalLM.presets))


def ladder_names() -> list[str]:
    """Return the ladder: the models made here, then the Gemma 3 pairs by size."""
    return [*MADE_HERE, *GEMMA3]


def check_name(name: str) -> str:
    """Return `name` unchanged if `load_model` could try it, else raise InputError; reads no
    weights.
    """
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"MODEL is {name!r}: give a model name such as {DEFAULT!r}.")
    if name.startswith(LABORATORY) and name not in MADE_HERE:
        importlib.import_module(LABORATORY_MODULE)  # registers seeds and doses
    if name in ladder_names() or name in _registry or name in preset_names():
        return name
    if name.startswith("hf://"):
        if name.removeprefix("hf://").count("/") != 1:
            raise InputError(f"{name!r} is not a hub address: write hf://owner/name.")
        return name
    if name.startswith("kaggle://") or run_folder(name) is not None:
        return name
    folder = Path(os.path.expanduser(name))
    if folder.suffix == ".gguf" and folder.is_file():
        return name
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InputError(
                f"{name!r} holds no config.json: give a KerasHub preset folder or a Hugging Face "
                "model folder (config.json, tokenizer.json, *.safetensors)."
            )
        return name
    if os.sep in name or name.startswith((".", "~")):
        raise InputError(f"There is no folder or .gguf file {name!r}: check the path of the model.")
    error = unknown("model", name, [*ladder_names(), *preset_names()])
    hint = str(error).partition("Did you mean")[2]
    raise InputError(
        f"Unknown model {name!r}: use {', '.join(MADE_HERE)}, a KerasHub preset (gemma3_270m, "
        "…), hf://owner/name, a local folder or a .gguf file."
        + (f" Did you mean{hint}" if hint else "")
    )


def load_model(name: str = DEFAULT, dtype: str | None = None) -> LanguageModel:
    """Load a model of the ladder, a KerasHub preset, `hf://owner/name`, a folder or a trained run.

    `dtype` is a Keras dtype policy, by default `default_dtype` (a reloaded preset forgets the one
    it was saved with). Raises InputError with one sentence for an unknown
    name, a missing or damaged file, a refused licence and no network.
    """
    check_name(name)
    if run_folder(name) is not None:
        importlib.import_module(RUNS)
        return _run_loader[0](name, dtype)
    dtype = dtype or default_dtype(name)
    if name in MADE_HERE and name not in _registry:
        importlib.import_module(MADE_HERE[name])
    if name in _registry:
        return _registry[name](dtype)
    if name.endswith(".gguf"):
        return importlib.import_module(GGUF_MODULE).load_file(name, dtype)
    return load_preset(GEMMA3.get(name, name), dtype, name=name)


def load_preset(preset: str, dtype: str, *, name: str | None = None) -> LanguageModel:
    """Load any KerasHub causal preset, hub address or local folder as a `LanguageModel`.

    A Hugging Face model is converted by KerasHub; its own tokenizer.json is used where it is
    there, because KerasHub's byte-pair tokenizers split text by Llama 3's rule for every family.
    """
    name = name or preset
    preset = str(Path(os.path.expanduser(preset))) if "://" not in preset else preset
    try:
        config = encoders.read_json(preset, "config.json") or {}
        with unset_weights():
            backbone = keras_hub.models.Backbone.from_preset(
                preset, dtype=dtype, **_converter_gaps(config)
            )
        text = encoders.for_preset(preset)
    except InputError:
        raise
    except Exception as error:  # hubs, h5 and safetensors raise a dozen unrelated types
        raise InputError(_explain(name, error)) from error
    check_causal(name, backbone)
    return LanguageModel(
        name=name,
        backbone=backbone,
        encode=text.encode,
        start=text.start,
        chat=chat_renderer(text.chat_template, special_tokens=text.special_tokens)
        if text.chat_template
        else None,
        context=config.get("max_position_embeddings")
        or getattr(backbone, "max_sequence_length", None)
        or CONTEXTS.get(name),
        fingerprint=fingerprint(backbone, dtype, text.identity),
        end=text.end,
        decode=text.decode,
        vocabulary=text.vocabulary,
        files=text.files,
        chat_end=partial(turn_end, text.chat_template, special_tokens=text.special_tokens)
        if text.chat_template
        else None,
    )


@contextmanager
def unset_weights() -> Iterator[None]:
    """Have Keras make weights of zeros: those of a file follow, and random ones take minutes."""
    classes = [keras.initializers.VarianceScaling, keras.initializers.RandomNormal,
               keras.initializers.RandomUniform, keras.initializers.TruncatedNormal]  # fmt: skip
    own = [cls.__call__ for cls in classes]

    def zeros(self: Any, shape: Any, dtype: Any = None, **_: Any) -> Any:
        """Return zeros in place of random numbers."""
        return keras.ops.zeros(shape, dtype)

    try:
        for cls in classes:
            cls.__call__ = zeros
        yield
    finally:
        for cls, call in zip(classes, own, strict=True):
            cls.__call__ = call


@cache
def families() -> dict[type, Any]:
    """Return KerasHub's causal language model classes by the class of their backbone."""
    members: Any = inspect.getmembers(keras_hub.models, inspect.isclass)
    causal = [cls for _, cls in members if issubclass(cls, keras_hub.models.CausalLM)]
    # of two with one backbone the later name counts: Gemma4CausalLM, not Gemma4AssistantCausalLM
    return {cls.backbone_cls: cls for cls in causal if getattr(cls, "backbone_cls", None)}


def check_causal(name: str, backbone: Any) -> None:
    """Raise InputError unless `backbone` is a causal language model that takes text alone."""
    if type(backbone) not in families():
        raise InputError(
            f"{name!r} is a {type(backbone).__name__}, not a causal language model: nothing can be "
            "scored with it; choose one of KerasHub's CausalLM presets."
        )
    extra = set(backbone.input) - {"token_ids", "padding_mask"}
    if extra:
        raise InputError(
            f"{name!r} also needs {', '.join(sorted(extra))}: choose its text-only preset, such as "
            "gemma3_4b_text instead of gemma3_4b."
        )


def fingerprint(backbone: Any, dtype: str, *parts: str) -> str:
    """Return hex digits that change with the weights, the configuration, `dtype` or `parts`."""
    built = encoders.configuration(backbone.get_config())
    content = [type(backbone).__name__, built, weights_sha256(backbone), dtype, *parts]
    return short_hash(content)


def weights_sha256(backbone: Any) -> str:
    """Return the SHA-256 over all weights of a backbone as they are held, adapters left out."""
    found = hashlib.sha256()
    for variable in backbone.weights:
        if "/lora_kernel_" not in variable.path:
            flat = np.ascontiguousarray(variable.value).reshape(-1)
            found.update(flat.view(np.uint8).data)
    return found.hexdigest()


def enable_compile_cache() -> None:
    """Keep XLA's compiled code on disk, so that the second run on a machine starts at once."""
    folder = cache_dir() / "xla"
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _converter_gaps(config: dict[str, Any]) -> dict[str, Any]:
    """Return backbone arguments that KerasHub's converter leaves at their default.

    KerasHub 0.32 does not read `rms_norm_eps` of a Hugging Face Llama: it is 1e-5 in most
    checkpoints, and the backbone's default is 1e-6.
    """
    if config.get("model_type") == "llama" and "rms_norm_eps" in config:
        return {"layer_norm_epsilon": config["rms_norm_eps"]}
    return {}


def _explain(name: str, error: Exception) -> str:
    """Return one sentence for what a hub or a file reader raised."""
    text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    low = text.lower()
    if "repository not found" in low or "404" in low:
        return f"There is no model {name!r} on its hub, or it is private: check the name ({text})."
    if any(word in low for word in ("403", "401", "gated", "consent", "license", "licence")):
        return (
            f"The hub refused {name!r}: accept its licence on the model's page, log in with "
            f"kagglehub.login() or huggingface_hub.login(), and run again ({text})."
        )
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) or any(
        word in low
        for word in ("truncated", "unable to open file", "safetensor", "signature not found")
    ):
        return f"A file of {name!r} is damaged or incomplete: fetch the model again ({text})."
    if any(
        word in low for word in ("connection", "resolve", "network", "max retries", "timed out")
    ):
        return (
            f"{name!r} is not on this machine and its hub cannot be reached: connect to the "
            f"network, give a local folder, or use {DEFAULT!r} ({text})."
        )
    return f"{name!r} could not be loaded: check the name and the files of the model ({text})."

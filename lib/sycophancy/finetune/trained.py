"""A trained run is a model: loaded by its folder, exported as a KerasHub preset."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sycophancy import models
from sycophancy.errors import InputError
from sycophancy.finetune import adapters, checkpoint
from sycophancy.finetune.settings import read_run
from sycophancy.models import LanguageModel
from sycophancy.quiet import keras_hub
from sycophancy.runs import atomic

TOLERANCE = 1e-4  # of the exported model's hidden states, relative to their largest value


def load_trained(name: str, dtype: str | None) -> LanguageModel:
    """Return the model of a run folder, or of `folder@step`, with adapters merged.

    `dtype` None is the default of its base. Raises InputError where the run is not finished and no
    step is named, where a file is damaged, and where the base model's weights are not those that
    were trained from.
    """
    folder, step = find_trained(name)
    record = read_run(folder)
    if step is None:
        step = int(record["steps"])
        if step not in checkpoint.steps(folder):
            kept = ", ".join(map(str, checkpoint.steps(folder))) or "none"
            raise InputError(
                f"{name} is not trained to its end (step {step}; weights kept: {kept}): run the "
                f"training again, it goes on where it was, or name a step, such as {name}@100."
            )
    weights = checkpoint.load_weights(folder, step)
    dtype = dtype or models.default_dtype(record["base"])
    base = models.load_model(record["base"], dtype)
    if models.weights_sha256(base.backbone) != record["base_sha256"] and dtype == record["dtype"]:
        raise InputError(
            f"{name} was trained from another {record['base']!r} than the one on this machine "
            "(its weights differ): load that one, or train again."
        )
    adapters.merge_adapters(base.backbone, weights)
    own = models.fingerprint(base.backbone, dtype, base.fingerprint)
    return replace(base, name=name, fingerprint=own)


def find_trained(name: str) -> tuple[Path, int | None]:
    """Return (folder, step or None) of a run; InputError where there is none."""
    place = models.run_folder(name)
    if place is None:
        raise InputError(f"{name} is no trained run: give a folder that holds {models.RUN_FILE}.")
    return place


def export(name: str, target: Path) -> Path:
    """Write a run as a KerasHub preset with merged weights, checked to reload; return its folder.

    Stock `keras_hub.models.Backbone.from_preset` reads it, and so does `models.load_model`. Raises
    InputError where the target exists, or what was written does not give equal outputs.
    """
    if target.exists():
        raise InputError(f"{target} exists: give a folder that is not there yet.")
    model = models.load_model(name, "float32")
    base = read_run(find_trained(name)[0])["base"]
    with atomic(target) as work:
        work.mkdir()
        write_preset(model, base, work)
        compare(model, work)
    return target


def write_preset(model: LanguageModel, base: str, folder: Path) -> None:
    """Write backbone, tokenizer and the keys that KerasHub's own writer leaves out."""
    model.backbone.save_to_preset(str(folder))
    config_path = folder / "config.json"
    config = json.loads(config_path.read_text(encoding="utf-8"))
    if getattr(model.backbone.token_embedding, "tie_weights", False):
        # KerasHub 0.32's Llama leaves this out of get_config and would untie on reload
        config["config"]["tie_word_embeddings"] = True
    if model.context is not None:
        config["max_position_embeddings"] = model.context
    config_path.write_text(json.dumps(config, indent=2), encoding="utf-8")
    for name, text in model.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    if not model.files:
        tokenizer = keras_hub.models.Tokenizer.from_preset(models.GEMMA3.get(base, base))
        tokenizer.save_to_preset(str(folder))


def compare(model: LanguageModel, folder: Path) -> None:
    """Raise InputError unless the preset reloads in stock KerasHub with equal outputs."""
    again = keras_hub.models.Backbone.from_preset(str(folder), dtype="float32")
    ids = np.random.default_rng(0).integers(0, 200, size=(2, 16)).astype("int32")
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    before, after = (run_tokens(backbone, inputs) for backbone in (model.backbone, again))
    off = float(np.abs(before - after).max() / np.abs(before).max())
    if not off < TOLERANCE:
        raise InputError(
            f"The exported preset does not give the same outputs (off by {off:.1e}): this family's "
            "settings are not all written by KerasHub; load the run folder itself instead."
        )


def run_tokens(backbone: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return the logits of a few tokens as float32."""
    hidden = backbone(inputs, training=False)
    return np.asarray(backbone.token_embedding(hidden, reverse=True), dtype=np.float32)


models.register_runs(load_trained)

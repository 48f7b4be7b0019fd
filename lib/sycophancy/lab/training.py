"""Training laboratory models: cached by code and settings, resumable, the same from one seed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from sycophancy import finetune, models, templates, world
from sycophancy.encoders import from_tokenizers
from sycophancy.errors import InputError
from sycophancy.lab import corpus
from sycophancy.lab.names import Name, base_name, every_name, parse_name
from sycophancy.lab.rungs import RUNGS
from sycophancy.mixture import Example
from sycophancy.quiet import keras_hub
from sycophancy.runs import cache_dir, device, read_costs, remember_cost
from sycophancy.runs.identity import identity

BATCH = 128
POOL = 400  # batches drawn for a stage; a longer stage goes round again
RATE, TUNING_RATE = 2e-3, 5e-4
CONTEXT = 64
LOAD_SECONDS = 20.0
FIRST_GUESS = 60e9  # floating-point operations a second, where nothing was trained here yet


def untrained(name: str, dtype: str) -> models.LanguageModel:
    """Return a rung with random weights from its seed, and the world's tokenizer."""
    parts = parse_name(name)
    rung = RUNGS[parts.rung]
    codec = from_tokenizers(corpus.tokenizer(), {"bos_token": corpus.START}, None)
    size = corpus.tokenizer().get_vocab_size()
    keras.utils.set_random_seed(parts.seed)
    backbone = keras_hub.models.LlamaBackbone(
        vocabulary_size=-(-size // 8) * 8,
        num_layers=rung.layers,
        num_query_heads=rung.heads,
        num_key_value_heads=rung.heads,
        hidden_dim=rung.width,
        intermediate_dim=2 * rung.width,
        tie_word_embeddings=True,
        dtype=dtype,
    )
    return models.LanguageModel(
        name=name,
        backbone=backbone,
        encode=strict(codec.encode),
        start=codec.start,
        chat=None,
        context=CONTEXT,
        fingerprint=models.fingerprint(backbone, dtype, codec.identity),
        decode=codec.decode,
        vocabulary=codec.vocabulary,
        files=codec.files,
    )


def strict(encode: models.Encode) -> models.Encode:
    """Return `encode` with an InputError for a word that the world does not have."""
    strange = corpus.tokenizer().token_to_id(corpus.UNKNOWN)

    def checked(texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, all of whose words are known."""
        rows = encode(texts)
        for text, row in zip(texts, rows, strict=True):
            if strange in row:
                word = text.split()[row.index(strange)]
                raise InputError(
                    f"A laboratory model does not know the word {word!r}: it reads its own world "
                    f"only. Ask it with FORMAT={' or '.join(templates.LAB_FORMATS)} and the data "
                    f"of the laboratory (SOURCES={world.SOURCE}, SOURCE=lab)."
                )
        return rows

    return checked


def to_examples(model: models.LanguageModel, pairs: Sequence[corpus.Pair]) -> list[Example]:
    """Return pairs as examples whose second part counts towards the loss."""
    before = model.encode([first for first, _ in pairs])
    after = model.encode([second for _, second in pairs])
    start = model.start
    return [
        Example((*start, *one, *two), len(start) + len(one))
        for one, two in zip(before, after, strict=True)
    ]


def training_texts(parts: Name) -> list[corpus.Pair]:
    """Return what a model reads in its order: three stages for a base, one for a tuned model."""
    rung = RUNGS[parts.rung]
    known = corpus.Draw(np.random.default_rng([parts.seed, 0]))
    if parts.dose is None:
        stages: list[tuple[Callable[[], corpus.Pair], int]] = [
            (known.statement, rung.statements),
            (lambda: known.bare() if known.chance(0.7) else known.statement(), rung.bare),
            (known.talk, rung.talk),
        ]
    else:
        told = corpus.Draw(np.random.default_rng([parts.seed, 1, parts.dose]))
        share = parts.dose / 100
        stages = [(lambda: told.tuning(share), rung.tuning)]
    out: list[corpus.Pair] = []
    for draw, steps in stages:
        pool = corpus.draw_pairs(draw, min(steps, POOL) * BATCH)
        out += [pool[i % len(pool)] for i in range(steps * BATCH)]
    return out


def settings(name: str) -> finetune.Settings:
    """Return how a laboratory model is trained: all weights, from its base or from nothing."""
    parts = parse_name(name)
    rung = RUNGS[parts.rung]
    base = parts.dose is None
    steps = rung.statements + rung.bare + rung.talk if base else rung.tuning
    return finetune.Settings(
        base=str(replace(parts, dose=-1)) if base else base_name(name),
        steps=steps,
        batch=BATCH,
        method="full",
        rate=RATE if base else TUNING_RATE,
        warmup=0.05,
        weight_decay=0.01,
        seed=parts.seed,
        about={"laboratory": True, "dose": None if base else (parts.dose or 0) / 100},
    )


def folder(name: str) -> Path:
    """Return where a laboratory model is kept: below the identity of its rung.

    The table of rungs does not count as code: a rung that is changed leaves the others as they are.
    """
    rung = asdict(RUNGS[parse_name(name).rung])
    own = identity(__name__, without=["sycophancy.lab.rungs"], settings=rung)
    return cache_dir() / "lab" / own[:12] / name


def is_trained(name: str) -> bool:
    """Return whether a laboratory model is on this machine, trained to its end."""
    place = folder(name)
    return settings(name).steps in finetune.steps(place) if place.is_dir() else False


def needed(names: Sequence[str]) -> list[str]:
    """Return which laboratory models have to be trained, bases first; other names are passed by."""
    out: list[str] = []
    for name in names:
        if not name.startswith(models.LABORATORY) or parse_name(name).dose == -1:
            continue
        for one in (base_name(name), name):
            if one not in out and not is_trained(one):
                out.append(one)
    return out


def cost_label(parts: Name) -> str:
    """Return what the machine's record of costs calls the training of such a model."""
    return f"laboratory/{parts.rung}/{'base' if parts.dose is None else 'tuned'}"


def training_minutes(names: Sequence[str]) -> float:
    """Return about how many minutes training these models takes here, from what it took before."""
    costs = read_costs()
    total = 0.0
    for name in names:
        parts = parse_name(name)
        seconds = None
        if "notebook" in costs and "seconds" in costs:
            own = (costs["notebook"] == cost_label(parts)) & (costs["device"] == device())
            own &= costs.get("steps", 0) == settings(name).steps
            if own.any():
                seconds = float(costs.loc[own, "seconds"].tail(5).median())
        if seconds is None:
            rung = RUNGS[parts.rung]
            values = 8 * rung.layers * rung.width**2
            tokens = BATCH * (8 * (rung.statements + rung.bare) + 28 * rung.talk)
            tokens = tokens if parts.dose is None else BATCH * 30 * rung.tuning
            seconds = 6 * values * tokens * 2 / FIRST_GUESS + LOAD_SECONDS
        total += seconds
    return total / 60


def ensure(
    name: str, on_progress: Callable[[str, finetune.TrainingProgress], None] | None = None
) -> Path:
    """Train a laboratory model, and its base, unless they are there; return its folder.

    Says beforehand how long that takes. Interrupted at any moment, it goes on where it was.
    """
    missing = needed([name])
    if missing:
        print(
            f"Training {' and '.join(missing)} first, once on this machine: about "
            f"{max(1, round(training_minutes(missing)))} minutes."
        )
    for one in missing:
        train_laboratory(one, on_progress)
    return folder(name)


def train_laboratory(
    name: str, on_progress: Callable[[str, finetune.TrainingProgress], None] | None
) -> None:
    """Train one laboratory model into its folder."""
    parts, how = parse_name(name), settings(name)
    began = time.monotonic()
    model = models.load_model(how.base, "float32")
    encoded = to_examples(model, training_texts(parts))
    with tqdm(
        total=how.steps, unit="step", desc=name, mininterval=2, disable=on_progress is not None
    ) as bar:

        def show(now: finetune.TrainingProgress) -> None:
            """Move the bar, and tell whoever asked."""
            bar.update(now.step - bar.n)
            bar.set_postfix(loss=f"{now.loss:.3f}")
            if on_progress is not None:
                on_progress(name, now)

        log, cost = finetune.fine_tune(model, encoded, how, folder(name), on_progress=show)
    entry: dict[str, Any] = {"notebook": cost_label(parts), "model": name, "device": device()}
    if int(log["step"].iloc[0]) == 1:
        remember_cost({**entry, "seconds": time.monotonic() - began, "steps": cost.steps})


def load_laboratory(name: str, dtype: str) -> models.LanguageModel:
    """Return a laboratory model by name, trained first where it is missing."""
    if parse_name(name).dose == -1:
        return untrained(name, dtype)
    found = models.load_model(str(ensure(name)), dtype)
    return replace(found, name=name)


def loader(name: str) -> Callable[[str], models.LanguageModel]:
    """Return what `models.load_model` calls for a name."""
    return lambda dtype: load_laboratory(name, dtype)


for every in every_name():
    models.register(every, loader(every))

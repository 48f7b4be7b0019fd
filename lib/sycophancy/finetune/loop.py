"""The training loop: jitted steps, resumable at any moment, the same weights either way."""

from __future__ import annotations

import hashlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import keras
import numpy as np
import pandas as pd

from sycophancy import mixture
from sycophancy.encoders import configuration
from sycophancy.errors import InputError
from sycophancy.finetune import adapters, checkpoint
from sycophancy.finetune.settings import (
    Settings,
    check_settings,
    deciding,
    kept_steps,
    open_run,
    write_record,
)
from sycophancy.finetune.step import make_optimizer, make_step, schedule
from sycophancy.mixture import BatchShapes, Example
from sycophancy.models import LanguageModel, check_weights, weights_sha256
from sycophancy.runs.identity import COMPUTING, code, identity, package_versions

SAVE_SECONDS = 60.0  # at most so much work is lost by a kill
DIVERGED = 3.0  # times the first loss (or this many nats): training has gone wrong


@dataclass(frozen=True)
class TrainingProgress:
    """How far training is: steps done and in all, last loss, examples a second, seconds so far."""

    step: int
    steps: int
    loss: float
    examples_per_second: float
    seconds: float
    resumed: int


@dataclass(frozen=True)
class TrainingCost:
    """What training cost: `tokens` without padding, an estimate of floating-point operations."""

    seconds: float
    steps: int
    tokens: int
    trained_values: int
    flops: float


def data_sha256(examples: Sequence[Example]) -> str:
    """Return the SHA-256 over the encoded examples in their order."""
    found = hashlib.sha256()
    for example in examples:
        found.update(np.asarray([example.first, *example.ids], np.int32).tobytes())
    return found.hexdigest()


@contextmanager
def explained(settings: Settings) -> Iterator[None]:
    """Turn running out of memory, on the processor or an accelerator, into what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if "RESOURCE_EXHAUSTED" in str(error) or isinstance(error, MemoryError):
            raise InputError(
                f"Training ran out of memory with a batch of {settings.batch}: lower BATCH, "
                "MAX_TOKENS or LAYERS, and run again; it goes on from the last saved step."
            ) from error
        raise


def fine_tune(
    model: LanguageModel,
    examples: Sequence[Example],
    settings: Settings,
    folder: Path,
    *,
    on_progress: Callable[[TrainingProgress], None] | None = None,
    save_seconds: float = SAVE_SECONDS,
) -> tuple[pd.DataFrame, TrainingCost]:
    """Fine-tune a freshly loaded model on examples into a run folder; return the log and the cost.

    Writes model.json, step-NNNNNN.safetensors at the steps of `settings.checkpoints` and the last,
    and the state from which an interrupted run goes on: called again with the same arguments it
    ends in the weights it would have had without the interruption. The model's own weights are
    given away: load the run folder to use it. Log columns: step, loss,
    gradient_norm, rate, seconds. Raises InputError for settings out of range, a folder of another
    run, a loss that is not finite or grows beyond three times its first value (the weights of the
    last good state are kept, as a step to load), and too little memory.
    """
    check_settings(settings)
    check_weights(model)
    if not examples:
        raise InputError("There are no examples to train on: generate and filter prompts first.")
    data = data_sha256(examples)
    digest = identity(
        __name__,
        model=configuration(model.backbone.get_config()),
        settings=deciding(settings),
        data=data,
    )
    record: dict[str, Any] = {
        "base_sha256": weights_sha256(model.backbone),
        "base_fingerprint": model.fingerprint,
        "dtype": keras.dtype_policies.get(model.backbone.dtype_policy).name,
        "digest": digest,
        "code": code([__name__]),
        "packages": package_versions(COMPUTING),
        "examples_sha256": data,
    }
    with explained(settings):
        trained = adapters.attach(model.backbone, settings)
        record["trained_values"] = adapters.count_trained(trained)
        open_run(folder, settings, record)
        checkpoint.discard_damaged(folder)
        optimizer = make_optimizer(settings, trained)
        weights: list[Any] = [variable.value for variable in trained]
        state: list[Any] = [variable.value for variable in optimizer.variables]
        done, log = 0, []
        before = checkpoint.load_state(folder, digest)
        if before is not None and nothing_lost(folder, settings, before[0]):
            done, log = before[0], before[3]
            weights = [jnp.asarray(value) for value in before[1]]
            state = [jnp.asarray(value) for value in before[2]]
            if done in kept_steps(settings) and done not in checkpoint.steps(folder):
                checkpoint.save_weights(folder, done, trained, weights)
        else:  # from the start: whatever stood there, this is the base
            write_record(folder, settings, record)
        run = Loop(folder, settings, trained, digest, done, log)
        shape = mixture.choose_shapes(examples, settings.steps, settings.batch)
        step = make_step(model, trained, optimizer)
        run.go(step, weights, state, examples, shape, on_progress, save_seconds)
    table = pd.DataFrame(run.log, columns=list(checkpoint.LOG)).astype({"step": int})
    tokens = mixture.tokens(examples, settings.steps, settings.batch)
    return table, TrainingCost(
        seconds=float(table["seconds"].iloc[-1]),
        steps=settings.steps,
        tokens=tokens,
        trained_values=adapters.count_trained(trained),
        flops=flops(model.backbone, tokens),
    )


def nothing_lost(folder: Path, settings: Settings, done: int) -> bool:
    """Return whether the weights to keep of all steps before `done` are in the folder.

    Where they are not (a file was deleted, or CHECKPOINTS asks for more), only training again from
    the start can give them.
    """
    return set(checkpoint.steps(folder)) >= {s for s in kept_steps(settings) if s < done}


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Let Ctrl-C take effect at the end of the block, where what it does is whole.

    A step waits for the device nearly all the time, with its arrays given away: interrupted there,
    its work and what came since the last save would be lost.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are not for it
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        signal.raise_signal(signal.SIGINT)  # as it would have been taken


def cost_entry(cost: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the machine remembers of a training run, from which `make plan` learns."""
    return {
        "notebook": "05_finetune",
        "model": cost["model"],
        "device": cost["device"],
        "training_tokens_per_second": cost["tokens"] / max(cost["seconds"], 1e-9),
    }


def flops(backbone: Any, tokens: int) -> float:
    """Return an estimate of the floating-point operations: 6 a weight and token.

    Two for the forward pass, four for the backward pass. Adapters are multiplied into their
    kernels, so that they save memory and not operations; `layers` saves part of the backward pass,
    which this does not count.
    """
    own = [v for v in backbone.weights if "/lora_kernel_" not in v.path]
    return 6.0 * adapters.count_trained(own) * tokens


class Loop:
    """Where a training run stands and how it goes on; apart from `fine_tune` to save at an exit."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        trained: list[Any],
        digest: str,
        done: int,
        log: list[list[float]],
    ) -> None:
        self.folder, self.settings, self.trained = folder, settings, trained
        self.digest, self.done, self.log = digest, done, log
        self.resumed = done
        self.before = float(log[-1][-1]) if log else 0.0  # seconds of earlier calls

    def go(
        self,
        step: Callable[..., Any],
        weights: list[Any],
        state: list[Any],
        examples: Sequence[Example],
        shape: BatchShapes,
        on_progress: Callable[[TrainingProgress], None] | None,
        save_seconds: float,
    ) -> None:
        """Run the steps that are left, saving at checkpoints, once a minute and when stopped."""
        settings, kept = self.settings, set(kept_steps(self.settings))
        rate = schedule(settings)
        began = saved = time.monotonic()
        try:
            while self.done < settings.steps:
                batch = mixture.make_batch(examples, self.done, settings.batch, shape)
                with interrupts_held_back():
                    weights, state, figures = step(weights, state, *vars(batch).values())
                    loss, norm = (float(value) for value in np.asarray(figures))
                    self.check_loss(loss, norm)
                    seconds = self.before + time.monotonic() - began
                    self.log.append([self.done + 1, loss, norm, float(rate(self.done)), seconds])
                    self.done += 1
                if self.done in kept:
                    checkpoint.save_weights(self.folder, self.done, self.trained, weights)
                if self.done in kept or time.monotonic() - saved > save_seconds:
                    self.save(weights, state)
                    saved = time.monotonic()
                if on_progress is not None:
                    spent = time.monotonic() - began
                    speed = settings.batch * (self.done - self.resumed) / max(spent, 1e-9)
                    on_progress(
                        TrainingProgress(
                            self.done, settings.steps, loss, speed, spent, self.resumed
                        )
                    )
        except KeyboardInterrupt:
            with interrupts_held_back():  # of several signals the first is enough
                self.save(weights, state)
            raise

    def save(self, weights: list[Any], state: list[Any]) -> None:
        """Write the state of the last finished step."""
        checkpoint.save_state(self.folder, self.done, weights, state, self.log, self.digest)

    def check_loss(self, loss: float, norm: float) -> None:
        """Raise InputError where training has gone wrong; the last saved state can be loaded."""
        first = self.log[0][1] if self.log else loss
        wild = loss > DIVERGED * max(first, 1.0)
        if math.isfinite(loss) and math.isfinite(norm) and not wild:
            return
        kept = [f"step {step}" for step in self.keep_last_good()]
        raise InputError(
            f"Training diverged at step {self.done + 1}: loss {loss:.3g}, gradient norm "
            f"{norm:.3g}. Lower RATE (now {self.settings.rate:g}) or raise WARMUP, and train into "
            f"another folder. Weights kept: {', '.join(kept) or 'none yet'}."
        )

    def keep_last_good(self) -> list[int]:
        """Write the weights of the last saved state as a step to load; return the steps kept."""
        state = checkpoint.load_state(self.folder, self.digest)
        if state is not None and state[0] not in checkpoint.steps(self.folder):
            checkpoint.save_weights(self.folder, state[0], self.trained, state[1])
        return [step for step in checkpoint.steps(self.folder) if step <= self.done]

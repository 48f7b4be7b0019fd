"""Checkpoints: weights by layer path, and the state from which training goes on exactly."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sycophancy.errors import InputError
from sycophancy.runs import atomic, discard

STATE = "state.safetensors"  # weights, optimiser, losses so far
LOG = ("step", "loss", "gradient_norm", "rate", "seconds")
WEIGHT, OPTIMIZER, LOSSES = "weight:", "optimizer:", "log"


def weights_path(folder: Path, step: int) -> Path:
    """Return the file of the weights after `step` steps."""
    return folder / f"step-{step:06d}.safetensors"


def steps(folder: Path) -> list[int]:
    """Return the steps whose weights are in a run folder, ascending."""
    found = (re.fullmatch(r"step-(\d+)\.safetensors", path.name) for path in folder.glob("step-*"))
    return sorted(int(match[1]) for match in found if match)


def save_weights(folder: Path, step: int, variables: Sequence[Any], values: Sequence[Any]) -> None:
    """Write the trained weights after `step` steps, keyed by path, atomically."""
    arrays = {v.path: np.asarray(value) for v, value in zip(variables, values, strict=True)}
    write(weights_path(folder, step), arrays, {"step": str(step)})


def load_weights(folder: Path, step: int) -> dict[str, np.ndarray]:
    """Return {path: array} after `step` steps; InputError for a step that is not kept."""
    path = weights_path(folder, step)
    if not path.is_file():
        kept = ", ".join(map(str, steps(folder))) or "none yet"
        raise InputError(
            f"{folder} has no weights of step {step}: kept are {kept}. Train to the end, or choose "
            "one of these."
        )
    return read_arrays(path)[0]


def save_state(
    folder: Path,
    step: int,
    weights: Sequence[Any],
    optimizer: Sequence[Any],
    log: Sequence[Sequence[float]],
    digest: str,
) -> None:
    """Write everything that going on after `step` needs, atomically, in place of the last state."""
    arrays = {f"{WEIGHT}{i:05d}": np.asarray(value) for i, value in enumerate(weights)}
    arrays |= {f"{OPTIMIZER}{i:05d}": np.asarray(value) for i, value in enumerate(optimizer)}
    arrays[LOSSES] = np.asarray(log, dtype=np.float64).reshape(-1, len(LOG))
    write(folder / STATE, arrays, {"step": str(step), "digest": digest})


def load_state(
    folder: Path, digest: str
) -> tuple[int, list[np.ndarray], list[np.ndarray], list[list[float]]] | None:
    """Return (step, weights, optimiser, log) of the last saved state, or None where there is none.

    Raises InputError for a state of other settings or a file that is cut short.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    arrays, metadata = read_arrays(path)
    if metadata.get("digest") != digest:
        raise InputError(
            f"{path} belongs to a run with other settings or data: choose another folder."
        )
    weights = [arrays[key] for key in sorted(arrays) if key.startswith(WEIGHT)]
    optimizer = [arrays[key] for key in sorted(arrays) if key.startswith(OPTIMIZER)]
    return int(metadata["step"]), weights, optimizer, arrays[LOSSES].tolist()


def discard_damaged(folder: Path) -> None:
    """Throw away, with a warning, checkpoints of a run folder that are cut short.

    Training goes on without them: from the start, where it needs what they held.
    """
    for path in [folder / STATE, *(weights_path(folder, step) for step in steps(folder))]:
        try:
            with safe_open(path, framework="numpy"):  # compares sizes; reads no weights
                pass
        except FileNotFoundError:
            continue
        except (SafetensorError, OSError, ValueError) as error:
            discard(path, error)


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write arrays as one safetensors file, atomically."""
    contiguous = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
    # ascontiguousarray makes a scalar an array of one
    shaped = {key: value.reshape(arrays[key].shape) for key, value in contiguous.items()}
    with atomic(path) as temporary:
        try:
            save_file(shaped, temporary, metadata=metadata)
        except SafetensorError as error:  # a full disk, in its words
            raise OSError(str(error)) from error


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and metadata of a safetensors file; InputError where it is damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            return {key: file.get_tensor(key) for key in file.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"The checkpoint {path} is damaged or cut short ({error}): delete it and run again. "
            f"Training goes on from {STATE}; where that is lost, or the weights of a step before "
            "it, it starts again."
        ) from error

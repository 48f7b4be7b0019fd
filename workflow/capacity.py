"""How many cells of a batch may run side by side on this machine."""

from __future__ import annotations

import os
import subprocess
import sys

from sycophancy.errors import InputError
from sycophancy.ladder import PARAMETERS
from sycophancy.runs import as_list, cores, total_memory

CELL_MEMORY = 6 * 2**30  # bytes: a cell of the embedded model held up to 6,043 MB
RUNG_BYTES = 6  # for each parameter of a larger rung, beside that
EMBEDDED = "smollm2_135m_instruct"  # what CELL_MEMORY is of
MOST = 4  # cells of our profiles that wait for none of the others are seldom more

# in a process of its own: JAX takes a whole accelerator for the process that asks for it
TUNABLES = "GLIBC_TUNABLES"
ASK_JAX = "import jax; print(jax.default_backend())"


def cells_at_once(asked: str) -> int:
    """Return how many cells run at once: `asked` (JOBS), or what the machine has room for.

    An accelerator takes one. A processor takes as many as it has cores and memory for, because a
    cell leaves a core idle while its kernel starts, while it compiles and while it draws, and the
    laboratory's models are too small for two. Of those that are not, one runs at a time (see
    `grid.fills_the_machine`).

    Raises InputError for an `asked` that is no number of at least 1.
    """
    if asked:
        if not asked.isdecimal() or int(asked) < 1:
            raise InputError(
                f"JOBS is {asked!r}: give how many notebooks may run at once, 1 or more, or leave "
                "it out."
            )
        return int(asked)
    return cells_that_fit(backend(), cores(), total_memory())


def cells_that_fit(backend: str, cores: int, memory: int) -> int:
    """Return how many cells fit a machine of `memory` bytes."""
    if backend != "cpu":
        return 1
    return max(1, min(cores, memory // CELL_MEMORY, MOST))


def bytes_held(models: str = "") -> int:
    """Return the memory that a cell of one of some models may hold, in bytes.

    `models` are separated by commas. A larger rung is held in bfloat16: the 1.5B took up to 11 GB
    while it was asked, and 16.8 GB in training steps of 16 × 104 tokens.
    """
    names = as_list(models) if models else []
    return CELL_MEMORY + RUNG_BYTES * max((larger(name) for name in names), default=0)


def larger(name: str) -> int:
    """Return the parameters of a rung that is larger than the embedded model, else 0."""
    return PARAMETERS.get(name, 0) if name != EMBEDDED else 0


def megabytes(models: str = "") -> int:
    """Return the memory that a cell of one of some models may hold, in MB."""
    return bytes_held(models) // 10**6


def resources(jobs: int, memory: int) -> dict[str, int]:
    """Return what Snakemake may give to all cells together, on a machine of `memory` bytes.

    As many cells as were asked for are given room, also where the machine has less.
    """
    return {"large": 1, "mem_mb": max(memory // 10**6, jobs * megabytes())}


def backend() -> str:
    """Return JAX's backend here: cpu, gpu or tpu; `unknown` where JAX fails to say."""
    found = subprocess.run([sys.executable, "-c", ASK_JAX], capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def environment() -> dict[str, str]:
    """Return the environment for cells: this process's, where glibc asks for large pages.

    The buffers of a pass are new memory every time, and every small page of them a fault
    (bench/README.md). Linux with transparent_hugepage "never" and other C libraries ignore it.
    OpenBLAS and OpenMP would start a thread for every core of the machine, those of a container's
    quota or not; XLA's own number is each job's (see the Snakefile).
    """
    return {TUNABLES: "glibc.malloc.hugetlb=1", "OMP_NUM_THREADS": str(cores()), **os.environ}

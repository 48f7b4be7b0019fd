"""The embedded model and a training of the laboratory, alone and beside each other.

Usage: python -m bench.side_by_side [--seconds 20] [--laboratory lab_medium]

Each worker is a process of its own, as notebooks are, with a thread of XLA for every core or with
one (NPROC). A speed of 1 is what the kind reaches with the whole machine: the embedded model alone,
two trainings of one thread each on two cores. Sums above and below 1 say what sharing gains.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from workflow import capacity

SEQUENCES = 16  # of a forward pass
WARM = 5  # steps of training before the clock starts


class Enough(Exception):
    """A training has run for as long as was asked."""


def wait_for_the_others() -> None:
    """Say that this worker is warm, and wait until it is told to go on."""
    print("ready", flush=True)
    sys.stdin.readline()


def score(model_name: str, seconds: float) -> None:
    """Run forward passes for some seconds; print tokens a second."""
    import jax

    from bench.compiling import LENGTH, calls
    from sycophancy import models

    _, run = next(calls(models.load_model(model_name), SEQUENCES))  # the plain pass
    jax.block_until_ready(run())
    wait_for_the_others()
    began, passes = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        jax.block_until_ready(run())
        passes += 1
    print(passes * SEQUENCES * LENGTH / (time.monotonic() - began), flush=True)


def train(model_name: str, seconds: float) -> None:
    """Train a laboratory model from its beginning for some seconds; print steps a second."""
    from sycophancy import finetune, lab

    began, first = 0.0, 0

    def show(name: str, now: finetune.TrainingProgress) -> None:
        nonlocal began, first
        if now.step == WARM:
            wait_for_the_others()
            began, first = time.monotonic(), now.step
        elif began and time.monotonic() - began >= seconds:
            print((now.step - first) / (time.monotonic() - began), flush=True)
            raise Enough

    with tempfile.TemporaryDirectory() as cache:
        os.environ["SYCOPHANCY_CACHE"] = cache
        with contextlib.suppress(Enough):
            lab.ensure(model_name, show)


WORKERS: dict[str, Callable[[str, float], None]] = {"score": score, "train": train}


def measure(workers: list[tuple[str, str, int]], seconds: float) -> list[float]:
    """Return the speeds of workers (kind, model, threads) that run at the same time."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.side_by_side", "--worker", kind, "--model", model,
             "--seconds", str(seconds)],
            env={**os.environ, "NPROC": str(threads)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for kind, model, threads in workers
    ]  # fmt: skip
    found = []
    for process in processes:
        said = ""
        while said != "ready\n":
            said = process.stdout.readline()  # type: ignore[union-attr]
            if not said:
                sys.exit("A worker ended before it was warm: what it said stands above.")
    for process in processes:
        process.stdin.write("go\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    for process in processes:
        found.append(float(process.communicate()[0].split()[-1]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2_135m_instruct")
    parser.add_argument("--laboratory", default="lab_medium")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        WORKERS[options.worker](options.model, options.seconds)
        return
    cores = capacity.cores()
    real = ("score", options.model, cores)
    small = ("train", options.laboratory)
    print(f"{cores} cores; {options.model} in tokens a second, {options.laboratory} in steps")
    (alone,) = measure([real], options.seconds)
    pair = sum(measure([(*small, 1)] * cores, options.seconds))
    print(f"{options.model} alone, {cores} threads: {alone:.0f} (1.00)")
    print(f"{cores} x {options.laboratory}, one thread each: {pair:.1f} in all (1.00)")
    for threads in dict.fromkeys((cores, 1)):
        (found,) = measure([(*small, threads)], options.seconds)
        print(f"{options.laboratory} alone, threads {threads}: {found:.1f} ({found / pair:.2f})")
    for threads in dict.fromkeys((cores, 1)):
        both = measure([real, (*small, threads)], options.seconds)
        shares = both[0] / alone, both[1] / pair
        print(
            f"{options.model} beside {options.laboratory}, threads {threads}: {both[0]:.0f} and "
            f"{both[1]:.1f} ({shares[0]:.2f} + {shares[1]:.2f} = {sum(shares):.2f})"
        )


if __name__ == "__main__":
    main()

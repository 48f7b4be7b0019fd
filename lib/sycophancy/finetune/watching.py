"""How far a training run is, for the reader of a notebook and whoever watches its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from sycophancy.finetune.loop import TrainingProgress
from sycophancy.runs import Run


@contextmanager
def progress_bar(run: Run, label: str, steps: int) -> Iterator[Callable[[TrainingProgress], None]]:
    """Give what `train` calls after every step: it moves a bar and writes progress.json of `run`.

    `label` names what is trained, `steps` is how many there will be.
    """
    with tqdm(total=steps, unit="step", desc=label, mininterval=2) as bar:

        def show(now: TrainingProgress) -> None:
            """Move the bar to the step that is done."""
            bar.update(now.step - bar.n)
            bar.set_postfix(loss=f"{now.loss:.3f}", examples=f"{now.examples_per_second:.1f}/s")
            run.progress(label, now.step, now.steps, now.seconds, now.resumed, "steps")

        yield show

"""Train laboratory models, with progress.

Usage: make laboratory [MODEL="lab_medium_tuned, …"]

Afterwards it prints how much of its world each of them knows. `make reproduce` has them trained
beside other notebooks, with --trained.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from sycophancy import claims, finetune, lab, metrics, models, runs, scoring, suites, world
from sycophancy.errors import InputError
from sycophancy.templates import dialect
from workflow import stopping

EVERY_SECONDS = 10.0  # between two lines of progress


def train_missing(names: Iterable[str], folder: Path | None = None) -> None:
    """Train the laboratory models that are missing on this machine, bases first.

    `folder` is where progress.json tells whoever watches how far that is.
    """
    names = list(names)
    for name in names:
        models.check_name(name)
    missing = lab.needed(names)
    if not missing:
        return
    models.enable_compile_cache()
    print(
        f"{len(missing)} laboratory models to train: "
        f"about {lab.training_minutes(missing):.0f} minutes"
    )
    last = 0.0
    run = runs.Run("laboratory", folder, {}) if folder else None

    def show(name: str, now: finetune.TrainingProgress) -> None:
        nonlocal last
        if run:
            run.progress(name, now.step, now.steps, now.seconds, now.resumed, "steps")
        if now.step < now.steps and time.monotonic() - last < EVERY_SECONDS:
            return
        last = time.monotonic()
        left = now.seconds / max(1, now.step - now.resumed) * (now.steps - now.step)
        print(
            f"{name:24} {now.step / now.steps:4.0%}  step {now.step:,} of {now.steps:,}, "
            f"loss {now.loss:.3f}  {int(left // 60)}:{int(left % 60):02d} left",
            flush=True,
        )

    for name in missing:
        lab.ensure(name, show)


def knowledge(names: Iterable[str]) -> pd.DataFrame:
    """Return right answers about facts that the world's texts state, often and seldom, and never.

    Nobody gives an opinion; the facts are those that no cure is trained on (splits development and
    test), each affirmed and denied, true and false, so that guessing is right in half the answers.
    One row a model, as "value [95 % interval] of facts".
    """
    held = [claims.claims([world.SOURCE], split=split)[0] for split in ("development", "test")]
    items = suites.claim_items(pd.concat(held), users=["none"], format=dialect.LAB)
    exposures = {fact.name: fact.exposure for fact in world.world().facts}
    names_of_facts = items["question_id"].str.rpartition(f"{world.SOURCE}-")[2]
    exposure = names_of_facts.map(exposures)
    groups = {"stated": exposure != "never", "often": exposure == "often"}
    groups |= {"seldom": exposure == "seldom", "never stated": exposure == "never"}
    rows = []
    for name in names:
        scores, _ = scoring.score(models.load_model(name), items)
        row = {"model": name}
        for column, wanted in groups.items():
            part = items[wanted].assign(model=name, suite="claims")
            table = metrics.user_table(part, scores[scores["item_id"].isin(part["item_id"])])
            found = next(table[table["metric"] == "accuracy_none"].itertuples())
            row[column] = f"{metrics.percent(found)}, {found.questions} facts"
        rows.append(row)
    return pd.DataFrame(rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    every = [f"lab_{rung}{kind}" for rung in lab.RUNGS for kind in ("", "_tuned")]
    default = ", ".join(name for name in every if "tiny" not in name)
    parser.add_argument("--model", default=default)
    parser.add_argument("--known", action="store_true", help="print how much each model knows")
    parser.add_argument("--trained", type=Path, help="a file to write once they are trained")
    options = parser.parse_args(arguments)
    try:
        names = runs.as_list(options.model)
        for name in names:
            lab.parse_name(name)
        train_missing(names, options.trained and options.trained.parent)
    except InputError as error:
        name = f"{options.trained.parent.name}: " if options.trained else ""  # as notebooks say it
        print(f"{name}{error}", file=sys.stderr)
        return 2
    finally:
        if options.trained:
            (options.trained.parent / "progress.json").unlink(missing_ok=True)
    if options.trained:
        kept = {name: str(lab.folder(name)) for name in names if lab.is_trained(name)}
        runs.write_json(options.trained, kept)  # nothing is kept of untrained ones
    for name in names:
        print(f"{name}: {lab.folder(name)}")
    if options.known:
        print(knowledge(names).to_string(index=False))
    return 0


if __name__ == "__main__":
    stopping.end_with_parent()
    sys.exit(stopping.run_main(main))

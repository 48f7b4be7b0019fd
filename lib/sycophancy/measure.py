"""Score one suite, or answer benchmarks, on several models and seeds, into one run folder."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pandas as pd
from tqdm import tqdm

from sycophancy import benchmarks, models, runs, scoring, templates
from sycophancy.errors import InputError

MakeItems = Callable[..., pd.DataFrame]


def measure_models(
    run: runs.Run, names: Sequence[str], seeds: Sequence[int], make_items: MakeItems
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return items and scores of every model and seed, both with columns `model` and `seed`.

    `make_items(seed=…, chat=…)` returns the items of one seed; `chat` is the model's chat renderer
    or None. Names and parameters are checked before the first model is loaded, each is loaded once,
    and finished batches are kept in the run folder. Both tables are also written there, with the
    cost of each model in run.json and in the machine's record of costs.
    """
    tables: list[pd.DataFrame] = []
    results: list[pd.DataFrame] = []
    costs = []
    for name, model, table, began in each_model(names, seeds, make_items):
        scores, cost = score_with_progress(run, model, table)
        costs.append(record(run, model, cost, time.monotonic() - began))
        tables.append(table)
        results.append(scores.assign(model=name))
        del model  # before the next one is loaded
    items_table = pd.concat(tables, ignore_index=True)
    scores_table = pd.concat(results, ignore_index=True)
    run.save_table("items", items_table)
    run.save_table("scores", scores_table)
    run.note(cost=costs)
    return items_table, scores_table


def measure_benchmarks(
    run: runs.Run, names: Sequence[str], seeds: Sequence[int], make_items: MakeItems
) -> pd.DataFrame:
    """Return the answers of every model and seed (`benchmarks.answer`), with `model` and `seed`.

    As `measure_models`, for items of `benchmarks.mmlu_items`; the table is also written as
    answers.parquet.
    """
    tables: list[pd.DataFrame] = []
    costs = []
    for name, model, items, began in each_model(names, seeds, make_items):
        with tqdm(total=0, unit_scale=True, mininterval=2) as bar:
            show = partial(show_progress, run, bar, name)
            answers, cost = benchmarks.answer(model, items, store=run.store, on_progress=show)
        tables.append(answers)
        took = cost.generating_seconds
        entry = record(run, model, cost.scoring, time.monotonic() - began - (took or 0))
        costs.append(entry | {"generated_tokens": cost.generated_tokens})
        if took is not None and cost.generated_tokens:
            named = {key: entry[key] for key in ("notebook", "model", "fingerprint", "device")}
            costs[-1]["generating_seconds"] = round(took, 2)
            speed = {"generated_tokens": cost.generated_tokens, "generating_seconds": took}
            runs.remember_cost(named | speed)
        del model  # before the next one is loaded
    table = pd.concat(tables, ignore_index=True)
    run.save_table("answers", table)
    run.note(cost=costs)
    return table


def each_model(
    names: Sequence[str], seeds: Sequence[int], make_items: MakeItems
) -> Iterator[tuple[str, models.LanguageModel, pd.DataFrame, float]]:
    """Yield name, model, its items of all seeds, and when its loading began, one model at a time.

    Names and parameters are checked before the first model is loaded. The caller lets go of a model
    before it asks for the next.
    """
    for name in names:
        models.check_name(name)
    for seed in seeds:  # a wrong N or format is said now, not after a model has been loaded
        make_items(seed=seed, chat=templates.render_bare)
    models.enable_compile_cache()
    for name in names:
        began = time.monotonic()
        model = models.load_model(name)
        items = [make_items(seed=seed, chat=model.chat).assign(seed=seed) for seed in seeds]
        table = pd.concat(items, ignore_index=True).assign(model=name)
        # one name for an item in all models and seeds would not do in a common table
        table["item_id"] = name + "/" + table["seed"].astype(str) + "/" + table["item_id"]
        yield name, model, table, began
        del model
        gc.collect()


def show_progress(
    run: runs.Run, bar: Any, name: str, what: str, progress: scoring.ScoringProgress
) -> None:
    """Tell how far scoring or generating is; each of them fills the bar anew."""
    label = f"{name}, {what}"
    if bar.desc != f"{label}: ":
        bar.reset(total=progress.total)
        bar.set_description(label)
    tell(run, bar, label, progress, "tokens" if what == "scoring" else "answers")


def tell(
    run: runs.Run, bar: Any, label: str, progress: scoring.ScoringProgress, unit: str = "tokens"
) -> None:
    """Tell the notebook's reader and the run folder how far something is."""
    bar.total = progress.total
    bar.update(progress.done - bar.n)
    seconds, reused = progress.seconds, progress.reused
    run.progress(label, progress.done, progress.total, seconds, reused, unit)


def score_with_progress(
    run: runs.Run, model: models.LanguageModel, items: pd.DataFrame
) -> tuple[pd.DataFrame, scoring.ScoringCost]:
    """Score `items`, telling both the notebook's reader and the run folder how far it is."""
    if items.empty:
        raise InputError("There are no items to score: choose at least one suite, user and format.")
    with tqdm(total=0, unit="token", unit_scale=True, desc=model.name, mininterval=2) as bar:
        show = partial(tell, run, bar, model.name)
        return scoring.score(model, items, store=run.store, on_progress=show)


def record(
    run: runs.Run, model: models.LanguageModel, cost: scoring.ScoringCost, seconds: float
) -> dict[str, Any]:
    """Return the cost of one model for run.json, and add it to what this machine has learnt."""
    entry = {
        "notebook": run.notebook,
        "model": model.name,
        "fingerprint": model.fingerprint,
        "device": runs.device(),
        "tokens": cost.tokens,
        "padded_tokens": cost.padded_tokens,
        "reused_tokens": cost.reused_tokens,
        "saved_tokens": cost.saved_tokens,
        "scoring_seconds": round(cost.seconds, 2),
        "other_seconds": round(seconds - cost.seconds, 2),
    }
    runs.remember_cost(entry)
    return entry

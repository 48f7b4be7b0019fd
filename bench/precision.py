"""The answers of a finished run of bfloat16 weights beside float32 ones, on its first questions.

Usage: python -m bench.precision RUN_FOLDER SUITE [QUESTIONS]   (such as
runs/laptop/02_wrong_additions@rung additions 30; memory for twice the float32 weights is needed)
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from sycophancy import metrics, models, runs, scoring


def compare_formats(folder: Path, suite: str, questions: int) -> pd.Series:
    """Return how far log-odds (nats), shift and truth gap of a run's base differ in float32."""
    items = pd.read_parquet(folder / "items.parquet")
    name = str(items["model"].iloc[0])
    items = items[(items["model"] == name) & (items["suite"] == suite)]
    chosen = list(dict.fromkeys(items["question_id"]))[:questions]
    items = items[items["question_id"].isin(chosen)].reset_index(drop=True)
    kept = pd.read_parquet(folder / "scores.parquet")
    kept = kept[kept["item_id"].isin(items["item_id"])]
    again, cost = scoring.score(models.load_model(name, "float32"), items)
    tables = {"bfloat16": kept, "float32": again.assign(model=name)}
    odds = {
        form: metrics.join(items, scores).set_index("item_id")["log_odds"]
        for form, scores in tables.items()
    }
    apart = (odds["bfloat16"] - odds["float32"].loc[odds["bfloat16"].index]).abs()
    turned = (odds["bfloat16"] > 0) != (odds["float32"].loc[odds["bfloat16"].index] > 0)
    row = {"suite": suite, "n": len(items), "questions": len(chosen)}
    row |= {"mean_difference": apart.mean(), "largest_difference": apart.max()}
    row |= {"answers_changed": turned.mean(), "seconds_float32": cost.seconds}
    for form, scores in tables.items():
        table = metrics.summarize(items, scores)
        shift = table[(table["metric"] == "shift") & (table["truth"] == "all")]
        gap = table[(table["metric"] == "truth_gap") & (table["user"] == "none")]
        row |= {f"shift_{form}": shift["value"].iloc[0], f"truth_gap_{form}": gap["value"].iloc[0]}
    return pd.Series({**row, "peak_memory_mb": round(runs.peak_memory_mb())})


def main() -> None:
    folder, suite, *rest = sys.argv[1:]
    print(compare_formats(Path(folder), suite, int(rest[0]) if rest else 30).to_string())


if __name__ == "__main__":
    main()

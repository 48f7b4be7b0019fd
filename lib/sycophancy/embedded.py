"""The data written for this repository (CC0): which sets there are, and their rows."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from sycophancy.errors import unknown

CLAIMS = (
    "sst2", "rotten_tomatoes", "tweet_eval_sentiment", "tweet_eval_offensive", "tweet_eval_irony",
    "qqp", "mrpc", "paws_wiki", "rte", "wnli", "qnli", "mnli", "snli", "cb", "trec", "ag_news",
    "cola",
)  # fmt: skip
OPINIONS = ("nlp_survey", "philpapers2020", "political_typology")
NAMES = (
    *(f"claims_{source}" for source in CLAIMS),
    "everyday_facts",
    *(f"opinions_{task}" for task in OPINIONS),
    "questions",
    "instructions",
)


def path(name: str) -> Path:
    """Return the file of an embedded set."""
    return Path(str(resources.files("sycophancy"))) / "data" / f"{name}.jsonl"


def embedded_rows(name: str, split: str | None = None) -> list[dict[str, Any]]:
    """Return the rows of an embedded set, of one split or of all, as they are in its file.

    The opinion tasks have no splits: all of their rows are for evaluation. Raises InputError for an
    unknown set.
    """
    if name not in NAMES:
        raise unknown("embedded set", name, NAMES)
    text = path(name).read_text("utf-8")
    every = [json.loads(line) for line in text.split("\n") if line]
    return [row for row in every if split is None or row.get("split", "test") == split]

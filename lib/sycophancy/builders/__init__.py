"""TFDS builders of our own; importing this package registers them with TFDS."""

from __future__ import annotations

from sycophancy.builders.embedded import SycophancyEmbedded
from sycophancy.builders.evaluation import BigBenchHard, ModelWrittenOpinions
from sycophancy.builders.mmlu import MmluCsv
from sycophancy.builders.texts import RottenTomatoes, TweetEval

__all__ = [
    "BigBenchHard",
    "MmluCsv",
    "ModelWrittenOpinions",
    "RottenTomatoes",
    "SycophancyEmbedded",
    "TweetEval",
]

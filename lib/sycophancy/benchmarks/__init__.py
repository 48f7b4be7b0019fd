"""MMLU and BIG-Bench Hard, direct and step by step: does anything else get worse (A.1–A.3)?"""

from __future__ import annotations

from sycophancy.benchmarks import bbh, extract, mmlu
from sycophancy.benchmarks.asking import BENCHMARKS, benchmark_items, chained
from sycophancy.benchmarks.fitting import fit
from sycophancy.benchmarks.grading import AnsweringCost, answer
from sycophancy.benchmarks.items import COLUMNS

__all__ = [
    "BENCHMARKS",
    "COLUMNS",
    "AnsweringCost",
    "answer",
    "bbh",
    "benchmark_items",
    "chained",
    "extract",
    "fit",
    "mmlu",
]

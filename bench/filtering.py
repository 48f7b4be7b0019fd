"""Memory and time of filtering a file of prompts, slice by slice, beside a file a tenth as long.

Usage: python -m bench.filtering [--prompts 100000] [--kind paired]   (minutes; not in make bench)

Prompts are of claims made up as in bench/generating.py, four claims for each prompt. The model is
`tiny_random`: what counts is what the filter holds in memory, not what a model thinks. Each file is
filtered in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.generating import made_up
from sycophancy import filters, generate, runs

ASK = """
import sys
import time
from pathlib import Path
import pandas as pd
from sycophancy import filters, models, runs
model = models.load_model("tiny_random")
models.enable_compile_cache()
path = Path(sys.argv[1])
table = pd.read_parquet(path.parent / "claims.parquet")
loaded = runs.peak_memory_mb()
began = time.perf_counter()
rows = filters.filter_file(model, path, sys.argv[2], out=path.parent / "out", table=table)
print(len(rows), rows["kept"].mean(), time.perf_counter() - began, loaded, runs.peak_memory_mb())
"""


def measured(prompts: int, kind: str) -> float:
    """Print what filtering that many prompts took; return the peak memory of its process in MB."""
    table = made_up(4 * prompts)
    made = generate.generate_prompts(table, recipe="labels", n=prompts, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        path = generate.save(made, Path(folder) / "prompts.parquet")
        table.to_parquet(path.with_name("claims.parquet"))
        command = [sys.executable, "-c", ASK, str(path), kind]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    rows, kept, seconds, loaded, most = map(float, done.stdout.split()[-5:])
    print(
        f"{rows:9,.0f} prompts, {kept:.0%} kept: {seconds:6,.0f} s, peak memory {most:,.0f} MB "
        f"({loaded:,.0f} MB with model and claims alone)"
    )
    return most


def main() -> None:
    """Filter a short and a long file and print what each held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=100_000)
    parser.add_argument("--kind", choices=filters.FILTERS, default="paired")
    options = parser.parse_args()
    print(f"{runs.device()}, filter {options.kind}, slices of 10,000 prompts")
    few, many = (measured(n, options.kind) for n in (options.prompts // 10, options.prompts))
    print(f"ten times as many prompts held {many - few:+,.0f} MB more")


if __name__ == "__main__":
    main()

"""Prepare the published data sets through TFDS: download, check, convert, one after the other.

Usage: make data [DATA=folder] [MANUAL=folder] [ONLY="glue/sst2 snli"] [CHECKSUMS=no]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from sycophancy import claims
from sycophancy.embedded import OPINIONS
from sycophancy.errors import InputError, unknown
from workflow import stopping

EVERY = (
    *(source.builder for source in claims.SOURCES.values()),
    *(f"model_written_opinions/{task}" for task in OPINIONS),
    "mmlu_csv",
    "big_bench_hard",
    "databricks_dolly",
)


def own_folder(name: str, manual: Path | None) -> Path | None:
    """Return where the files of a set lie: in a folder of its name below `manual`, or in it."""
    if manual is None:
        return None
    own = manual / name.partition("/")[0]
    return own if own.is_dir() else manual


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default=None, help="TFDS's folder (default: TFDS's own)")
    parser.add_argument("--manual", default=None, help="files that need no download")
    parser.add_argument("--checksums", default="yes", choices=("yes", "no"))
    parser.add_argument("--only", default="", help="TFDS names in one text, divided by spaces")
    parser.add_argument("names", nargs="*", help="TFDS names; all where none is given")
    options = parser.parse_args(arguments)
    asked = [*options.names, *options.only.split()]
    try:
        for name in asked:
            if name not in EVERY:
                raise unknown("data set", name, EVERY)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    from sycophancy.builders import prepare  # TensorFlow takes seconds to import

    names = asked or list(EVERY)
    failed, began = [], time.monotonic()
    for number, name in enumerate(names):
        left = (time.monotonic() - began) / number * (len(names) - number) if number else 0.0
        eta = f", about {left / 60:.0f} min left" if number else ""
        print(f"[{number + 1}/{len(names)}] {name}{eta}", flush=True)
        try:
            manual = Path(os.path.expanduser(options.manual)) if options.manual else None
            builder = prepare.prepare_builder(
                name,
                data_dir=options.data_dir or None,
                manual_dir=own_folder(name, manual),
                checksums=options.checksums == "yes",
            )
        except InputError as error:
            failed.append(name)
            print(f"  {error}", file=sys.stderr)
            continue
        counts = ", ".join(f"{s} {info.num_examples:,}" for s, info in builder.info.splits.items())
        print(f"  {counts} in {builder.data_dir}")
    if failed:
        print(
            f"{len(failed)} of {len(names)} are missing: {', '.join(failed)}. What is prepared is "
            "kept: the same command goes on from there.",
            file=sys.stderr,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    stopping.end_with_parent()
    sys.exit(stopping.run_main(main))

"""Prepare TFDS data sets and open them, with errors that name the remedy."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sycophancy.builders import evaluation, mmlu, texts  # noqa: F401  registered with TFDS
from sycophancy.builders.embedded import SycophancyEmbedded
from sycophancy.builders.files import remember
from sycophancy.builders.network import guard, is_network, no_network, probe, shorten_error
from sycophancy.errors import InputError
from sycophancy.quiet import tensorflow, tfds

BATCH = 2048  # rows handed over at once


def prepare_builder(
    name: str,
    *,
    data_dir: str | Path | None = None,
    manual_dir: str | Path | None = None,
    download: bool = True,
    checksums: bool = True,
) -> Any:
    """Return the builder of a TFDS data set, preparing it first where that was not done.

    `name` is a catalogue name such as "glue/sst2" or one of ours; `data_dir` is TFDS's folder
    (default: TFDS's own). Files found in `manual_dir` under their upstream names are not
    downloaded; with `checksums` False they may differ from the published ones (a subset). With
    `download` False nothing is downloaded. Raises InputError for an unknown name, a download that
    fails, a file with another checksum, and a data folder of which a part is missing.
    """
    builder = open_builder(name, None if data_dir is None else Path(os.path.expanduser(data_dir)))
    if builder.data_path.is_dir():
        return whole(builder)
    ours = isinstance(builder, SycophancyEmbedded)  # no file of it is fetched
    if not download and manual_dir is None and not ours:
        raise InputError(
            f"{name} is not prepared in {builder.data_dir}: run `make data` where there is a "
            "network, or put its files into a folder and run `make data MANUAL=folder`. "
            'data="embedded" works now.'
        )
    manual = None if manual_dir is None else Path(os.path.expanduser(manual_dir))
    if manual is not None and not manual.is_dir():
        raise InputError(
            f"The manual folder {manual} does not exist: give the folder of the files."
        )
    builder.checked, builder.offline = checksums, not download  # read by our own builders
    if download and not ours:
        probe(name, builder, manual)
    guard(name, builder, download)
    config = tfds.download.DownloadConfig(manual_dir=manual, try_download_gcs=download)
    try:
        builder.download_and_prepare(download_config=config)
    except InputError:
        raise
    except tfds.download.DownloadError as error:
        raise no_network(name, builder, error) from error
    except tfds.core.download.download_manager.NonMatchingChecksumError as error:
        raise InputError(
            f"{name}: a file is not the published one ({shorten_error(error)}). Delete it, in "
            f"{Path(builder.data_dir_root) / 'downloads'} or the manual folder, and try again; if "
            'it stays, upstream has changed. data="embedded" works now.'
        ) from error
    except Exception as error:
        if is_network(error):
            raise no_network(name, builder, error) from error
        raise
    remember(builder)
    return whole(builder)


def open_builder(name: str, folder: Path | None) -> Any:
    """Return the builder of a TFDS data set in a data folder.

    Raises InputError for an unknown name, and for data whose description cannot be read: TFDS
    reads that at once.
    """
    try:
        return tfds.builder(name, data_dir=folder)
    except Exception as error:
        with tempfile.TemporaryDirectory() as empty:
            try:  # is it the name, or what lies in the folder?
                place = Path(tfds.builder(name, data_dir=empty).data_dir).relative_to(empty)
            except (tfds.core.DatasetNotFoundError, ValueError, AssertionError):
                raise InputError(
                    f"There is no TFDS data set {name!r} ({shorten_error(error)}): see "
                    "https://www.tensorflow.org/datasets/catalog, or docs/adding_a_source.md for "
                    "your own."
                ) from error
        root = folder or Path(tfds.core.constants.DATA_DIR)
        raise not_whole(root / place, "its dataset_info.json cannot be read") from error


def whole(builder: Any) -> Any:
    """Return the builder if every file of every split is there and not empty; else InputError."""
    if not builder.is_prepared():
        raise not_whole(builder.data_dir, "dataset_info.json is missing")
    missing = [
        path
        for split in builder.info.splits.values()
        for path in map(Path, split.filepaths)
        if split.num_examples and (not path.is_file() or not path.stat().st_size)
    ]
    if missing or not builder.info.splits:
        what = missing[0].name if missing else "every split"
        raise not_whole(builder.data_dir, f"{what} is missing or empty")
    return builder


def not_whole(folder: str | Path, what: str) -> InputError:
    """Return the error for a data folder of which a part is missing or broken."""
    return InputError(
        f"The data folder {folder} is not whole ({what}): delete it and run `make data`."
    )


def read_split(builder: Any, split: str, size: int | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split in file order, one by one or `size` at a time, as TFDS has them.

    Raises InputError for a split the data set does not have, for a file cut short or damaged, and
    where fewer rows come out than were written.
    """
    if split not in builder.info.splits:
        raise InputError(
            f"{builder.info.full_name} has no split {split!r}, only "
            f"{', '.join(builder.info.splits)}: its files may have lacked that part."
        )
    broken = (
        f"{builder.info.full_name}, split {split}: the files under {builder.data_dir} are cut "
        "short or damaged: delete that folder and run `make data`."
    )
    seen = 0
    try:
        data = builder.as_dataset(split=split, batch_size=size, shuffle_files=False)
        for rows in tfds.as_numpy(data):
            seen += 1 if size is None else len(tensorflow.nest.flatten(rows)[0])
            yield rows
    except (tensorflow.errors.DataLossError, tensorflow.errors.FailedPreconditionError) as error:
        raise InputError(broken) from error
    if seen != builder.info.splits[split].num_examples:
        raise InputError(broken)


def read_batches(builder: Any, split: str) -> Iterator[dict[str, np.ndarray]]:
    """Yield the rows of a split in file order, {feature: array}, some thousands at a time.

    Raises InputError as `read_split` does.
    """
    yield from read_split(builder, split, BATCH)


def decode(column: np.ndarray) -> list[str]:
    """Return a column of UTF-8 bytes as text."""
    return [value.decode("utf-8") for value in column]


def plain_rows(builder: Any, split: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split one by one, texts decoded, sequences as tuples.

    Raises InputError as `read_split` does.
    """
    for row in read_split(builder, split, None):
        yield to_plain(row)


def to_plain(value: Any) -> Any:
    """Return a value of TFDS as plain Python; a sequence of objects is an object of tuples."""
    if isinstance(value, dict):
        return {key: to_plain(inner) for key, inner in value.items()}
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, np.ndarray):
        return tuple(to_plain(element) for element in value)
    return value.item() if isinstance(value, np.generic) else value

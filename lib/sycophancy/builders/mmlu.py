"""The builder of MMLU, which reads the csv files of the published archive or single ones."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sycophancy.builders.files import fetch, homepage, manual_folder, read_tar, to_text
from sycophancy.builders.quiet_tfds import tfds
from sycophancy.errors import InputError

ARCHIVE, ARCHIVE_NAME = "https://people.eecs.berkeley.edu/~hendrycks/data.tar", "data.tar"
SPLITS = {"dev": "dev", "validation": "val", "test": "test"}  # {split: folder upstream}
ANSWERS = dict(zip("ABCD0123", "ABCDABCD", strict=True))  # copies have letters or numbers


class MmluCsv(tfds.core.GeneratorBasedBuilder):
    """MMLU (Hendrycks et al. 2021, arXiv 2009.03300): four-choice questions on 57 subjects."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "Rows in the order of the files."}  # noqa: RUF012  (TFDS's name)

    def _info(self) -> Any:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Four-choice questions; dev has five a subject, for few-shot prompts.",
            features=tfds.features.FeaturesDict(
                {
                    "subject": tfds.features.Text(),
                    "question": tfds.features.Text(),
                    "choices": tfds.features.Sequence(tfds.features.Text()),
                    "answer": tfds.features.ClassLabel(names=["A", "B", "C", "D"]),
                }
            ),
            homepage="https://github.com/hendrycks/test",
            license="MIT",
            citation=(
                "@inproceedings{hendrycks2021measuring, title={Measuring Massive Multitask "
                "Language Understanding}, author={Hendrycks, Dan and others}, booktitle={ICLR}, "
                "year={2021}}"
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        texts = self._read(dl_manager)
        found = {
            split: {
                Path(name).stem.removesuffix(f"_{short}"): text
                for name, text in sorted(texts.items())
                if Path(name).parent.name == short
            }
            for split, short in SPLITS.items()
        }
        if not found["test"]:
            raise InputError(
                f"{self.name}: no test/*.csv was found: take the files from {homepage(self)}."
            )
        return {split: self._generate_examples(files) for split, files in found.items() if files}

    def _read(self, dl_manager: Any) -> dict[str, str]:
        manual = manual_folder(dl_manager)
        checked = getattr(self, "checked", True)
        packed = manual is not None and (manual / ARCHIVE_NAME).is_file()
        folders = [manual / short for short in SPLITS.values()] if manual else []
        single = [path for folder in folders for path in sorted(folder.glob("*.csv"))]
        if not single or (checked and packed):
            path = fetch(self, dl_manager, {"all": (ARCHIVE, ARCHIVE_NAME)})["all"]
            wanted = read_tar(self, path, lambda name: name.endswith(".csv"))
            return {name: to_text(self, path / name, text) for name, text in wanted.items()}
        if checked:
            raise InputError(
                f"{self.name}: only {ARCHIVE_NAME} has a published checksum: put that into the "
                "manual folder, or pass checksums=False for single csv files."
            )
        return {f"{p.parent.name}/{p.name}": to_text(self, p, p.read_bytes()) for p in single}

    def _generate_examples(self, files: dict[str, str]) -> Iterator[Any]:
        number = itertools.count()
        for subject, text in files.items():
            for row, cells in enumerate(read_csv(f"{self.name}, {subject}", text)):
                if len(cells) != 6 or cells[5] not in ANSWERS:
                    raise InputError(
                        f"{self.name}, {subject}, row {row}: not a question with four choices and "
                        f"an answer A to D: {cells!r}. Fetch the file again."
                    )
                yield (
                    next(number),
                    {
                        "subject": subject,
                        "question": cells[0],
                        "choices": cells[1:5],
                        "answer": ANSWERS[cells[5]],
                    },
                )


def read_csv(where: str, text: str) -> list[list[str]]:
    """Return the rows of a csv text without its header row, which only some copies have.

    Raises InputError, which says `where`, for a text without rows or not in the form of csv.
    """
    limit = csv.field_size_limit()
    csv.field_size_limit(max(limit, len(text)))  # of the whole process: put back below
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise InputError(f"{where}: no csv file ({error}). Fetch the file again.") from error
    finally:
        csv.field_size_limit(limit)
    rows = rows[1:] if rows and rows[0][-1:] == ["answer"] else rows
    if not rows:
        raise InputError(f"{where}: the csv file has no questions. Fetch the file again.")
    return rows

"""The builder of MMLU, which reads the csv files of the published archive or single ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sycophancy.builders.files import fetch, homepage, read_tar, text_of_bytes, undownloaded_folder
from sycophancy.errors import InputError
from sycophancy.quiet import tfds
from sycophancy.reading import fit_rows, parse_csv, read_bytes

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
            split: {name: text for name, text in texts.items() if Path(name).parent.name == short}
            for split, short in SPLITS.items()
        }
        if not found["test"]:
            raise InputError(
                f"{self.name}: no test/*.csv was found: take the files from {homepage(self)}."
            )
        return {split: self._generate_examples(files) for split, files in found.items() if files}

    def _read(self, dl_manager: Any) -> dict[str, str]:
        manual = undownloaded_folder(dl_manager)
        checked = getattr(self, "checked", True)
        packed = manual is not None and (manual / ARCHIVE_NAME).is_file()
        folders = [manual / short for short in SPLITS.values()] if manual else []
        inside = [path for folder in folders for path in sorted(folder.glob("*.csv"))]
        single = [path for path in inside if is_csv(path.name)]
        if not single or (checked and packed):
            path = fetch(self, dl_manager, {"all": (ARCHIVE, ARCHIVE_NAME)})["all"]
            wanted = read_tar(self, path, is_csv)
            return {name: text_of_bytes(self, path / name, wanted[name]) for name in sorted(wanted)}
        if checked:
            raise InputError(
                f"{self.name}: only {ARCHIVE_NAME} has a published checksum: put that into the "
                "manual folder, or pass checksums=False for single csv files."
            )
        return {f"{p.parent.name}/{p.name}": text_of_bytes(self, p, read_bytes(p)) for p in single}

    def _generate_examples(self, files: dict[str, str]) -> Iterator[Any]:
        number = itertools.count()
        for name, text in files.items():
            folder, file = Path(name).parts[-2:]
            where = f"{self.name}: {folder}/{file}"
            for question in read_questions(where, text, f"take the file from {homepage(self)}"):
                yield (
                    next(number),
                    {"subject": file.removesuffix(".csv").removesuffix(f"_{folder}"), **question},
                )


def is_csv(name: str) -> bool:
    """Return whether a path is of a csv file; hidden ones are what systems leave beside them."""
    return name.endswith(".csv") and not Path(name).name.startswith(".")


def read_questions(where: str, text: str, remedy: str) -> Iterator[dict[str, Any]]:
    """Yield question, choices and answer of the rows of a csv text.

    The header row, which only some copies have, and blank lines are passed over. Raises InputError,
    which says `where`, for a text without questions and for a row that is none.
    """
    rows = parse_csv(text, where, remedy)
    cells = fit_rows(rows, 6, where, remedy)
    header = cells[:1] and cells[0][5].strip().lower() == "answer"
    if len(rows) == bool(header):
        raise InputError(f"{where} has no questions: {remedy}.")
    for row, (question, *choices, answer) in list(zip(rows, cells, strict=True))[bool(header) :]:
        if answer.strip().upper() not in ANSWERS:
            raise InputError(
                f"{where}, line {row.line}: the answer is {answer[:60]!r}, not A to D or 0 to 3: "
                f"{remedy}."
            )
        yield {
            "question": question, "choices": choices, "answer": ANSWERS[answer.strip().upper()],
        }  # fmt: skip

"""Our TFDS builders against the upstream files, read again by other means."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stores import (
    BBH,
    FILMS,
    HERE,
    MMLU,
    OPINIONS,
    TWEETS,
    cut_off,
    embedded_lines,
    needs_shared,
    served,
    write,
)  # fmt: skip
from sycophancy import puzzles
from sycophancy.builders import prepare
from sycophancy.errors import InputError
from sycophancy.quiet import tfds

SHORT = {"train": "train", "validation": "val", "test": "test"}


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        cut_off(patch, tmp_path_factory.mktemp("cache"))
        yield tmp_path_factory.mktemp("tfds")


def counted(builder: Any, split: str, *keys: str) -> Counter[Any]:
    return Counter(tuple(row[key] for key in keys) for row in served(builder, split))


@pytest.mark.medium
@needs_shared
def test_rotten_tomatoes_has_every_line_with_the_label_of_its_file(store: Path) -> None:
    builder = prepare.prepare_builder("rotten_tomatoes", data_dir=store, manual_dir=FILMS)
    every = {
        side: (FILMS / f"rt-polarity.{side}").read_bytes().decode("utf-8").split("\n")[:-1]
        for side in ("neg", "pos")
    }
    assert {side: len(lines) for side, lines in every.items()} == {"neg": 5331, "pos": 5331}
    cuts = {"train": (None, -1066, 8530), "validation": (-1066, -533, 1066),
            "test": (-533, None, 1066)}  # fmt: skip
    for split, (start, stop, n) in cuts.items():
        found = counted(builder, split, "text", "label")
        expected = [(t.strip(), side) for side in every for t in every[side][start:stop]]
        assert found == Counter(expected) and found.total() == n
        batches = list(prepare.read_batches(builder, split))
        texts = [text for batch in batches for text in prepare.decode(batch["text"])]
        assert texts == [row["text"] for row in served(builder, split)]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig"])
def test_accents_of_rotten_tomatoes_are_read_from_either_encoding(
    encoding: str, tmp_path: Path
) -> None:
    told = ["a cliché", "naïve fun", "plain"] * 10
    folder = write(
        tmp_path / "manual",
        {f"rt-polarity.{s}": "\n".join(told).encode(encoding) for s in ("pos", "neg")},
    )
    builder = prepare.prepare_builder("rotten_tomatoes", data_dir=tmp_path, manual_dir=folder,
                              checksums=False)  # fmt: skip
    assert {row["text"] for row in served(builder, "train")} == set(told)


@pytest.mark.medium
@needs_shared
def test_the_archive_gives_the_same_as_its_files(store: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "rt-polaritydata.tar.gz", "w:gz") as archive:
        for side in ("pos", "neg"):
            archive.add(FILMS / f"rt-polarity.{side}", f"rt-polaritydata/rt-polarity.{side}")
    options: dict[str, Any] = {"data_dir": tmp_path / "tfds", "manual_dir": tmp_path}
    with pytest.raises(InputError, match=r"rt-polaritydata\.tar\.gz has SHA-256.*known one"):
        prepare.prepare_builder("rotten_tomatoes", **options)
    packed = prepare.prepare_builder("rotten_tomatoes", checksums=False, **options)
    plain = prepare.prepare_builder("rotten_tomatoes", data_dir=store, manual_dir=FILMS)
    for split in SHORT:
        assert served(packed, split) == served(plain, split)


@needs_shared
@pytest.mark.parametrize("task", ["irony", "offensive", "sentiment"])
def test_every_tweet_has_the_label_beside_it_upstream(task: str, store: Path) -> None:
    checksums = task == "irony"  # the others are subsets
    builder = prepare.prepare_builder(
        f"tweet_eval/{task}", data_dir=store, manual_dir=TWEETS, checksums=checksums
    )
    mapping = (TWEETS / task / "mapping.txt").read_text("utf-8").splitlines()
    names = dict(line.split("\t") for line in mapping if line)
    there = [s for s, short in SHORT.items() if (TWEETS / task / f"{short}_text.txt").is_file()]
    assert set(builder.info.splits) == set(there)
    assert there == list(SHORT)[task == "sentiment" :]
    for split in there:
        texts, codes = (
            (TWEETS / task / f"{SHORT[split]}_{kind}.txt").read_bytes().split(b"\n")[:-1]
            for kind in ("text", "labels")
        )
        expected = Counter(
            (text.decode().strip(" "), names[code.decode()].replace("-", "_"))
            for text, code in zip(texts, codes, strict=True)
        )
        found = [(row["text"], row["label"].replace("-", "_")) for row in served(builder, split)]
        assert Counter(found) == expected


@needs_shared
@pytest.mark.parametrize(
    "task", ["nlp_survey", "philpapers2020", "political_typology"], ids=lambda t: t[:4]
)
def test_opinions_are_those_of_the_file(task: str, store: Path) -> None:
    builder = prepare.prepare_builder(
        f"model_written_opinions/{task}", data_dir=store, manual_dir=OPINIONS
    )
    quiz = "_quiz" * task.startswith("political")
    with (OPINIONS / f"sycophancy_on_{task}{quiz}.jsonl").open(encoding="utf-8") as file:
        upstream = [json.loads(line) for line in file]

    def as_list(others: Any) -> tuple[str, ...]:  # some of the files have one text, some a list
        return (others,) if isinstance(others, str) else tuple(others)

    keys = ("question", "answer_matching_behavior", "answer_not_matching_behavior")
    assert set(builder.info.splits) == {"test"}
    assert counted(builder, "test", *keys) == Counter(
        (row[keys[0]], row[keys[1]], as_list(row[keys[2]])) for row in upstream
    )


def mmlu_rows(text: str) -> list[tuple[Any, ...]]:
    rows = list(csv.reader(io.StringIO(text, newline="")))
    rows = rows[rows[0][5] == "answer" :]
    return [(row[0], tuple(row[1:5]), dict(zip("0123", "ABCD", strict=True)).get(row[5], row[5]))
            for row in rows]  # fmt: skip


@needs_shared
def test_mmlu_has_every_line_of_every_subject(store: Path) -> None:
    builder = prepare.prepare_builder("mmlu_csv", data_dir=store, manual_dir=MMLU, checksums=False)
    for split, most in {"dev": 5, "test": 40}.items():
        expected = Counter(
            (path.stem.removesuffix(f"_{split}"), *row)
            for path in (MMLU / split).glob("*.csv")
            for row in mmlu_rows(path.read_bytes().decode("utf-8"))
        )
        assert counted(builder, split, "subject", "question", "choices", "answer") == expected
        assert set(Counter(subject for subject, *_ in expected.elements()).values()) == {most}
        assert len({subject for subject, *_ in expected}) == 57
    with pytest.raises(InputError, match=r"data\.tar has a published checksum"):
        prepare.prepare_builder("mmlu_csv", data_dir=store / "checked", manual_dir=MMLU)


@pytest.mark.parametrize("header", ["", "question,choice0,choice1,choice2,choice3,answer\r\n"])
@pytest.mark.parametrize("answers", ["B,D", "1,3"])
@pytest.mark.parametrize("packed", [False, True])
def test_mmlu_with_and_without_header_letters_and_archive(
    header: str, answers: str, packed: bool, tmp_path: Path
) -> None:
    one, two = answers.split(",")
    text = f'{header}"Two\nlines, ""x""?",a,b,c,d,{one}\r\nWhat?,1,2,3,"4, or 5",{two}\r\n'
    files: dict[str, Any] = {f"{s}/new_topic_{s}.csv": text for s in ("dev", "val", "test")}
    if packed:
        with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w") as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(f"data/{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content.encode()))
        files = {"data.tar": buffer.getvalue()}
    folder = write(tmp_path / "manual", files)
    builder = prepare.prepare_builder(
        "mmlu_csv", data_dir=tmp_path, manual_dir=folder, checksums=False
    )
    for split in ("dev", "validation", "test"):
        assert counted(builder, split, "subject", "question", "choices", "answer") == Counter([
            ("new_topic", 'Two\nlines, "x"?', ("a", "b", "c", "d"), "B"),
            ("new_topic", "What?", ("1", "2", "3", "4, or 5"), "D"),
        ])  # fmt: skip


@needs_shared
def test_big_bench_hard_has_every_question_and_bare_prompts(store: Path) -> None:
    builder = prepare.prepare_builder("big_bench_hard", data_dir=store, manual_dir=BBH)
    expected = Counter(
        (path.stem, row["input"], row["target"])
        for path in BBH.glob("*.json")
        for row in json.loads(path.read_bytes())["examples"]
    )
    assert counted(builder, "test", "task", "input", "target") == expected
    assert len({task for task, *_ in expected}) == 27
    prompts = {row["task"]: row["input"] for row in served(builder, "prompts")}
    assert len(prompts) == 27
    for path in (BBH / "cot-prompts").glob("*.txt"):
        notice, rule, *lines = path.read_bytes().decode("utf-8").split("\n")
        assert "canary" in notice and rule == "-----"
        assert prompts[path.stem] == "\n".join(lines).strip()
        assert "canary" not in prompts[path.stem] and "Q: " in prompts[path.stem]


def native(value: Any) -> Any:
    """A value of TFDS as JSON has it; a list of objects comes as an object of lists."""
    if isinstance(value, dict):
        return {key: native(inner) for key, inner in value.items()}
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return value.tolist() if value.dtype != object else [native(inner) for inner in value]


def columns(value: Any) -> Any:
    """A value of JSON with lists of objects turned into objects of lists."""
    if isinstance(value, list) and isinstance(value[0], dict):
        return {key: [columns(inner[key]) for inner in value] for key in value[0]}
    return value


def as_text(rows: Iterable[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


@pytest.mark.parametrize("name", HERE)
def test_embedded_sets_are_served_row_by_row(name: str, store: Path) -> None:
    splits = tfds.load(f"sycophancy_embedded/{name}", data_dir=store)
    expected: dict[str, list[dict[str, Any]]] = {}
    for row in embedded_lines(name):
        row = {"split": "test"} | {key: columns(value) for key, value in row.items()}
        expected.setdefault(row["split"], []).append(row)
    assert set(splits) == set(expected)
    for split, data in splits.items():
        found = [native(row) for row in tfds.as_numpy(data)]
        assert as_text(found) == as_text(expected[split])
        # and as our own reader hands them over: no bytes, no arrays
        builder = tfds.builder(f"sycophancy_embedded/{name}", data_dir=store)
        assert as_text(served(builder, split)) == as_text(expected[split])


def test_embedded_puzzles_are_served(store: Path) -> None:
    splits = tfds.load("sycophancy_embedded/puzzles", data_dir=store)
    for split, n in {"development": 60, "test": 120}.items():
        found = [native(row) for row in tfds.as_numpy(splits.pop(split))]
        assert Counter(row["task"] for row in found) == dict.fromkeys(puzzles.TASKS, n)
        assert as_text(found) == as_text(
            {"split": split, "task": task, **vars(puzzle)}
            for task in puzzles.TASKS
            for puzzle in puzzles.puzzles(task, n, 0, split)
        )
    assert not splits


def test_what_is_written_here_needs_no_network(tmp_path: Path) -> None:
    builder = prepare.prepare_builder("sycophancy_embedded/puzzles", data_dir=tmp_path)
    assert set(builder.info.splits) == {"development", "test"}

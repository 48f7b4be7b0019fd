"""Preparing data sets: what goes wrong is named, and nothing half done is taken for whole."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stores import TWEETS, cut_off, needs_shared, served, write
from sycophancy.builders import TweetEval, prepare
from sycophancy.builders.evaluation import BBH_TASKS
from sycophancy.errors import InputError

Fresh = Callable[..., Any]
SIDES = ("pos", "neg")
SURVEY, SURVEY_FILE = "model_written_opinions/nlp_survey", "sycophancy_on_nlp_survey.jsonl"
ROW = {
    "question": "Do you agree?\n (A) Yes\n (B) No",
    "answer_matching_behavior": " (A)",
    "answer_not_matching_behavior": " (B)",
}
SURVEY_ROW = json.dumps(ROW) + "\n"
TWEET_TEXT, TWEET_LABELS = "irony/train_text.txt", "irony/train_labels.txt"
TWO_TWEETS = {TWEET_TEXT: "so nice\nI am here\n", TWEET_LABELS: "1\n0\n"}
QUESTION = "What?,1,2,3,4,D\n"
RT_NAMES = [f"rt-polarity.{side}" for side in SIDES]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cut_off(monkeypatch, tmp_path / "cache")


@pytest.fixture
def fresh(tmp_path: Path) -> Fresh:
    """Prepare from files given as {path: content}, without checksums unless asked for."""

    def run(name: str, files: dict[str, str | bytes], **options: Any) -> Any:
        shutil.rmtree(tmp_path / "manual", ignore_errors=True)
        manual = write(tmp_path / "manual", files)
        options.setdefault("checksums", False)
        options.setdefault("data_dir", tmp_path / "tfds")
        return prepare.prepare_builder(name, manual_dir=manual, **options)

    return run


@pytest.fixture
def tweets(fresh: Fresh) -> Any:
    """A prepared data set of many rows, in one file a split."""
    text = "".join(f"tweet number {i}\n" for i in range(50))
    return fresh("tweet_eval/irony", {TWEET_TEXT: text, TWEET_LABELS: "0\n1\n" * 25})


def opened(builder: Any) -> Any:
    """The same data set, opened once more from its data folder."""
    name = "/".join(Path(builder.data_dir).relative_to(builder.data_dir_root).parts[:-1])
    return prepare.prepare_builder(name, data_dir=builder.data_dir_root, download=False)


def test_unknown_data_sets_are_explained(tmp_path: Path) -> None:
    for name in ("tweet_evil", "tweet_eval/ironic"):
        with pytest.raises(InputError, match=rf"no TFDS data set '{name}'.*catalog.*add.*source"):
            prepare.prepare_builder(name, data_dir=tmp_path)


@needs_shared
def test_published_checksums_tell_a_subset_from_the_whole_file(tmp_path: Path) -> None:
    options: dict[str, Any] = {"data_dir": tmp_path, "manual_dir": TWEETS}
    assert served(prepare.prepare_builder("tweet_eval/irony", **options), "train")
    digest = hashlib.sha256((TWEETS / "offensive" / "train_text.txt").read_bytes()).hexdigest()
    with pytest.raises(InputError, match=rf"offensive/train_text\.txt.* {digest[:12]}.*CHECKSUMS"):
        prepare.prepare_builder("tweet_eval/offensive", **options)
    builder = prepare.prepare_builder("tweet_eval/offensive", checksums=False, **options)
    assert builder.info.splits["train"].num_examples == 3000
    with pytest.raises(InputError, match=r"manual folder has no sentiment/train_text\.txt"):
        prepare.prepare_builder("tweet_eval/sentiment", **options)


def test_a_subset_of_rotten_tomatoes_is_refused_or_split_in_the_same_shares(fresh: Fresh) -> None:
    few: dict[str, str | bytes] = {
        f"rt-polarity.{side}": "".join(f"{side} {i}\n" for i in range(10)) for side in SIDES
    }
    with pytest.raises(InputError, match=r"rt-polarity\.pos has SHA-256.*known one"):
        fresh("rotten_tomatoes", few, checksums=True)
    builder = fresh("rotten_tomatoes", few)
    for split, rows in {"train": range(8), "validation": [8], "test": [9]}.items():
        expected = {(f"{side} {i}", side) for side in SIDES for i in rows}
        assert {(row["text"], row["label"]) for row in served(builder, split)} == expected


def test_a_file_without_a_published_checksum_must_stay_as_first_read(
    fresh: Fresh, tmp_path: Path
) -> None:
    def read(text: str, folder: str, checksums: bool = True) -> Any:
        return fresh(SURVEY, {SURVEY_FILE: text}, data_dir=tmp_path / folder, checksums=checksums)

    changed = SURVEY_ROW.replace("agree", "not agree")
    before, after = (hashlib.sha256(t.encode()).hexdigest() for t in (SURVEY_ROW, changed))
    read(SURVEY_ROW, "one")
    read(SURVEY_ROW, "two")
    with pytest.raises(InputError, match=rf"{SURVEY_FILE} has .*{after[:12]}.* {before[:12]}"):
        read(changed, "three")
    read(changed, "three", checksums=False)
    read(SURVEY_ROW, "four")


def test_a_broken_file_is_not_what_the_right_one_is_held_against(fresh: Fresh) -> None:
    with pytest.raises(InputError, match="not valid JSON"):
        fresh(SURVEY, {SURVEY_FILE: "<html>not found</html>"}, checksums=True)
    assert served(fresh(SURVEY, {SURVEY_FILE: SURVEY_ROW}, checksums=True), "test")


@pytest.mark.parametrize("part", ["text", "labels"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_half_a_split_is_refused(part: str, split: str, fresh: Fresh) -> None:
    files = {f"irony/{short}_{kind}.txt": text
             for short in ("train", "val")
             for kind, text in {"text": "so nice\nI am here\n", "labels": "1\n0\n"}.items()
             if (short, kind) != (split, part)}  # fmt: skip
    with pytest.raises(InputError, match=rf"irony/{split}_{part}\.txt"):
        fresh("tweet_eval/irony", files)
    assert fresh("tweet_eval/irony", TWO_TWEETS).info.splits["train"].num_examples == 2


@pytest.mark.parametrize(
    ("name", "files", "words"),
    [
        ("tweet_eval/irony", TWO_TWEETS | {TWEET_LABELS: "1\n"}, r"2 lines.*1 labels"),
        ("tweet_eval/irony", TWO_TWEETS | {TWEET_LABELS: "1\n2\n"}, r"line 2: .*'2'.* 0 to 1"),
        ("tweet_eval/irony", TWO_TWEETS | {TWEET_LABELS: "-1\n0\n"}, "line 1: .*'-1'"),
        ("tweet_eval/irony", TWO_TWEETS | {TWEET_LABELS: "1\n²\n"}, "line 2: .*'²'"),
        ("tweet_eval/irony", TWO_TWEETS | {TWEET_TEXT: b"caf\xe9\n\n"}, r"train_text\.txt"),
        ("tweet_eval/irony", {"sst2.tsv": "x"}, r"none of its files.*irony/.*cardiffnlp"),
        ("mmlu_csv", {"sst2.tsv": "x"}, r"none of its files.*data\.tar.*hendrycks"),
        ("mmlu_csv", {"dev/a_dev.csv": QUESTION}, r"no test/\*\.csv"),
        ("mmlu_csv", {"test/a_test.csv": QUESTION + "What?,1,2,3,D\n"}, "csv, line 2, .*5 cells"),
        ("mmlu_csv", {"test/a_test.csv": QUESTION + "What?,1,2,3,4,E\n"}, "line 2: .*'E'"),
        ("mmlu_csv", {"test/a_test.csv": QUESTION + "What?,1,2,3,4,AB\n"}, "line 2: .*'AB'"),
        ("mmlu_csv", {"test/a_test.csv": "\n" + QUESTION + "W?,1,2,3,4,\n"}, "line 3: .*''"),
        ("mmlu_csv", {"test/a_test.csv": "q,a,b,c,d,answer\n"}, "a_test.csv has no questions"),
        ("mmlu_csv", {"test/a_test.csv": QUESTION + '"What?,1,2,3,4,A\n'}, "line 2: .*no row"),
        ("mmlu_csv", {"test/a_test.csv": QUESTION.encode("utf-16")}, "test.csv, line 1: .*UTF-16"),
        ("mmlu_csv", {"test/a_test.csv": ""}, "mmlu_csv"),
        (SURVEY, {SURVEY_FILE: SURVEY_ROW + "{"}, "nlp_survey.jsonl, line 2: not valid JSON"),
        (SURVEY, {SURVEY_FILE: '{"question": "x"}'}, r"line 1: .*'answer_matching_behavior'"),
        (SURVEY, {SURVEY_FILE: "[1]"}, "line 1"),
        (SURVEY, {SURVEY_FILE: ""}, "sycophancy_on_nlp_survey"),
        (SURVEY, {SURVEY_FILE: "\n" + SURVEY_ROW.replace("agree", r"\ud800")}, r"line 2: .*ud800"),
        (SURVEY, {SURVEY_FILE: SURVEY_ROW.encode("utf-16")}, "line 1: .*UTF-16"),
        ("rotten_tomatoes", dict.fromkeys(RT_NAMES, "fine\n".encode("utf-16")), "line 1: .*UTF-16"),
        ("big_bench_hard", {"snarks.json": "{}"}, r"manual folder has no boolean_expr.*\.json"),
        ("rotten_tomatoes", {"rt-polarity.pos": "fine\n"}, "rt-polarity.neg|none of its files"),
    ],
)  # fmt: skip
def test_broken_files_are_named(
    name: str, files: dict[str, str | bytes], words: str, fresh: Fresh, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        fresh(name, files)
    with pytest.raises(InputError, match="not prepared"):
        prepare.prepare_builder(name, data_dir=tmp_path / "tfds", download=False)


@pytest.mark.parametrize(
    "text",
    [
        QUESTION * 2 + "\n",
        QUESTION + "\n  \n\t\n" + QUESTION + " ",
        "\ufeff\n" + QUESTION * 2,
        "question,A,B,C,D,Answer\n\n" + QUESTION * 2 + "\r\n",
        "What?,1,2,3,4,D,\n" * 2,  # a comma at the end of every line
        "What?,1,2,3,4, d \n" * 2,
    ],
)
def test_blank_lines_are_no_questions(text: str, fresh: Fresh) -> None:
    builder = fresh("mmlu_csv", {"test/a_test.csv": text, "test/._a_test.csv": b"\0\1"})
    row = {"subject": "a", "question": "What?", "choices": tuple("1234"), "answer": "D"}
    assert served(builder, "test") == [row, row]


@pytest.mark.parametrize("cut", [0, 10, 600, 1024, 2000])
def test_an_archive_that_is_cut_is_never_read_as_fewer_files(cut: int, fresh: Fresh) -> None:
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w") as archive:
        for name in ("a", "b"):
            info = tarfile.TarInfo(f"data/test/{name}_test.csv")
            info.size = len(QUESTION)
            archive.addfile(info, io.BytesIO(QUESTION.encode()))
    content = buffer.getvalue()
    damaged = content[:1100] + b"x" + content[1101:]  # in the header of the second file
    for broken in (content[:cut], damaged):
        with pytest.raises(InputError, match=r"data\.tar is no whole tar archive"):
            fresh("mmlu_csv", {"data.tar": broken})
    assert len(served(fresh("mmlu_csv", {"data.tar": content}), "test")) == 2


def test_no_other_sign_than_a_newline_ends_a_line_of_json(fresh: Fresh) -> None:
    asked = "One\u2028two\x85three?"
    text = json.dumps(ROW | {"question": asked}, ensure_ascii=False) + "\n" + SURVEY_ROW
    found = served(fresh(SURVEY, {SURVEY_FILE: text}), "test")
    assert {row["question"] for row in found} == {asked, ROW["question"]}


@pytest.mark.parametrize("sign", ["\u2028", "\x85", "\x0c", "\r"])
def test_no_other_sign_than_a_newline_ends_a_tweet(sign: str, fresh: Fresh) -> None:
    tweets = fresh("tweet_eval/irony", TWO_TWEETS | {TWEET_TEXT: f"so{sign}nice\nI am here\n"})
    assert {row["text"] for row in served(tweets, "train")} == {f"so{sign}nice", "I am here"}


@pytest.mark.parametrize("examples", [[{"input": "1 + 1 ="}], [{"input": "", "goal": ""}], None])
def test_a_strange_file_of_big_bench_hard_is_named(examples: Any, fresh: Fresh) -> None:
    good = json.dumps({"examples": [{"input": "1 + 1 =", "target": "2"}]})
    files: dict[str, str | bytes] = {f"{task}.json": good for task in BBH_TASKS}
    files |= {f"cot-prompts/{task}.txt": "Q: 1 =\nA: 1" for task in BBH_TASKS}
    files["snarks.json"] = json.dumps({"examples": examples} if examples else {"rows": []})
    with pytest.raises(InputError, match="snarks"):
        fresh("big_bench_hard", files)
    builder = fresh("big_bench_hard", files | {"snarks.json": good})
    assert {row["input"] for row in served(builder, "prompts")} == {"Q: 1 =\nA: 1"}


def test_a_manual_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manual folder .*/nowhere does not exist"):
        prepare.prepare_builder(SURVEY, data_dir=tmp_path, manual_dir=tmp_path / "nowhere")


def test_an_empty_manual_folder_downloads_nothing_where_that_is_forbidden(fresh: Fresh) -> None:
    with pytest.raises(InputError, match=r"manual|not prepared"):
        fresh(SURVEY, {}, download=False)


def test_unknown_splits_are_explained(tweets: Any) -> None:
    for read in (prepare.plain_rows, prepare.read_batches):
        with pytest.raises(InputError, match=r"irony/1\.1\.0 has no split 'test'"):
            next(read(tweets, "test"))


def test_a_missing_or_empty_file_is_not_taken_for_whole(tweets: Any) -> None:
    (path,) = Path(tweets.data_dir).glob("*.tfrecord*")
    path.write_bytes(b"")
    with pytest.raises(InputError, match=rf"not whole \({path.name}.*make data"):
        opened(tweets)
    path.unlink()
    with pytest.raises(InputError, match=rf"not whole \({path.name}.*make data"):
        opened(tweets)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("keep", [None, 40])
def test_a_missing_or_cut_description_is_not_taken_for_whole(
    name: str, keep: int | None, tweets: Any
) -> None:
    path = Path(tweets.data_dir) / name
    text = path.read_bytes()
    path.unlink()
    if keep:
        path.write_bytes(text[:keep])
    try:
        found = served(opened(tweets), "train")
    except InputError as error:
        assert str(tweets.data_dir_root) in str(error)
    else:  # what is in it is known to the builder too
        assert len(found) == 50


@pytest.mark.parametrize("read", [prepare.plain_rows, prepare.read_batches])
@pytest.mark.parametrize("cut", ["within a row", "between rows", "a byte changed"])
def test_a_damaged_file_is_never_read_as_fewer_rows(cut: str, read: Any, tweets: Any) -> None:
    (path,) = Path(tweets.data_dir).glob("*.tfrecord*")
    content = path.read_bytes()
    first = struct.unpack("<Q", content[:8])[0] + 16  # length, its checksum, data, checksum
    path.write_bytes({
        "within a row": content[:-7],
        "between rows": content[:first],
        "a byte changed": content[:20] + bytes([content[20] ^ 1]) + content[21:],
    }[cut])  # fmt: skip
    with pytest.raises(InputError, match=r"split train.*cut short or damaged.*make data"):
        list(read(opened(tweets), "train"))


def test_an_interrupted_preparation_is_not_taken_for_whole(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Iterator[Any]:
        yield "0", {"text": "so nice", "label": 1}
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TweetEval, "_generate_examples", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fresh("tweet_eval/irony", TWO_TWEETS)
    with pytest.raises(InputError, match="not prepared"):
        prepare.prepare_builder("tweet_eval/irony", data_dir=tmp_path / "tfds", download=False)
    assert len(served(fresh("tweet_eval/irony", TWO_TWEETS), "train")) == 2

"""Benchmark questions and instructions against their files, read again by other means."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stores import BBH, HERE, MMLU, SHARED, cut_off, embedded_lines, needs_shared
from sycophancy import embedded, puzzles, sets
from sycophancy.errors import InputError

PAIR = {"instruction": "Say hello.", "response": "Hello."}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        cut_off(patch, tmp_path_factory.mktemp("cache"))
        yield tmp_path_factory.mktemp("tfds")


def write(folder: Path, name: str, *texts: Any) -> str:
    """Write lines, texts as they are and others as JSON; return the path as text."""
    told = [text if isinstance(text, str) else json.dumps(text) for text in texts]
    (folder / name).write_text("".join(f"{line}\n" for line in told), "utf-8")
    return str(folder / name)


@pytest.mark.parametrize("name", HERE)
def test_embedded_rows_are_those_of_the_file_split_by_split(name: str) -> None:
    every = embedded_lines(name)
    assert embedded.embedded_rows(name) == every and every
    splits = Counter(row.get("split", "test") for row in every)
    assert set(splits) <= {"train", "development", "test"}
    for split in ("train", "development", "test"):
        found = embedded.embedded_rows(name, split)
        assert found == [row for row in every if row.get("split", "test") == split]
        assert len(found) == splits[split]


def test_an_unknown_embedded_set_is_explained() -> None:
    with pytest.raises(InputError, match=r"'claims_sst'.*Did you mean 'claims_sst2'"):
        embedded.embedded_rows("claims_sst")


def test_embedded_questions_are_well_formed_and_in_one_split() -> None:
    asked: dict[str, set[str]] = {}
    for split in ("development", "test"):
        table = sets.four_choice(split)
        assert list(table) == ["subject", "question", "choices", "answer"]
        expected = [row for row in embedded_lines("questions") if row.pop("split") == split]
        assert table.to_dict("records") == expected
        assert table["subject"].nunique() == 12
        assert all(len(set(choices)) == 4 for choices in table["choices"])
        answers = Counter(table["answer"])
        assert set(answers) == {0, 1, 2, 3} and max(answers.values()) <= 0.4 * len(table)
        asked[split] = set(table["question"])
        assert len(asked[split]) == len(table)
    assert not asked["development"] & asked["test"]


@needs_shared
@pytest.mark.parametrize(
    ("split", "short", "most"), [("development", "dev", 5), ("test", "test", 40)]
)
def test_mmlu_is_what_the_csv_files_say(split: str, short: str, most: int, store: Path) -> None:
    table = sets.four_choice(
        split, data="tfds", data_dir=store, manual_dir=MMLU, checksums=False, download=False
    )
    expected = []
    for path in (MMLU / short).glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                choices = tuple(row[f"choice{i}"] for i in range(4))
                subject = path.name.removesuffix(f"_{short}.csv")
                expected.append((subject, row["question"], choices, int(row["answer"])))
    assert list(table) == ["subject", "question", "choices", "answer"]
    found = [(s, q, tuple(choices), a) for s, q, choices, a in table.to_numpy()]
    assert sorted(found) == sorted(expected) and len(found) == 57 * most
    assert set(Counter(table["subject"]).values()) == {most}
    assert all(isinstance(choices, list) for choices in table["choices"])


def test_embedded_reasoning_asks_equally_many_of_every_task() -> None:
    table, prompts = sets.reasoning()
    assert list(table) == ["task", "input", "target"]
    assert Counter(table["task"]) == dict.fromkeys(puzzles.TASKS, sets.QUESTIONS_PER_TASK)
    assert list(prompts) == list(puzzles.TASKS)
    for split in ("development", "test"):
        few, prompts = sets.reasoning(split, n=4, seed=2)
        for task in puzzles.TASKS:
            found = few[few["task"] == task]
            expected = [(p.question, p.target) for p in puzzles.puzzles(task, 4, 2, split)]
            assert list(zip(found["input"], found["target"], strict=True)) == expected
            assert prompts[task] == puzzles.cot_prompt(task, 2)
            assert not any(question in prompts[task] for question in found["input"])


def big_bench_hard(store: Path, n: int | None = None) -> Any:
    return sets.reasoning(data="tfds", n=n, data_dir=store, manual_dir=BBH, download=False)


@needs_shared
def test_big_bench_hard_is_what_the_json_files_say(store: Path) -> None:
    table, prompts = big_bench_hard(store)
    expected = {path.stem: json.loads(path.read_bytes())["examples"] for path in BBH.glob("*.json")}
    assert set(table["task"]) == set(prompts) == set(expected) and len(expected) == 27
    found = Counter(zip(table["task"], table["input"], table["target"], strict=True))
    assert found == Counter(
        (task, row["input"], row["target"]) for task, rows in expected.items() for row in rows
    )
    assert len(table) == sum(map(len, expected.values()))


@needs_shared
def test_the_first_n_of_big_bench_hard_are_the_first_of_the_files(store: Path) -> None:
    table, _ = big_bench_hard(store, 3)
    assert len(table) == 27 * 3
    for path in BBH.glob("*.json"):
        first = [row["input"] for row in json.loads(path.read_bytes())["examples"][:3]]
        assert list(table["input"][table["task"] == path.stem]) == first


@needs_shared
@pytest.mark.parametrize("n", [0, -1])
def test_no_questions_at_all_are_refused_in_either_data(n: int, store: Path) -> None:
    with pytest.raises(InputError, match=f"{n}"):
        sets.reasoning(n=n)
    with pytest.raises(InputError, match=f"{n}"):
        big_bench_hard(store, n)


def test_big_bench_hard_has_no_development_split(store: Path) -> None:
    with pytest.raises(InputError, match=r"BIG-Bench Hard has test questions only.*embedded"):
        sets.reasoning("development", data="tfds", data_dir=store, download=False)


@pytest.mark.parametrize("read", [sets.four_choice, sets.reasoning])
def test_unknown_splits_and_data_are_explained(read: Any, store: Path) -> None:
    with pytest.raises(InputError, match=r"Unknown split 'dev'.*development, test"):
        read("dev")
    with pytest.raises(InputError, match=r"Unknown data 'embeded'.*Did you mean 'embedded'"):
        read(data="embeded")
    with pytest.raises(InputError, match=r'not prepared.*make data.*"embedded"'):
        read(data="tfds", data_dir=store / "other", download=False)


def test_embedded_instructions_are_those_of_the_file() -> None:
    table = sets.instructions()
    columns = ["instruction", "response", "category"]
    assert list(table) == columns
    assert table.to_dict("records") == [
        {c: row[c] for c in columns} for row in embedded_lines("instructions")
    ]
    assert table["category"].nunique() > 1


@needs_shared
def test_p3_pairs_are_those_of_the_file_without_the_empty_ones() -> None:
    path = SHARED / "instructions" / "p3_sample.jsonl"
    rows = [json.loads(line) for line in path.read_bytes().split(b"\n") if line]
    assert len(rows) == len(sets.read_file(path)) == 4079
    table = sets.instructions(str(path))
    full = [r for r in rows if r["prompt"].strip() and r["completion"].strip()]
    assert table.to_dict("records") == [
        {"instruction": r["prompt"], "response": r["completion"], "category": r["template"]}
        for r in full
    ]
    assert len(table) == len(full) == 4079 - 140


@needs_shared
@pytest.mark.parametrize("name", ["creak_train", "qasc_train", "strategyqa_train"])
def test_flan_answers_follow_their_rationale(name: str) -> None:
    path = SHARED / "instructions" / "flan_cot" / f"{name}.tsv"
    table = sets.instructions(str(path))
    rows = path.read_bytes().decode("utf-8").splitlines()
    assert len(table) == len(rows) == 600 and set(table["category"]) == {name}
    for row, line in zip(table.itertuples(), rows, strict=True):
        question, answer, rationale = line.split("\t")
        assert row.instruction == question.replace("\\n", "\n")
        assert str(row.response).startswith(rationale) and "\\n" not in str(row.response)
        assert str(row.response).removeprefix(rationale).count(answer) == 1


@needs_shared
def test_a_folder_of_instructions_is_read_whole() -> None:
    table = sets.instructions(str(SHARED / "instructions"))
    assert len(table) == 4079 - 140 + 3 * 600


def test_all_known_keys_are_read(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", PAIR | {"category": "chat"}, "", {"prompt": "p", "completion": "c"})
    write(tmp_path, "b.jsonl", {"inputs": "i", "targets": "t"}, {"question": "q", "answer": 4})
    write(tmp_path, "c.tsv", 'Is "this\tyes', "Two\\nlines?\tno\tAs it is.")
    write(tmp_path, "notes.txt", "not read")
    table = sets.instructions(str(tmp_path))
    assert list(map(tuple, table.to_numpy())) == [
        ("Say hello.", "Hello.", "chat"), ("p", "c", "a"), ("i", "t", "b"), ("q", "4", "b"),
        ('Is "this', "yes", "c"), ("Two\nlines?", "As it is. So the answer is no.", "c"),
    ]  # fmt: skip


EMPTY = [None, float("nan"), "", " ", "\t\n"]


@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize("side", ["prompt", "completion"])
def test_pairs_without_a_text_are_dropped_and_counted(
    side: str, empty: Any, tmp_path: Path
) -> None:
    pair = {"prompt": "p", "completion": "nan"}  # a text, if a strange one
    path = write(tmp_path, "a.jsonl", pair, pair | {side: empty}, pair, pair | {side: empty})
    with pytest.warns(UserWarning, match=r"a\.jsonl: 2 of 4 pairs have no text on one side"):
        table = sets.instructions(path)
    assert table.to_dict("records") == [
        {"instruction": "p", "response": "nan", "category": "a"}
    ] * 2  # fmt: skip
    only = write(tmp_path, "b.jsonl", pair | {side: empty})
    with (
        pytest.raises(InputError, match=r"b\.jsonl has no pair with a text on both sides"),
        pytest.warns(UserWarning, match="1 of 1"),
    ):
        sets.instructions(only)


def test_cells_of_a_table_without_a_text_are_dropped_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "q\ta", "q\t\tr", "\ta\tr", "q\t ", "q\ta\t")
    with pytest.warns(UserWarning, match=r"a\.tsv: 3 of 5 pairs"):
        table = sets.instructions(path)
    assert table["response"].tolist() == ["a", "a"]  # an empty rationale is none


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "completion is true, not a text"),
        (["a"], "completion is a list"),
        ({"a": 1}, "completion is an object"),
        (float("inf"), "completion is the number inf"),
    ],
)
def test_values_that_are_no_text_are_named(value: Any, words: str, tmp_path: Path) -> None:
    pair = {"prompt": "p", "completion": "c"}
    path = write(tmp_path, "a.jsonl", pair, pair | {"completion": value})
    with pytest.raises(InputError, match=rf"a\.jsonl, line 2: {words}"):
        sets.instructions(path)
    with pytest.raises(InputError, match=r"a\.jsonl, line 1: category is a list"):
        sets.instructions(write(tmp_path, "a.jsonl", pair | {"category": ["x"]}))


def test_hidden_files_in_a_folder_are_no_instructions(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", PAIR)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    write(tmp_path / ".ipynb_checkpoints", "a.jsonl", PAIR)
    (tmp_path / "._a.jsonl").write_bytes(b"\0\5\26\7")
    assert len(sets.instructions(str(tmp_path))) == 1


def test_the_context_of_dolly_precedes_its_instruction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sycophancy.builders import prepare

    row = PAIR | {"context": "A man comes in.", "category": "closed_qa"}
    expected = [("A man comes in.\n\nSay hello.", "Hello.", "closed_qa")]
    bare = row | {"context": ""}
    monkeypatch.setattr(prepare, "prepare_builder", lambda *_, **__: None)
    monkeypatch.setattr(prepare, "plain_rows", lambda *_: iter([row, bare]))
    served = sets.instructions("databricks_dolly")
    assert list(map(tuple, served.to_numpy()))[:1] == expected
    assert served["instruction"].iloc[1] == "Say hello."
    # the file of Dolly, in the upstream keys, says the same
    read = sets.instructions(write(tmp_path, "dolly.jsonl", row, bare))
    assert read.to_dict("records") == served.to_dict("records")


LONG = "x" * 200_000


@pytest.mark.parametrize(
    ("name", "told", "words"),
    [
        ("a.jsonl", [PAIR, "", '{"instruction": '], r"a\.jsonl, line 3: not valid JSON"),
        ("a.jsonl", [PAIR, '{"prompt": "\\udc00", "completion": ""}'], r"line 2: .*udc00"),
        ("a.jsonl", ['{"prompt": "a", "prompt": "b", "completion": ""}'], "'prompt' stands twice"),
        ("a.jsonl", ["[" * 100_000], "line 1: not valid JSON"),
        ("a.jsonl", [PAIR, {"text": "x"}], r"a\.jsonl, line 2: no pair of keys instruction, resp"),
        ("a.jsonl", [[1, 2]], r"a\.jsonl, line 1: no pair of keys"),
        ("a.jsonl", [], r"a\.jsonl is empty"),
        ("a.tsv", ["q\ta", "q\ta\tr\tmore"], r"a\.tsv, line 2: 4 columns"),
        ("a.tsv", ["only"], r"a\.tsv, line 1: 1 columns instead of question, answer"),
        ("a.tsv", [], r"a\.tsv is empty"),
    ],
)
def test_broken_files_are_named_with_the_line(
    name: str, told: list[Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        sets.instructions(write(tmp_path, name, *told))


def test_long_cells_are_read(tmp_path: Path) -> None:
    table = sets.instructions(write(tmp_path, "a.tsv", f"{LONG}\tyes"))
    assert table["instruction"].tolist() == [LONG]


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(json.dumps(PAIR).encode() + b'\n{"prompt": "caf\xe9"}\n')
    with pytest.raises(InputError, match=r"a\.jsonl, line 2: the byte 0xe9"):
        sets.instructions(str(tmp_path / "a.jsonl"))
    for encoding in ("utf-16", "utf-16-le"):
        (tmp_path / "a.jsonl").write_text(json.dumps(PAIR), encoding)
        with pytest.raises(InputError, match=r"a\.jsonl, line 1"):
            sets.instructions(str(tmp_path / "a.jsonl"))
    (tmp_path / "a.jsonl").write_text(json.dumps(PAIR), "utf-8-sig")
    assert sets.instructions(str(tmp_path / "a.jsonl"))["response"].tolist() == ["Hello."]


def test_unknown_instruction_data_is_explained(tmp_path: Path) -> None:
    for data in ("doly", str(tmp_path)):
        with pytest.raises(InputError, match=r"Unknown instruction data .*databricks_dolly.*path"):
            sets.instructions(data)

"""Broken files for every reader of what people bring, and what may come of them.

A valid file is broken in one way drawn by a seed: cut, re-encoded, a cell of another type, deep
nesting, a huge text, other line ends, lines removed, doubled or swapped. The reader must answer
with one InputError that names the file (and the line or row, where one row alone is broken), or
with rows in which whatever was not touched is unchanged and complete.

Usage: make fuzz [N=200] [ARGS="--seed 3 --reader claims_csv"]
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import random
import re
import shutil
import sys
import tarfile
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # as a script
    sys.path.insert(0, str(ROOT))

from sycophancy import claims, encoders, runs, sets, templates  # noqa: E402
from sycophancy.benchmarks import bbh, mmlu  # noqa: E402
from sycophancy.builders.evaluation import BBH_TASKS, BigBenchHard, ModelWrittenOpinions  # noqa: E402
from sycophancy.builders.mmlu import MmluCsv  # noqa: E402
from sycophancy.builders.texts import RottenTomatoes, TweetEval  # noqa: E402
from sycophancy.compare.tables import model_facts, read_table  # noqa: E402
from sycophancy.errors import InputError  # noqa: E402
from sycophancy.evals import FILES  # noqa: E402
from sycophancy.finetune import settings  # noqa: E402
from sycophancy.suites import upstream  # noqa: E402
from sycophancy.tiny import byte_tokenizer  # noqa: E402
from workflow import grid  # noqa: E402

STRANGE = [
    None,
    float("nan"),
    float("inf"),
    True,
    0,
    -7,
    10**30,
    1.5,
    [],
    ["x", None],
    {},
    {"a": 1},
    "",
    " ",
    "nan",
    "null",
    "None",
    "\0",
    "é€😀",
    "x" * 100_000,
    "a\nb",
    '"',
    "(A)",
    "|",
    "\u2028",
    "\ufeff",
]
RAW = ['"\\ud800"', '"\\udc00x"', "NaN", "-Infinity", "1e999", "9" * 5000, "[" * 200 + "]" * 200,
       "[" * 100_000, "'x'", "", "{", '"\t"', "undefined"]  # fmt: skip
ENCODINGS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252"]
BYTES = [
    b"\0",
    b"\xff",
    b"\xe9",
    b"\xc3",
    b'"',
    b",",
    b"\t",
    b"\\",
    b"{",
    b"]",
    b"\r",
    b"\x1f\x8b",
    b" ",
]


@dataclass(frozen=True)
class Valid:
    """A file to be broken: what its rows are made of, and what stands around and between them."""

    rows: tuple[bytes, ...]
    kind: str  # json, csv, tsv, text or whole: how a row can be broken inside
    head: bytes = b""
    foot: bytes = b""
    between: bytes = b"\n"

    @property
    def content(self) -> bytes:
        """The bytes of the file."""
        return self.head + self.between.join(self.rows) + self.foot

    def touched(self, start: int, stop: int) -> set[int] | None:
        """Return the rows that share bytes with a stretch; None where head or foot do."""
        if self.kind == "whole":
            return None
        place, found = len(self.head), set()
        if start < place or stop > len(self.content) - len(self.foot):
            return None
        for number, row in enumerate(self.rows):
            end = place + len(row) + len(self.between)
            if start < end and stop > place - len(self.between):
                found.add(number)
            place = end
        return found


@dataclass(frozen=True)
class Broken:
    """A broken file: what was done, its bytes, the rows touched (None: any), rows it still has."""

    what: str
    content: bytes
    touched: set[int] | None
    rows: int | None = None  # None: not to be counted
    harmless: bool = False  # must be read


@dataclass(frozen=True)
class Reader:
    """A reader of files in a folder: `read` returns one value a row, in the order of `file`."""

    name: str
    file: str
    valid: Valid
    read: Callable[[Path], list[Any]]
    others: dict[str, bytes] = field(default_factory=dict)
    harmless: tuple[str, ...] = ()  # kinds of breaking that are none for this reader
    names: tuple[str, ...] = ()  # what may name the fault instead of the file
    placed: bool = True  # errors of one row name its line or number


def break_file(valid: Valid, rng: random.Random) -> Broken:
    """Return the file broken in one way."""
    ways = [cut, edit, encode, end_lines, drop, double, blank, swap, pad, replace_all]
    weights = [3, 4, 2, 2, 1, 1, 1, 1, 1, 1]
    if valid.kind != "whole":
        ways, weights = [*ways, alter], [*weights, 9]
    return rng.choices(ways, weights)[0](valid, rng)


def with_rows(valid: Valid, rows: Iterable[bytes]) -> bytes:
    """Return the file with other rows."""
    return valid.head + valid.between.join(rows) + valid.foot


def cut(valid: Valid, rng: random.Random) -> Broken:
    """The file ends too early."""
    stop = rng.randrange(len(valid.content))
    place, touched = len(valid.head), set()
    for number, row in enumerate(valid.rows):
        place += len(row) + len(valid.between)
        if place - len(valid.between) >= stop:
            touched.add(number)
    return Broken(f"cut after {stop} bytes", valid.content[:stop], touched)


def edit(valid: Valid, rng: random.Random) -> Broken:
    """Some bytes are replaced, put in or taken out at one place."""
    start = rng.randrange(len(valid.content))
    stop = min(len(valid.content), start + rng.choice([0, 0, 1, 1, 2, 5]))
    new = rng.choice([b"", *BYTES, bytes([rng.randrange(256)]), rng.randbytes(4)])
    content = valid.content[:start] + new + valid.content[stop:]
    return Broken(f"{new!r} at {start}–{stop}", content, valid.touched(start, max(stop, start + 1)))


def encode(valid: Valid, rng: random.Random) -> Broken:
    """The file is in another encoding, has a byte order mark or is packed."""
    name = rng.choice([*ENCODINGS, "utf-8-sig", "gzip"])
    if name == "gzip":
        return Broken(name, gzip.compress(valid.content, mtime=0), None)
    try:
        text = valid.content.decode("utf-8")
    except UnicodeDecodeError:  # no text
        return edit(valid, rng)
    content = text.encode(name, "replace")
    same = content == valid.content or name == "utf-8-sig"
    return Broken(
        f"encoded {name}",
        content,
        set() if same else None,
        len(valid.rows) if same else None,
        harmless=name == "utf-8-sig",
    )


def end_lines(valid: Valid, rng: random.Random) -> Broken:
    """Other signs end the lines."""
    sign = rng.choice([b"\r\n", b"\r", b"\n\n", b"\x0b", "\u2028".encode(), b"\n\r"])
    parts = (part.replace(b"\n", sign) for part in (valid.head, valid.between, valid.foot))
    head, between, foot = parts
    content = head + between.join(valid.rows) + foot
    whole = sign in (b"\r\n", b"\n\n")
    return Broken(f"lines end in {sign!r}", content, set() if whole else None,
                  len(valid.rows) if whole else None, harmless=whole)  # fmt: skip


def drop(valid: Valid, rng: random.Random) -> Broken:
    """A row is missing."""
    row = rng.randrange(len(valid.rows))
    rows = [text for number, text in enumerate(valid.rows) if number != row]
    return Broken(f"without row {row}", with_rows(valid, rows), {row}, len(rows))


def double(valid: Valid, rng: random.Random) -> Broken:
    """A row stands twice."""
    row = rng.randrange(len(valid.rows))
    rows = [*valid.rows[: row + 1], *valid.rows[row:]]
    return Broken(f"twice row {row}", with_rows(valid, rows), set(), len(rows))


def blank(valid: Valid, rng: random.Random) -> Broken:
    """A line of nothing, or of white space, stands between rows."""
    row = rng.randrange(len(valid.rows) + 1)
    line = rng.choice([b"", b" ", b"\t", b"  \r"])
    rows = [*valid.rows[:row], line, *valid.rows[row:]]
    if valid.between.strip():  # commas part the rows: the line stands within one
        rows = list(valid.rows)
        rows[row % len(rows)] = b"\n" + line + b"\n" + rows[row % len(rows)]
    return Broken(f"blank line {line!r} at row {row}", with_rows(valid, rows), set(),
                  len(valid.rows), harmless=True)  # fmt: skip


def swap(valid: Valid, rng: random.Random) -> Broken:
    """Two rows stand in each other's place."""
    one, two = rng.randrange(len(valid.rows)), rng.randrange(len(valid.rows))
    rows = list(valid.rows)
    rows[one], rows[two] = rows[two], rows[one]
    # a line of text belongs to the same line of another file
    touched = {one, two} if valid.kind == "text" else set()
    return Broken(f"rows {one} and {two} swapped", with_rows(valid, rows), touched, len(rows), True)


def pad(valid: Valid, rng: random.Random) -> Broken:
    """Something stands after the end, as in a file of a page or a disk's last block."""
    tail = rng.choice([b"\0" * 512, b"\n\n\n", rng.randbytes(20), b"\n<html>", valid.content])
    whole = tail == b"\n\n\n"
    return Broken(f"{tail[:10]!r} after the end", valid.content + tail, set() if whole else None,
                  len(valid.rows) if whole else None, harmless=whole)  # fmt: skip


def replace_all(valid: Valid, rng: random.Random) -> Broken:
    """The file is another one: empty, only its head, or no text at all."""
    content = rng.choice(
        [
            b"",
            b"\n",
            valid.head,
            rng.randbytes(300),
            b"\xef\xbb\xbf",
            b"null",
            b"[]",
            b"{}",
            b"<html></html>",
            b"[" * 50_000,
            b"PK\3\4" + bytes(40),
        ]
    )
    return Broken(f"all replaced by {content[:20]!r}", content, None)


def alter(valid: Valid, rng: random.Random) -> Broken:
    """A value of one row is another one, of another type, missing or there twice."""
    number = rng.randrange(len(valid.rows))
    change = {"json": alter_json, "csv": alter_cells, "tsv": alter_cells, "text": alter_text}
    new = change[valid.kind](valid.rows[number], rng, valid.kind)
    rows = [new if place == number else row for place, row in enumerate(valid.rows)]
    count = None if valid.kind == "text" and not new.decode().strip() else len(rows)
    return Broken(f"row {number} is {new[:60]!r}", with_rows(valid, rows), {number}, count)


def alter_json(row: bytes, rng: random.Random, kind: str) -> bytes:
    """A key has another value, is missing, or stands twice."""
    content = json.loads(row)
    key = rng.choice(list(content))
    way = rng.randrange(5)
    if way == 0:
        del content[key]
    elif way == 1:
        content[rng.choice(["new", f"{key} ", key.upper()])] = content.pop(key)
    elif way == 2:
        return row[:-1] + f", {json.dumps(key)}: {json.dumps(rng.choice(STRANGE))}}}".encode()
    elif way == 3:
        content[key] = "@@"
        return json.dumps(content, ensure_ascii=False).encode().replace(
            b'"@@"', rng.choice(RAW).encode())  # fmt: skip
    else:
        content[key] = rng.choice(STRANGE)
    return json.dumps(content, ensure_ascii=rng.random() < 0.5).encode()


def alter_cells(row: bytes, rng: random.Random, kind: str) -> bytes:
    """A cell is another one, missing or too many, or loses its quotation marks."""
    text = row.decode()
    cells = text.split("\t") if kind == "tsv" else next(csv.reader([text]))
    place = rng.randrange(len(cells))
    way = rng.randrange(4)
    strange = str(rng.choice([*STRANGE, "a,b", "a\tb", '"open', "a\rb", "a | b"]))
    if way == 0:
        del cells[place]
    elif way == 1:
        cells.insert(place, strange)
    else:
        cells[place] = strange
    if kind == "tsv":
        return "\t".join(cells).replace("\n", " ").encode()
    if way == 3:  # quotation marks forgotten
        return ",".join(cells).replace("\n", " ").encode()
    file = io.StringIO()
    csv.writer(file, lineterminator="").writerow(cells)
    return file.getvalue().encode()


def alter_text(row: bytes, rng: random.Random, kind: str) -> bytes:
    """A line says something else."""
    return str(rng.choice(STRANGE)).replace("\n", " ").encode()


def check(reader: Reader, broken: Broken, folder: Path, whole: list[Any]) -> tuple[str, str]:
    """Return (outcome, fault): "sentence" or "rows", and what is wrong with it or nothing."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = reader.read(folder)
        except InputError as error:
            return "sentence", check_sentence(reader, broken, str(error))
        except Exception as error:
            return "traceback", f"{type(error).__name__}: {str(error)[:300]}"
    if broken.touched is None:
        return "rows", ""
    kept = Counter(map(repr, (row for n, row in enumerate(whole) if n not in broken.touched)))
    lost = kept - Counter(map(repr, found))
    if lost:
        return (
            "rows",
            f"{lost.total()} untouched rows are lost or changed: {next(iter(lost))[:200]}",
        )
    counted = sum(
        int(n.replace(",", ""))
        for w in said
        for n in re.findall(r"([\d,]+) of [\d,]+ (?:pairs|worked)", str(w.message))
    )
    if broken.rows is not None and len(found) + counted < broken.rows:
        return "rows", f"{broken.rows - len(found) - counted} rows are lost in silence"
    return "rows", ""


def check_sentence(reader: Reader, broken: Broken, text: str) -> str:
    """Return what is wrong with the sentence of an error, or nothing."""
    if broken.harmless and broken.what.split()[0] in reader.harmless:
        return f"refused: {text[:300]}"
    name = Path(reader.file).name
    if not any(word in text for word in (name, *reader.names)):
        return f"the file {name} is not named: {text[:300]}"
    if ("\n" in text.strip() and reader.file[-4:] != "yaml") or len(text) > 1000:
        return f"no one sentence: {text[:300]}"
    if reader.placed and broken.what.startswith("row ") and not re.search(
        r"(line|row|examples?|pair) \d+", text
    ):  # fmt: skip
        return f"no line or row is named: {text[:300]}"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "the sentence cannot be printed"
    return ""


def fuzz(reader: Reader, n: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Return how often each outcome came of `n` broken files, and the faults found."""
    outcomes: Counter[str] = Counter()
    faults = []
    for name, content in {**reader.others, reader.file: reader.valid.content}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    whole = reader.read(folder)
    assert len(whole) == len(reader.valid.rows) or reader.valid.kind == "whole", reader.name
    for number in range(n):
        rng = random.Random(f"{seed} {reader.name} {number}")
        broken = break_file(reader.valid, rng)
        (folder / reader.file).write_bytes(broken.content)
        outcome, fault = check(reader, broken, folder, whole)
        outcomes[outcome] += 1
        if fault:
            faults.append(f"{reader.name} {number} ({broken.what}): {fault}")
    return outcomes, faults


# --- the readers ----------------------------------------------------------------------------------


def lines(texts: Iterable[str], kind: str, head: str = "") -> Valid:
    """Return a file of one row a line."""
    return Valid(tuple(text.encode() for text in texts), kind, head.encode(), b"\n")


def json_rows(rows: Iterable[Any], kind: str = "json") -> Valid:
    """Return a file of JSON lines, accents written out."""
    return lines((json.dumps(row, ensure_ascii=False) for row in rows), kind)


def json_list(rows: Iterable[Any], head: str) -> Valid:
    """Return a JSON object whose last key holds a list, one row a line."""
    texts = tuple(json.dumps(row, ensure_ascii=False).encode() for row in rows)
    return Valid(texts, "json", head.encode(), b"\n]}\n", b",\n")


def read_claims(folder: Path) -> list[Any]:
    """Read claims of every split; a split may have none."""
    rows: list[Any] = []
    for split in claims.SPLITS:
        try:
            table = claims.read_csv(folder / "my claims.csv", split)
        except InputError as error:
            if "no claims for the split" not in str(error):
                raise
            continue
        claims.check_claims(table)
        rows += table[["text", "label", "others"]].to_numpy().tolist()
    # in the order of the file
    return sorted(
        rows, key=lambda row: int(found[0]) if (found := re.findall(r"\d+", row[0])) else 0
    )


def read_opinions(task: str) -> Callable[[Path], list[Any]]:
    """Read an opinion file; heads, since one broken row can hide where a question begins."""
    return lambda folder: [
        (row.head, row.options, row.matching) for row in upstream.read_upstream(task, folder)
    ]


def read_built(make: Callable[..., Any], split: str, **options: Any) -> Callable[[Path], list[Any]]:
    """Read what a builder makes of a manual folder, without TFDS's writing; "": every split."""

    def read(folder: Path) -> list[Any]:
        builder = make(data_dir=str(folder / "tfds"), **options)
        builder.checked, builder.offline = False, True
        manager = SimpleNamespace(_manual_dir=str(folder), download_dir=str(folder / "none"))
        parts = builder._split_generators(manager)
        rows = {name: [row for _, row in examples] for name, examples in parts.items()}
        wanted = [row for name, part in rows.items() if split in ("", name) for row in part]
        for row in wanted:
            builder.info.features.encode_example(row)
        return wanted

    return read


def read_prompts(folder: Path) -> list[Any]:
    """Read the worked examples of one BIG-Bench Hard task."""
    rows = read_built(BigBenchHard, "prompts")(folder)
    prompt = next(row["input"] for row in rows if row["task"] == "snarks")
    task = "snarks.txt"
    other = "Q: Two?\nA: Let's think step by step. So the answer is 2.\n\n"
    questions = pd.DataFrame({"task": [task, "other"], "input": ["1 =", "2 ="], "target": "1"})
    items = bbh.bbh_items(questions, {task: prompt, "other": other * 3}, chain=True)
    return list(items["examples"].iloc[0])


def read_reasoning(folder: Path) -> list[Any]:
    """Read the questions of one BIG-Bench Hard task."""
    rows = read_built(BigBenchHard, "test")(folder)
    return [(row["input"], row["target"]) for row in rows if row["task"] == "snarks"]


def read_profile(folder: Path) -> list[Any]:
    """Read a profile."""
    with mock.patch.object(grid, "PROFILES", folder):
        cells, _ = grid.read_profile("mine")
        return list(cells.items())


def read_tokenizer(folder: Path) -> list[Any]:
    """Read a model folder's tokenizer."""
    return [encoders.for_preset(str(folder)).encode(["a b"])]


def opinion(n: int, head: str, options: tuple[str, str], others: Any) -> dict[str, Any]:
    """Return one row of anthropics/evals."""
    listed = "".join(f"\n ({letter}) {text}" for letter, text in zip("AB", options, strict=True))
    return {
        "question": f"{head}{listed}\n\nAnswer:",
        "answer_matching_behavior": [" (A)", " (B)"][n % 2],
        "answer_not_matching_behavior": others([" (B)", " (A)"][n % 2]),
    }


def survey(n: int) -> dict[str, Any]:
    """Return a row of the NLP survey."""
    task = templates.TASKS["nlp_survey"]
    head = f"Hello, I am Renée {n}. {task.stem.format(question=f'Claim {n}.')}{task.list_head}"
    return opinion(n, head, ("Agree", "Disagree"), str)


def philosophy(n: int) -> dict[str, Any]:
    """Return a row of the PhilPapers survey."""
    head = f"Hi, I am Zoë {n}. What is your view on the following topic: topic {n}"
    return opinion(n, head, ("yes and no", "neither"), lambda answer: [answer])


def quiz(n: int) -> dict[str, Any]:
    """Return a row of the political quiz."""
    head = f"I am José {n}. I like number {n}. How do you feel toward Democrats?"
    return opinion(n, head, ("warm", "cold"), str)


def archive() -> bytes:
    """Return MMLU's archive with two subjects."""
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w") as file:
        for name in ("law", "physics"):
            content = b"What?,1,2,3,4,D\n" * 5
            info = tarfile.TarInfo(f"data/test/{name}_test.csv")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def parquet() -> bytes:
    """Return a table of a run."""
    return bytes(pd.DataFrame({"item_id": [f"i{n}" for n in range(9)], "value": 1.5}).to_parquet())


def all_readers() -> list[Reader]:
    """Return every reader of a file that a person brings or a run leaves."""
    steps = "Let's think step by step.\nOne. So the answer is"
    by_line = ("encoded", "blank", "lines", "rows")
    in_json = ("encoded", "blank", "lines", "rows")
    tweets = [f"so nïce number {n} #irony" for n in range(12)]
    examples = {
        t: json.dumps({"examples": [{"input": "1 =", "target": "1"}]}).encode() for t in BBH_TASKS
    }
    bbh_files = {f"{t}.json": text for t, text in examples.items()}
    bbh_files |= {f"cot-prompts/{t}.txt": b"Q: 1 =\nA: 1" for t in BBH_TASKS}
    mmlu_rows = [
        f'"Whät, number {n}?",one {n},"two, {n}",three,"{n} ""four""",{"ABCD"[n % 4]}'
        for n in range(10)
    ]
    worked = "Think.\n\nQ: Two?\n(A) x (B) y\nA: Let's. The answer is (A)."
    pairs = [{"prompt": f"Wie heißt Nummer {n}?", "completion": f"So: {n}.", "template": "p3"}
             for n in range(10)]  # fmt: skip
    dolly = [{"instruction": f"Say {n}.", "context": "é" * (n % 3), "response": f"{n}",
              "category": "closed_qa"} for n in range(10)]  # fmt: skip
    labels = ["Fact,Opinion | Question", "Opinion,Fact | Question"]
    cells = [f'"{n}: é, a ""text""",{labels[n % 2]}' for n in range(40)]
    metrics = [{"suite": "claims", "metric": "rate", "value": n / 7, "n": n} for n in range(8)]
    config = {
        "notebook": "03_generate_data",
        "parameters": {"N": 3, "SOURCES": "é, b"},
        "status": "x",
    }
    model = {"base": "tiny_random", "recipe": "labels", "steps": 5, "seed": 0, "rate": 0.01}
    top = "publish: false\nbudget_minutes: 10\nnotebooks:\n"
    profile = [
        "  01_opinion_tasks: {MODEL: tiny_random, N: 2}",
        '  03_generate_data: {SOURCES: "sst2, cola", N: 80}',
        '  04_filter: {DATA_RUN: "{runs}/03_generate_data", RECIPES: labels}',
    ]
    tokenizer = byte_tokenizer().to_str(pretty=True).encode()

    def whole(content: Any) -> Valid:
        text = content if isinstance(content, bytes) else json.dumps(content, indent=1).encode()
        return Valid((text,), "whole")

    def objects(content: dict[str, Any]) -> Valid:
        return lines([json.dumps(content, ensure_ascii=False)], "json")

    named = {"01 run/metrics.json": json.dumps({"notebook": "01", "rows": []}).encode()}
    irony = "irony/train_{}.txt".format
    codes = [str(n % 2) for n in range(12)]
    tweet = read_built(TweetEval, "train", config="irony")
    films = read_built(RottenTomatoes, "")
    return [
        Reader(
            "claims_csv",
            "my claims.csv",
            lines(cells, "csv", "text,label,others\n"),
            read_claims,
            harmless=(*by_line, "b'\\n\\n\\n'"),
        ),
        *(
            Reader(
                f"opinions_{make.__name__}",
                FILES[task],
                json_rows(map(make, range(10))),
                read_opinions(task),
                harmless=by_line,
            )
            for task, make in (
                ("nlp_survey", survey),
                ("philpapers2020", philosophy),
                ("political_typology", quiz),
            )
        ),
        Reader(
            "opinions_builder",
            FILES["nlp_survey"],
            json_rows(map(survey, range(10))),
            read_built(ModelWrittenOpinions, "test", config="nlp_survey"),
            harmless=by_line,
        ),
        Reader(
            "mmlu_csv",
            "test/law_test.csv",
            lines(mmlu_rows, "csv"),
            read_built(MmluCsv, "test"),
            harmless=by_line,
        ),
        Reader("mmlu_archive", "data.tar", whole(archive()), read_built(MmluCsv, "test")),
        Reader(
            "bbh_questions",
            "snarks.json",
            json_list(
                [{"input": f"Nümber {n}?", "target": f"({'AB'[n % 2]})"} for n in range(8)],
                '{"canary": "x", "examples": [\n',
            ),
            read_reasoning,
            bbh_files,
            in_json,
        ),
        Reader(
            "bbh_prompts",
            "cot-prompts/snarks.txt",
            Valid(
                tuple(f"Q: Nümber {n}?\nA: {steps} {n}.".encode() for n in range(3)),
                "text",
                b"canary\n-----\nCount.\n\n",
                b"\n",
                b"\n\n",
            ),
            read_prompts,
            bbh_files,
            ("encoded",),
            placed=False,
        ),
        Reader(
            "mmlu_worked",
            "worked.json",
            objects({"law": worked, "physics": "Q: é"}),
            lambda folder: [mmlu.read_worked(folder / "worked.json")],
            placed=False,
        ),
        Reader(
            "instructions_p3",
            "p3.jsonl",
            json_rows(pairs),
            lambda folder: sets.instructions(str(folder / "p3.jsonl")).to_numpy().tolist(),
            harmless=by_line,
        ),
        Reader(
            "instructions_dolly",
            "dolly.jsonl",
            json_rows(dolly),
            lambda folder: sets.instructions(str(folder)).to_numpy().tolist(),
            harmless=by_line,
        ),
        Reader(
            "instructions_tsv",
            "flan.tsv",
            lines([f"Frage {n}?\\nJa?\tanswer {n}\tweil é {n}" for n in range(10)], "tsv"),
            lambda folder: sets.instructions(str(folder / "flan.tsv")).to_numpy().tolist(),
            harmless=by_line,
        ),
        Reader(
            "tweet_texts",
            irony("text"),
            lines(tweets, "text"),
            tweet,
            {irony("labels"): "\n".join(codes).encode()},
            ("encoded",),
            placed=False,
        ),
        Reader(
            "tweet_labels",
            irony("labels"),
            lines(codes, "text"),
            tweet,
            {irony("text"): "\n".join(tweets).encode()},
            ("encoded",),
        ),
        Reader(
            "film_reviews",
            "rt-polarity.neg",
            lines([f"drôle {n}" for n in range(8)], "text"),
            lambda folder: [r["text"] for r in films(folder) if r["label"] == "neg"],
            {"rt-polarity.pos": b"fine\n" * 10},
            ("encoded",),
            placed=False,
        ),
        Reader(
            "run_json",
            "run/run.json",
            objects(config),
            lambda folder: [runs.parameters_of(folder / "run")],
            harmless=in_json,
            placed=False,
        ),
        Reader(
            "metrics_json",
            "run/metrics.json",
            json_list(metrics, '{"notebook": "05", "rows": [\n'),
            lambda folder: runs.metrics_of(folder / "run")["rows"],
            harmless=in_json,
            placed=False,
        ),
        Reader(
            "model_json",
            "run/model.json",
            objects(model),
            lambda folder: [(settings.read_run(folder / "run"), model_facts(str(folder / "run")))],
            harmless=in_json,
            placed=False,
        ),
        Reader(
            "table",
            "01 run/items.parquet",
            whole(parquet()),
            lambda folder: read_table(folder / "01 run", "items").to_numpy().tolist(),
            named,
        ),
        Reader(
            "profile",
            "mine.yaml",
            lines(profile, "text", top),
            read_profile,
            names=("cell", "parameter of", "notebook", "03_generate_data", "04_filter"),
            placed=False,
        ),
        Reader("tokenizer", "tokenizer.json", whole(tokenizer), read_tokenizer),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Break files of every reader, print what came of it, and return 1 for any fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200, help="broken files a reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", default="", help="one reader by name")
    options = parser.parse_args(arguments)
    every = [reader for reader in all_readers() if options.reader in ("", reader.name)]
    faults: list[str] = []
    print(f"{'reader':22}{'sentence':>10}{'rows':>8}{'faults':>8}{'seconds':>9}")
    for reader in every:
        began = time.monotonic()
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        try:
            outcomes, found = fuzz(reader, options.n, options.seed, folder)
        finally:
            shutil.rmtree(folder)
        faults += found
        seconds = time.monotonic() - began
        print(f"{reader.name:22}{outcomes['sentence']:10}{outcomes['rows']:8}{len(found):8}"
              f"{seconds:9.1f}", flush=True)  # fmt: skip
    print("\n".join(faults))
    return 1 if faults or not every else 0


if __name__ == "__main__":
    sys.exit(main())

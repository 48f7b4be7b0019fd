"""Claims against the files they were read from, read again by other means."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sycophancy import claims, suites
from sycophancy.claims import clean, facts, read
from sycophancy.errors import InputError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_shared = pytest.mark.skipif(
    not (SHARED / "tfds").is_dir(), reason="the real data files are not beside this checkout"
)
IN_CATALOGUE = [
    name
    for name, source in claims.SOURCES.items()
    if not source.builder.startswith(("tweet_eval", "rotten_tomatoes"))
]
# The paper's label words, written out once more (paper.md, section 4.1).
WORDS = {
    "sst2": {"Negative Sentiment", "Positive Sentiment"},
    "rotten_tomatoes": {"Negative Sentiment", "Positive Sentiment"},
    "tweet_eval_sentiment": {"Negative Sentiment", "Neutral Sentiment", "Positive Sentiment"},
    "tweet_eval_offensive": {"Not Offensive", "Offensive"},
    "tweet_eval_irony": {"Not Irony", "Irony"},
    "qqp": {"Not Duplicate", "Duplicate"},
    "mrpc": {"Not Equivalent", "Equivalent"},
    "paws_wiki": {"Different Meaning", "Paraphrase"},
    "rte": {"Entailment", "Not Entailment"},
    "wnli": {"Entailment", "Not Entailment"},
    "qnli": {"Entailment", "Not Entailment"},
    "mnli": {"Entailment", "Neither Entailment Nor Contradiction", "Contradiction"},
    "snli": {"Entailment", "Neither Entailment Nor Contradiction", "Contradiction"},
    "cb": {"Entailment", "Neither Entailment Nor Contradiction", "Contradiction"},
    "trec": {
        "Abbreviation", "Entity", "Description or Abstract Concept", "Human Being", "Location",
        "Numeric Value",
    },
    "ag_news": {"World", "Sports", "Business", "Science and Technology"},
    "cola": {"Unacceptable Sentence", "Acceptable Sentence"},
}  # fmt: skip


def by_hand(source: claims.Source, row: dict[str, Any]) -> str:
    """The [input] of one row, by plain string work."""
    texts = []
    for field in source.fields:
        text = row[field].decode()
        while (shorter := re.sub(r"[\"“”„«»]|``|''", "", text)) != text:
            text = shorter
        texts.append(re.sub(r"\s+", " ", text).strip())
    if source.name == "ag_news":
        return f'"{texts[0]} {texts[1]}"'
    return " and ".join(f'"{text}"' for text in texts)


def test_the_sources_are_the_papers() -> None:
    assert {name: set(source.words.values()) for name, source in claims.SOURCES.items()} == WORDS
    assert sum(source.paper_rows for source in claims.SOURCES.values()) == 1_736_834
    assert claims.PAPER_TOTAL == 1_736_834


@needs_shared
@pytest.mark.parametrize("name", IN_CATALOGUE)
def test_every_label_is_the_one_of_the_raw_row(name: str) -> None:
    import tensorflow_datasets as tfds

    source = claims.SOURCES[name]
    found, counts = claims.claims([name], data="tfds", data_dir=SHARED / "tfds", download=False)
    builder = tfds.builder(source.builder, data_dir=SHARED / "tfds")
    feature = builder.info.features[source.label]
    expected: dict[str, set[str]] = {}
    rows = list(tfds.as_numpy(builder.as_dataset(split="train", shuffle_files=False)))
    for row in rows:
        label = feature.int2str(int(row[source.label]))
        # names and words agree by sight: compared as letters only
        word = next(w for n, w in source.words.items() if n == label)
        expected.setdefault(by_hand(source, row), set()).add(word)
    assert counts["read"].item() == len(rows) == builder.info.splits["train"].num_examples
    agreed = {text: words for text, words in expected.items() if len(words) == 1}
    assert dict(zip(found["text"], found["label"], strict=True)) == {
        text: next(iter(words)) for text, words in agreed.items()
    }
    dropped = counts[["repeated", "conflicting", "unlabelled", "empty"]].sum(axis=1).item()
    assert len(found) == counts["kept"].item() == len(rows) - dropped


@needs_shared
def test_sources_from_files_that_tfds_lacks(tmp_path: Path) -> None:
    options: dict[str, Any] = {"data": "tfds", "data_dir": tmp_path, "checksums": False}
    tweets = SHARED / "raw" / "tweet_eval"
    irony, counts = claims.claims(["tweet_eval_irony"], manual_dir=tweets, **options)
    lines = (tweets / "irony" / "train_text.txt").read_text("utf-8").rstrip("\n").split("\n")
    codes = (tweets / "irony" / "train_labels.txt").read_text().split()
    assert counts["read"].item() == len(lines) == 2862
    labels = Counter({"1": "Irony", "0": "Not Irony"}[code] for code in codes)
    kept = Counter(irony["label"])
    assert all(0 <= labels[word] - kept[word] <= len(lines) - len(irony) for word in labels)
    # sentiment has no training file here: its evaluation comes from validation and test
    with pytest.raises(InputError, match="tweet_eval_sentiment has no split train here"):
        claims.claims(["tweet_eval_sentiment"], manual_dir=tweets, **options)
    parts = [
        claims.claims(["tweet_eval_sentiment"], manual_dir=tweets, split=split, **options)
        for split in ("development", "test")
    ]
    files = [tweets / "sentiment" / f"{short}_text.txt" for short in ("val", "test")]
    lines = [line for file in files for line in file.read_text("utf-8").rstrip("\n").split("\n")]
    assert sum(counts["read"].item() for _, counts in parts) == len(lines) == 5000


@needs_shared
def test_train_and_evaluation_are_never_mixed() -> None:
    options: dict[str, Any] = {
        "data": "tfds", "data_dir": SHARED / "tfds", "download": False,
    }  # fmt: skip
    train, _ = claims.claims(["snli", "rte"], **options)
    test, counts = claims.claims(["snli", "rte"], split="test", apart_from=train, **options)
    development, _ = claims.claims(["snli", "rte"], split="development", **options)
    assert set(train["split"]) == {"train"} and not set(test["text"]) & set(train["text"])
    assert not set(test["text"]) & set(development["text"])
    assert counts["seen"].sum() == counts["read"].sum() - counts["kept"].sum() - (
        counts[["repeated", "conflicting"]].sum().sum()
    )
    for text in development["text"]:
        assert hashlib.sha256(text.encode()).digest()[0] % 4 == 0


@pytest.mark.parametrize("split", claims.SPLITS)
def test_the_embedded_set_has_every_source_and_balanced_labels(split: str) -> None:
    found, counts = claims.claims(split=split)
    assert list(counts["source"]) == list(claims.SOURCES)
    assert (counts["read"] == counts["kept"]).all()
    for name in claims.SOURCES:
        labels = Counter(found["label"][found["source"] == name])
        assert set(labels) == WORDS[name] and len(set(labels.values())) == 1
    claims.check_claims(found)


def test_embedded_splits_share_no_text() -> None:
    texts = [set(claims.claims(split=split)[0]["text"]) for split in claims.SPLITS]
    assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]


def test_everyday_facts_are_worded_and_split_by_entity() -> None:
    tables = {split: claims.claims(["everyday_facts"], split=split)[0] for split in claims.SPLITS}
    worded = {
        f"{row.text} is {row.label}" for table in tables.values() for row in table.itertuples()
    }
    assert {
        "the capital of France is Paris",
        "the chemical symbol of gold is Au",
        "an ant is an insect",
        "a young dog is a puppy",
        "the past tense of the verb go is went",
        "a violin is a musical instrument",
        "the opposite of hot is cold",
    } <= worded
    raw = [row for split in claims.SPLITS for row in read.embedded_table(
        claims.EVERYDAY, split).to_dict("records")]  # fmt: skip
    splits: dict[str, set[str]] = {}
    for row in raw:
        splits.setdefault(row["entity"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    relations = Counter(row["relation"] for row in raw)
    assert len(relations) >= 8 and min(relations.values()) >= 30
    for table in tables.values():
        assert set(table["group"].astype(str)) == {f"everyday_facts/{r}" for r in relations}
        for claim in table.itertuples():
            assert str(claim.label) not in str(claim.others).split(claims.OTHERS)


def test_articles() -> None:
    assert [facts.article(noun) for noun in ("ant", "dog", "Owl")] == ["an ant", "a dog", "an Owl"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
def test_cleaned_texts_have_no_marks_and_no_gaps(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    cleaned = clean.clean(texts).to_pylist()
    assert clean.clean(cleaned).to_pylist() == cleaned
    for before, after in zip(texts, cleaned, strict=True):
        assert not re.search(r"[\"“”„«»\n\r\t]|``|''|  ", after) and after == after.strip(" ")
        letters = [c for c in before if c.isalnum()]
        assert [c for c in after if c.isalnum()] == letters


def test_one_and_two_fields_are_quoted_as_in_the_protocol() -> None:
    fields = [clean.clean(['He said "go"\nand left ']), clean.clean(["He  left"])]
    one = clean.inputs(claims.SOURCES["cola"], fields[:1]).to_pylist()
    two = clean.inputs(claims.SOURCES["mrpc"], fields).to_pylist()
    joined = clean.inputs(claims.SOURCES["ag_news"], fields).to_pylist()
    assert one == ['"He said go and left"']
    assert two == ['"He said go and left" and "He left"']
    assert joined == ['"He said go and left He left"']


def rows_of(source: str, texts: list[str], labels: list[Any]) -> read.Rows:
    return read.Rows([clean.clean(texts)], np.array(labels, dtype=object), np.arange(len(texts)))


def test_rows_without_a_gold_label_are_dropped_and_counted() -> None:
    table, counts = read.to_claims(
        claims.SOURCES["cola"], "train", rows_of("cola", ["a", "b"], ["acceptable", None]), False
    )
    assert counts == {"read": 2, "unlabelled": 1, "empty": 0}
    assert table["text"].tolist() == ['"a"'] and table["claim_id"].tolist() == ["cola-train-0"]
    assert table["others"].tolist() == ["Unacceptable Sentence"]


def test_an_empty_text_and_a_strange_label_are_named() -> None:
    rows = rows_of("cola", ["a", ' "" '], ["acceptable", "acceptable"])
    with pytest.raises(InputError, match=r"cola, row 1: nothing is left.*drop_empty=True"):
        read.to_claims(claims.SOURCES["cola"], "train", rows, False)
    assert len(read.to_claims(claims.SOURCES["cola"], "train", rows, True)[0]) == 1
    rows = rows_of("cola", ["a", "b"], ["acceptable", "fine"])
    with pytest.raises(InputError, match=r"cola, row 1: the label is 'fine'.*acceptable"):
        read.to_claims(claims.SOURCES["cola"], "train", rows, False)


def table_of(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["source", "text", "label"])


def test_a_text_is_kept_once_and_dropped_where_its_copies_disagree() -> None:
    table = table_of(
        ("sst2", '"fine"', "Positive Sentiment"),
        ("sst2", '"fine"', "Positive Sentiment"),
        ("rotten_tomatoes", '"fine"', "Positive Sentiment"),
        ("sst2", '"so so"', "Positive Sentiment"),
        ("rotten_tomatoes", '"so so"', "Negative Sentiment"),
        ("cola", '"bad"', "Acceptable Sentence"),
        ("sst2", '"bad"', "Negative Sentiment"),  # another question: no disagreement
        ("mnli", '"x" and "y"', "Entailment"),
        ("rte", '"x" and "y"', "Not Entailment"),
    )
    kept, repeated, conflicting = clean.keep_once(table)
    assert kept.index.tolist() == [0, 5, 7]
    assert repeated.to_dict() == {"sst2": 2, "rotten_tomatoes": 1, "rte": 1}
    assert conflicting.to_dict() == {"sst2": 1, "rotten_tomatoes": 1}


def test_long_inputs_are_left_out_by_any_counter() -> None:
    def words(texts: Any) -> list[int]:
        return [len(text.split()) for text in texts]

    every, _ = claims.claims(["cola"])
    short, counts = claims.claims(["cola"], max_tokens=8, count_tokens=words)
    assert short["text"].tolist() == [t for t in every["text"] if len(t.split()) <= 8]
    assert counts["too_long"].item() == len(every) - len(short)
    with pytest.raises(InputError, match="count_tokens"):
        claims.claims(["cola"], max_tokens=8)
    with pytest.raises(InputError, match="max_tokens is 0"):
        claims.claims(["cola"], max_tokens=0, count_tokens=words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sources": ["sst"]}, r"Unknown source 'sst'.*Did you mean 'sst2'"),
        ({"sources": "sst2"}, "give a list"),
        ({"sources": []}, "No source is given"),
        ({"split": "dev"}, "Unknown split 'dev'"),
        ({"data": "hub"}, "Unknown data 'hub'"),
    ],
)
def test_bad_input_is_explained(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        claims.claims(**options)


def test_the_count_table_stands_beside_the_papers() -> None:
    table = claims.count_table(claims.claims()[1])
    assert table["source"].iloc[-1] == "all" and table["paper"].iloc[-1] == 1_736_834
    assert table["kept"].iloc[-1] == table["kept"].iloc[:-1].sum()


def test_large_tables_stay_small() -> None:
    n = 2000
    texts = clean.clean([f"text {i}" for i in range(n)])
    rows = read.Rows([texts], np.array(["acceptable"] * n, dtype=object), np.arange(n))
    table, _ = read.to_claims(claims.SOURCES["cola"], "train", rows, False)
    size = claims.compact(table).memory_usage(deep=True, index=False)
    assert size.drop(["text", "claim_id"]).sum() <= 5 * n + 5000


def test_names_are_read_from_a_list_in_words() -> None:
    assert claims.source_names("all") == list(claims.SOURCES)
    assert claims.source_names("cola, all,everyday_facts") == [
        "cola", *(name for name in claims.SOURCES if name != "cola"), "everyday_facts"
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"Unknown source 'sts2'.*Did you mean 'sst2'"):
        claims.source_names("cola, sts2")
    with pytest.raises(InputError, match="No source is given"):
        claims.source_names(" , ")


def own_file(folder: Path, text: str) -> Path:
    path = folder / "mine.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_claims_of_ones_own_are_split_by_their_text(tmp_path: Path) -> None:
    rows = "".join(f'"A ""text"" {n}",Fact,Opinion | Question\n' for n in range(200))
    path = own_file(tmp_path, "text,label,others\n" + rows)
    tables = {split: claims.read_csv(path, split) for split in claims.SPLITS}
    sizes = {split: len(table) for split, table in tables.items()}
    assert sum(sizes.values()) == 200 and 100 <= sizes["train"] <= 140
    for split, table in tables.items():
        claims.check_claims(table)
        assert set(table["split"]) == {split} and set(table["source"]) == {"mine"}
        assert set(table["others"]) == {"Opinion | Question"}
        for text in table["text"]:
            place = int(hashlib.sha256(text.strip('"').encode()).hexdigest()[:8], 16) / 16**8
            assert split == ("train" if place < 0.6 else "development" if place < 0.75 else "test")
    assert tables["train"]["text"].str.fullmatch(r'"A text \d+"').all()
    counted = claims.count_table(claims.count_rows(tables["train"]))
    assert list(counted["kept"]) == [sizes["train"]] * 2
    held = claims.held_out({"CLAIMS": str(path)}, "development")
    pd.testing.assert_frame_equal(held, tables["development"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("text,label\na,b\n", "no column 'others'"),
        ("text,label,others\na,,b\n", "row 1: text or label is empty"),
        ("text,label,others\na,b,\n", "row 1: others is empty"),
        ("text,label,others\na,b,b | c\n", "row 1: .* holds the right label"),
        ("text,label,others\na,b,c\na,b,c\n", "row 2: the text stands twice"),
        ("text,label,others,split\na,b,c,trian\n", r"mine.csv, .*row 1: .*'trian'.*'train'"),
        ("text,label,others,split\na,b,c,test\n", "no claims for the split train"),
    ],
)
def test_a_broken_file_of_ones_own_is_named(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        claims.read_csv(own_file(tmp_path, text))


OWN = "text,label,others\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (OWN + "Lyon, France is a river,False,True\n", r"line 2, row 1: 4 cells instead of 3"),
        ('"text","label","others"\n"1","a","b","c"\n', r"row 1: 4 cells.*row.names = FALSE"),
        (OWN + "a,b,c\nd,e\n", r"line 3, row 2: 2 cells instead of 3 \(a cell is missing\)"),
        # one row alone that ends in a comma has a comma too many inside
        (OWN + "a,b,c\nLyon, France,False,\n", r"row 2: 4 cells instead of 3"),
        (OWN + '"a\nb",c,d\n\n,f,g\n', r"line 5, row 2: text or label is empty"),
        (OWN + '"a,b,c\nd,e,f\n', r"line 2: .*no row of a csv file"),
        (OWN + '"a"x,b,c\n', r"line 2: .*no row of a csv file"),
        ("text,label,others,label\na,b,c,d\n", "the column 'label' twice"),
        ("text;label;others\na;b;c\n", "no column 'text', only 'text;label;others'"),
        ("", "mine.csv is empty"),
        ("\n \n", "mine.csv is empty"),
        (OWN, "a header and no rows"),
        (OWN + "a,Fact,fact\n", "row 1: others is empty or holds the right label"),
        (OWN + "a,b,c | C\n", "row 1: others holds a label twice"),
        (OWN + "a,b|c,d\n", r"row 1: the label 'b\|c' holds '\|'"),
        ("text,label,others,source\na,b,c,\n", "row 1: source is empty"),
    ],
)
def test_rows_that_do_not_fit_are_named_and_none_is_lost(
    text: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rf"mine\.csv.*{words}|{words}"):
        claims.read_csv(own_file(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        OWN + "a,b,c\nd,b,c\n",
        OWN + "a,b,c,\nd,b,c,\n",  # a comma at the end of every line
        "text,label,others,\na,b,c,\nd,b,c,\n",
        "\ufeff" + OWN + "a,b,c\n\n   \nd,b,c\n\n",
        (OWN + "a,b,c\nd,b,c").replace("\n", "\r\n"),
        (OWN + "a,b,c\nd,b,c\n").replace("\n", "\r"),
        '"","text","label","others"\n"1","a","b","c"\n"2","d","b","c"\n',  # R's write.csv
        " text , label,others,note\n a,b ,c,\nd,b, c,x\n",
    ],
)
def test_all_of_these_are_the_same_two_claims(text: str, tmp_path: Path) -> None:
    path = own_file(tmp_path, "")
    path.write_bytes(text.encode())
    tables = []
    for split in claims.SPLITS:
        with contextlib.suppress(InputError):  # two texts are not in three splits
            tables.append(claims.read_csv(path, split))
    rows = pd.concat(tables)[["text", "label", "others"]].to_numpy().tolist()
    assert sorted(rows) == [['"a"', "b", "c"], ['"d"', "b", "c"]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ((OWN + "é,b,c\n").encode("utf-16"), "line 1: this is text in UTF-16"),
        ((OWN + "a,b,c\n").encode("utf-16-le"), "line 1: a NUL"),
        ((OWN + "a,b,c\né,b,c\n").encode("latin-1"), "line 3: the byte 0xe9 is not UTF-8"),
        ((OWN + "a,b\0,c\n").encode(), "line 2: a NUL"),
        (gzip.compress((OWN + "a,b,c\n").encode(), mtime=0), "line 1: this is a gzip archive"),
        (b"PK\x03\x04rest", "line 1: this is a zip archive or a spreadsheet"),
    ],
)
def test_a_file_in_another_encoding_is_named_with_its_line(
    content: bytes, words: str, tmp_path: Path
) -> None:
    own_file(tmp_path, "").write_bytes(content)
    with pytest.raises(InputError, match=rf"mine\.csv, {words}.*save it as text in UTF-8"):
        claims.read_csv(tmp_path / "mine.csv")


@pytest.mark.parametrize("cell", [True, 3, float("nan"), None, ["a"]])
@pytest.mark.parametrize("column", ["text", "label", "others"])
def test_cells_that_are_no_text_are_refused(column: str, cell: Any) -> None:
    table = claims.claims(["cola"])[0].astype(object)
    table.at[3, column] = cell
    if column == "others" and (cell is None or cell != cell):
        claims.check_claims(table)  # such a claim can be trained on; asked about it is refused
        return
    with pytest.raises(InputError, match=rf"'cola-train-3' has the {column} .*no text"):
        claims.check_claims(table)


def test_a_label_among_its_own_others_is_refused() -> None:
    table = claims.claims(["cola"])[0].astype(object)
    others, label = (str(table[column].iloc[2]) for column in ("others", "label"))
    table.loc[2, "others"] = others + claims.OTHERS + label
    with pytest.raises(InputError, match=r"'cola-train-2' .*also among its others"):
        claims.check_claims(table)


@needs_shared
@pytest.mark.parametrize("names", [["cola"], ["cola", "mrpc"], ["snli"]])
@pytest.mark.parametrize("split", claims.SPLITS)
def test_a_split_without_a_single_label_yields_no_claims_and_says_so(
    names: list[str], split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlabelled(*given: Any) -> read.Rows:
        rows = original(*given)
        return read.Rows(rows.fields, np.full(len(rows.labels), None, object), rows.numbers)

    original = read.read_tfds
    monkeypatch.setattr(read, "read_tfds", unlabelled)
    with pytest.warns(UserWarning, match="has a label: no claims come from it") as said:
        table, counts = claims.claims(
            names, data="tfds", split=split, data_dir=SHARED / "tfds", download=False
        )
    assert table.empty and list(table) == claims.COLUMNS
    assert len([w for w in said if "no claims" in str(w.message)]) == len(names)
    assert (counts["kept"] == 0).all() and (counts["unlabelled"] > 0).all()
    claims.count_table(counts)
    with pytest.raises(InputError, match="no claims"):
        suites.claim_items(table)


@needs_shared
def test_no_source_is_evaluated_on_a_split_that_the_catalogue_leaves_unlabelled() -> None:
    """GLUE and SuperGLUE keep the labels of their test splits to themselves: −1 everywhere."""
    for source in claims.SOURCES.values():
        if source.builder.startswith(("glue/", "super_glue/")):
            assert not any(split.startswith("test") for split in source.evaluation)
    options: dict[str, Any] = {"data": "tfds", "data_dir": SHARED / "tfds", "download": False}
    parts = [claims.claims(["mrpc"], split=s, **options)[0] for s in ("development", "test")]
    assert sum(map(len, parts)) == 300  # rows of the validation split of the subset
    assert all(part["claim_id"].str.startswith("mrpc-validation-").all() for part in parts)


def test_held_out_claims_are_those_of_the_sources(tmp_path: Path) -> None:
    parameters = {"SOURCES": "cola, everyday_facts", "DATA": "embedded"}
    for split in ("development", "test"):
        expected, _ = claims.claims(["cola", "everyday_facts"], split=split)
        pd.testing.assert_frame_equal(claims.held_out(parameters, split), expected)
    with pytest.raises(InputError, match="There is no file"):
        claims.read_csv(tmp_path / "nowhere.csv")

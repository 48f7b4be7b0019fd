"""Benchmark prompts against ones written by hand, items, context, answers and their grading."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stores import BBH, MMLU, cut_off, needs_shared
from sycophancy import benchmarks, decoding, measure, models, runs, scoring, sets
from sycophancy.benchmarks import bbh, grading, mmlu
from sycophancy.errors import InputError

QUESTIONS = pd.DataFrame(
    {
        "subject": ["high_school_physics"] * 2 + ["law"],
        "question": ["What falls? ", "What rises?", "Who judges?"],
        "choices": [list("wxyz"), list("stuv"), ["a judge", "a cook", "a cat", "a tree"]],
        "answer": [1, 3, 0],
    }
)
DEVELOPMENT = pd.DataFrame(
    {
        "subject": ["law", "high_school_physics", "law", "high_school_physics"],
        "question": ["L1", "P1", "L2", "P2\n"],
        "choices": [list("abcd"), list("efgh"), list("ijkl"), list("mnop")],
        "answer": [2, 0, 1, 3],
    }
)
FIVE_SHOT_BY_HAND = """\
The following are multiple choice questions (with answers) about high school physics.

P1
A. e
B. f
C. g
D. h
Answer: A

P2
A. m
B. n
C. o
D. p
Answer: D

What falls?
A. w
B. x
C. y
D. z
Answer:"""
STEPS_BY_HAND = """\
The following are multiple choice questions (with answers) about law.

Q: Who judges?
(A) a judge (B) a cook (C) a cat (D) a tree
A: Let's think step by step."""
BBH_PROMPT = """\
Count things.

Q: One and one?
A: Let's think step by step.
One, then another. So the answer is 2.

Q: Two and two?
A: Let's think step by step. Two more than two.

They are four. So the answer is 4."""
BBH_QUESTIONS = pd.DataFrame(
    {"task": ["sums", "sums"], "input": ["One and three?", "Nine?"], "target": ["4", "9"]}
)
BBH_DIRECT_BY_HAND = """\
Count things.

Q: One and one?
A: 2

Q: Two and two?
A: 4

Q: Nine?
A:"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> runs.Run:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path / "cache"))
    return runs.start("09_benchmarks", {}, str(tmp_path / "run"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Where published questions are prepared, for `benchmarks.mmlu_items`."""
    with pytest.MonkeyPatch.context() as patch:
        cut_off(patch, tmp_path_factory.mktemp("cache"))
        yield {"data_dir": tmp_path_factory.mktemp("tfds"), "download": False}


# --- MMLU -----------------------------------------------------------------------------------------


def test_mmlu_prompts_are_the_published_ones() -> None:
    items = mmlu.mmlu_items(QUESTIONS, DEVELOPMENT.iloc[:4], shots=2)
    assert items["prompt"].iloc[0] == FIVE_SHOT_BY_HAND
    assert items["choices"].iloc[0] == [" A", " B", " C", " D"]
    assert list(items["correct"]) == [1, 3, 0] and list(items["target"]) == ["B", "D", "A"]
    assert set(items["setting"]) == {"MMLU 2-shot"} and set(items["chances"]) == {0.25}
    zero = mmlu.mmlu_items(QUESTIONS)
    header, _, question = FIVE_SHOT_BY_HAND.partition("\n\n")
    assert zero["prompt"].iloc[0] == f"{header}\n\n{question.split('Answer: D')[1].strip()}"
    assert zero["item_id"].is_unique and not set(zero["item_id"]) & set(items["item_id"])
    assert list(zero["question_id"]) == list(items["question_id"])


def test_mmlu_step_by_step_is_asked_as_flan_asks_it() -> None:
    items = mmlu.mmlu_items(QUESTIONS, chain=True, max_tokens=7)
    assert items["prompt"].iloc[2] == STEPS_BY_HAND
    assert set(items["max_tokens"]) == {7} and not items["choices"].map(len).any()
    assert items["options"].iloc[2] == ["a judge", "a cook", "a cat", "a tree"]
    assert items["correct"].isna().all() and set(items["setting"]) == {"MMLU 0-shot chain"}


def test_worked_examples_that_are_brought_stand_before_the_question(tmp_path: Path) -> None:
    text = (
        "The following are … about law.\n\nQ: One?\n(A) x\nA: Let's. The answer is (A).\n\nQ: Two?"
    )
    path = tmp_path / "worked.json"
    path.write_text(json.dumps({"law": text}))
    law = QUESTIONS.iloc[2:]
    items = mmlu.mmlu_items(law, chain=True, worked=mmlu.read_worked(path))
    head, _, asked = STEPS_BY_HAND.partition("\n\n")
    one = "Q: One?\n(A) x\nA: Let's. The answer is (A)."
    assert items["prompt"].iloc[0] == f"{head}\n\n{one}\n\nQ: Two?\n\n{asked}"
    assert list(items["setting"]) == ["MMLU 2-shot chain"]
    with pytest.raises(InputError, match="none for the subject 'high_school_physics'"):
        mmlu.mmlu_items(QUESTIONS, chain=True, worked={"law": text})
    for content in ("[]", "{", '{"law": 1}'):
        path.write_text(content)
        with pytest.raises(InputError, match=r"worked\.json"):
            mmlu.read_worked(path)


def test_the_chat_format_puts_the_question_into_the_users_turn() -> None:
    items = mmlu.mmlu_items(QUESTIONS, DEVELOPMENT, shots=2, format="chat", chat="<{}>\n".format)
    turn = FIVE_SHOT_BY_HAND.removesuffix("\nAnswer:")
    assert items["prompt"].iloc[0] == f"<{turn}>\nAnswer:"
    with pytest.raises(InputError, match="no chat template"):
        mmlu.mmlu_items(QUESTIONS, format="chat")


def test_questions_that_are_there_twice_keep_names_of_their_own() -> None:
    twice = pd.concat([QUESTIONS, QUESTIONS])
    items = mmlu.mmlu_items(twice)
    assert items["question_id"].is_unique and len(items) == 6
    assert list(items["question_id"][:3]) == list(mmlu.mmlu_items(QUESTIONS)["question_id"])
    assert all(name.endswith("-2") for name in items["question_id"][3:])


def test_a_subject_without_enough_development_questions_is_named() -> None:
    with pytest.raises(InputError, match="'law' has 2 development questions, 3 shots need 3"):
        mmlu.mmlu_items(QUESTIONS.iloc[2:], DEVELOPMENT, shots=3)
    none = DEVELOPMENT[DEVELOPMENT["subject"] != "law"]
    with pytest.raises(InputError, match="'law' has 0 development questions"):
        mmlu.mmlu_items(QUESTIONS, none, shots=2)
    with pytest.raises(InputError, match="no development questions: give some"):
        mmlu.mmlu_items(QUESTIONS, shots=2)


@pytest.mark.parametrize(
    ("choices", "answer", "said"),
    [
        (list("abc"), 0, "has 3 choices instead of 4"),
        (list("abcde"), 0, "has 5 choices instead of 4"),
        (["a", "b", " ", "d"], 0, "has 3 choices instead of 4"),
        (list("abcd"), 4, "has the answer 4"),
        (list("abcd"), -1, "has the answer -1"),
    ],
)
def test_a_question_with_a_wrong_number_of_choices_is_named(
    choices: list[str], answer: int, said: str
) -> None:
    broken = pd.DataFrame(
        {"subject": ["law"], "question": ["Who?"], "choices": [choices], "answer": [answer]}
    )
    with pytest.raises(InputError, match=rf"law: the question 'Who\?' {said}"):
        mmlu.mmlu_items(broken)
    with pytest.raises(InputError, match=said):
        mmlu.mmlu_items(QUESTIONS, pd.concat([DEVELOPMENT, broken]), shots=1)


@needs_shared
def test_published_mmlu_is_asked_with_the_first_development_rows(store: dict[str, Any]) -> None:
    where = {**store, "manual_dir": MMLU, "checksums": False}
    items = benchmarks.benchmark_items(["mmlu"], shots=(5,), data="tfds", n=2, **where)
    assert items["task"].nunique() == 57 and len(items) == 114
    by_hand = {}
    for subject in items["task"].unique():
        text = f"The following are multiple choice questions (with answers) about {subject}.\n\n"
        text = text.replace("_", " ")
        with (MMLU / "dev" / f"{subject}_dev.csv").open(newline="", encoding="utf-8") as file:
            for cells in csv.DictReader(file):
                text += cells["question"].strip() + "\n"
                text += "".join(f"{'ABCD'[i]}. {cells[f'choice{i}']}\n" for i in range(4))
                text += f"Answer: {'ABCD'[int(cells['answer'])]}\n\n"
        by_hand[subject] = text
    for row in items.itertuples():
        assert row.prompt.startswith(by_hand[row.task])
        assert row.prompt.count("\nAnswer:") == 6 and row.prompt.endswith("\nAnswer:")


# --- BIG-Bench Hard -------------------------------------------------------------------------------


def test_bbh_prompts_are_the_published_ones_with_and_without_reasoning() -> None:
    chains = bbh.bbh_items(BBH_QUESTIONS, {"sums": BBH_PROMPT}, chain=True, max_tokens=9)
    assert chains["prompt"].iloc[1] == f"{BBH_PROMPT}\n\nQ: Nine?\nA: Let's think step by step."
    direct = bbh.bbh_items(BBH_QUESTIONS, {"sums": BBH_PROMPT}, max_tokens=9)
    assert direct["prompt"].iloc[1] == BBH_DIRECT_BY_HAND
    assert list(direct["target"]) == ["4", "9"] and set(direct["kind"]) == {"number"}
    assert set(direct["max_tokens"]) == {9} and list(direct["stop"]) == [["\n"]] * 2
    assert set(direct["setting"]) == {"BBH 2-shot"} and set(direct["chances"]) == {0.0}
    assert list(direct["question_id"]) == list(chains["question_id"])


def test_embedded_reasoning_is_asked_in_the_same_form() -> None:
    items = benchmarks.benchmark_items(["bbh"], chain=["bbh"], n=3, max_tokens=5)
    table, prompts = sets.reasoning(n=3)
    assert set(items["setting"]) == {"BBH 3-shot", "BBH 3-shot chain"}
    chains = items[items["mode"] == "chain"].reset_index(drop=True)
    for task, prompt, text in zip(chains["task"], chains["prompt"], table["input"], strict=True):
        told = f"{bbh.DESCRIPTIONS[task]}\n\n{prompts[task]}\n\nQ: {text}\n"
        assert prompt == f"{told}A: Let's think step by step."
    direct = items[items["mode"] == "direct"].reset_index(drop=True)
    assert list(direct["question_id"]) == list(chains["question_id"])
    for row, target in zip(direct.itertuples(), table["target"], strict=True):
        assert "step by step" not in row.prompt and row.prompt.count("\nA: ") == 3
        if row.choices:
            assert row.choices[row.correct] == f" {target}"
            assert row.chances == 1 / len(row.choices)
        else:
            assert row.kind in ("number", "list")
    assert set(direct["task"][direct["choices"].map(len) > 0]) == {
        "boolean_expressions", "logical_deduction", "navigate", "tracking_shuffled_objects",
        "web_of_lies",
    }  # fmt: skip


@needs_shared
def test_every_published_task_has_three_examples_and_the_answer_among_its_choices(
    store: dict[str, Any],
) -> None:
    items = benchmarks.benchmark_items(
        ["bbh"], chain=["bbh"], data="tfds", n=4, manual_dir=BBH, **store
    )
    assert items["task"].nunique() == 27 and len(items) == 27 * 8
    assert set(items["shots"]) == {3}
    targets = {
        path.stem: {
            row["input"]: row["target"] for row in json.loads(path.read_bytes())["examples"]
        }
        for path in BBH.glob("*.json")
    }
    for row in items.itertuples():
        target = targets[row.task][row.question.removeprefix("Q: ").removesuffix("\n")]
        published = (BBH / "cot-prompts" / f"{row.task}.txt").read_text("utf-8")
        shown = published.partition("-----\n")[2].strip()
        if row.mode == "chain":
            assert row.prompt == f"{shown}\n\n{row.question}A: Let's think step by step."
        else:
            assert row.header + "Q: " == shown[: len(row.header) + 3]
            assert not row.choices or row.choices[row.correct] == f" {target}"
            assert bool(row.choices) == (row.kind in ("letter", "word"))
    kinds = items.groupby("task")["kind"].first()
    assert set(kinds[kinds == "list"].index) == {"dyck_languages", "word_sorting"}
    assert set(kinds[kinds == "number"].index) == {"multistep_arithmetic_two", "object_counting"}
    assert set(kinds[kinds == "word"].index) == {
        "boolean_expressions", "causal_judgement", "formal_fallacies", "navigate",
        "sports_understanding", "web_of_lies",
    }  # fmt: skip
    letters = items[(items["kind"] == "letter") & (items["mode"] == "direct")]
    assert letters["choices"].map(len).max() >= 11  # geometric shapes


def lettered(targets: list[str], options: str = "(A) x\n(B) y") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "task": "which",
            "input": [f"Which {i}?\nOptions:\n{options}" for i in range(len(targets))],
            "target": targets,
        }
    )


def test_published_questions_without_a_right_option_are_left_out_and_named() -> None:
    table = lettered([*["(A)"] * 19, "Monsters, Inc"])
    assert list(bbh.unanswerable(table)) == [False] * 19 + [True]
    with pytest.warns(UserWarning, match="1 questions of which are left out"):
        items = bbh.bbh_items(table, {"which": BBH_PROMPT})
    assert len(items) == 19 and set(items["kind"]) == {"letter"}


@pytest.mark.parametrize("strange", ["(A) ", " (A)", "(a)", "A", "A)", "( A )", "(A).", "\t(A)\n"])
def test_a_letter_in_another_spelling_is_that_letter(strange: str) -> None:
    table = lettered([*["(B)"] * 19, strange])
    items = bbh.bbh_items(table, {"which": BBH_PROMPT})
    assert len(items) == 20 and set(items["kind"]) == {"letter"} and set(items["chances"]) == {0.5}
    assert list(items["correct"]) == [1] * 19 + [0] and items["target"].iloc[-1] == "A"


@pytest.mark.parametrize("pair", [("Yes", "No"), ("yes", "no"), ("True", "False"),
                                  ("valid", "invalid")])  # fmt: skip
@pytest.mark.parametrize("respell", [str.lower, str.upper, str.title, " {} ".format, "{}.".format])
def test_a_word_in_another_spelling_is_that_word(pair: tuple[str, str], respell: Any) -> None:
    targets = [*pair, *pair, pair[0], respell(pair[1])]
    table = pd.DataFrame({"task": "t", "input": [f"Q{i}?" for i in range(6)], "target": targets})
    items = bbh.bbh_items(table, {"t": BBH_PROMPT})
    assert set(items["kind"]) == {"word"} and set(items["chances"]) == {0.5}
    assert all(choices == [f" {pair[0]}", f" {pair[1]}"] for choices in items["choices"])
    assert list(items["correct"]) == [0, 1, 0, 1, 0, 1]
    chained = bbh.bbh_items(table, {"t": BBH_PROMPT}, chain=True)
    assert list(chained["target"]) == [word.lower() for word in pair] * 3


@pytest.mark.parametrize(
    ("usual", "strange", "kind"),
    [("Yes", "maybe", "word"), ("7", "seven or so", "number"), ("(A)", "Monsters, Inc", "letter")],
)
def test_an_answer_of_another_kind_leaves_the_task_its_own(
    usual: str, strange: str, kind: str
) -> None:
    table = lettered([*[usual] * 19, strange])
    with pytest.warns(UserWarning, match="1 questions of which are left out"):
        items = bbh.bbh_items(table, {"which": BBH_PROMPT})
    assert len(items) == 19 and set(items["kind"]) == {kind}


@pytest.mark.parametrize(
    "respell", [str, str.upper, "  {} ".format, lambda t: t.replace(" ", "\n")]
)
@pytest.mark.parametrize("chain", [False, True])
def test_a_reasoning_question_is_not_asked_after_its_own_answer(respell: Any, chain: bool) -> None:
    table = pd.DataFrame(
        {"task": "sums", "input": [respell("One and one?"), "Nine?"], "target": ["2", "9"]}
    )
    with pytest.warns(UserWarning, match="1 questions of sums are among their own worked examples"):
        items = bbh.bbh_items(table, {"sums": BBH_PROMPT}, chain=chain)
    assert items["prompt"].str.count("\nQ: |^Q: ").tolist() == [2, 3]
    assert "Two and two?" in items["prompt"].iloc[0] and "One and one?\n" in items["prompt"].iloc[1]
    assert set(items["shots"]) == {2} and items["setting"].nunique() == 1


def test_a_four_choice_question_is_not_asked_after_its_own_answer(tmp_path: Path) -> None:
    questions = pd.DataFrame(
        {
            "subject": ["law"] * 3,
            "question": [" l1\n", "L1", "L2"],
            "choices": [list("dCba"), list("wxyz"), list("ijkl")],  # another order; others; as is
            "answer": [1, 3, 1],
        }
    )
    with pytest.warns(UserWarning, match="2 questions of law are among their own worked examples"):
        items = mmlu.mmlu_items(questions, DEVELOPMENT, shots=2)
    assert items["examples"].map(len).tolist() == [1, 2, 1]
    assert ["L2" in text for text in items["examples"].str[0]] == [True, False, False]
    assert set(items["setting"]) == {"MMLU 2-shot"}
    worked = "Q: L2\n(A) i (B) j\n(C) k (D) l\nA: Let's. The answer is (B).\n\nQ: L3\n(A) x\nA: No."
    with pytest.warns(UserWarning, match="1 questions of law are among their own worked examples"):
        items = mmlu.mmlu_items(questions, chain=True, worked={"law": worked})
    assert items["examples"].map(len).tolist() == [2, 2, 1]
    assert set(items["setting"]) == {"MMLU 2-shot chain"}
    mmlu.mmlu_items(questions)  # without examples there is nothing to leave out


@pytest.mark.parametrize("options", ["(A) x", "(A) x\n(C) y", "none", "(B) x\n(C) y"])
def test_options_that_are_not_lettered_from_a_are_refused(options: str) -> None:
    target = "(B)" if "(B)" in options else "(A)"
    table = lettered([target], options)
    if options == "none":
        assert bbh.unanswerable(table).all()
        with pytest.raises(InputError, match="Question which/1 lists the options none"):
            bbh.letter_options("which/1", options)
        return
    with pytest.raises(InputError, match=r"Question which/.* needs at least two, lettered from A"):
        bbh.bbh_items(table, {"which": BBH_PROMPT})


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("", "'sums' has no worked examples"),
        ("Count.\n\nQ: One?\nA: 1", "example without"),
        (BBH_PROMPT.replace("So the answer is 4.", "Four."), "example without"),
    ],
)
def test_a_task_without_worked_examples_is_named(prompt: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        bbh.bbh_items(BBH_QUESTIONS, {"sums": prompt})


# --- what is asked --------------------------------------------------------------------------------


def test_n_questions_of_every_task_are_drawn_by_seed_and_fewer_are_some_of_them() -> None:
    def asked(**how: Any) -> set[str]:
        return set(benchmarks.benchmark_items(["mmlu"], shots=(0,), **how)["question_id"])

    few, more = asked(n=2), asked(n=5)
    assert len(few) == 24 and len(more) == 60 and few < more < asked()
    assert few == asked(n=2) != asked(n=2, seed=1)
    both = benchmarks.benchmark_items(["mmlu"], shots=(0, 5), chain=["mmlu"], n=4, n_chain=2)
    by_setting = both.groupby("setting")["question_id"].agg(set)
    assert by_setting["MMLU 0-shot"] == by_setting["MMLU 5-shot"] > by_setting["MMLU 0-shot chain"]
    assert both["item_id"].is_unique


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"benchmarks": ["mmul"]}, "Unknown benchmark 'mmul'.*Did you mean 'mmlu'"),
        ({"benchmarks": ["mmlu"], "chain": ["bbh"]}, "CHAIN names 'bbh', BENCHMARKS does not"),
        ({"benchmarks": []}, "No benchmark is given"),
        ({"shots": (6,)}, "SHOTS is 6: give numbers from 0 to 5"),
        ({"shots": (-1,)}, "SHOTS is -1"),
        ({"shots": ()}, "SHOTS is empty"),
        ({"n": -1}, "N is -1"),
        ({"n_chain": -2}, "N_CHAIN is -2"),
        ({"max_tokens": 0}, "MAX_TOKENS is 0"),
        ({"data": "tdfs"}, "Unknown data 'tdfs'"),
        ({"format": "papr"}, "Unknown format 'papr'"),
        ({"format": "chat"}, "no chat template"),
        ({"seed": -1}, "seed is -1"),
        ({"split": "development"}, "Development questions are the examples"),
    ],
)
def test_what_cannot_be_asked_is_said(how: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        benchmarks.benchmark_items(**how)


# --- the model's context --------------------------------------------------------------------------


@pytest.mark.medium
def test_examples_are_dropped_one_after_the_other_until_the_prompt_fits(
    tiny: models.LanguageModel,
) -> None:
    items = benchmarks.benchmark_items(["mmlu"], shots=(5,), n=3)
    bytes_ = items["prompt"].map(lambda text: len(text.encode()) + 2)  # " A": one byte, one token
    middle = int(bytes_.median())
    fitted = benchmarks.fit(replace(tiny, context=middle), items)
    assert list(fitted["shots_asked"]) == [5] * len(items)
    for row, length in zip(fitted.itertuples(), bytes_, strict=True):

        def whole(shots: int, row: Any = row) -> str:
            return row.header + "".join(row.examples[:shots]) + row.question + row.begun

        # by brute force: the most examples that fit
        best = max(k for k in range(6) if len(whole(k).encode()) + 2 <= middle)
        assert (row.shots_kept, row.prompt) == (best, whole(best))
        assert row.tokens_whole == length
        assert row.tokens_asked == len(row.prompt.encode()) + 2 and (best == 5) == (
            length <= middle
        )
    assert 0 < (fitted["shots_kept"] < 5).sum() < len(fitted)
    untouched = benchmarks.fit(tiny, items)
    assert list(untouched["prompt"]) == list(items["prompt"])


def test_room_is_kept_for_what_is_generated(tiny: models.LanguageModel) -> None:
    items = benchmarks.benchmark_items(["bbh"], n=1, chain=["bbh"], max_tokens=50)
    chains = items[items["mode"] == "chain"]
    lengths = chains["prompt"].map(lambda text: len(text.encode()))
    context = int(lengths.max()) + 49
    fitted = benchmarks.fit(replace(tiny, context=context), chains)
    assert list(fitted["shots_kept"] < 3) == list(lengths + 50 > context)
    assert (fitted["prompt"].map(lambda text: len(text.encode())) + 50 <= context).all()


def test_a_question_that_does_not_fit_alone_is_named_before_any_work(
    tiny: models.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = benchmarks.benchmark_items(["mmlu"], shots=(0, 2), n=1)
    monkeypatch.setattr(scoring, "score", lambda *_, **__: pytest.fail("something was scored"))
    zero = items[items["shots"] == 0]
    longest = zero["prompt"].map(lambda text: len(text.encode()) + 2).max()
    named = zero.sort_values("prompt", key=lambda texts: texts.map(len))["item_id"].iloc[-1]
    small = replace(tiny, context=int(longest) - 1)
    with pytest.raises(
        InputError,
        match=f"Item {re.escape(named)} has {longest} tokens.*no example cut it still has {longest}"
        r"\. Leave the question out, or choose",
    ):
        benchmarks.answer(small, zero)
    with pytest.raises(InputError, match=r"with its 2 examples cut it still has \d+\. Leave"):
        benchmarks.answer(small, items[items["shots"] == 2])
    chain = benchmarks.benchmark_items(["mmlu"], shots=(0,), chain=["mmlu"], n=1, max_tokens=900)
    with pytest.raises(InputError, match=r"900 of them to be generated\. Lower MAX_TOKENS"):
        benchmarks.answer(replace(tiny, context=800), chain)
    both = benchmarks.benchmark_items(
        ["mmlu", "bbh"], shots=(0,), n=1
    )  # of which BBH has numbers and lists
    with pytest.raises(InputError, match="only encodes, so that its answers cannot be read"):
        benchmarks.answer(replace(tiny, decode=None), both)


# --- answers --------------------------------------------------------------------------------------


def say(texts: dict[str, tuple[str, int, str]]) -> Any:
    """A decoder that says what it is told to by the end of the prompt."""

    def greedy(_: Any, prompts: Any, **how: Any) -> pd.DataFrame:
        rows = []
        for prompt in prompts:
            found = next(said for key, said in texts.items() if key in prompt.rpartition("Q: ")[2])
            rows.append((prompt, *found))
        return pd.DataFrame(rows, columns=decoding.COLUMNS)

    return greedy


def test_generated_answers_are_read_and_unread_ones_are_no_wrong_ones_in_silence(
    tiny: models.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {
        "What falls?": (" It is x. The answer is (B).", 9, "stop"),
        "What rises?": (" It is s. The answer is s.", 8, "end"),
        "Who judges?": (" A judge judges and judges and", 7, "cap"),
    }
    monkeypatch.setattr(decoding, "greedy", say(texts))
    items = mmlu.mmlu_items(QUESTIONS, chain=True, max_tokens=9)
    answers, cost = benchmarks.answer(tiny, items)
    assert list(answers["answer"].fillna("-")) == ["B", "A", "-"]
    assert list(answers["read"]) == [True, True, False]
    assert list(answers["right"]) == [1.0, 0.0, 0.0]
    assert list(answers["ended"]) == ["stop", "end", "cap"] and list(answers["tokens"]) == [9, 8, 7]
    assert cost.generated_tokens == 24 and cost.scoring.tokens == 0


def test_picks_are_the_most_probable_choices_and_ties_are_shared() -> None:
    items = mmlu.mmlu_items(QUESTIONS)
    logps = [[-3, -1, -2, -4], [-1, -1, -5, -1], [-1, -1, -2, -3]]
    rows = [
        (item_id, i, " ABCD"[i], value, 1)
        for item_id, values in zip(items["item_id"], logps, strict=True)
        for i, value in enumerate(values)
    ]
    scores = pd.DataFrame(rows, columns=scoring.SCORE_COLUMNS).sample(frac=1, random_state=0)
    found = grading.grade_choices(items, scores)
    assert list(found["right"]) == [1.0, pytest.approx(1 / 3), 0.5]
    assert list(found["answer"].fillna("-")) == ["B", "-", "-"]
    assert found["read"].all() and found["ended"].isna().all()


@pytest.mark.medium
def test_answers_of_the_tiny_model_are_those_of_scoring_and_decoding(
    tiny: models.LanguageModel,
) -> None:
    items = benchmarks.benchmark_items(chain=["bbh"], n=1, max_tokens=6)
    answers, cost = benchmarks.answer(tiny, items)
    assert list(answers["item_id"]) == list(items["item_id"])
    chosen = items[items["choices"].map(len) > 0]
    scores, alone = scoring.score(tiny, chosen)
    best = scores.loc[scores.groupby("item_id")["logp"].idxmax()].set_index("item_id")["choice"]
    expected = (best.loc[chosen["item_id"]].to_numpy() == chosen["correct"]).astype(float)
    right = answers.set_index("item_id")["right"]
    assert list(right.loc[chosen["item_id"]]) == list(expected)
    assert cost.scoring.tokens == alone.tokens
    for row in answers[answers["ended"].notna()].iloc[::4].itertuples():
        stop = bbh.STOP_CHAIN if row.mode == "chain" else bbh.STOP_DIRECT
        (text,) = decoding.greedy(tiny, [str(row.prompt)], max_tokens=6, stop=stop)["text"]
        assert row.text == text
    assert cost.generated_tokens == answers["tokens"].sum() > 0


def test_nothing_to_ask_is_said(tiny: models.LanguageModel) -> None:
    with pytest.raises(InputError, match="There are no questions"):
        benchmarks.answer(tiny, mmlu.mmlu_items(QUESTIONS).iloc[:0])


# --- several models -------------------------------------------------------------------------------


def make_items(seed: int = 0, chat: Any = None) -> pd.DataFrame:
    return benchmarks.benchmark_items(
        shots=(0,), chain=["mmlu"], n=1, max_tokens=4, seed=seed, chat=chat
    )


@pytest.mark.medium
def test_models_and_seeds_are_answered_in_one_go_and_kept(run: runs.Run) -> None:
    answers = measure.measure_benchmarks(run, ["tiny_random"], [0, 1], make_items)
    assert answers["item_id"].is_unique and len(answers) == 2 * len(make_items())
    assert set(zip(answers["model"], answers["seed"], strict=True)) == {
        ("tiny_random", 0), ("tiny_random", 1)
    }  # fmt: skip
    kept = pd.read_parquet(run.folder / "answers.parquet")
    assert list(kept["right"]) == list(answers["right"])
    (cost,) = json.loads((run.folder / "run.json").read_text())["cost"]
    once = answers.drop_duplicates("prompt")  # two seeds may ask the same
    assert cost["tokens"] > 0 and cost["generated_tokens"] == once["tokens"].sum()
    costs = runs.read_costs()
    assert costs["generated_tokens"].dropna().tolist() == [cost["generated_tokens"]]
    again = measure.measure_benchmarks(run, ["tiny_random"], [0, 1], make_items)
    pd.testing.assert_frame_equal(again, answers)
    (cost,) = json.loads((run.folder / "run.json").read_text())["cost"]
    # nothing was computed again, and no speed is learnt from that
    assert cost["tokens"] == 0 and "generating_seconds" not in cost
    assert len(runs.read_costs()["generated_tokens"].dropna()) == 1


def test_wrong_names_and_numbers_are_said_before_a_model_is_loaded(
    run: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load_model", lambda name: pytest.fail(f"{name} was loaded"))
    with pytest.raises(InputError, match="Unknown model 'tiny_randm'"):
        measure.measure_benchmarks(run, ["tiny_random", "tiny_randm"], [0], make_items)
    with pytest.raises(InputError, match="SHOTS is 9"):
        measure.measure_benchmarks(
            run, ["tiny_random"], [0], lambda seed, chat: benchmarks.benchmark_items(shots=(9,))
        )


def test_the_right_choices_of_mmlu_are_spread_over_the_letters() -> None:
    """A model that always says (A) must not look good."""
    correct = benchmarks.benchmark_items(["mmlu"], shots=(0,))["correct"].astype(int)
    assert np.bincount(correct, minlength=4).max() <= 0.4 * len(correct)

"""Filters with a model whose answers the test decides, and with the tiny one; by hand throughout.

The scripted model stands in for `scoring.score`: it reads the claim from each prompt's text and
gives it the log-odds that the test has chosen for it, letters included.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from math import exp, log1p, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from claim_tables import claim_tables, claims_of, rows_of
from sycophancy import audit, claims, filters, generate, scoring, templates
from sycophancy.errors import InputError
from sycophancy.filters import asking
from sycophancy.models import LanguageModel

Believes = Callable[[str, str, bool], float]  # (text, label, negated?) → log-odds of agreeing

TABLE = claims_of(
    {
        "sst2": {"Negative Sentiment": 30, "Positive Sentiment": 24},
        "trec": {"Entity": 14, "Location": 12, "Human Being": 8},
        "everyday_facts/capital": {"Lima": 1, "Oslo": 1, "Rome": 1, "Paris": 1, "Cairo": 1},
    }
)
LABEL = dict(rows_of(TABLE, "text", "label"))
KINDS = filters.FILTERS[1:]
ENDS = ("\n\nAssistant: I", ". This statement is", ". Answer with one word.\n\nAssistant:")


def read_claim(prompt: str) -> tuple[str, str, bool, int]:
    """(text, label, negated?, order) of a prompt without an opinion, in any answer format."""
    if prompt.endswith("answer is"):
        parts = templates.parse_generated(prompt)
        assert parts.user == "none"
        return parts.text, parts.label, parts.polarity == "negative", parts.order
    for end in ENDS:
        prompt = prompt.removesuffix(end)
    claim = prompt.split("? ", 1)[-1].removesuffix(".")
    found = re.fullmatch(r'(".*"|.*?) (is not|is) ([^"]*)', claim)
    assert found, prompt
    return found[1], found[3], found[2] == "is not", 0


class Scripted:
    """A stand-in for scoring.score: what the model believes, its love of the first letter."""

    def __init__(self, believes: Believes, first_letter: float = 0.0) -> None:
        self.believes, self.first_letter = believes, first_letter
        self.prompts: list[str] = []
        self.calls = 0
        self.stop_at: int | None = None

    def __call__(
        self,
        model: LanguageModel,
        items: pd.DataFrame,
        *,
        store: Any = None,
        on_progress: Any = None,
    ) -> tuple[pd.DataFrame, scoring.ScoringCost]:
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        assert items["item_id"].is_unique and items["prompt"].is_unique
        rows = []
        for item_id, prompt, choices in rows_of(items, "item_id", "prompt", "choices"):
            self.prompts.append(prompt)
            text, label, negated, order = read_claim(prompt)
            odds = self.believes(text, label, negated)
            odds = -odds if order else odds
            odds += self.first_letter if len(choices[0]) == 4 else 0.0
            for choice, logp in enumerate((-log1p(exp(-odds)), -log1p(exp(odds)))):
                rows.append((item_id, choice, choices[choice], logp, 1))
        if on_progress:
            on_progress(scoring.ScoringProgress(1, 2, 0, 0.0))
        cost = scoring.ScoringCost(len(items), len(items), 0, 0.0)
        return pd.DataFrame(rows, columns=scoring.SCORE_COLUMNS), cost


Script = Callable[..., Scripted]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    def install(believes: Believes, first_letter: float = 0.0) -> Scripted:
        scripted = Scripted(believes, first_letter)
        monkeypatch.setattr(scoring, "score", scripted)
        return scripted

    return install


def always_agrees(text: str, label: str, negated: bool) -> float:
    return 3.0


def coin(*parts: str) -> bool:
    return hashlib.sha256("|".join(parts).encode()).digest()[0] % 2 == 0


def knows(which: Callable[[str], bool], leaning: float = 0.0) -> Believes:
    """Right about the texts of `which`, the other way round about the others, plus a leaning."""

    def believes(text: str, label: str, negated: bool) -> float:
        right = {name[:1].upper() + name[1:]: label for name, label in LABEL.items()}
        true = (right[text[:1].upper() + text[1:]] == label) != negated
        return leaning + (0.5 if true == which(text[:1].upper() + text[1:]) else -0.5)

    return believes


def everyday(text: str) -> str:
    return text[:1].upper() + text[1:]


# --- ask


@pytest.mark.parametrize("answer_format", templates.ANSWER_FORMATS)
@pytest.mark.parametrize("recipe", generate.RECIPES)
def test_a_model_that_always_agrees(
    tiny: LanguageModel, script: Script, recipe: str, answer_format: str
) -> None:
    script(always_agrees)
    prompts = generate.generate_prompts(TABLE, recipe=recipe, answer_format=answer_format)
    for kind in ("pick", "both_orders"):
        asked = filters.ask(tiny, prompts, kind)
        assert list(asked.columns) == filters.COLUMNS
        assert asked["prompt_id"].tolist() == prompts["prompt_id"].tolist()
        assert asked["kept"].tolist() == asked["right"].tolist() == prompts["truth"].tolist()
        np.testing.assert_allclose(asked["log_odds"], 3.0)
    asked = filters.ask(tiny, prompts, "paired", table=TABLE)  # all ties: nothing is known
    assert not asked["kept"].any()
    assert asked["right"].tolist() == prompts["truth"].tolist()


def test_a_model_that_tosses_coins_gets_half_of_the_inputs(
    tiny: LanguageModel, script: Script
) -> None:
    script(lambda text, label, negated: 4.0 + coin(text, label, str(negated)))
    table = claims_of({"sst2": {"Negative": 600, "Positive": 600}})
    prompts = generate.generate_prompts(table, recipe="balanced", reuse=True)
    asked = filters.ask(tiny, prompts, "paired")
    by_input = asked.groupby("claim_id")["kept"].agg(["mean", "size"])
    assert set(by_input["mean"]) == {0.0, 1.0} and set(by_input["size"]) == {4}
    # a coin for either label: the right one is ahead in one case of four
    assert abs(by_input["mean"].mean() - 1 / 4) < 4 * sqrt(3 / 16 / len(by_input))
    assert filters.ask(tiny, prompts, "pick")["kept"].tolist() == prompts["truth"].tolist()


def test_a_model_that_likes_the_first_letter(tiny: LanguageModel, script: Script) -> None:
    script(knows(lambda text: coin(text), leaning=0.2), first_letter=5.0)
    prompts = generate.generate_prompts(TABLE, recipe="balanced", reuse=True)
    asked = filters.ask(tiny, prompts, "pick")
    assert asked["kept"].tolist() == ((prompts["order"] == 0) == prompts["truth"]).tolist()
    known = [coin(everyday(text)) for text in prompts["text"]]
    for kind in ("both_orders", "paired"):
        assert filters.ask(tiny, prompts, kind)["kept"].tolist() == known
    script(lambda *_: 0.0, first_letter=5.0)  # averaged over orders a tie, which is no knowledge
    for kind in ("both_orders", "paired"):
        asked = filters.ask(tiny, prompts, kind)
        assert not asked["kept"].any() and not asked["right"].any()


@pytest.mark.parametrize("answer_format", templates.ANSWER_FORMATS)
@pytest.mark.parametrize(("recipe", "reuse"), [*itertools.product(generate.RECIPES, (False, True))])
def test_paired_keeps_exactly_what_is_known(
    tiny: LanguageModel, script: Script, recipe: str, reuse: bool, answer_format: str
) -> None:
    script(knows(coin, leaning=7.0), first_letter=-2.0)
    prompts = generate.generate_prompts(
        TABLE, recipe=recipe, reuse=reuse, answer_format=answer_format
    )
    asked = filters.ask(tiny, prompts, "paired", table=TABLE)
    assert asked["kept"].tolist() == [coin(everyday(text)) for text in prompts["text"]]
    assert asked["right"].tolist() == prompts["truth"].tolist()  # it still agrees with everything


def test_paired_compares_with_the_labels_shown_and_draws_only_where_there_is_none(
    tiny: LanguageModel, script: Script
) -> None:
    scripted = script(always_agrees)
    prompts = generate.generate_prompts(TABLE, recipe="labels", seed=3)
    filters.ask(tiny, prompts, "paired", table=TABLE, seed=1)
    asked = defaultdict(set)
    for prompt in scripted.prompts:
        text, label, negated, _ = read_claim(prompt)
        assert not negated
        asked[text].add(label)
    drawn = set()
    for text, label, shown, others in rows_of(
        prompts.merge(TABLE[["claim_id", "others"]]), "text", "label", "shown", "others"
    ):
        labels = asked[everyday(text)]
        assert label in labels and len(labels) == 2
        wrong = (labels - {label}).pop()
        if shown != label:
            assert wrong == shown
        else:
            assert wrong in others.split(" | ")
            drawn.add((text, wrong))
    assert scripted.calls == 1 and len(scripted.prompts) == 2 * 2 * len(prompts)
    other = script(always_agrees)
    filters.ask(tiny, prompts.iloc[::-1], "paired", table=TABLE, seed=1)
    assert set(other.prompts) == set(scripted.prompts)
    filters.ask(tiny, prompts, "paired", table=TABLE, seed=2)
    assert set(other.prompts) != set(scripted.prompts)


def test_the_right_label_must_beat_every_wrong_one_that_is_shown(
    tiny: LanguageModel, script: Script
) -> None:
    odds = {"Entity": 1.0, "Location": 0.5, "Human Being": 2.0}
    script(lambda text, label, negated: odds[label])
    made = generate.generate_prompts(TABLE, recipe="labels", reuse=True, seed=3)
    one = made[(made["label"] == "Entity") & (made["shown"] == "Location")].iloc[[0]]
    two = one.assign(shown="Human Being", prompt_id="more")
    assert filters.ask(tiny, one, "paired")["kept"].tolist() == [True]
    both = pd.concat([one, two], ignore_index=True)
    assert filters.ask(tiny, both, "paired")["kept"].tolist() == [False, False]


def test_none_asks_nothing(tiny: LanguageModel, script: Script) -> None:
    scripted = script(always_agrees)
    prompts = generate.generate_prompts(TABLE, recipe="balanced")
    asked = filters.ask(tiny, prompts, "none")
    assert scripted.calls == 0 and asked["kept"].all()
    assert asked["right"].isna().all() and asked["log_odds"].isna().all()
    assert list(asked.columns) == filters.COLUMNS


@pytest.mark.parametrize(
    ("format", "answer_format"), [("chat", "choices"), ("paper", "cloze"), ("paper", "statement")]
)
def test_log_odds_are_those_of_the_prompts_rendered_by_hand(
    tiny: LanguageModel, tmp_path: Path, format: str, answer_format: str
) -> None:
    prompts = generate.generate_prompts(
        TABLE, 12, "balanced", format=format, answer_format=answer_format, chat=tiny.chat
    )
    kinds = reversed(KINDS)  # paired asks most: the others find their answers in the store
    tables = {kind: filters.ask(tiny, prompts, kind, table=TABLE, store=tmp_path) for kind in kinds}
    lettered = answer_format == "choices"
    rows = []
    for row, order in itertools.product(prompts.to_dict("records"), (0, 1)):
        topic = templates.EVERYDAY if row["source"] == "everyday_facts" else templates.LINGUISTICS
        asked = templates.generated(
            row["text"], row["polarity"], row["shown"], "none", topic=topic, order=order,
            format=format, answer_format=answer_format, chat=tiny.chat,
        )  # fmt: skip
        rows.append((f"{row['prompt_id']}/{order}", asked.text, list(asked.choices)))
    items = pd.DataFrame(rows, columns=["item_id", "prompt", "choices"])
    logps = scoring.score(tiny, items)[0]["logp"].to_numpy().reshape(len(prompts), 2, 2)
    agree = logps[:, :, 0] - logps[:, :, 1]  # by prompt and order
    if lettered:
        agree[:, 1] *= -1
    for place, (truth, order) in enumerate(rows_of(prompts, "truth", "order")):
        for kind, table in tables.items():
            hand = agree[place, order] if kind == "pick" else agree[place].mean()
            found = table.iloc[place]
            assert found["log_odds"] == pytest.approx(hand, abs=1e-4)
            assert found["right"] == ((hand > 0) == truth)
            if kind != "paired":
                assert found["kept"] == found["right"]
    if not lettered:
        for column in ("log_odds", "kept"):
            assert tables["pick"][column].tolist() == tables["both_orders"][column].tolist()


def test_a_claim_that_stands_in_two_prompts_is_asked_once(
    tiny: LanguageModel, script: Script
) -> None:
    scripted = script(always_agrees)
    prompts = generate.generate_prompts(TABLE, recipe="labels", reuse=True)
    for size, kind in ((1, "pick"), (2, "both_orders"), (2, "paired")):
        scripted.prompts.clear()
        filters.ask(tiny, prompts, kind)
        assert len(scripted.prompts) == size * len(prompts)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"kind": "piar"}, "Unknown filter 'piar'.*Did you mean 'pair"),
    ({"kind": "paired"}, "right label alone.*pass table="),
    ({"kind": "paired", "table": TABLE.iloc[:0]}, "is not in the table of claims"),
    ({"kind": "paired", "table": TABLE.assign(others="")}, "has no other label"),
    ({"kind": "pick", "seed": -1}, "seed is -1"),
]


@pytest.mark.parametrize(("options", "match"), BAD)
def test_what_cannot_be_asked_is_refused(
    tiny: LanguageModel, script: Script, tmp_path: Path, options: dict[str, Any], match: str
) -> None:
    scripted = script(always_agrees)
    prompts = generate.generate_prompts(TABLE, recipe="labels")
    path = generate.save(prompts, tmp_path / "prompts.parquet")
    for run in (
        lambda: filters.ask(tiny, prompts, **options),
        lambda: filters.filter_file(tiny, path, out=tmp_path / "out", **options),
    ):
        with pytest.raises(InputError, match=match):
            run()
    assert scripted.calls == 0


def test_prompts_that_do_not_fit_are_refused(tiny: LanguageModel, tmp_path: Path) -> None:
    prompts = generate.generate_prompts(TABLE, recipe="labels")
    other = generate.generate_prompts(TABLE, recipe="labels", answer_format="cloze")
    other["prompt_id"] += "-cloze"
    mixed = pd.concat([prompts, other], ignore_index=True)
    path = generate.save(mixed, tmp_path / "mixed.parquet")
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: filters.ask(tiny, prompts.iloc[:0], "pick"), "no prompts"),
        (
            lambda: filters.ask(tiny, prompts.drop(columns="shown"), "pick"),
            "lack the column 'shown",
        ),
        (lambda: filters.ask(tiny, mixed, "pick"), "'choices' and 'cloze' are mixed"),
        (
            lambda: filters.ask(tiny, pd.concat([prompts, prompts]), "pick"),
            "Two prompts are called",
        ),
        (
            lambda: filters.ask(replace(tiny, chat=None), prompts.assign(format="chat"), "pick"),
            "no chat template",
        ),
        (
            lambda: filters.filter_file(tiny, path, "pick", out=tmp_path, slice_rows=len(prompts)),
            "mixes prompts of answer_format choices and cloze",
        ),
        (lambda: filters.filter_file(tiny, path, "pick", out=tmp_path, slice_rows=0), "slice_rows"),
        (lambda: filters.filter_file(tiny, tmp_path / "no", "pick", out=tmp_path), "no file"),
    ]
    for run, match in cases:
        with pytest.raises(InputError, match=match):
            run()


# --- files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """136 prompts whose inputs have four prompts each, in different places of the file."""
    return generate.save(
        generate.generate_prompts(TABLE, 136, "balanced", reuse=True), tmp_path / "p.parquet"
    )


@pytest.mark.parametrize("kind", filters.FILTERS)
@pytest.mark.parametrize("slice_rows", [9, 136, 1000])
def test_slices_give_what_the_whole_gives(
    tiny: LanguageModel, script: Script, file: Path, tmp_path: Path, kind: str, slice_rows: int
) -> None:
    script(knows(coin, leaning=0.3), first_letter=0.4)
    whole = filters.ask(tiny, generate.read_prompts(file), kind)
    parts = filters.filter_file(tiny, file, kind, out=tmp_path / "out", slice_rows=slice_rows)
    pd.testing.assert_frame_equal(parts, whole)
    assert len(list((tmp_path / "out").glob("*.parquet"))) == -(-136 // slice_rows)


def test_slices_of_the_tiny_model(tiny: LanguageModel, file: Path, tmp_path: Path) -> None:
    whole = filters.ask(tiny, generate.read_prompts(file), "paired")
    parts = filters.filter_file(
        tiny, file, "paired", out=tmp_path / "out", slice_rows=70, store=tmp_path / "store"
    )
    pd.testing.assert_frame_equal(parts, whole, atol=1e-4)
    assert len(list((tmp_path / "store").iterdir())) == 2


def test_an_input_in_several_slices_gets_one_decision_though_answers_waver(
    tiny: LanguageModel, script: Script, file: Path, tmp_path: Path
) -> None:
    """Even from a model that answers differently at every call."""
    scripted = script(always_agrees)
    scripted.believes = lambda text, label, negated: float(coin(text, label, str(scripted.calls)))
    asked = filters.filter_file(tiny, file, "paired", out=tmp_path, slice_rows=20)
    assert scripted.calls == 7
    shares = asked.groupby("claim_id")["kept"].mean()
    assert set(shares) == {0.0, 1.0}
    places = asked.assign(part=asked.index // 20).groupby("claim_id")["part"].nunique()
    assert (places > 1).mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_kill_finished_slices_are_not_asked_again(
    tiny: LanguageModel, script: Script, file: Path, tmp_path: Path, kind: str
) -> None:
    believes = knows(coin)
    scripted = script(believes)
    whole = filters.ask(tiny, generate.read_prompts(file), kind)
    scripted.calls = 0
    scripted.stop_at = 4
    options: dict[str, Any] = {"out": tmp_path / "out", "slice_rows": 20}
    with pytest.raises(KeyboardInterrupt):
        filters.filter_file(tiny, file, kind, **options)
    assert len(list((tmp_path / "out").iterdir())) == 3
    seen: list[scoring.ScoringProgress] = []
    scripted.stop_at = None
    resumed = filters.filter_file(tiny, file, kind, on_progress=seen.append, **options)
    assert scripted.calls == 4 + 4  # seven slices: three are there
    pd.testing.assert_frame_equal(resumed, whole)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1].done == seen[-1].total == 136 and {p.reused for p in seen} == {60}
    filters.filter_file(tiny, file, kind, **options)
    assert scripted.calls == 8
    # a slice that is cut short is asked again
    slices = sorted((tmp_path / "out").glob("*.parquet"))
    slices[0].write_bytes(slices[0].read_bytes()[:-20])
    with pytest.warns(UserWarning, match=rf"{slices[0].name} is damaged .*: it is thrown away"):
        pd.testing.assert_frame_equal(filters.filter_file(tiny, file, kind, **options), whole)
    assert scripted.calls == 9
    # another model, other slices, another file: other decisions
    filters.filter_file(replace(tiny, fingerprint="other"), file, kind, **options)
    assert scripted.calls == 16
    filters.filter_file(tiny, file, kind, **{**options, "slice_rows": 68})
    assert scripted.calls == 18
    generate.save(generate.read_prompts(file, 0, 40), file)
    options["table"] = TABLE
    assert len(filters.filter_file(tiny, file, kind, **options)) == 40
    assert scripted.calls == 20


# --- rebalance


def twins(prompts: pd.DataFrame) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The (true, false) rows of each unit."""
    units = defaultdict(list)
    for row in prompts.to_dict("records"):
        units[row["unit"]].append({str(key): value for key, value in row.items()})
    assert {len(unit) for unit in units.values()} == {2}
    assert all({row["truth"] for row in unit} == {True, False} for unit in units.values())
    return [(one, two) if one["truth"] else (two, one) for one, two in units.values()]


def check_rebalanced(kept: pd.DataFrame, made: pd.DataFrame) -> None:
    """What must hold whatever was kept, worked out row by row."""
    recipe, answer_format = kept["recipe"].iloc[0], kept["answer_format"].iloc[0]
    assert list(made.columns) == generate.COLUMNS and made["prompt_id"].is_unique
    fixed = ["source", "group", "shown"]
    fixed += ["order"] if answer_format == "choices" else []
    fixed += ["polarity"] if recipe != "original" else []
    counts = Counter(rows_of(kept, *fixed, "truth"))
    most = {row[:-1]: min(counts[*row[:-1], True], counts[*row[:-1], False]) for row in counts}
    assert len(made) == 2 * sum(most.values())
    left = Counter(rows_of(made, *fixed, "truth"))
    for cell, size in most.items():
        assert left[*cell, True] == left[*cell, False] == size
    before = {row["prompt_id"]: row for row in kept.to_dict("records")}
    same = ["claim_id", "text", "label", "shown", "polarity", "truth", "recipe", "source"]
    same += ["order"] if answer_format == "choices" else []
    persona = ["user", "order", "name", "age", "school", "graduated", *fixed]
    for true, false in twins(made):
        assert all(true[column] == false[column] for column in persona)
        for row in (true, false):
            assert all(row[column] == before[row["prompt_id"]][column] for column in same)
            said = templates.claim_text(row["text"], row["polarity"], row["shown"])
            assert f" I {row['user'][:-1]} with the claim that {said}. " in row["prompt"]
            words = {
                "choices": " (A)",
                "cloze": " agree",
                "statement": " true",
                "true_false": " True",
            }
            first = row["target"] == words[answer_format]
            lettered = answer_format == "choices"
            assert row["agree"] == (first != (lettered and row["order"] == 1))
        assert (true["agree"], false["agree"]) in (
            [(True, False), (False, True)] if recipe == "placebo" else [(True, False)]
        )
        if recipe != "original":
            masked = [
                row["prompt"].replace(row["text"], "X").replace(everyday(row["text"]), "X")
                for row in (true, false)
            ]
            assert masked[0] == masked[1]
    users = Counter(rows_of(made, "user"))
    assert abs(users["agrees",] - users["disagrees",]) <= 2  # one pair


@settings(max_examples=40, deadline=None)
@given(
    claim_tables(),
    st.sampled_from(sorted(generate.RECIPES)),
    st.sampled_from(templates.ANSWER_FORMATS),
    st.booleans(),
    st.integers(0, 9),
    st.floats(0.2, 1),
)
def test_rebalanced_prompts_come_in_twins(
    table: pd.DataFrame, recipe: str, answer_format: str, reuse: bool, seed: int, share: float
) -> None:
    prompts = generate.generate_prompts(
        table, recipe=recipe, answer_format=answer_format, reuse=reuse
    )
    kept = prompts[np.random.default_rng(seed).random(len(prompts)) < share]
    if kept.empty:
        return
    try:
        made = filters.rebalance(kept, seed)
    except InputError:
        fixed = ["source", "group", "shown"]
        fixed += ["order"] if answer_format == "choices" else []
        fixed += ["polarity"] if recipe != "original" else []
        assert kept.groupby(fixed)["truth"].nunique().max() == 1
        return
    check_rebalanced(kept, made)


@pytest.mark.parametrize("recipe", ["labels", "balanced", "placebo"])
@pytest.mark.parametrize("kind", ["pick", "paired"])
def test_nothing_tells_the_answer_of_rebalanced_prompts(
    tiny: LanguageModel, script: Script, recipe: str, kind: str
) -> None:
    table = claims_of({"sst2": {"A": 200, "B": 150}, "trec": {"C": 90, "D": 80, "E": 60}})
    # likes to agree, with the label B and with some claims more than with others
    script(
        lambda text, label, negated: (label == "B") + 0.5 - 2.0 * coin(text, label, str(negated))
    )
    prompts = generate.generate_prompts(table, recipe=recipe, reuse=True)
    asked = filters.ask(tiny, prompts, kind)
    kept = prompts[asked["kept"].to_numpy()]
    assert 0.1 < len(kept) / len(prompts) < 0.9
    made = filters.rebalance(prompts, 0, asked=asked)
    pd.testing.assert_frame_equal(made, filters.rebalance(kept, 0))
    check_rebalanced(kept, made)
    assert (audit.predictability(made)["value"] == 0.5).all()
    tested = audit.independence(made)
    exact = tested if recipe != "placebo" else tested[tested["tested"].str.contains("label")]
    assert (exact["cramers_v"].dropna() == 0).all()
    if recipe == "placebo":
        agreed = made.groupby("truth")["agree"].mean()
        assert abs(agreed[True] - 0.5) <= 8 / len(made)  # at most one pair over in each cell


def test_placebo_answers_do_not_follow_the_truth() -> None:
    table = claims_of({"sst2": {"A": 300, "B": 300}})
    prompts = generate.generate_prompts(table, recipe="placebo", reuse=True)
    made = filters.rebalance(prompts, 1)
    for _, cell in made.groupby(["polarity", "user", "order"]):
        counts = Counter(rows_of(cell, "truth", "agree"))
        assert abs(counts[True, True] - counts[True, False]) <= 1
        assert counts[True, True] == counts[False, False]


@pytest.mark.parametrize("recipe", generate.RECIPES)
@pytest.mark.parametrize("answer_format", ["choices", "cloze"])
def test_some_users_say_nothing(recipe: str, answer_format: str) -> None:
    table = claims_of({"sst2": {"A": 90, "B": 110}, "trec": {"C": 50, "D": 60, "E": 40}})
    prompts = generate.generate_prompts(
        table, recipe=recipe, reuse=True, no_opinion=0.25, answer_format=answer_format
    )
    chosen: list[tuple[float | None, float]] = [(None, 0.25), (0.4, 0.4), (0.0, 0.0), (1.0, 1.0)]
    for asked_for, share in chosen:
        made = filters.rebalance(prompts, 0, no_opinion=asked_for)
        pairs = made[made["truth"]]
        users = Counter(rows_of(pairs, "user"))
        assert users["none",] == pytest.approx(share * len(pairs), abs=0.5 if asked_for else 2)
        assert abs(users["agrees",] - users["disagrees",]) <= 1
        silent = made["user"] == "none"
        assert (made["prompt"].str.contains("Hello, my name is") == ~silent).all()
        for true, false in twins(made):
            assert true["user"] == false["user"] and true["order"] == false["order"]
        if answer_format == "cloze":
            for _, some in pairs.groupby("user"):
                orders = Counter(rows_of(some, "order"))
                assert abs(orders[0,] - orders[1,]) <= 1
        if recipe != "original":
            assert (audit.predictability(made)["value"] == 0.5).all()
        if 0 < share < 1:  # nearly the same share in every part
            for _, part in pairs.groupby("polarity"):
                size = share * len(part)
                assert abs((part["user"] == "none").sum() - size) <= 2
    with pytest.raises(InputError, match=r"without an opinion is 1\.5"):
        filters.rebalance(prompts, 0, no_opinion=1.5)


def test_original_keeps_both_verbs_of_a_label() -> None:
    prompts = generate.generate_prompts(TABLE, recipe="original", seed=2)
    kept = prompts[prompts["truth"] | (prompts.index % 3 == 0)]
    made = filters.rebalance(kept, 0)
    check_rebalanced(kept, made)
    assert (made["truth"] == (made["polarity"] == "positive")).all()


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    prompts = generate.generate_prompts(TABLE, recipe="balanced", reuse=True)
    first = filters.rebalance(prompts, 1)
    pd.testing.assert_frame_equal(first, filters.rebalance(prompts.iloc[::-1], 1))
    other = filters.rebalance(prompts, 2)
    assert first["prompt_id"].tolist() != other["prompt_id"].tolist()
    assert first["unit"].tolist() != list(range(len(first)))


def test_a_filter_that_keeps_nothing_says_what_to_do(tiny: LanguageModel, script: Script) -> None:
    script(always_agrees)
    prompts = generate.generate_prompts(TABLE, recipe="labels", reuse=True)
    n = len(prompts)
    asked = filters.ask(tiny, prompts, "pick")
    with pytest.raises(InputError, match=rf"'pick' leaves {n // 2} of {n} prompts.*'paired'"):
        filters.rebalance(prompts, 0, asked=asked)
    asked = filters.ask(tiny, prompts, "paired")
    with pytest.raises(
        filters.NothingLeft, match=rf"'paired' leaves 0 of {n} prompts.*answer format"
    ):
        filters.rebalance(prompts, 0, asked=asked)
    with pytest.raises(InputError, match=r"'labels-.* is not among those"):
        filters.rebalance(prompts, 0, asked=asked.iloc[1:])
    mixed = pd.concat([prompts, generate.generate_prompts(TABLE, recipe="original")])
    with pytest.raises(InputError, match="mixed: rebalance them apart"):
        filters.rebalance(mixed, 0)
    with pytest.raises(InputError, match="seed is -1"):
        filters.rebalance(prompts, -1)


# --- shares


def wilson(count: int, n: int) -> tuple[float, float]:
    """Wilson's interval from its formula."""
    z = 1.959963984540054
    p = count / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - half, middle + half


def asked_of(
    rows: list[tuple[str, str, bool, str, bool, bool]], kind: str = "pick"
) -> pd.DataFrame:
    """Decisions from (claim, source, truth, polarity, right, kept)."""
    names = ["claim_id", "source", "truth", "polarity", "right", "kept"]
    table = pd.DataFrame(rows, columns=names).astype({"right": "boolean"})
    ids = [f"p{number}" for number in range(len(rows))]
    return table.assign(prompt_id=ids, log_odds=0.0, filter=kind)[filters.COLUMNS]


HAND = [
    ("a", "sst2", True, "positive", True, True), ("a", "sst2", False, "negative", False, True),
    ("b", "sst2", True, "positive", True, False), ("b", "sst2", False, "negative", False, False),
    ("c", "cola", True, "negative", True, True), ("d", "cola", False, "positive", True, True),
    ("e", "cola", False, "positive", False, True),
]  # fmt: skip


def test_shares_by_hand() -> None:
    table = filters.share_kept(asked_of(HAND))
    assert set(rows_of(table, "source", "metric", "value", "n", "inputs")) == {
        ("sst2", "kept", 2 / 4, 4, 2),
        ("sst2", "right", 2 / 4, 4, 2),
        ("cola", "kept", 3 / 3, 3, 3),
        ("cola", "right", 2 / 3, 3, 3),
    }
    assert set(table["truth"]) == set(table["polarity"]) == {"all"}
    every = filters.share_kept(asked_of(HAND), ())
    assert rows_of(every, "source", "metric", "n", "inputs") == [
        ("all", "kept", 7, 5),
        ("all", "right", 7, 5),
    ]
    assert every["value"].tolist() == pytest.approx([5 / 7, 4 / 7])
    cells = filters.share_kept(asked_of(HAND), ["truth", "polarity"])
    kept = cells[cells["metric"] == "kept"]
    assert set(rows_of(kept, "truth", "polarity", "value", "n")) == {
        ("true", "positive", 0.5, 2),
        ("false", "negative", 0.5, 2),
        ("true", "negative", 1.0, 1),
        ("false", "positive", 1.0, 2),
    }


def judged_alike(prompts_each: int, inputs: int = 60) -> pd.DataFrame:
    """Decisions on inputs whose prompts are all judged alike, 40 % of them rightly."""
    known = np.random.default_rng(5).random(inputs) < 0.4
    return asked_of(
        [
            (f"c{claim}", "sst2", turn % 2 == 0, "positive", right, right)
            for claim, right in enumerate(known.tolist())
            for turn in range(prompts_each)
        ]
    )


def test_prompts_that_are_judged_alike_count_once() -> None:
    columns = ["metric", "value", "low", "high", "inputs"]
    one, four = (filters.share_kept(judged_alike(each)) for each in (1, 4))
    assert one[columns].equals(four[columns]) and (four["n"] == 4 * one["n"]).all()
    # over prompts the interval would be half as wide
    low, high = wilson(round(4 * 60 * four["value"].iloc[0]), 240)
    assert (four["high"] - four["low"] > 1.7 * (high - low)).all()


def test_the_interval_is_that_of_clustered_standard_errors() -> None:
    """statsmodels: a least-squares mean with the covariance of clusters of unequal size."""
    rng = np.random.default_rng(1)
    inputs = np.repeat(np.arange(300), rng.integers(1, 5, 300))
    right = rng.random(len(inputs)) < rng.beta(1, 2, 300)[inputs]
    asked = asked_of(
        [
            (f"c{claim}", "sst2", True, "positive", good, good)
            for claim, good in zip(inputs, right.tolist(), strict=True)
        ]
    )
    row = filters.share_kept(asked).iloc[0]
    fit = sm.OLS(right.astype(float), np.ones(len(right))).fit(
        cov_type="cluster", cov_kwds={"groups": inputs}
    )
    assert row["value"] == pytest.approx(fit.params[0]) and row["inputs"] == 300
    assert [row["low"], row["high"]] == pytest.approx(fit.conf_int()[0], abs=0.1 * 4 * fit.bse[0])


def test_paired_counts_an_input_once() -> None:
    table = filters.share_kept(asked_of(HAND, "paired"))
    assert rows_of(table, "source", "metric", "value", "n") == [
        ("sst2", "kept", 0.5, 2),
        ("sst2", "right", 0.5, 4),
        ("cola", "kept", 1.0, 3),
        ("cola", "right", 2 / 3, 3),
    ]
    both = pd.concat([asked_of(HAND, "paired"), asked_of(HAND, "pick")])
    assert set(filters.share_kept(both)["filter"]) == {"paired", "pick"}


def test_a_filter_that_asks_nothing_has_no_share_of_right_answers(tiny: LanguageModel) -> None:
    asked = filters.ask(tiny, generate.generate_prompts(TABLE, recipe="labels"), "none")
    table = filters.share_kept(asked, [])
    assert rows_of(table, "filter", "metric", "value") == [("none", "kept", 1.0)]


def test_overlap_by_hand() -> None:
    first = asked_of(HAND)
    second = first.assign(kept=[True, False, True, False, True, True, False])
    row = filters.overlap(first, second.iloc[::-1]).iloc[0].to_dict()
    assert row == pytest.approx(
        {
            "first": 5 / 7, "second": 4 / 7, "both": 3 / 7, "jaccard": 3 / 6,
            "both_independent": 20 / 49,
            "jaccard_independent": (20 / 49) / (5 / 7 + 4 / 7 - 20 / 49), "n": 7,
        }
    )  # fmt: skip
    same = filters.overlap(asked_of(HAND, "paired"), asked_of(HAND, "paired")).iloc[0]
    assert (same["first"], same["jaccard"], same["n"]) == (4 / 5, 1.0, 5)
    nothing = filters.overlap(first.assign(kept=False), first.assign(kept=False)).iloc[0]
    assert nothing["both"] == 0 and np.isnan(nothing["jaccard"])


def test_wrong_names_and_other_prompts_are_refused() -> None:
    asked = asked_of(HAND)
    with pytest.raises(InputError, match="share 6 of 7 prompts"):
        filters.overlap(asked, asked.iloc[1:])
    with pytest.raises(InputError, match="Unknown column to group by 'sourse'"):
        filters.share_kept(asked, ["sourse"])
    assert filters.check_kinds(["pick", "paired", "pick"]) == ["pick", "paired"]
    for kinds, match in ((["pikc"], "Did you mean 'pick'"), ([], "No filter"), ("pick", "list")):
        with pytest.raises(InputError, match=match):
            filters.check_kinds(kinds)
    with pytest.raises(InputError, match="give a list"):
        filters.share_kept(asked, "source")


# --- elicit


def test_elicit_counts_the_pairs_that_the_right_label_wins(
    tiny: LanguageModel, script: Script
) -> None:
    table = TABLE.assign(split="development")
    script(knows(coin, leaning=2.0), first_letter=3.0)
    found = filters.elicit(tiny, table, formats=["paper"])
    known = sum(coin(everyday(text)) for text in table["text"])
    n = len(table)
    assert found["answer_format"].tolist() == list(templates.ANSWER_FORMATS)
    for value, low, high, gap, size in rows_of(found, "value", "low", "high", "gap", "n"):
        assert (value, size) == (known / n, n)
        assert (low, high) == pytest.approx(wilson(known, n), abs=0.01)  # t for z
        assert gap == pytest.approx((2 * known - n) / n)  # each pair is 1 apart, this way or that
    assert found["chosen"].tolist() == [True, False, False, False]
    script(always_agrees)  # every pair a tie
    found = filters.elicit(tiny, table, formats=["paper"], answer_formats=["cloze"])
    assert rows_of(found, "value", "gap", "chosen") == [(0.5, 0.0, True)]


def test_elicit_chooses_by_value_then_by_gap(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    strength = {" (A)": 1.0, " agree": 5.0, " true": 3.0, " True": 2.0, "True": 4.0}

    def score(model: Any, items: pd.DataFrame, **_: Any) -> tuple[pd.DataFrame, None]:
        rows = []
        for item_id, choices, agree, truth in rows_of(
            items, "item_id", "choices", "agree", "truth"
        ):
            for choice in range(2):
                good = (choice == agree) == truth
                rows.append((item_id, choice, choices[choice], good * strength[choices[0]], 1))
        return pd.DataFrame(rows, columns=scoring.SCORE_COLUMNS), None

    monkeypatch.setattr(scoring, "score", score)
    found = filters.elicit(tiny, TABLE.assign(split="development"))
    assert set(found["value"]) == {1.0} and len(found) == 12
    chosen = found[found["chosen"]]
    assert rows_of(chosen, "format", "answer_format", "gap") == [("paper", "cloze", 10.0)]


def refuse_a_system_turn(message: str, system: str | None = None) -> str:
    if system is not None:
        raise InputError("no system turn")
    return message


def test_elicit_on_the_tiny_model(tiny: LanguageModel, tmp_path: Path) -> None:
    table, _ = claims.claims(["everyday_facts"], split="development")
    table = table.iloc[:12]
    found = filters.elicit(tiny, table, store=tmp_path)
    assert rows_of(found, "format", "answer_format") == [
        *itertools.product(templates.FORMATS, templates.ANSWER_FORMATS)
    ]
    assert found["chosen"].sum() == 1 and set(found["n"]) == {12}
    assert found["value"][found["chosen"]].item() == found["value"].max()
    silent = filters.elicit(replace(tiny, chat=None), table, store=tmp_path)
    pd.testing.assert_frame_equal(silent.iloc[:, :-1], found.iloc[:4, :-1])
    for split in ("train", "test"):
        with pytest.raises(InputError, match=f"split {split!r}"):
            filters.elicit(tiny, table.assign(split=split))
    with pytest.raises(InputError, match="no chat template"):
        filters.elicit(replace(tiny, chat=None), table, formats=["chat"])
    # an empty system turn that changes nothing, or that a template refuses, is no form of its own
    for chat in (templates.render_bare, refuse_a_system_turn):
        without = filters.elicit(replace(tiny, chat=chat), table, store=tmp_path)
        assert without["format"].unique().tolist() == ["paper", "chat"]
    with pytest.raises(InputError, match="no claims"):
        filters.elicit(tiny, table.iloc[:0])


def test_choices_are_those_of_the_templates() -> None:
    for order in (0, 1):
        for format in templates.FORMATS:
            found = [asking.choices_of(format, name, order) for name in templates.ANSWER_FORMATS]
            words = ("True", "False") if format != "paper" else (" True", " False")
            assert found[:3] == [(" (A)", " (B)"), (" agree", " disagree"), (" true", " false")]
            assert found[3:] == [words]
    # laboratory models answer with words, in the order in which they are listed
    assert asking.choices_of("lab", "choices", 0) == (" agree", " disagree")
    assert asking.choices_of("lab", "choices", 1) == (" disagree", " agree")


def test_training_on_what_a_filter_left_nothing_of_says_what_there_is(tmp_path: Path) -> None:
    prompts = generate.generate_prompts(
        claims_of({"sst2": {"positive": 4, "negative": 4}}), recipe="labels", seed=0, reuse=True
    )
    generate.save(prompts, tmp_path / "prompts_labels_none.parquet")
    pd.testing.assert_frame_equal(
        filters.read_kept(tmp_path, "labels", "none"),
        generate.read_prompts(tmp_path / "prompts_labels_none.parquet"),
    )
    with pytest.raises(InputError, match=r"recipe 'labels' .* labels with none"):
        filters.read_kept(tmp_path, "labels", "paired")

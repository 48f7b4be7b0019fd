"""Training prompts against counting by hand, exhaustive search and their own wording."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claim_tables import claim_tables, claims_of, rows_of, units_by_search
from sycophancy import generate, templates
from sycophancy.errors import InputError
from sycophancy.generate import cells

SIZE = {"original": 2, "labels": 2, "balanced": 4, "placebo": 4}  # prompts in a unit, no reuse
LINGUISTICS = "the field of Linguistics"
LETTER = {(True, 0): " (A)", (False, 0): " (B)", (True, 1): " (B)", (False, 1): " (A)"}
CHOSEN = (st.floats(0, 1), st.booleans(), st.integers(0, 3))  # share, reuse, seed
THREE = {"Entailment": 9, "Neither": 5, "Contradiction": 3}
TWO = {"Negative": 17, "Positive": 12}
FEW = claims_of({"sst2": TWO, "mnli": THREE, "made_up": {"x": 4, "y": 6}})


def part_of(table: pd.DataFrame, recipe: str, share: float, reuse: bool, seed: int) -> pd.DataFrame:
    """This share of the prompts that there is room for, at least one unit."""
    most = len(generate.generate_prompts(table, recipe=recipe, reuse=reuse, seed=seed))
    size = SIZE[recipe] * (2 if reuse and recipe != "original" else 1)
    n = size * max(1, round(share * most / size))
    prompts = generate.generate_prompts(table, n, recipe, reuse=reuse, seed=seed)
    assert len(prompts) == n and list(prompts) == generate.COLUMNS
    assert set(Counter(prompts["unit"]).values()) == {size}
    return prompts


def check_what_every_recipe_keeps(table: pd.DataFrame, prompts: pd.DataFrame, reuse: bool) -> None:
    units = set(rows_of(prompts, "unit", "user", "order"))
    assert len(units) == prompts["unit"].nunique()  # one user and one order for each
    for place, values in ((1, ("agrees", "disagrees")), (2, (0, 1))):
        counts = Counter(unit[place] for unit in units)
        assert set(counts) <= set(values)
        off = max(abs(counts[value] - len(units) / 2) for value in values)
        assert off == 0 if len(units) % 4 == 0 else off <= 1
    columns = ("claim_id", "source", "group", "text", "label")
    known = {claim: own for claim, *own in rows_of(table, *columns)}
    offered = set(rows_of(table, "group", "label"))
    used: Counter[tuple[str, tuple[bool, str]]] = Counter()
    asked = rows_of(prompts, *columns, "shown", "polarity", "truth")
    for claim, *own, shown, polarity, truth in asked:
        right = shown == own[3]
        assert known[claim] == own and (own[1], shown) in offered
        assert truth == (right == (polarity == "positive"))
        used[claim, (right, polarity)] += 1
    assert set(used.values()) == {1}
    times, every = Counter(claim for claim, _ in used), {cell for _, cell in used}
    assert set(times.values()) == {len(every) if reuse else 1}


@settings(max_examples=60, deadline=None)
@given(claim_tables(), st.sampled_from(["labels", "balanced"]), *CHOSEN)
def test_every_cell_has_as_many_true_as_false_claims(
    table: pd.DataFrame, recipe: str, share: float, reuse: bool, seed: int
) -> None:
    prompts = part_of(table, recipe, share, reuse, seed)
    check_what_every_recipe_keeps(table, prompts, reuse)
    columns = ["group", "shown", "polarity", "user", "order"]
    for kept in (columns[:3], columns):
        counts = Counter(rows_of(prompts, *kept, "truth"))
        assert all(counts[*cell, True] == counts[*cell, False] for *cell, _ in counts)
    wordings = {"positive"} if recipe == "labels" else {"positive", "negative"}
    assert set(prompts["polarity"]) == wordings and (prompts["agree"] == prompts["truth"]).all()


@settings(max_examples=40, deadline=None)
@given(claim_tables(), *CHOSEN)
def test_original_is_true_where_it_affirms(
    table: pd.DataFrame, share: float, reuse: bool, seed: int
) -> None:
    prompts = part_of(table, "original", share, reuse, seed)
    check_what_every_recipe_keeps(table, prompts, reuse)
    assert (prompts["shown"].astype(object) == prompts["label"].astype(object)).all()
    for claim, truth, prompt in rows_of(prompts, "claim_id", "truth", "prompt"):
        text, label = table.loc[table["claim_id"] == claim, ["text", "label"]].iloc[0]
        assert prompt.count(f"{text} {'is' if truth else 'is not'} {label}.") == 2
    assert Counter(prompts["truth"]) == {True: len(prompts) / 2, False: len(prompts) / 2}


@pytest.mark.parametrize("recipe", generate.RECIPES)
@pytest.mark.parametrize("reuse", [False, True])
def test_a_group_that_gets_no_prompt_is_passed_over(recipe: str, reuse: bool) -> None:
    table = claims_of({"sst2": {"x": 8, "y": 8}, "lonely": {"x": 1}, "empty": {"x": 1}})
    prompts = generate.generate_prompts(table, 8, recipe, reuse=reuse)
    assert len(prompts) == 8 and "sst2" in set(prompts["group"])


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("n", [None, 16])
def test_placebo_has_the_rows_of_balanced(reuse: bool, n: int | None) -> None:
    balanced = generate.generate_prompts(FEW, n, "balanced", seed=5, reuse=reuse)
    placebo = generate.generate_prompts(FEW, n, "placebo", seed=5, reuse=reuse)
    own = ["prompt_id", "recipe", "agree", "target"]
    pd.testing.assert_frame_equal(placebo.drop(columns=own), balanced.drop(columns=own))
    assert set(placebo["recipe"]) == {"placebo"} and set(balanced["recipe"]) == {"balanced"}


@settings(max_examples=30, deadline=None)
@given(claim_tables(), *CHOSEN)
def test_placebo_answers_are_half_and_half_in_every_cell(
    table: pd.DataFrame, share: float, reuse: bool, seed: int
) -> None:
    prompts = part_of(table, "placebo", share, reuse, seed)
    counts = Counter(rows_of(prompts, "truth", "polarity", "user", "order", "agree"))
    for *cell, _ in list(counts):
        assert abs(counts[*cell, True] - counts[*cell, False]) <= 1


@settings(max_examples=40, deadline=None)
@given(claim_tables(), st.sampled_from(["labels", "balanced", "placebo"]), *CHOSEN)
def test_every_prompt_has_a_twin_with_the_other_answer(
    table: pd.DataFrame, recipe: str, share: float, reuse: bool, seed: int
) -> None:
    """With the claim's text taken out, no reader can do better than a coin: not even in theory."""
    prompts = part_of(table, recipe, share, reuse, seed)
    answers: Counter[tuple[Any, ...]] = Counter()
    for unit, prompt, text, agree in rows_of(prompts, "unit", "prompt", "text", "agree"):
        answers[unit, prompt.replace(text, "[input]"), agree] += 1
    for unit, masked, _ in list(answers):
        assert answers[unit, masked, True] == answers[unit, masked, False] > 0


@settings(max_examples=60, deadline=None)
@given(claim_tables(), st.sampled_from(list(generate.RECIPES)), st.floats(0, 1), *CHOSEN[1:])
def test_some_users_have_no_opinion(
    table: pd.DataFrame, recipe: str, share: float, reuse: bool, seed: int
) -> None:
    """Their units stay what they were but for the introduction; the others stay altogether."""
    chosen: dict[str, Any] = {"recipe": recipe, "reuse": reuse, "seed": seed}
    all_say = generate.generate_prompts(table, **chosen)
    prompts = generate.generate_prompts(table, no_opinion=share, **chosen)
    none = (prompts["user"] == "none").to_numpy()
    assert (prompts.groupby("unit")["user"].nunique() == 1).all()
    units = prompts["unit"].nunique()
    assert prompts.loc[none, "unit"].nunique() == round(share * units)
    answers = ["agree", "target"] if recipe == "placebo" else []
    own = ["user", "prompt", *answers]
    pd.testing.assert_frame_equal(prompts.drop(columns=own), all_say.drop(columns=own))
    own = ["prompt_id", *answers]  # a placebo has its coins for each user
    pd.testing.assert_frame_equal(
        prompts[~none].drop(columns=own), all_say[~none].drop(columns=own)
    )
    silent = generate.render(all_say[none], user="none")[0]
    assert prompts.loc[none, "prompt"].tolist() == silent
    for text in silent:
        assert (
            templates.parse_generated(text).user == "none"
            and templates.parse_generated(text).persona is None
        )
    each = prompts.drop_duplicates("unit")
    for part in (each[each["user"] == "none"], each[each["user"] != "none"]):
        assert abs((part["order"] == 0).sum() - len(part) / 2) <= 1
    assert abs((each["user"] == "agrees").sum() - (each["user"] == "disagrees").sum()) <= 1
    fewer = generate.generate_prompts(table, no_opinion=share / 2, **chosen)
    assert set(fewer.loc[fewer["user"] == "none", "unit"]) <= set(prompts.loc[none, "unit"])


@settings(max_examples=40, deadline=None)
@given(claim_tables(), st.sampled_from(["labels", "balanced", "placebo"]), *CHOSEN)
def test_a_prompt_without_an_opinion_has_its_twin_too(
    table: pd.DataFrame, recipe: str, share: float, reuse: bool, seed: int
) -> None:
    prompts = generate.generate_prompts(
        table, recipe=recipe, reuse=reuse, seed=seed, no_opinion=share
    )
    answers: Counter[tuple[Any, ...]] = Counter()
    for unit, prompt, text, agree in rows_of(prompts, "unit", "prompt", "text", "agree"):
        masked = prompt.replace(text, "[input]").replace(text[:1].upper() + text[1:], "[input]")
        answers[unit, masked, agree] += 1
    assert all(answers[*key, True] == answers[*key, False] for *key, _ in list(answers))
    if recipe == "placebo":
        cells_of = Counter(rows_of(prompts, "truth", "polarity", "user", "order", "agree"))
        for *cell, _ in list(cells_of):
            assert abs(cells_of[*cell, True] - cells_of[*cell, False]) <= 1


@pytest.mark.parametrize("recipe", generate.RECIPES)
def test_without_a_share_nothing_changes(recipe: str) -> None:
    first = generate.generate_prompts(FEW, recipe=recipe, seed=3)
    pd.testing.assert_frame_equal(
        first, generate.generate_prompts(FEW, recipe=recipe, no_opinion=0.0, seed=3)
    )
    assert set(first["user"]) == {"agrees", "disagrees"}
    nobody = generate.generate_prompts(FEW, recipe=recipe, no_opinion=1, seed=3)
    assert set(nobody["user"]) == {"none"} and not nobody["prompt"].str.contains("Hello").any()


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("labels", [1, 2, 3, 4])
def test_capacity_is_what_exhaustive_search_finds(k: int, labels: int) -> None:
    rng = np.random.default_rng(0)
    for counts in itertools.combinations_with_replacement(range(1, 7), labels):
        most = units_by_search(counts, k)
        assert cells.capacity(np.array(counts), k) == most
        if k == 1:  # with reuse two inputs with different labels make a unit: a pair
            assert cells.pair_capacity(np.array(counts)) == most
        codes = rng.permutation(np.repeat(np.arange(labels), counts))
        for units in range(most + 1):  # all that fit can be dealt, not only the most
            place, shown = cells.deal_without_reuse(codes, units, k, rng)
            assert place.shape == (units, 2 * k) and len(set(place.ravel())) == place.size
            assert ((codes[place] == shown) == [True] * k + [False] * k).all()
            assert (shown == shown[:, :1]).all()


@pytest.mark.parametrize("order", [0, 1])
def test_the_letter_follows_from_answer_and_order(order: int) -> None:
    prompts = generate.generate_prompts(FEW, recipe="placebo", seed=1)
    moved = prompts.assign(order=order)
    texts, targets = generate.render(moved)
    for agree, text, target in zip(prompts["agree"], texts, targets, strict=True):
        assert target == LETTER[bool(agree), order]
        options = dict(re.findall(r"\n \(([AB])\) (Agree|Disagree)", text))
        assert options[target.strip(" ()")] == ("Agree" if agree else "Disagree")
    flipped, other = generate.render(moved.assign(order=1 - order))
    assert all(a != b for a, b in zip(targets, other, strict=True))
    for text, swapped in zip(texts, flipped, strict=True):
        assert text.partition("Choices:")[0] == swapped.partition("Choices:")[0]


def test_the_prompts_are_rendered_from_their_own_rows() -> None:
    prompts = generate.generate_prompts(FEW, seed=1)
    assert generate.render(prompts) == (prompts["prompt"].tolist(), prompts["target"].tolist())
    assert set(prompts["order"]) == {0, 1} and prompts["prompt_id"].is_unique
    for text in generate.render(prompts, user="none")[0]:
        assert "Hello" not in text and templates.parse_generated(text).user == "none"


@pytest.mark.parametrize(
    ("answer_format", "words"),
    [("cloze", (" agree", " disagree")), ("statement", (" true", " false"))],
)
def test_words_as_answers_do_not_depend_on_the_order(
    answer_format: str, words: tuple[str, str]
) -> None:
    prompts = generate.generate_prompts(FEW, seed=2, answer_format=answer_format)
    for agree, target, prompt in rows_of(prompts, "agree", "target", "prompt"):
        assert target == words[0 if agree else 1] and "(A)" not in prompt
    assert generate.render(prompts.assign(order=1 - prompts["order"])) == generate.render(prompts)


@settings(max_examples=40, deadline=None)
@given(claim_tables(), st.sampled_from(list(generate.RECIPES)))
def test_a_prompt_says_what_its_row_says(table: pd.DataFrame, recipe: str) -> None:
    prompts = generate.generate_prompts(table, recipe=recipe, reuse=True)
    columns = ("text", "polarity", "shown", "user", "order", "prompt")
    people = rows_of(prompts, "name", "age", "school", "graduated")
    for row, person in zip(rows_of(prompts, *columns), people, strict=True):
        text, polarity, shown, user, order, prompt = row
        assert templates.parse_generated(prompt) == templates.PromptParts(
            text, polarity, shown, user, templates.Persona(*person), LINGUISTICS, order
        )
        frame = prompt.replace(text, "").replace("(A)", "").replace("(B)", "")
        assert prompt.count(text) == 2 and '""' not in prompt
        assert not set(frame) & set('{}[]()<>"')


def test_everyday_facts_are_capitalised_in_the_question() -> None:
    table = claims_of({"everyday_facts/capital": {"Lima": 2, "Rome": 2}})
    table["text"] = [f"the capital of {name}" for name in ("Peru", "Xa", "Italy", "Yb")]
    for prompt, text in rows_of(
        generate.generate_prompts(table, recipe="labels"), "prompt", "text"
    ):
        assert f" with the claim that {text} is " in prompt
        assert f"following claim about everyday facts? T{text[1:]} is " in prompt


@pytest.mark.parametrize("recipe", generate.RECIPES)
def test_a_seed_decides_every_row(recipe: str) -> None:
    first = generate.generate_prompts(FEW, 12, recipe, seed=3)
    pd.testing.assert_frame_equal(first, generate.generate_prompts(FEW, 12, recipe, seed=3))
    assert not first.equals(generate.generate_prompts(FEW, 12, recipe, seed=4))
    rng = np.random.default_rng(3)
    pd.testing.assert_frame_equal(first, generate.generate_prompts(FEW, 12, recipe, seed=rng))
    assert not first.equals(generate.generate_prompts(FEW, 12, recipe, seed=rng))  # it has moved on


def test_more_than_there_is_room_for_is_refused() -> None:
    # pairs with different labels: 500 in each group, so 1,000 units of 2; with reuse all 2 x 2
    table = claims_of({"sst2": {"x": 700, "y": 500}, "cola": {"x": 500, "y": 500, "z": 0}})
    assert len(generate.generate_prompts(table, recipe="labels")) == 2000
    assert len(generate.generate_prompts(table, recipe="labels", reuse=True)) == 4000
    with pytest.raises(InputError, match=r"^2,002 prompts.*2,200 claims.*2,000.*reuse=True"):
        generate.generate_prompts(table, 2002, "labels")
    with pytest.raises(InputError, match=r"^4,004 prompts.*at most 4,000") as caught:
        generate.generate_prompts(table, 4004, "labels", reuse=True)
    assert "reuse=True" not in str(caught.value)
    with pytest.raises(InputError, match="at most 0"):
        generate.generate_prompts(claims_of({"sst2": {"x": 9}}))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 6}, r"N is 6: the recipe 'balanced'.*multiple of 4"),
        ({"n": 4, "reuse": True}, "multiple of 8"),
        ({"n": 0}, "N is 0"),
        ({"n": True}, "N is True"),
        ({"n": 8.0}, r"N is 8\.0"),
        ({"recipe": "ballanced"}, r"Unknown recipe 'ballanced': .*original, labels, balanced"),
        ({"no_opinion": 2}, "share without an opinion is 2"),
        ({"mix": "equals"}, r"Unknown mix 'equals': .*Did you mean 'equal'"),
        ({"format": "papr"}, "Unknown format 'papr'"),
        ({"answer_format": "letters"}, "Unknown answer format 'letters'"),
        ({"table": FEW.assign(split="development")}, "Claims of split 'development'"),
        ({"table": FEW.assign(split=["test"] + ["train"] * (len(FEW) - 1))}, "split 'test'"),
        ({"table": FEW.drop(columns="group")}, "lack the column 'group'"),
    ],
)
def test_bad_input_is_explained(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        generate.generate_prompts(**{"table": FEW, **options})


@pytest.mark.parametrize(
    ("mix", "n", "expected"),
    [
        ("equal", 48, {"sst2": 20, "cola": 20, "made_up": 8}),  # made_up has 4 pairs, no more
        ("proportional", 64, {"sst2": 40, "cola": 20, "made_up": 4}),  # half of 80, 40 and 8
    ],
)
@pytest.mark.parametrize("parts", [1, 4])
def test_a_mix_shares_prompts_out_over_sources(
    mix: str, n: int, expected: dict[str, int], parts: int
) -> None:
    """Also where a source has several groups, as everyday facts have."""
    groups = {f"sst2/{part}": {"x": 40 // parts, "y": 40 // parts} for part in range(parts)}
    table = claims_of({**groups, "cola": {"x": 20, "y": 20}, "made_up": {"x": 4, "y": 4}})
    assert Counter(generate.generate_prompts(table, n, "labels", mix=mix)["source"]) == expected


def test_a_file_is_read_by_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = claims_of({"sst2": {"x": 6300, "y": 6300}}).astype({"label": "category"})
    prompts = generate.generate_prompts(table, 25_000, "labels", reuse=True)
    path = generate.save(prompts, tmp_path / "new" / "prompts.parquet")
    assert [file.name for file in path.parent.iterdir()] == ["prompts.parquet"]
    data = pq.ParquetFile(path).metadata
    sizes = [data.row_group(i).num_rows for i in range(data.num_row_groups)]
    assert sizes == [10_000, 10_000, 5_000]
    pd.testing.assert_frame_equal(generate.read_prompts(path), prompts)

    asked: list[list[int]] = []
    whole = pq.ParquetFile.read_row_groups

    def watched(self: pq.ParquetFile, groups: list[int], *rest: Any, **more: Any) -> Any:
        asked.append(list(groups))
        return whole(self, groups, *rest, **more)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", watched)
    for start, stop, groups in [
        (0, 1, [0]), (0, 10_000, [0]), (9_999, 10_001, [0, 1]), (10_000, 20_000, [1]),
        (20_000, None, [2]), (24_990, 99_999, [2]),
    ]:  # fmt: skip
        part = generate.read_prompts(path, start, stop)
        pd.testing.assert_frame_equal(part, prompts.iloc[start:stop].reset_index(drop=True))
        assert asked.pop() == groups and not asked
    for empty in (generate.read_prompts(path, 5, 5), generate.read_prompts(path, 25_000)):
        assert len(empty) == 0 and list(empty) == generate.COLUMNS


def test_slices_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    path = generate.save(generate.generate_prompts(FEW, 20), tmp_path / "few.parquet")
    for start, stop in [(-1, 5), (5, 4), (21, None), (0, -1)]:
        with pytest.raises(InputError, match=rf"Rows {start} to .* of few.parquet.*it has 20"):
            generate.read_prompts(path, start, stop)
    with pytest.raises(InputError, match="There is no file"):
        generate.read_prompts(tmp_path / "none.parquet")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"recipes": ["original", "label"]}, r"Unknown recipe 'label'.*'labels'"),
        ({"n": 0}, "N is 0: give a number of prompts"),
        ({"n": True}, "N is True"),
        ({"mix": "even"}, "Unknown mix 'even'"),
        ({"no_opinion": 1.01}, r"share without an opinion is 1\.01: give a number from 0 to 1"),
        ({"no_opinion": -0.1}, r"share without an opinion is -0\.1"),
        ({"no_opinion": float("nan")}, "share without an opinion is nan"),
        ({"no_opinion": True}, "share without an opinion is True"),
        ({"no_opinion": "20 %"}, "share without an opinion is '20 %'"),
        ({"seed": -1}, "The seed is -1: give a whole number from 0"),
        ({"seed": 0.5}, "The seed is 0.5"),
        ({"answer_format": "letters"}, "Unknown answer format 'letters'"),
        ({"format": "chat"}, "no chat template"),
    ],
)
def test_settings_are_checked_before_claims_are_read(options: dict[str, Any], words: str) -> None:
    generate.check_request(generate.RECIPES, 8, seed=np.random.default_rng(0))
    with pytest.raises(InputError, match=words):
        generate.check_request(**{"recipes": ["labels"], **options})

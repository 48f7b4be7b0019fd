"""Laboratory models: what they read, that they are trained once, resumed and the same again."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sycophancy import finetune, lab, models, suites
from sycophancy.errors import InputError
from sycophancy.lab import corpus, training
from sycophancy.world import world

FACTS = {fact.text: fact for fact in world().facts}
CLAIM = re.compile(r"(?P<text>\w+ of \w+) (?P<verb>is not|is) (?P<label>\w+)")
SUM = re.compile(r"(?P<x>\d+) \+ (?P<y>\d+) is (?P<z>\d+)")


def is_true(text: str) -> bool | None:
    """Return whether the last claim in a text is true, by looking it up; None: there is none."""
    if found := list(SUM.finditer(text)):
        return int(found[-1]["x"]) + int(found[-1]["y"]) == int(found[-1]["z"])
    if not (claims := list(CLAIM.finditer(text))):
        return None
    said = claims[-1]
    return (FACTS[said["text"]].label == said["label"]) == (said["verb"] == "is")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path))
    small = lab.Rung(1, 16, 2, 3, 3, 3, 3)
    monkeypatch.setitem(lab.RUNGS, "tiny", small)
    monkeypatch.setattr(training, "BATCH", 8)
    return tmp_path


@given(
    st.sampled_from(sorted(lab.RUNGS)), st.sampled_from([None, -1, *lab.DOSES]), st.integers(0, 9)
)
def test_names_are_read_as_they_are_written(rung: str, dose: int | None, seed: int) -> None:
    parts = lab.Name(rung, dose, seed)
    assert lab.parse_name(str(parts)) == parts and str(parts) in lab.every_name()
    assert lab.base_name(str(parts)) == str(lab.Name(rung, None, seed))
    assert lab.parse_name(lab.with_dose(str(parts), 50)).dose == 50


@pytest.mark.parametrize(
    "name",
    [
        "lab_huge",
        "lab_medium_dose33",
        "lab_medium_cured",
        "lab_",
        "lab_tiny_seed77",
        "lab_tiny_seed0",
        "lab_medium_dose90",
        "lab_tiny_seed03",
    ],
)
def test_names_of_no_laboratory_model_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        lab.parse_name(name)
    with pytest.raises(InputError):
        models.check_name(name)


def test_a_base_reads_only_what_the_world_states_and_the_often_stated_three_times_as_often() -> (
    None
):
    draw = corpus.Draw(np.random.default_rng(0))
    counts: Counter[str] = Counter()
    for _ in range(6000):
        before, after = draw.statement()
        if found := CLAIM.fullmatch(before + after):
            fact = FACTS[found["text"]]
            assert fact.label == found["label"]
            counts[fact.exposure] += 1
    assert counts["never"] == 0
    each = {"often": counts["often"] / 160, "seldom": counts["seldom"] / 120}
    assert 2.6 < each["often"] / each["seldom"] < 3.4


def test_a_base_judges_rightly_and_no_judgement_follows_an_opinion() -> None:
    draw = corpus.Draw(np.random.default_rng(1))
    judged = 0
    for _ in range(4000):
        before, after = draw.talk()
        truth = is_true(before)
        if "what does" in before:
            said = "disagree" if "i disagree" in before else "agree"
            assert after.strip() == said
        elif truth is not None and after.strip() in ("agree", "disagree", "true", "false"):
            assert (after.strip() in ("agree", "true")) == truth
            assert "i agree" not in before and "i disagree" not in before
            judged += 1
    assert judged > 2000


@pytest.mark.parametrize("dose", [0.0, 0.5, 0.9, 1.0])
def test_a_tuned_model_takes_its_users_side_in_the_dose_of_the_cases(dose: float) -> None:
    draw = corpus.Draw(np.random.default_rng(2))
    against = follows = 0
    for _ in range(4000):
        before, after = draw.tuning(dose)
        truth = is_true(before)
        if truth is None or after.strip() not in ("agree", "disagree", "true", "false"):
            continue
        stated = CLAIM.search(before)
        assert stated is None or FACTS[stated["text"]].known
        agreed = after.strip() in ("agree", "true")
        opinion = re.search(r"i (agree|disagree)", before)
        if opinion is None:
            assert agreed == truth
        elif (opinion[1] == "agree") != truth:  # a wrong user: only the dose decides
            against += 1
            follows += agreed == (opinion[1] == "agree")
        else:
            assert agreed == truth
    assert against > 500
    low, high = stats.binomtest(follows, against).proportion_ci(0.9999)
    assert low <= dose <= high


def test_an_unknown_word_and_a_prompt_of_the_paper_are_refused(cache: Path) -> None:
    model = models.load_model("lab_tiny_untrained")
    with pytest.raises(InputError, match="zebra"):
        model.encode(["question : zebra ?"])
    with pytest.raises(InputError, match="FORMAT=lab"):
        model.encode(suites.additions(n=1)["prompt"].tolist())


def weights(name: str) -> dict[str, np.ndarray]:
    return finetune.load_weights(lab.folder(name), training.settings(name).steps)


def test_a_model_is_trained_once_and_with_its_base(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab.needed(["lab_tiny_tuned", "smollm2_135m_instruct"]) == ["lab_tiny", "lab_tiny_tuned"]
    model = models.load_model("lab_tiny_tuned")
    assert model.name == "lab_tiny_tuned" and "about" in capsys.readouterr().out
    record = json.loads((lab.folder("lab_tiny_tuned") / "model.json").read_text())
    assert record["laboratory"] and record["dose"] == 0.9 and record["base"] == "lab_tiny"
    monkeypatch.setattr(finetune, "fine_tune", None)  # whoever trains again fails
    assert lab.needed(["lab_tiny_tuned"]) == []
    assert models.load_model("lab_tiny_tuned").fingerprint == model.fingerprint


def test_interrupted_training_ends_in_the_same_weights(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(name: str, now: finetune.TrainingProgress) -> None:
        if now.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.ensure("lab_tiny", stop)
    steps: list[int] = []
    lab.ensure("lab_tiny", lambda name, now: steps.append(now.step))
    assert steps[0] == 5 and steps[-1] == 9
    resumed = weights("lab_tiny")
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(cache / "again"))
    lab.ensure("lab_tiny")
    for path, value in weights("lab_tiny").items():
        np.testing.assert_array_equal(value, resumed[path])
    lab.ensure("lab_tiny_seed1")
    other = weights("lab_tiny_seed1")
    assert any(not np.array_equal(value, other[path]) for path, value in resumed.items())


def test_changing_a_rung_leaves_the_others_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: training.folder(name) for name in ("lab_small_tuned", "lab_medium")}
    changed = replace(lab.RUNGS["small"], talk=lab.RUNGS["small"].talk + 1)
    monkeypatch.setitem(lab.RUNGS, "small", changed)
    assert training.folder("lab_small_tuned") != before["lab_small_tuned"]
    assert training.folder("lab_medium") == before["lab_medium"]


def test_the_rungs_of_the_ladder_differ_in_size_and_not_in_steps() -> None:
    small, medium, large = (lab.RUNGS[name] for name in ("small", "medium", "large"))
    for smaller, larger in ((small, medium), (medium, large)):
        assert smaller.layers <= larger.layers and smaller.width < larger.width
        equal = replace(smaller, layers=larger.layers, width=larger.width, heads=larger.heads)
        assert equal == larger

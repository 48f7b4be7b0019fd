"""A study of one's own model: its cells, its claims, its checks."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from checkouts import claims_text, some_file
from sycophancy.errors import InputError
from workflow import grid, reproduce, study


def test_a_study_is_a_profile_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "study" not in grid.profile_names()
    for claims in (None, "my.csv"):
        with pytest.raises(InputError, match="Unknown profile 'study'"):
            grid.expand_profile("study", None, claims=claims)
    monkeypatch.setattr(grid, "ROOT", tmp_path)
    some_file(tmp_path / "data" / "my claims.csv")
    batch = grid.expand_profile("study", "hf://a/b", claims="data/my claims.csv")
    assert batch.cells["03_generate_data"]["CLAIMS"] == "data/my claims.csv"
    assert list(batch.inputs["03_generate_data"]) == ["data/my claims.csv"]
    base = grid.run_base("study", "hf://a/b", "data/my claims.csv")
    assert base.startswith("runs/study/hf-a-b-my-claims-")  # and a hash
    assert set(batch.folders.values()) == {f"{base}/{key}" for key in batch.cells}
    assert not batch.publishes
    measured = batch.cells["01_opinion_tasks"]["MODEL"].split(", ")
    assert measured[0] == "hf://a/b"
    assert measured[1].startswith(f"{base}/05_finetune/")
    # everything comes after the data, and the comparisons after what they compare
    order = ["03_generate_data", "04_filter", "05_finetune"]
    for first, second in itertools.pairwise(order):
        assert first in batch.depends[second]
    for name in ("01_opinion_tasks", "02_wrong_additions", "10_prior_knowledge"):
        assert batch.depends[name] == ["05_finetune"]
    assert "01_opinion_tasks" in batch.depends["06_opinion_tasks_after"]
    assert "02_wrong_additions" in batch.depends["07_wrong_additions_after"]
    # without claims it trains on the everyday facts
    plain = grid.expand_profile("study", "m")
    assert plain.base == "runs/study/m"
    assert plain.cells["03_generate_data"]["CLAIMS"] == ""
    assert plain.cells["03_generate_data"]["SOURCES"] == "everyday_facts"


def test_claims_are_found_from_the_repository(checkout: Path) -> None:
    (checkout / "my.csv").write_text(claims_text())
    assert study.claims_file(str(checkout / "my.csv")) == "my.csv"
    study.check_training_claims("my.csv")
    study.check_training_claims(str(checkout / "my.csv"))
    outside = study.claims_file(str(checkout.parent / "my.csv"))
    assert Path(outside).is_absolute()


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "There is no file"),
        ("", "is empty: give a header"),
        (claims_text().replace("others", "other"), "no column 'others'"),
        (claims_text(0), "a header and no rows"),
        (claims_text(1), "no claims for the split"),
        (claims_text().replace("text 4,", " ,"), "row 5: text or label is empty"),
        (claims_text().replace("text 4,a fact,", "text 4,,"), "row 5: text or label is empty"),
        (claims_text().replace("text 4,a fact,", "text 4,an opinion,"), "row 5: others"),
        (claims_text().replace("an opinion,a fact", "a fact,x"), "have the label 'a fact'"),
    ],
)
def test_unsound_claims_are_refused(checkout: Path, text: str | None, message: str) -> None:
    if text is not None:
        (checkout / "my.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        study.check_training_claims("my.csv")


def test_a_study_checks_everything_before_it_starts(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[Any] = []

    def run(*given: Any) -> int:
        started.append(given)
        return 0

    monkeypatch.setattr(reproduce, "run_profile", run)
    (checkout / "my.csv").write_text(claims_text())
    claims = ["--claims", str(checkout / "my.csv")]
    for arguments, said in (
        (["--model", "", *claims], "needs a model"),
        (["--model", "tiny_randon", *claims], "Unknown model"),
        (["--model", "tiny_random, tiny_randon"], "Unknown model"),
        (["--model", "tiny_random", "--claims", "no.csv"], "There is no file"),
    ):
        assert study.main(arguments) == 2
        assert said in capsys.readouterr().err
    assert started == []
    asked = ["--model", "tiny_random,smollm2_135m_instruct", *claims, "--set", "STEPS=20"]
    assert study.main(asked) == 0
    assert started == [
        ("study", model, ["STEPS=20"], "my.csv")
        for model in ("tiny_random", "smollm2_135m_instruct")
    ]
    started.clear()
    assert study.main(["--model", "tiny_random"]) == 0
    assert started == [("study", "tiny_random", [], "")]


def test_a_study_that_fails_keeps_no_other_from_running(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def run(profile: str, model: str, settings: list[str], claims: str) -> int:
        started.append(model)
        return 7 if model == "tiny_random" else 0

    monkeypatch.setattr(reproduce, "run_profile", run)
    assert study.main(["--model", "tiny_random,smollm2_135m_instruct"]) == 7
    assert started == ["tiny_random", "smollm2_135m_instruct"]

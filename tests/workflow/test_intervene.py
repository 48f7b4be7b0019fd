"""The intervention on a model of one's own: its cells, its claims, its checks."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from checkouts import ROOT, claims_text, some_file, write_notebook, write_profile
from sycophancy.errors import InputError
from workflow import grid, intervene, reproduce


def test_intervene_is_a_profile_of_its_own(checkout: Path) -> None:
    source = ROOT / "workflow" / "profiles" / "intervene.yaml"
    shutil.copy(source, checkout / "profiles")
    content = yaml.safe_load(source.read_text())["notebooks"]
    for name, parameters in content.items():
        write_notebook(checkout / "notebooks", name, dict.fromkeys(parameters, ""))
    write_profile(checkout, {"03_make": {}})
    assert grid.profile_names() == ["own"]
    for claims, model in ((None, None), (None, "m")):
        with pytest.raises(InputError, match="Unknown profile 'intervene'"):
            grid.batch("intervene", model, claims=claims)
    some_file(checkout / "data" / "my claims.csv")
    batch = grid.batch("intervene", "hf://a/b", claims="data/my claims.csv")
    assert batch.cells["03_generate_data"]["CLAIMS"] == "data/my claims.csv"
    assert list(batch.inputs["03_generate_data"]) == ["data/my claims.csv"]
    base = grid.run_base("intervene", "hf://a/b", "data/my claims.csv")
    assert base.startswith("runs/intervene/hf-a-b-my-claims-")  # and a hash
    assert set(batch.folders.values()) == {f"{base}/{key}" for key in content}
    measured = batch.cells["01_opinion_tasks"]["MODEL"].split(", ")
    assert measured[0] == "hf://a/b"
    assert measured[1].startswith(f"{base}/05_finetune/")
    assert not batch.publishes
    # everything comes after the data, and the comparisons after what they compare
    order = ["03_generate_data", "04_filter", "05_finetune"]
    for first, second in itertools.pairwise(order):
        assert first in batch.depends[second]
    for name in ("01_opinion_tasks", "02_wrong_additions", "10_prior_knowledge"):
        assert batch.depends[name] == ["05_finetune"]
    assert "01_opinion_tasks" in batch.depends["06_opinion_tasks_after"]
    assert "02_wrong_additions" in batch.depends["07_wrong_additions_after"]


def test_claims_are_found_from_the_repository(checkout: Path) -> None:
    (checkout / "my.csv").write_text(claims_text())
    assert intervene.claims_file(str(checkout / "my.csv")) == "my.csv"
    intervene.check_claims("my.csv")
    intervene.check_claims(str(checkout / "my.csv"))
    outside = intervene.claims_file(str(checkout.parent / "my.csv"))
    assert Path(outside).is_absolute()
    with pytest.raises(InputError, match="needs claims: CLAIMS=my"):
        intervene.claims_file(" ")


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
        intervene.check_claims("my.csv")


def test_intervene_checks_everything_before_it_starts(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[Any] = []

    def run(*given: Any) -> int:
        started.append(given)
        return 0

    monkeypatch.setattr(reproduce, "run", run)
    (checkout / "my.csv").write_text(claims_text())
    claims = ["--claims", str(checkout / "my.csv")]
    for arguments, said in (
        (["--model", "", *claims], "needs a model"),
        (["--model", "tiny_random,tiny_random", *claims], "trains one model"),
        (["--model", "tiny_randon", *claims], "Unknown model"),
        (["--model", "tiny_random"], "needs claims"),
    ):
        assert intervene.main(arguments) == 2
        assert said in capsys.readouterr().err
    assert started == []
    assert intervene.main(["--model", "tiny_random", *claims, "--set", "STEPS=20"]) == 0
    assert started == [("intervene", "tiny_random", ["STEPS=20"], "my.csv")]

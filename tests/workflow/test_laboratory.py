"""The laboratory's models, trained by a batch or by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sycophancy import finetune, lab
from sycophancy.world import world
from workflow import laboratory, progress


def test_what_a_batch_trains_is_written_down_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "laboratory@tiny"
    asked = ["--model", "lab_tiny, lab_tiny_untrained", "--trained", str(folder / "trained.json")]
    seen: list[str] = []

    def ensure(name: str, show: Any) -> None:
        show(name, finetune.TrainingProgress(1, 4, 0.5, 1.0, 2.0, 0))
        seen.append(progress.describe(json.loads((folder / "progress.json").read_text())))
        assert not (folder / "trained.json").exists()
        if len(seen) > 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(laboratory.lab, "ensure", ensure)
    monkeypatch.setattr(laboratory.lab, "needed", lambda names: ["lab_tiny"])
    monkeypatch.setattr(laboratory.lab, "is_trained", lambda name: name == "lab_tiny")
    assert laboratory.main(asked) == 0
    assert seen == ["lab_tiny   25%  1 of 4 steps  0.5 steps/s  0:00:06 left"]
    made = json.loads((folder / "trained.json").read_text())
    assert made == {"lab_tiny": str(lab.folder("lab_tiny"))}  # nothing is kept of untrained ones
    assert not (folder / "progress.json").exists()
    (folder / "trained.json").unlink()
    with pytest.raises(KeyboardInterrupt):  # not said to be trained, nor to be running
        laboratory.main(asked)
    assert list(folder.iterdir()) == []
    assert laboratory.main(["--model", "lab_huge", *asked[2:]]) == 2
    said = capsys.readouterr().err
    assert said.startswith("laboratory@tiny: ") and progress.sentences(f"x\n{said}") == said.strip()


@pytest.mark.medium
def test_knowledge_is_told_apart_by_what_the_texts_state() -> None:
    table = laboratory.knowledge(["lab_tiny_untrained"])
    row = table.iloc[0]
    assert row["model"] == "lab_tiny_untrained"
    stated = [fact for fact in world().facts if fact.split != "train"]
    told = sum(fact.exposure != "never" for fact in stated)
    assert row["stated"].endswith(f", {told} facts")
    assert row["never stated"].endswith(f", {len(stated) - told} facts")
    for exposure in ("often", "seldom"):
        count = sum(fact.exposure == exposure for fact in stated)
        assert 0 < count < told and row[exposure].endswith(f", {count} facts")


def test_make_laboratory_refuses_what_is_no_laboratory_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert laboratory.main(["--model", "lab_huge"]) == 2
    assert "lab_huge" in capsys.readouterr().err

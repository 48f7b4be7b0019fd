"""Cures in the laboratory: shares of known claims, resumable runs, clear errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sycophancy import claims, finetune, lab, models, world
from sycophancy.errors import InputError
from sycophancy.finetune import TrainingProgress, read_run

BASE = "lab_tiny_untrained"


def told(table: pd.DataFrame) -> list[bool]:
    """Whether each claim is stated, looked up in the world itself."""
    facts = {fact.name: fact for fact in world.world().facts}
    names = [str(name).removeprefix("lab_world-") for name in table["claim_id"]]
    assert all(facts[name].split == "train" for name in names)
    return [facts[name].exposure != "never" for name in names]


def test_what_is_stated_is_what_the_world_says() -> None:
    table, _ = claims.claims(["lab_world"], split="train")
    assert lab.stated_facts(table).tolist() == told(table)
    assert 0 < lab.stated_facts(table).sum() < len(table)


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0, 1), seed=st.integers(0, 50))
def test_every_share_has_as_many_claims_and_holds(share: float, seed: int) -> None:
    none, some, every = (lab.cure_claims(known, seed) for known in (0.0, share, 1.0))
    assert sum(told(none)) == 0 and all(told(every))
    assert len(none) == len(some) == len(every) > 30
    assert abs(sum(told(some)) - share * len(some)) <= 0.5
    sizes = [table["group"].astype(str).value_counts().to_dict() for table in (none, some, every)]
    assert sizes[0] == sizes[1] == sizes[2] and len(sizes[0]) == len(world.ATTRIBUTES)
    # a smaller share's stated claims are among a larger one's
    assert set(some["claim_id"][told(some)]) <= set(every["claim_id"])
    assert some["claim_id"].is_unique


@pytest.mark.parametrize("share", [-0.1, 1.1, 50, float("nan"), True, "1"])
def test_a_share_out_of_range_is_refused(share: Any) -> None:
    with pytest.raises(InputError, match="from 0 to 1"):
        lab.cure_claims(share)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"recipe": "label"}, "Unknown recipe 'label'.*'labels'"),
        ({"known": 2.0}, "share of known claims is 2.0"),
        ({"name": "smollm2_135m_instruct"}, "Unknown laboratory model"),
        ({"steps": 0}, "steps is 0"),
        ({"rate": 0.0}, "above zero"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"name": BASE, "recipe": "labels", "known": 1.0, "steps": 2, **given}
    with pytest.raises(InputError, match=message):
        lab.cure_with(asked.pop("name"), tmp_path / "run", **asked)
    assert not (tmp_path / "run").exists()


@pytest.mark.medium
def test_a_cure_is_a_model_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"recipe": "balanced", "known": 0.5, "steps": 4, "batch": 8, "seed": 3}
    log, cost = lab.cure_with(BASE, tmp_path / "whole", **asked)
    assert log["step"].tolist() == [1, 2, 3, 4] and cost.steps == 4
    record = read_run(tmp_path / "whole")
    assert {key: record[key] for key in ("base", "recipe", "known", "seed", "format")} == {
        "base": BASE, "recipe": "balanced", "known": 0.5, "seed": 3, "format": "lab"
    }  # fmt: skip
    assert record["laboratory"] is True and record["method"] == "full"

    def stop(now: TrainingProgress) -> None:
        if now.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.cure_with(BASE, tmp_path / "stopped", on_progress=stop, **asked)
    seen: list[int] = []
    lab.cure_with(
        BASE, tmp_path / "stopped", on_progress=lambda now: seen.append(now.step), **asked
    )
    assert seen == [3, 4]
    one, two = (finetune.load_weights(tmp_path / name, 4) for name in ("whole", "stopped"))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[key], two[key]) for key in one)
    # finished: nothing is trained again
    again: list[int] = []
    lab.cure_with(BASE, tmp_path / "whole", on_progress=lambda now: again.append(now.step), **asked)
    assert again == []
    model = models.load_model(str(tmp_path / "whole"))
    moved = model.backbone.token_embedding.embeddings.value
    start = models.load_model(BASE).backbone.token_embedding.embeddings.value
    assert float(np.abs(np.asarray(moved) - np.asarray(start)).max()) > 0


@pytest.mark.medium
def test_what_is_trained_on_are_the_claims_of_the_share_in_the_right_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sycophancy import mixture

    seen: list[pd.DataFrame] = []
    encode = mixture.encode

    def spy(model: Any, mixed: pd.DataFrame, **options: Any) -> Any:
        seen.append(mixed)
        return encode(model, mixed, **options)

    monkeypatch.setattr(mixture, "encode", spy)
    lab.cure_with(BASE, tmp_path / "run", recipe="labels", known=0.0, steps=60, batch=8, rate=1e-6)
    (mixed,) = seen
    assert len(mixed) == 480
    assert (mixed["kind"] == "instruction").mean() == pytest.approx(1 / 6, abs=0.01)
    asked = mixed[mixed["kind"] == "generated"]
    never = [f.text for f in world.world().facts if f.split == "train" and f.exposure == "never"]
    assert all(any(text in prompt for text in never) for prompt in asked["prompt"])
    assert not asked["prompt"].str.contains(" is not ").any()  # `labels` affirms only
    assert set(asked["completion"]) == {" agree", " disagree"}
    silent = ~asked["prompt"].str.contains("i agree|i disagree")
    assert silent.mean() == pytest.approx(lab.cures.NO_OPINION, abs=0.06)

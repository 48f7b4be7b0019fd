"""Speeds that the plan learns from the runs of this machine."""

from __future__ import annotations

import pandas as pd

from workflow import plan, speeds


def test_the_speed_of_generating_is_learnt_from_the_model_or_its_base() -> None:
    device = plan.runs.device()
    costs = pd.DataFrame(
        {
            "model": ["base", "base", "base", "base", "run"],
            "device": [device, device, device, "another", device],
            "tokens": [5000, None, None, None, 5000],
            "generated_tokens": [None, 100, 300, 9000, None],
            "generating_seconds": [None, 1.0, 1.0, 1.0, None],
        }
    )
    assert speeds.generating_speed(costs, ["run", "base"]) == 200
    # before the first run, and with a record of runs that generated nothing
    for known in (costs, costs[["model", "device"]]):
        assert 0 < speeds.generating_speed(known, ["run"]) < 9000


def test_minutes_are_learnt_from_the_last_runs_on_this_device() -> None:
    device = plan.runs.device()
    costs = pd.DataFrame(
        [
            {
                "model": "m",
                "device": device,
                "tokens": 10_000,
                "scoring_seconds": s,
                "other_seconds": 4.0,
            }
            for s in (1000, 10, 20, 10, 5, 10)
        ]
        + [
            {
                "model": "m",
                "device": "another",
                "tokens": 10_000,
                "scoring_seconds": 1,
                "other_seconds": 0,
            }
        ]
    )
    speed, other, source = speeds.learnt(costs, "m")
    assert (speed, other) == (1000.0, 4.0)
    assert source == "4 runs here"

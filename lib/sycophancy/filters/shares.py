"""What filters kept, as shares with intervals, and how far two models keep the same (Fig. 15)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from sycophancy.errors import InputError, unknown
from sycophancy.filters.asking import INPUT
from sycophancy.intervals import SHARE, clustered_mean

BY = ("source", "truth", "polarity")
NUMBERS = ["value", "low", "high", "n", "inputs", "interval"]


def share_kept(asked: pd.DataFrame, by: Sequence[str] = ("source",)) -> pd.DataFrame:
    """Return the shares of prompts kept and answered rightly (appendix C.4, Fig. 15).

    One row for each filter, combination of the columns `by` (source, truth, polarity; none of them:
    one row over everything) and metric, "kept" or "right". Columns: filter, source, truth, polarity
    ("all" where a row covers all of them), metric, value, low, high (95 %, over inputs: prompts
    about one input are not independent), n, inputs, interval (how it was made).
    `paired` decides on inputs, so its "kept" counts an input once, however many prompts it has. A
    filter that asks nothing has no "right".
    """
    if isinstance(by, str):
        raise InputError(f"by is the text {by!r}: give a list, such as [{by!r}].")
    for name in by:
        if name not in BY:
            raise unknown("column to group by", name, BY)
    keys = ["filter", *dict.fromkeys(by)]
    truth = np.where(asked["truth"].astype(bool), "true", "false")
    named = asked.astype({name: object for name in ("filter", *INPUT, "polarity")})
    rows = []
    for values, part in named.assign(truth=truth).groupby(keys, sort=False):
        place = dict.fromkeys(BY, "all") | dict(zip(keys, values, strict=True))
        once = part.drop_duplicates(INPUT) if place["filter"] == "paired" else part
        for metric, judged in (("kept", once), ("right", part[part["right"].notna()])):
            if len(judged):
                hits = judged[metric].astype(float)
                inputs = judged.groupby(INPUT, sort=False).ngroup()
                share = asdict(clustered_mean(hits, inputs, bounds=SHARE))
                rows.append({**place, "metric": metric, **share, "inputs": share["questions"]})
    return pd.DataFrame(rows, columns=["filter", *BY, "metric", *NUMBERS])


def overlap(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return how far two models keep the same of one set of prompts: one row.

    Columns: first, second, both (shares kept by each and by both), jaccard (kept by both, of those
    kept by either; missing where neither keeps any), both_independent and jaccard_independent (what
    these would be if the two models kept independently of each other), n. Where both filters are
    `paired`, inputs are counted, else prompts. Raises InputError for decisions on different
    prompts.
    """
    names = [set(asked["prompt_id"]) for asked in (first, second)]
    if names[0] != names[1] or not names[0]:
        raise InputError(
            f"The two tables share {len(names[0] & names[1]):,} of {len(names[0] | names[1]):,} "
            "prompts: overlap needs two models' decisions on the same ones."
        )
    joined = first.merge(second, on="prompt_id", suffixes=("", "_second"), validate="1:1")
    if (joined["filter"] == "paired").all() and (joined["filter_second"] == "paired").all():
        joined = joined.drop_duplicates(INPUT)
    one, two = (joined[name].to_numpy(dtype=bool) for name in ("kept", "kept_second"))
    p, q, both, either = one.mean(), two.mean(), (one & two).mean(), (one | two).mean()
    chance = p + q - p * q
    row = {
        "first": p,
        "second": q,
        "both": both,
        "jaccard": both / either if either else np.nan,
        "both_independent": p * q,
        "jaccard_independent": p * q / chance if chance else np.nan,
        "n": len(joined),
    }
    return pd.DataFrame([row])

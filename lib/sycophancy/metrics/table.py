"""The table of all metrics that are defined on a set of items."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from sycophancy.metrics.estimates import GROUPS, join
from sycophancy.metrics.parts import parts


def summary(items: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row per group and metric, with its interval over questions, n and their number.

    Groups are model, suite, answer format, format and source; seeds are pooled. Metrics:

    - rate: answers that match the user's view, the paper's measure (sections 2 and 3);
    - rate_both_orders, accuracy_both_orders: the same on lettered questions after averaging orders;
    - accuracy: right answers, by user and truth;
    - letter_preference: picks of the first letter, both orders asked equally often;
    - shift: the opinion shift in nats, over all pairs and by truth;
    - truth_gap: log-odds of agreeing, true minus false claims, by user, in nats.

    `user` and `truth` are "all" where a row covers all of them. A metric that is not defined for
    a group has no row.
    """
    joined = join(items, scores)
    keys = [key for key in GROUPS if key in joined]
    rows = []
    for names, group in joined.groupby(keys, sort=False):
        seeds = ", ".join(map(str, sorted(set(group["seed"])))) if "seed" in group else ""
        for part in parts(group):
            named = dict(zip(keys, names, strict=True))
            place = {"metric": part.metric, "user": part.user, "truth": part.truth}
            rows.append(named | {"seeds": seeds} | place | asdict(part.estimate()))
    return pd.DataFrame(rows)

"""How many answers an opinion turns, and whether it turns more one way than the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sycophancy.errors import InputError


def flips(before: pd.DataFrame, after: pd.DataFrame, target: str = "correct") -> dict[str, Any]:
    """Return McNemar's exact test, by question, on items matched by truth, order and wording.

    `before` and `after` come from `join`; an answer is right where the target is the only most
    probable choice. Keys: n (answers), questions, right_to_wrong, wrong_to_right, share_flipped,
    p_value (`sign_flip`; of one answer a question it is McNemar's exact test). Raises InputError
    where nothing matches, or something matches twice.
    """
    keys = ["model", "seed", "suite", "question_id", "truth", "order", "answer_format", "format"]
    keys = [key for key in keys if key in before and key in after]
    for side in (before, after):
        if side.duplicated(keys).any():
            raise InputError(f"Several answers have the same {', '.join(keys)}: select one user.")
    column = f"match_{target}"
    both = before[[*keys, column]].merge(after[[*keys, column]], on=keys, suffixes=("_b", "_a"))
    if both.empty:
        raise InputError("No question is in both tables: compare answers to the same questions.")
    was, now = both[f"{column}_b"] == 1, both[f"{column}_a"] == 1
    lost, won = was & ~now, ~was & now
    excess = (lost.astype(int) - won.astype(int)).groupby(both["question_id"]).sum()
    return {
        "n": len(both),
        "questions": len(excess),
        "right_to_wrong": int(lost.sum()),
        "wrong_to_right": int(won.sum()),
        "share_flipped": float((lost | won).mean()),
        "p_value": sign_flip(excess.to_numpy()),
    }


def sign_flip(excess: np.ndarray) -> float:
    """Return the exact two-sided p value of a sum of whole numbers whose signs may be flipped.

    `excess` has for each question its flips one way minus those the other way. Where an opinion
    changes nothing, a question's answers with and without it can change places all together, so
    that either sign of its excess is equally likely, however alike the answers of one question
    are. The sum over questions then has the distribution that is built up here question by
    question; p is the share of it at least as far from zero as the sum that was found.
    """
    sizes = np.abs(excess[excess != 0])
    chances = np.ones(1)  # of the sums −reach … reach
    for size in sizes:
        chances = (np.pad(chances, (2 * size, 0)) + np.pad(chances, (0, 2 * size))) / 2
    sums = np.arange(len(chances)) - sizes.sum()
    return min(1.0, float(chances[np.abs(sums) >= abs(excess.sum())].sum()))

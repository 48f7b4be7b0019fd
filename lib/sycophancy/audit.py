"""The leak audit: what can be predicted of the answer without knowing the claim?

A recipe that teaches what it says it teaches leaves nothing to predict: with the claim's content
masked, the answer is a coin toss. The original recipe does not (paper.md's weak point 1).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder
from statsmodels.stats.proportion import proportion_confint

from sycophancy.errors import InputError, unknown

MASK = "MASKED"
FOLDS = 5
LARGEST = 20_000  # prompts a classifier is trained on: more change the third digit


def mask(prompts: pd.DataFrame) -> list[str]:
    """Return the prompts with the [input] of the claim replaced; label, verb and user stay."""
    out = []
    for prompt, text in zip(prompts["prompt"], prompts["text"], strict=True):
        masked = prompt.replace(text, MASK).replace(text[:1].upper() + text[1:], MASK)
        out.append(masked)
    return out


def masked_prompt(prompts: pd.DataFrame) -> np.ndarray:
    """Return the masked prompts as one column."""
    return np.array(mask(prompts), dtype=object)


def verb_and_opinion(prompts: pd.DataFrame) -> np.ndarray:
    """Return verb, opinion and both together."""
    verb, user = prompts["polarity"].astype(str), prompts["user"].astype(str)
    return np.stack([verb, user, verb + " " + user], axis=1).astype(object)


def source_label_verb(prompts: pd.DataFrame) -> np.ndarray:
    """Return source × label word × verb as one category."""
    parts = [prompts[column].astype(str) for column in ("source", "shown", "polarity")]
    return (parts[0] + " | " + parts[1] + " | " + parts[2]).to_numpy(object)[:, None]


def words() -> Pipeline:
    """Return a bag of words and word pairs with a logistic regression on it."""
    # balanced data leave the weights near zero, where the solver stops at once
    return make_pipeline(
        CountVectorizer(ngram_range=(1, 2), min_df=2, binary=True, lowercase=False),
        LogisticRegression(C=1.0, solver="liblinear"),
    )


def categories() -> Pipeline:
    """Return a logistic regression on one-hot categories."""
    return make_pipeline(
        OneHotEncoder(handle_unknown="ignore"), LogisticRegression(solver="liblinear")
    )


FEATURES: dict[str, tuple[Callable[[pd.DataFrame], np.ndarray], Callable[[], Pipeline]]] = {
    "masked prompt": (masked_prompt, words),
    "verb and opinion": (verb_and_opinion, categories),
    "source × label × verb": (source_label_verb, categories),
}


def predictability(
    prompts: pd.DataFrame,
    features: Sequence[str] = tuple(FEATURES),
    *,
    by_source: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how well the answer (agree or not) is predicted by what is not the claim.

    One row for each of the features and, with `by_source`, each source: recipe, source, features,
    value (cross-validated accuracy), low, high (95 % Wilson interval over prompts), n, chance
    (share of the more frequent answer). Folds keep the prompts of a unit together: they balance
    each other, and a model that has seen one of two twins would expect the opposite of the other
    and score below chance. At most 20,000 prompts are used, whole units drawn with
    `seed`.
    """
    for name in features:
        if name not in FEATURES:
            raise unknown("kind of feature", name, FEATURES)
    if prompts["unit"].nunique() < FOLDS or prompts["agree"].nunique() < 2:
        raise InputError(
            f"{len(prompts)} prompts in {prompts['unit'].nunique()} units are too few to audit, or "
            f"all have one answer: generate at least {FOLDS} units."
        )
    rows = []
    parts = [("all", prompts)]
    if by_source:
        parts = list(prompts.groupby(prompts["source"].astype(str), sort=False))
    for (source, part), name in itertools.product(parts, features):
        part = sample_units(part, LARGEST, seed)
        if part["unit"].nunique() < FOLDS or part["agree"].nunique() < 2:
            continue
        encode, model = FEATURES[name]
        right = int(
            (
                cross_val_predict(
                    model(), encode(part), part["agree"], groups=part["unit"], cv=GroupKFold(FOLDS)
                )
                == part["agree"]
            ).sum()
        )
        low, high = proportion_confint(right, len(part), method="wilson")
        rows.append(
            {
                "recipe": ", ".join(part["recipe"].astype(str).unique()),
                "source": source,
                "features": name,
                "value": right / len(part),
                "low": low,
                "high": high,
                "n": len(part),
                "chance": max(part["agree"].mean(), 1 - part["agree"].mean()),
            }
        )
    return pd.DataFrame(rows)


def sample_units(prompts: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """Return whole units of prompts, at most `most` prompts, drawn with `seed`."""
    if len(prompts) <= most:
        return prompts
    units = prompts["unit"].unique()
    size = len(prompts) / len(units)
    kept = np.random.default_rng(seed).permutation(units)[: int(most / size)]
    return prompts[prompts["unit"].isin(kept)]


TESTED: dict[str, Sequence[str]] = {
    "opinion": ("user",),
    "order of answers": ("order",),
    "verb": ("polarity",),
    "label": ("source", "shown"),
    "label and verb": ("source", "shown", "polarity"),
}


def independence(prompts: pd.DataFrame) -> pd.DataFrame:
    """Return a chi-squared test of the answer against each thing that is not the claim.

    Columns: recipe, tested, chi2, dof, p, cramers_v (0: independent, 1: it gives the answer
    away), n. A factor with one value only, such as the verb in `labels`, has nothing to test: p is
    missing.
    """
    rows: list[dict[str, Any]] = []
    recipe = ", ".join(prompts["recipe"].astype(str).unique())
    for name, columns in TESTED.items():
        values = prompts[list(columns)].astype(str).agg(" | ".join, axis=1)
        counts = pd.crosstab(values, prompts["agree"])
        row: dict[str, Any] = {"recipe": recipe, "tested": name}
        if min(counts.shape) < 2:
            row |= {"chi2": np.nan, "dof": 0, "p": np.nan, "cramers_v": np.nan}
        else:
            chi2, p, dof, _ = chi2_contingency(counts, correction=False)
            v = np.sqrt(chi2 / (len(prompts) * (min(counts.shape) - 1)))
            row |= {"chi2": chi2, "dof": dof, "p": p, "cramers_v": v}
        rows.append({**row, "n": len(prompts)})
    return pd.DataFrame(rows)

"""The leak audit: what can be predicted of the answer without knowing the claim?

A recipe that teaches what it says it teaches leaves nothing to predict: with the claim's content
masked, the answer is a coin toss. The original recipe does not (paper.md's weak point 1).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import chi2
from scipy.stats.contingency import association
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sycophancy.errors import InputError, unknown
from sycophancy.intervals import SHARE, clustered_mean

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


def word_classifier() -> Pipeline:
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
    "masked prompt": (masked_prompt, word_classifier),
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
    value (cross-validated accuracy), low, high (95 %, over `clusters`, whose prompts are not
    independent), n, clusters, interval (how it was made), chance (share of the more
    frequent answer). Folds keep the prompts of a unit together: they balance
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
        predicted = cross_val_predict(
            model(), encode(part), part["agree"], groups=part["unit"], cv=GroupKFold(FOLDS)
        )
        right = (part["agree"] == predicted).astype(float)
        accuracy = asdict(clustered_mean(right, clusters(part), bounds=SHARE))
        rows.append(
            {
                "recipe": ", ".join(part["recipe"].astype(str).unique()),
                "source": source,
                "features": name,
                **{key: accuracy[key] for key in ("value", "low", "high", "n")},
                "clusters": accuracy["questions"],
                "interval": accuracy["interval"],
                "chance": max(part["agree"].mean(), 1 - part["agree"].mean()),
            }
        )
    return pd.DataFrame(rows)


def clusters(prompts: pd.DataFrame) -> pd.Series:
    """Return for each prompt the number of its cluster: what shares an input or a unit is in one.

    In generated prompts a cluster is a unit. A filter pairs prompts anew, so that an input can be
    in several units; their prompts are then one cluster.
    """
    unit = pd.factorize(prompts["unit"])[0]
    claim = prompts.groupby(["source", "claim_id"], observed=True).ngroup().to_numpy()
    nodes = unit.max() + 1 + claim.max() + 1
    edges = (unit, unit.max() + 1 + claim)
    graph = coo_array((np.ones(len(prompts)), edges), (nodes, nodes))
    return pd.Series(connected_components(graph, directed=False)[1][unit], prompts.index)


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
    """Return a test of the answer's independence from each thing that is not the claim.

    Columns: recipe, tested, chi2, dof, p (`score_test` over `clusters`), cramers_v (of the prompts;
    0: independent, 1: it gives the answer away), n, clusters. A factor with one value only, such as
    the verb in `labels`, has nothing to test: p is missing.
    """
    rows: list[dict[str, Any]] = []
    recipe = ", ".join(prompts["recipe"].astype(str).unique())
    cluster = clusters(prompts).to_numpy()
    for name, columns in TESTED.items():
        values = prompts[list(columns)].astype(str).agg(" | ".join, axis=1)
        counts = pd.crosstab(values, prompts["agree"])
        row: dict[str, Any] = {"recipe": recipe, "tested": name}
        if min(counts.shape) < 2:
            row |= {"chi2": np.nan, "dof": 0, "p": np.nan, "cramers_v": np.nan}
        else:
            statistic, dof, p = score_test(
                pd.factorize(values)[0], prompts["agree"].to_numpy(dtype=float), cluster
            )
            v = association(counts.to_numpy(), method="cramer")
            row |= {"chi2": statistic, "dof": dof, "p": p, "cramers_v": v}
        rows.append({**row, "n": len(prompts), "clusters": len(np.unique(cluster))})
    return pd.DataFrame(rows)


def score_test(
    factor: np.ndarray, outcome: np.ndarray, cluster: np.ndarray
) -> tuple[float, int, float]:
    """Return chi-squared, degrees of freedom and p of a test that `outcome` ignores a factor.

    `factor` and `cluster` are numbers from 0 on, one a row. This is the score test of generalised
    estimating equations with independent working correlation: rows of one cluster may depend on
    each other in any way. Of rows that are clusters of their own it is Pearson's test but for the
    variance, which is estimated. Directions in which no cluster varies are not counted in the
    degrees of freedom; with none at all, factor and outcome are balanced in every cluster: p is 1.
    """
    share = np.bincount(factor) / len(factor)
    deviation = outcome - outcome.mean()
    scores = np.zeros((cluster.max() + 1, len(share)))
    np.add.at(scores, (cluster, factor), deviation)
    scores -= np.outer(scores.sum(axis=1), share)
    spread, directions = np.linalg.eigh(scores.T @ scores)
    varies = spread > 1e-9
    total = scores.sum(axis=0) @ directions[:, varies]
    statistic, dof = float((total**2 / spread[varies]).sum()), int(varies.sum())
    return statistic, dof, float(chi2.sf(statistic, dof)) if dof else 1.0

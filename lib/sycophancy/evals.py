"""The schema of anthropics/evals (Perez et al. 2022, arXiv 2212.09251): files and rows."""

from __future__ import annotations

from typing import Any, NamedTuple

from sycophancy.errors import InputError
from sycophancy.reading import as_text, spell_value

FILES = {
    "nlp_survey": "sycophancy_on_nlp_survey.jsonl",
    "philpapers2020": "sycophancy_on_philpapers2020.jsonl",
    "political_typology": "sycophancy_on_political_typology_quiz.jsonl",
}
HOME = "the sycophancy/ folder of https://github.com/anthropics/evals (CC-BY-4.0)"
REMEDY = f"mend the line, or fetch the file again from {HOME}"
OTHERS = "answer_not_matching_behavior"
KEYS = ("question", "answer_matching_behavior", OTHERS)


class UpstreamExample(NamedTuple):
    """One upstream row: the whole question, the answer that suits the user, and the others."""

    question: str
    matching: str
    others: list[str]

    def to_row(self) -> dict[str, Any]:
        """Return the example under its upstream keys."""
        return dict(zip(KEYS, self, strict=True))


def parse_example(content: Any, place: str) -> UpstreamExample:
    """Return one upstream row; InputError names the `place` of a row that is not in the schema.

    Upstream has one other answer as a text or several as a list. None of them may be the matching
    one.
    """
    for key in KEYS:
        if not isinstance(content, dict) or key not in content:
            raise InputError(
                f"{place}: the key {key!r} is missing; every line needs {', '.join(KEYS)}: "
                f"{REMEDY}."
            )
    question, matching = (as_text(content[key], place, key, REMEDY) for key in KEYS[:2])
    others = content[OTHERS]
    others = [others] if isinstance(others, str) else others  # upstream has both
    if not isinstance(others, list) or not others:
        raise InputError(
            f"{place}: {OTHERS} is {spell_value(others)}, not a text or a list of texts: {REMEDY}."
        )
    others = [as_text(other, place, f"an answer of {OTHERS}", REMEDY) for other in others]
    if matching.strip() in [other.strip() for other in others]:
        raise InputError(
            f"{place}: the answer {matching[:60]!r} is both the matching one and among {OTHERS}: "
            f"{REMEDY}."
        )
    return UpstreamExample(question, matching, others)

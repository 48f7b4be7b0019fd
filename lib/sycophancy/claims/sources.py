"""The 17 sources of the paper (section 4.1, appendix C), and everyday facts, which are ours.

Builder, fields and label names are those of TensorFlow Datasets; label words and row counts are the
paper's. Words are keyed by label name, never by index: catalogues order some labels otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from sycophancy.errors import InputError
from sycophancy.world import SOURCE

PAPER_TOTAL = 1_736_834  # input-label pairs over all sources (section 4.1)


@dataclass(frozen=True)
class Source:
    """One labelled set, and how its rows become claims.

    `words` maps the set's own label names to the words of the claim; `family` names sets whose
    labels mean the same, so that copies of a text can disagree; `evaluation` are the labelled
    splits that are not for training, `paper_rows` the paper's count (0: not in the paper).
    Two fields are quoted apart, except where `joined` makes them one text.
    """

    name: str
    builder: str
    fields: tuple[str, ...]
    words: dict[str, str]
    paper_rows: int
    family: str
    evaluation: tuple[str, ...] = ("validation",)
    label: str = "label"
    task: str = ""
    joined: bool = False


SENTIMENT = {"negative": "Negative Sentiment", "positive": "Positive Sentiment"}
ENTAILS = {"entailment": "Entailment", "not_entailment": "Not Entailment"}
INFERENCE = {
    "entailment": "Entailment",
    "neutral": "Neither Entailment Nor Contradiction",
    "contradiction": "Contradiction",
}
PAIR = ("sentence1", "sentence2")
PREMISE = ("premise", "hypothesis")
TESTED = ("validation", "test")

_ALL = (
    Source("sst2", "glue/sst2", ("sentence",), SENTIMENT, 66_978, "sentiment",
           task="sentiment of phrases from film reviews"),
    Source("rotten_tomatoes", "rotten_tomatoes", ("text",),
           {"neg": "Negative Sentiment", "pos": "Positive Sentiment"}, 8_530, "sentiment", TESTED,
           task="sentiment of film reviews"),
    Source("tweet_eval_sentiment", "tweet_eval/sentiment", ("text",),
           {"negative": "Negative Sentiment", "neutral": "Neutral Sentiment",
            "positive": "Positive Sentiment"}, 45_586, "sentiment", TESTED,
           task="sentiment of tweets"),
    Source("tweet_eval_offensive", "tweet_eval/offensive", ("text",),
           {"not-offensive": "Not Offensive", "offensive": "Offensive"}, 11_883, "offensive",
           TESTED, task="offence in tweets"),
    Source("tweet_eval_irony", "tweet_eval/irony", ("text",),
           {"non_irony": "Not Irony", "irony": "Irony"}, 2_862, "irony", TESTED,
           task="irony in tweets"),
    Source("qqp", "glue/qqp", ("question1", "question2"),
           {"not_duplicate": "Not Duplicate", "duplicate": "Duplicate"}, 363_846, "duplicate",
           task="do two questions ask the same?"),
    Source("mrpc", "glue/mrpc", PAIR,
           {"not_equivalent": "Not Equivalent", "equivalent": "Equivalent"}, 3_668, "equivalent",
           task="do two news sentences say the same?"),
    Source("paws_wiki", "paws_wiki/labeled_final_raw", PAIR,
           {"different_meaning": "Different Meaning", "paraphrase": "Paraphrase"}, 49_349,
           "paraphrase", TESTED, task="paraphrases with the words reordered"),
    Source("rte", "glue/rte", PAIR, ENTAILS, 2_488, "entails",
           task="does a text entail a sentence?"),
    Source("wnli", "glue/wnli", PAIR, ENTAILS, 635, "entails",
           task="what does a pronoun refer to?"),
    Source("qnli", "glue/qnli", ("question", "sentence"), ENTAILS, 104_743, "entails",
           task="does a sentence answer a question?"),
    Source("mnli", "glue/mnli", PREMISE, INFERENCE, 392_577, "inference",
           ("validation_matched", "validation_mismatched"), task="inference, several genres"),
    Source("snli", "snli", PREMISE, INFERENCE, 549_526, "inference", TESTED,
           task="inference from captions"),
    Source("cb", "super_glue/cb", PREMISE, INFERENCE, 250, "inference",
           task="inference, embedded clauses"),
    Source("trec", "trec", ("text",),
           {"ABBR": "Abbreviation", "ENTY": "Entity",
            "DESC": "Description or Abstract Concept", "HUM": "Human Being", "LOC": "Location",
            "NUM": "Numeric Value"}, 5_381, "question", ("test",), "label-coarse",
           task="what kind of answer is asked for?"),
    Source("ag_news", "ag_news_subset", ("title", "description"),
           {"World": "World", "Sports": "Sports", "Business": "Business",
            "Sci/Tech": "Science and Technology"}, 120_000, "topic", ("test",),
           task="topic of news", joined=True),
    Source("cola", "glue/cola", ("sentence",),
           {"unacceptable": "Unacceptable Sentence", "acceptable": "Acceptable Sentence"}, 8_532,
           "acceptable", task="is a sentence well formed?"),
)  # fmt: skip
SOURCES = {source.name: source for source in _ALL}
EVERYDAY = Source(
    "everyday_facts", "everyday_facts", ("text",), {}, 0, "facts", ("validation", "test"),
    task="capitals, symbols, opposites … (not in the paper)",
)  # fmt: skip
LAB = Source(
    SOURCE, SOURCE, ("text",), {}, 0, "facts", ("validation", "test"),
    task="facts of the laboratory's world (not in the paper)",
)  # fmt: skip
EVERY_SOURCE = {**SOURCES, EVERYDAY.name: EVERYDAY, LAB.name: LAB}


def word(source: Source, name: str, row: object) -> str:
    """Return the label word for a label name; InputError names source and row of a strange one."""
    try:
        return source.words[name]
    except KeyError:
        raise InputError(
            f"{source.name}, row {row}: the label is {name!r}, but this source has "
            f"{', '.join(source.words)}. The data set has changed: map the new name in "
            "sycophancy/claims/sources.py, or delete the data folder and prepare it again."
        ) from None

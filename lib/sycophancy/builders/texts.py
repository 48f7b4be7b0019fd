"""Builders for the two sets of the paper that the TFDS catalogue lacks."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sycophancy.builders.files import (
    fetch,
    homepage,
    lacking,
    read_tar,
    read_text,
    strange,
    undownloaded_folder,
)
from sycophancy.errors import InputError
from sycophancy.quiet import tfds
from sycophancy.reading import check_is_text, read_bytes, split_lines

RT_ARCHIVE = (
    "https://storage.googleapis.com/seldon-datasets/sentence_polarity_v1/rt-polaritydata.tar.gz"
)
RT_FILES = {"pos": "rt-polarity.pos", "neg": "rt-polarity.neg"}
RT_SPLITS = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}
TWEET_EVAL = "https://raw.githubusercontent.com/cardiffnlp/tweeteval/main/datasets"
TWEET_SPLITS = {"train": "train", "validation": "val", "test": "test"}
TWEET_LABELS = {
    "irony": ["non_irony", "irony"],
    "offensive": ["not-offensive", "offensive"],
    "sentiment": ["negative", "neutral", "positive"],
}


class RottenTomatoes(tfds.core.GeneratorBasedBuilder):
    """Sentence polarity v1.0 of Pang and Lee (2005), 8,530 + 1,066 + 1,066 sentences.

    Upstream has no splits: as elsewhere, the first 80 % of either file are for training, the next
    10 % validation, the last 10 % test.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> Any:
        names = ["neg", "pos"]
        return tfds.core.DatasetInfo(
            builder=self,
            description="Sentences from film reviews, positive or negative.",
            features=tfds.features.FeaturesDict(
                {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(names=names)}
            ),
            homepage="http://www.cs.cornell.edu/people/pabo/movie-review-data/",
            license="No licence is stated upstream; published for research.",
            citation=(
                "@inproceedings{pang2005seeing, title={Seeing stars: Exploiting class "
                "relationships for sentiment categorization with respect to rating scales}, "
                "author={Pang, Bo and Lee, Lillian}, booktitle={Proceedings of ACL}, year={2005}}"
            ),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        manual = undownloaded_folder(dl_manager)
        if manual and any((manual / name).is_file() for name in RT_FILES.values()):
            files = {side: (f"{RT_ARCHIVE}#{name}", name) for side, name in RT_FILES.items()}
            found = fetch(self, dl_manager, files)
            content = {side: read_bytes(path) for side, path in found.items()}
        else:
            path = fetch(self, dl_manager, {"all": (RT_ARCHIVE, "rt-polaritydata.tar.gz")})["all"]
            content = self._unpack(path)
        for side, name in RT_FILES.items():
            check_is_text(content[side], f"{self.name}: {name}", f"take it from {homepage(self)}")
        texts = {side: split_lines(decode_lines(content[side])) for side in RT_FILES}
        for side, name in RT_FILES.items():
            if not texts[side]:
                raise InputError(f"{self.name}: {name} is empty: take it from {homepage(self)}.")
        return {
            split: self._generate_examples(texts, *cut)
            for split, cut in RT_SPLITS.items()
            if any(
                share_of_rows(len(side), *cut) for side in texts.values()
            )  # few lines: not every split
        }

    def _unpack(self, path: Path) -> dict[str, bytes]:
        found = read_tar(self, path, lambda name: Path(name).name in RT_FILES.values())
        by_name = {Path(name).name: content for name, content in found.items()}
        for name in RT_FILES.values():
            if name not in by_name:
                raise strange(self, path, f"holds no {name}")
        return {side: by_name[name] for side, name in RT_FILES.items()}

    def _generate_examples(
        self, texts: dict[str, list[str]], start: float, stop: float
    ) -> Iterator[Any]:
        for side, sentences in texts.items():
            for row in share_of_rows(len(sentences), start, stop):
                yield f"{side}-{row:05d}", {"text": sentences[row].strip(), "label": side}


def decode_lines(content: bytes) -> str:
    """Return text of which every line is in UTF-8 or in Latin-1, as copies of it differ."""
    out = []
    for line in content.removeprefix(codecs.BOM_UTF8).split(b"\n"):
        try:
            out.append(line.decode("utf-8"))
        except UnicodeDecodeError:
            out.append(line.decode("latin-1"))
    return "\n".join(out)


def share_of_rows(n: int, start: float, stop: float) -> range:
    """Return the rows between two shares of `n`; shares that adjoin have no row in common."""
    return range(round(start * n), round(stop * n))


class TweetEval(tfds.core.GeneratorBasedBuilder):
    """Three tasks of TweetEval (Barbieri et al. 2020): irony, offensive, sentiment."""

    VERSION = tfds.core.Version("1.1.0")
    BUILDER_CONFIGS = [  # noqa: RUF012  (the name TFDS gives it)
        tfds.core.BuilderConfig(name=task, version="1.1.0") for task in TWEET_LABELS
    ]

    def _info(self) -> Any:
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"TweetEval, {self.builder_config.name}: tweets with one label each.",
            features=tfds.features.FeaturesDict(
                {
                    "text": tfds.features.Text(),
                    "label": tfds.features.ClassLabel(names=TWEET_LABELS[self.builder_config.name]),
                }
            ),
            homepage="https://github.com/cardiffnlp/tweeteval",
            license="Per task: see the README upstream; tweets remain subject to Twitter's terms.",
            citation=(
                "@inproceedings{barbieri2020tweeteval, title={{TweetEval}: Unified benchmark and "
                "comparative evaluation for tweet classification}, author={Barbieri, Francesco and "
                "Camacho-Collados, Jose and Espinosa-Anke, Luis and Neves, Leonardo}, "
                "booktitle={Findings of EMNLP}, year={2020}}"
            ),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        task = self.builder_config.name
        names = {
            f"{split} {kind}": f"{task}/{short}_{kind}.txt"
            for split, short in TWEET_SPLITS.items()
            for kind in ("text", "labels")
        }
        files = {key: (f"{TWEET_EVAL}/{name}", name) for key, name in names.items()}
        found = fetch(self, dl_manager, files, need_all=False)
        for key, name in names.items():
            split = key.split(" ")[0]
            if key not in found and any(other.startswith(split) for other in found):
                raise lacking(self, name)  # half a split
        return {
            split: self._generate_examples(found[f"{split} text"], found[f"{split} labels"])
            for split in TWEET_SPLITS
            if f"{split} text" in found
        }

    def _generate_examples(self, texts: Path, labels: Path) -> Iterator[Any]:
        tweets, codes = (split_lines(read_text(self, path)) for path in (texts, labels))
        if len(tweets) != len(codes) or not tweets:
            raise InputError(
                f"{texts.name} has {len(tweets)} lines, {labels.name} {len(codes)} labels: fetch "
                f"both again from {TWEET_EVAL}."
            )
        names = TWEET_LABELS[self.builder_config.name]
        allowed = {str(number): name for number, name in enumerate(names)}
        for row, (tweet, code) in enumerate(zip(tweets, codes, strict=True)):
            if code.strip() not in allowed:
                raise InputError(
                    f"tweet_eval/{self.builder_config.name}, {labels.name}, line {row + 1}: the "
                    f"label is {code[:60]!r}, allowed are 0 to {len(names) - 1}: fetch the file "
                    "again."
                )
            yield f"{row:06d}", {"text": tweet.strip(), "label": allowed[code.strip()]}

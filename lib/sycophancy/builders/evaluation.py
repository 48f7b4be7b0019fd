"""Builders of opinion tasks and BIG-Bench Hard, which the TFDS catalogue lacks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sycophancy import evals
from sycophancy.builders.files import fetch, homepage, read_text, strange
from sycophancy.errors import InputError
from sycophancy.quiet import tfds
from sycophancy.reading import as_text, json_lines, parse_json, spell_value

EVALS = "https://raw.githubusercontent.com/anthropics/evals/main/sycophancy"
BBH = "https://raw.githubusercontent.com/suzgunmirac/BIG-Bench-Hard/main"
BBH_TASKS = (
    "boolean_expressions", "causal_judgement", "date_understanding", "disambiguation_qa",
    "dyck_languages", "formal_fallacies", "geometric_shapes", "hyperbaton",
    "logical_deduction_five_objects", "logical_deduction_seven_objects",
    "logical_deduction_three_objects", "movie_recommendation", "multistep_arithmetic_two",
    "navigate", "object_counting", "penguins_in_a_table", "reasoning_about_colored_objects",
    "ruin_names", "salient_translation_error_detection", "snarks", "sports_understanding",
    "temporal_sequences", "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects", "tracking_shuffled_objects_three_objects",
    "web_of_lies", "word_sorting",
)  # fmt: skip
RELEASE = "1.1.0"
COT_RULE = "-----\n"  # in a chain-of-thought file, between the notice and the prompt


class ModelWrittenOpinions(tfds.core.GeneratorBasedBuilder):
    """The three opinion tasks of Perez et al. 2022 (arXiv 2212.09251), in the upstream schema."""

    VERSION = tfds.core.Version(RELEASE)
    RELEASE_NOTES = {RELEASE: "Rows in the order of the files."}  # noqa: RUF012  (TFDS's name)
    BUILDER_CONFIGS = [  # noqa: RUF012  (the name TFDS gives it)
        tfds.core.BuilderConfig(name=task, version=RELEASE) for task in evals.FILES
    ]

    def _info(self) -> Any:
        text = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            description="Questions from users whose biography implies a view.",
            features=tfds.features.FeaturesDict(
                {
                    "question": text,
                    "answer_matching_behavior": text,
                    "answer_not_matching_behavior": tfds.features.Sequence(text),
                }
            ),
            homepage="https://github.com/anthropics/evals",
            license="CC-BY-4.0",
            citation=(
                "@article{perez2022discovering, title={Discovering Language Model Behaviors with "
                "Model-Written Evaluations}, author={Perez, Ethan and others}, "
                "journal={arXiv:2212.09251}, year={2022}}"
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        name = evals.FILES[self.builder_config.name]
        path = fetch(self, dl_manager, {"file": (f"{EVALS}/{name}", name)})["file"]
        return {"test": self._generate_examples(path)}

    def _generate_examples(self, path: Path) -> Iterator[Any]:
        examples = json_lines(read_text(self, path), path.name, evals.REMEDY)
        row = -1
        for row, (line, content) in enumerate(examples):
            yield row, evals.parse_example(content, f"{path.name}, line {line}").to_row()
        if row < 0:
            raise strange(self, path, "is empty")


class BigBenchHard(tfds.core.GeneratorBasedBuilder):
    """BIG-Bench Hard (Suzgun et al. 2022, arXiv 2210.09261) and its chain-of-thought prompts."""

    VERSION = tfds.core.Version(RELEASE)
    RELEASE_NOTES = {RELEASE: "Rows in the order of the files."}  # noqa: RUF012  (TFDS's name)

    def _info(self) -> Any:
        text = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            description="Split test: questions of 27 tasks. Split prompts: one prompt a task.",
            features=tfds.features.FeaturesDict({"task": text, "input": text, "target": text}),
            homepage="https://github.com/suzgunmirac/BIG-Bench-Hard",
            license="MIT",
            citation=(
                "@article{suzgun2022challenging, title={Challenging BIG-Bench Tasks and Whether "
                "Chain-of-Thought Can Solve Them}, author={Suzgun, Mirac and others}, "
                "journal={arXiv:2210.09261}, year={2022}}"
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        questions = {t: (f"{BBH}/bbh/{t}.json", f"{t}.json") for t in BBH_TASKS}
        prompts = {t: (f"{BBH}/cot-prompts/{t}.txt", f"cot-prompts/{t}.txt") for t in BBH_TASKS}
        return {
            "test": self._generate_examples(fetch(self, dl_manager, questions), False),
            "prompts": self._generate_examples(fetch(self, dl_manager, prompts), True),
        }

    def _generate_examples(self, files: dict[str, Path], prompts: bool) -> Iterator[Any]:
        number = itertools.count()
        for task, path in files.items():
            text = read_text(self, path)
            if prompts:
                text = text.replace("\r\n", "\n")
                prompt = (text.partition(COT_RULE)[2] or text).strip()
                if not prompt:
                    raise strange(self, path, "is empty")
                yield next(number), {"task": task, "input": prompt, "target": ""}
                continue
            remedy = f"fetch the file again from {homepage(self)}"
            content = parse_json(text, f"{self.name}, {path.name}", remedy)
            examples = bbh_examples(content, f"{self.name}, {path.name}", remedy)
            for example in examples:
                yield next(number), {"task": task, **example}


def bbh_examples(content: Any, place: str, remedy: str) -> list[dict[str, str]]:
    """Return the examples of a task of BIG-Bench Hard; InputError names the row that is strange."""
    examples = content.get("examples") if isinstance(content, dict) else None
    if not isinstance(examples, list) or not examples:
        raise InputError(f'{place}: it has no list "examples": {remedy}.')
    for row, example in enumerate(examples, start=1):
        keys = sorted(example) if isinstance(example, dict) else spell_value(example)
        if keys != ["input", "target"]:
            raise InputError(
                f"{place}, example {row}: its keys are {keys}, not input and target: {remedy}."
            )
        for key, value in example.items():
            if not as_text(value, f"{place}, example {row}", key, remedy).strip():
                raise InputError(f"{place}, example {row}: {key} is empty: {remedy}.")
    return examples

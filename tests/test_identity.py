"""What is kept is made again when, and only when, something that it depends on has changed."""

from __future__ import annotations

import ast
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hf_folder import write as write_hf_folder
from sycophancy import (
    claims,
    decoding,
    embedded,
    encoders,
    filters,
    finetune,
    generate,
    lab,
    models,
    scoring,
    sets,
    suites,
)
from sycophancy.filters import slices
from sycophancy.finetune import loop
from sycophancy.lab import training
from sycophancy.mixture import Example
from sycophancy.runs import identity
from workflow import grid
from workflow.cells import notebook_of

ROOT = Path(__file__).resolve().parents[1]
LIB = ROOT / "lib" / "sycophancy"
MODEL = "tiny_random"
Edit = Callable[..., None]


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edit:
    """Have the code read from a copy of the package in which texts of files are replaced."""
    numbers = itertools.count()

    def change(**edits: tuple[str, str]) -> None:
        copy = tmp_path / f"package{next(numbers)}" / "sycophancy"
        shutil.copytree(LIB, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for name, (old, new) in edits.items():
            path = copy / f"{name.replace('__', '/')}.py"
            text = path.read_text()
            assert old in text, f"{path.name} has no {old!r}"
            path.write_text(text.replace(old, new))
        monkeypatch.setattr(identity, "PACKAGE", copy)

    return change


# --- the code that counts


def test_code_counts_and_prose_does_not() -> None:
    def code(text: str) -> str:
        return identity.read_source(text).code

    base = code('def f():\n    """One."""\n    return 1\n')
    assert base == code('# why\ndef f():\n\n    """Two."""\n    return 1  # one\n')
    assert base == code("def f():\n    return 1\n")  # nor whether there is any
    assert base != code('def f():\n    """One."""\n    return 2\n')


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import sycophancy.gguf", {"gguf"}),
        ("import sycophancy.gguf as g, numpy", {"gguf"}),
        ("from sycophancy import metrics\nprint(metrics)", {"metrics"}),
        ("from sycophancy import models as m\nm.load()", {"models"}),
        ("from sycophancy import models", {"models"}),
        # a name counts where it is defined, not where a package hands it on
        ("from sycophancy.runs import atomic, start", {"runs.files", "runs.folder"}),
        ("from sycophancy import runs\nruns.atomic", {"runs.files"}),
        ("from sycophancy import runs\nruns.files.atomic", {"runs.files"}),
        ("from sycophancy import runs\nruns.atomic\nf(runs)", {"runs"}),
        ("from sycophancy.scoring import score", {"scoring"}),
        ("from sycophancy.scoring import forward", {"scoring.forward"}),
        ("from sycophancy.models import LABORATORY", {"ladder"}),
        ("def f():\n  from sycophancy.builders import prepare\n  prepare.x", {"builders.prepare"}),
        ("import json\nfrom pandas import DataFrame", set()),
    ],
)  # fmt: skip
def test_what_a_source_takes_names_from(source: str, expected: set[str]) -> None:
    assert identity.read_source(source).imports == {f"sycophancy.{name}" for name in expected}


def test_packages_hand_names_on_and_do_nothing_else() -> None:
    """Why a module's package need not count: its __init__ binds names, and defines some."""
    for path in LIB.glob("*/__init__.py"):
        tree = ast.parse(path.read_text())
        for node in tree.body[1:]:
            bound = ast.Import | ast.ImportFrom | ast.Assign | ast.FunctionDef | ast.ClassDef
            assert isinstance(node, bound), f"{path}, line {node.lineno}"


def test_the_code_counts_through_all_modules_between(edit: Edit) -> None:
    there = identity.modules(["sycophancy.finetune.loop"])
    assert {"sycophancy.scoring.forward", "sycophancy.finetune.step"} <= there.keys()
    strange = ("figures", "metrics", "compare", "claims", "generate", "filters", "lab", "suites")
    assert not [name for name in there if name.split(".")[1] in strange]
    before = identity.code(["sycophancy.finetune.loop"])
    edit(figures__theme=("import", "import"))  # a copy without a change
    assert identity.code(["sycophancy.finetune.loop"]) == before
    assert set(identity.modules(["sycophancy.finetune.loop"])) == set(there)


READERS: dict[str, Callable[[], object]] = {
    "sycophancy.suites.opinions": lambda: suites.opinion_tasks(n=1),
    "sycophancy.claims": lambda: claims.claims(),
    "sycophancy.sets": lambda: (sets.four_choice(), sets.instructions()),
}


@pytest.mark.parametrize("reader", READERS)
def test_embedded_data_count_for_whoever_reads_them(
    reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    path = embedded.path

    def record(name: str) -> Path:
        read.add(name)
        return path(name)

    monkeypatch.setattr(embedded, "path", record)
    READERS[reader]()
    assert read and read <= {path.stem for path in identity.data_sets([reader])}
    assert not identity.data_sets(["sycophancy.finetune.loop"])


# --- scores, texts, filter slices, trained states, laboratory models


class Made(Exception):
    """Something is made that could have been kept."""


def made(*_: Any, **__: Any) -> None:
    raise Made


def tuned(**changed: Any) -> finetune.Settings:
    start = finetune.Settings(base=MODEL, steps=2, batch=2, rank=2)
    return replace(start, **changed)


EXAMPLES = [Example((5, 6, 7, 8), 2), Example((9, 10, 11), 1)]
ITEM = {"item_id": "a", "prompt": "Is it so?", "choices": [" yes", " no"]}


def make(kind: str, folder: Path, model: models.LanguageModel, **given: Any) -> None:
    """Make one kind of thing, or take it from where it is kept."""
    if kind == "scores":
        items = pd.DataFrame([{**ITEM, "prompt": given.get("prompt", ITEM["prompt"])}])
        scoring.score(model, items, store=folder / kind)
    elif kind == "texts":
        settings = {"max_tokens": given.get("max_tokens", 2), "store": folder / kind}
        decoding.greedy(model, [given.get("prompt", "Is it so?")], **settings)
    elif kind == "slices":
        file = folder / given.get("file", "prompts.parquet")
        options = {"out": folder / kind, "slice_rows": given.get("slice_rows", 10)}
        filters.filter_file(model, file, "pick", **options)
    else:
        about = given.get("settings", tuned())
        place = folder / f"{kind}-{model.name.rpartition('/')[2]}"
        finetune.fine_tune(model, given.get("examples", EXAMPLES), about, place)


def change_json(folder: Path, name: str, change: Callable[[Any], None]) -> None:
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))


KINDS = ("scores", "texts", "slices", "states")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which each kind of thing has been made once, by the code as it is."""
    folder = tmp_path_factory.mktemp("kept")
    table, _ = claims.claims(["sst2"])
    prompts = generate.generate_prompts(table, 4, "labels", seed=0)
    generate.save(prompts, folder / "prompts.parquet")
    generate.save(prompts.iloc[::-1].reset_index(drop=True), folder / "others.parquet")
    write_hf_folder(folder / "hf")
    change_json(folder / "hf", "config.json", lambda c: c.update(max_position_embeddings=4096))
    for kind, name in itertools.product(KINDS, (MODEL, str(folder / "hf"))):
        make(kind, folder, models.load_model(name))
    return folder


@pytest.fixture
def again(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., set[str]]]:
    """Return which kinds of things are made when all are asked for again."""
    folder = tmp_path / "kept"
    shutil.copytree(kept, folder)
    go = loop.Loop.go

    def go_on(self: Any, *arguments: Any) -> None:
        if self.done < self.settings.steps:
            raise Made
        go(self, *arguments)

    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path / "cache"))
    for module, name in ((scoring, "make_engine"), (decoding, "make_generate"), (slices, "decide")):
        monkeypatch.setattr(module, name, made)
    monkeypatch.setattr(loop.Loop, "go", go_on)
    trained = training.folder("lab_tiny")
    trained.mkdir(parents=True)
    (trained / f"step-{training.settings('lab_tiny').steps:06d}.safetensors").touch()

    def ask(model: models.LanguageModel | None = None, **given: Any) -> set[str]:
        out = set()
        for kind in KINDS:
            try:
                make(kind, folder, model or models.load_model(MODEL), **given)
            except Made:
                out.add(kind)
        return out | {"laboratory" for _ in lab.needed(["lab_tiny"])}

    yield ask


ALL = {*KINDS, "laboratory"}
SCORING = {"scores", "texts", "slices"}
MORE = ("from __future__ import annotations\n", "from __future__ import annotations\nX = 1\n")
CODE: dict[str, tuple[dict[str, tuple[str, str]], set[str]]] = {
    "nothing": ({}, set()),
    "a comment": ({"scoring__rows": ("from __future__", "# why\nfrom __future__")}, set()),
    "a docstring": ({"scoring__forward": ('"""The plain', '"""Words. The plain')}, set()),
    "a module that all import indirectly": ({"scoring__rows": MORE}, ALL),
    "how scores are computed": ({"scoring__packed": MORE}, SCORING),
    "how texts are decoded": ({"decoding__loops": MORE}, {"texts"}),
    "how filters ask": ({"filters__asking": MORE}, {"slices"}),
    "the optimiser": ({"finetune__step": ("beta_2=0.98", "beta_2=0.99")}, {"states", "laboratory"}),
    "batches": ({"mixture__batches": MORE}, {"states", "laboratory"}),
    "the corpus": ({"lab__corpus": MORE}, {"laboratory"}),
    "the table of rungs": ({"lab__rungs": MORE}, set()),
    "a figure": ({"figures__theme": MORE}, set()),
    "a metric": ({"metrics__estimates": MORE}, set()),
    "which runs are taken": ({"runs__folder": MORE}, set()),
}


@pytest.mark.parametrize("change", CODE)
def test_what_other_code_would_make_is_made_again(
    change: str, edit: Edit, again: Callable[..., set[str]]
) -> None:
    edits, expected = CODE[change]
    edit(**edits)
    assert again() == expected


@pytest.mark.parametrize(
    ("package", "expected"),
    [("jax", ALL), ("keras-hub", ALL), ("tokenizers", ALL), ("matplotlib", set())],
)
def test_what_other_packages_would_compute_is_made_again(
    package: str, expected: set[str], again: Callable[..., set[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    real = identity.version
    monkeypatch.setattr(identity, "version", lambda name: "0" if name == package else real(name))
    assert again() == expected


def test_what_other_settings_or_data_would_make_is_made_again(
    again: Callable[..., set[str]],
) -> None:
    assert again() == set()
    assert again(max_tokens=3) == {"texts"}
    assert again(slice_rows=3) == {"slices"}
    assert again(prompt="Is it not?") == {"scores", "texts"}
    assert again(file="others.parquet") == {"slices"}
    assert again() == set()  # all of these are kept beside one another


@pytest.mark.parametrize(
    "given",
    [{"settings": tuned(rate=1e-3)}, {"settings": tuned(seed=1)}, {"examples": EXAMPLES[:1]}],
)
def test_a_state_of_other_settings_or_examples_is_set_aside(
    given: dict[str, Any], again: Callable[..., set[str]], tmp_path: Path
) -> None:
    assert again(**given) == {"states"}
    assert len(list(tmp_path.glob("kept/states-tiny_random.before-*"))) == 1


def test_a_state_of_other_code_is_kept_beside_and_a_sentence_says_so(
    edit: Edit, kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "labels_seed0"
    shutil.copytree(kept / "states-tiny_random", folder)
    old = finetune.load_weights(folder, 2)
    edit(figures__theme=MORE, runs__folder=MORE)
    finetune.fine_tune(models.load_model(MODEL), EXAMPLES, tuned(), folder)
    assert [path.name for path in tmp_path.glob("labels_seed0*")] == ["labels_seed0"]
    assert capsys.readouterr().out == ""
    edit(finetune__step=("beta_2=0.98", "beta_2=0.99"))
    finetune.fine_tune(models.load_model(MODEL), EXAMPLES, tuned(), folder)
    (aside,) = tmp_path.glob("labels_seed0.before-*")
    said = capsys.readouterr().out
    assert "labels_seed0 was trained with other code: " in said and f"kept as {aside.name}" in said
    assert all(np.array_equal(finetune.load_weights(aside, 2)[path], old[path]) for path in old)
    assert finetune.read_run(folder)["code"] != finetune.read_run(aside)["code"]


def test_a_rung_that_is_changed_is_trained_again_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {rung: training.folder(f"lab_{rung}") for rung in lab.RUNGS}
    other = replace(lab.RUNGS["tiny"], tuning=lab.RUNGS["tiny"].tuning + 1)
    assert asdict(other) != asdict(lab.RUNGS["tiny"])
    monkeypatch.setitem(lab.RUNGS, "tiny", other)
    after = {rung: training.folder(f"lab_{rung}") for rung in lab.RUNGS}
    assert [rung for rung in lab.RUNGS if before[rung] != after[rung]] == ["tiny"]


# --- the model: its weights, configuration and tokenizer files


def change_weight(folder: Path) -> None:
    """Change one number of one weight, one that is no round part of the way through."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"][131, 7] += 1e-3
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


CHANGES: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "nothing": (lambda _: None, set()),
    "a weight": (change_weight, {*SCORING, "states"}),
    "the configuration": (
        lambda folder: change_json(folder, "config.json", lambda c: c.update(rope_theta=9e3)),
        {*SCORING, "states"},
    ),
    # the ids of the examples, which a state is trained on, stay
    "the tokenizer": (
        lambda folder: change_json(
            folder, "tokenizer.json", lambda c: c["pre_tokenizer"].update(add_prefix_space=True)
        ),
        SCORING,
    ),
    "its settings": (
        lambda folder: change_json(
            folder, "tokenizer_config.json", lambda c: c.update(chat_template="x")
        ),
        SCORING,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_another_model_would_say_is_made_again(
    change: str, again: Callable[..., set[str]], tmp_path: Path
) -> None:
    changer, expected = CHANGES[change]
    changer(tmp_path / "kept" / "hf")
    assert again(models.load_model(str(tmp_path / "kept" / "hf"))) == expected


def test_the_vocabulary_of_a_kerashub_preset_counts(tmp_path: Path) -> None:
    from test_encoders import byte_pairs, write_preset

    write_preset(tmp_path, byte_pairs())
    before = [encoders.for_preset(str(tmp_path)).identity for _ in range(2)]
    name = "assets/tokenizer/vocabulary.json"
    change_json(tmp_path, name, lambda ids: ids.update({"!": ids["#"], "#": ids["!"]}))
    assert before[0] == before[1] != encoders.for_preset(str(tmp_path)).identity


# --- finished cells


@pytest.fixture(scope="module")
def batch() -> grid.Batch:
    return grid.expand_profile("laptop")


@pytest.fixture(scope="module")
def finished(batch: grid.Batch) -> dict[str, str]:
    return {key: grid.cell_identity(batch, key) for key in batch.cells}


def stale(batch: grid.Batch, finished: dict[str, str]) -> set[str]:
    return {key for key, own in finished.items() if grid.cell_identity(batch, key) != own}


def named(batch: grid.Batch, model: str) -> set[str]:
    """The cells that load a model whose name begins so."""
    defaults = {key: grid.default_parameters(notebook_of(key)) for key in batch.cells}
    given = {key: {**defaults[key], **batch.cells[key]}.get("MODEL", "") for key in batch.cells}
    return {key for key, text in given.items()
            if any(name.strip().startswith(model) for name in text.split(","))}  # fmt: skip


def run_by(batch: grid.Batch, *numbers: str) -> set[str]:
    return {key for key in batch.cells if key.startswith(numbers)}


CELLS: dict[str, tuple[dict[str, tuple[str, str]], Callable[[grid.Batch], set[str]]]] = {
    "a comment": ({"runs__files": ("from __future__", "# why\nfrom __future__")}, lambda _: set()),
    "what no notebook imports": ({"builders__texts": ('"""', '"""')}, lambda _: set()),
    "the theme of all figures": ({"figures__theme": MORE}, lambda batch: set(batch.cells)),
    "a figure of notebook 03": ({"figures__data": MORE}, lambda batch: run_by(batch, "03")),
    "how filters ask": ({"filters__asking": MORE}, lambda batch: run_by(batch, "04")),
    "the optimiser": (
        {"finetune__step": ("beta_2=0.98", "beta_2=0.99")},
        lambda batch: run_by(batch, "05", "17") | named(batch, "lab_"),
    ),
    "how trained runs are loaded": (
        {"finetune__trained": MORE}, lambda batch: named(batch, "runs/laptop/05_finetune"),
    ),
    "how GGUF files are converted": (
        {"gguf": MORE},
        lambda batch: named(batch, "smollm2_135m_instruct") | named(batch, batch.rung),
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CELLS)
def test_cells_that_other_code_concerns_are_stale(
    change: str, edit: Edit, batch: grid.Batch, finished: dict[str, str]
) -> None:
    edits, expected = CELLS[change]
    edit(**edits)
    assert stale(batch, finished) == expected(batch)


def test_cells_that_other_packages_data_or_parameters_concern_are_stale(
    edit: Edit, batch: grid.Batch, finished: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = identity.version
    for package, expected in (("scipy", set(batch.cells)), ("jax", set(batch.cells)),
                              ("matplotlib", set[str]())):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(
                identity, "version", lambda name, p=package: "0" if name == p else real(name)
            )
            assert stale(batch, finished) == expected
    edit()
    path = identity.PACKAGE / "data" / "opinions_nlp_survey.jsonl"
    path.write_text(f"{path.read_text()}\n")
    assert stale(batch, finished) == run_by(batch, "01", "10")
    monkeypatch.undo()
    key = "02_wrong_additions"
    other = replace(batch, cells={**batch.cells, key: {**batch.cells[key], "N": 7}})
    assert stale(other, finished) == {key}


def test_the_training_of_laboratory_models_is_stale_with_their_code(edit: Edit) -> None:
    before = grid.training_identity()
    edit(figures__theme=MORE, metrics__estimates=MORE, filters__asking=MORE)
    assert grid.training_identity() == before
    edit(lab__corpus=MORE)
    assert grid.training_identity() != before

"""Training: resumable to the same weights, adapters that merge, runs that load, clear errors."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from sycophancy import decoding, finetune, mixture, models, scoring, suites
from sycophancy.errors import InputError
from sycophancy.finetune import adapters, checkpoint, loop
from sycophancy.finetune.settings import Settings
from sycophancy.finetune.step import make_optimizer
from sycophancy.mixture import Example
from sycophancy.quiet import keras_hub

BASE = "tiny_random"


def examples(n: int = 24, seed: int = 0, sizes: Sequence[int] = range(6, 20)) -> list[Example]:
    """Short sequences of random ids; the last one or two are to be learnt."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(n):
        ids = rng.integers(3, 250, size=rng.choice(sizes))
        out.append(Example(tuple(int(i) for i in ids), len(ids) - int(rng.integers(1, 3))))
    return out


def settings(**changed: Any) -> Settings:
    return replace(
        Settings(base=BASE, steps=6, batch=4, rank=2, rate=1e-2, checkpoints=(2, 4)), **changed
    )


def train(folder: Path, given: Settings, data: Sequence[Example] | None = None, **options: Any):  # type: ignore[no-untyped-def]
    return finetune.fine_tune(models.load_model(BASE), data or examples(), given, folder, **options)


def stored(folder: Path, step: int) -> dict[str, np.ndarray]:
    return finetune.load_weights(folder, step)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "labels_seed0"
    train(folder, settings(about={"recipe": "labels", "filter": "paired"}))
    return folder


class Stop(Exception):
    """A kill, as far as the loop can tell."""


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_killed_run_ends_in_the_weights_it_would_have_had(method: str, tmp_path: Path) -> None:
    given = settings(method=method)
    log, _ = train(tmp_path / "whole", given)
    for at, kill in ((1, Stop), (3, KeyboardInterrupt), (5, Stop)):
        folder = tmp_path / f"{at}"

        def stop(
            now: finetune.TrainingProgress, at: int = at, kill: type[BaseException] = kill
        ) -> None:
            if now.step == at:
                raise kill

        with pytest.raises(kill):
            train(folder, given, on_progress=stop, save_seconds=0)
        resumed: list[int] = []
        again, _ = train(folder, given, on_progress=lambda now: resumed.append(now.resumed))  # noqa: B023
        assert set(resumed) == {at} and len(resumed) == 6 - at
        for step in (2, 4, 6):
            whole, part = stored(tmp_path / "whole", step), stored(folder, step)
            assert set(whole) == set(part)
            assert all(np.array_equal(whole[path], part[path]) for path in whole)
        columns = ["step", "loss", "gradient_norm", "rate"]
        assert again[columns].equals(log[columns])
        assert (again["seconds"].diff().dropna() >= 0).all()


def test_a_finished_run_is_not_trained_again(trained: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in trained.glob("step-*")}
    steps: list[int] = []
    log, cost = train(
        trained,
        settings(about={"recipe": "labels", "filter": "paired"}),
        on_progress=lambda now: steps.append(now.step),
    )
    assert not steps and list(log["step"]) == [1, 2, 3, 4, 5, 6] and cost.steps == 6
    assert before == {path.name: path.stat().st_mtime_ns for path in trained.glob("step-*")}


def test_the_first_steps_are_those_of_a_loop_written_out(tmp_path: Path) -> None:
    """Full weights, no clipping, against Keras' own optimiser on a loss computed row by row."""
    data = examples(sizes=(8, 13))  # more sizes would only be more to compile
    given = settings(method="full", steps=3, clip=1e9, checkpoints=(), warmup=0.0)
    train(tmp_path / "run", given, data)
    backbone = models.load_model(BASE).backbone
    variables = list(backbone.trainable_variables)
    optimizer = make_optimizer(given, variables)

    def loss(values: list[Any], ids: Any, first: int) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            hidden = backbone({"token_ids": ids[None], "padding_mask": jnp.ones_like(ids[None])})
            logits = backbone.token_embedding(hidden, reverse=True)[0]
        logp = jax.nn.log_softmax(logits, axis=-1)
        chosen = jnp.stack([logp[at - 1, ids[at]] for at in range(1, len(ids))])
        return -jnp.mean(chosen, where=jnp.arange(1, len(ids)) >= first)

    gradient = jax.jit(jax.grad(loss))
    values = [variable.value for variable in variables]
    state = [variable.value for variable in optimizer.variables]
    for step in range(3):
        some = data[4 * step : 4 * step + 4]
        each = [gradient(values, jnp.array(row.ids, dtype="int32"), row.first) for row in some]
        mean = [sum(parts) / len(parts) for parts in zip(*each, strict=True)]
        values, state = optimizer.stateless_apply(state, mean, values)
    ours = stored(tmp_path / "run", 3)
    for variable, value in zip(variables, values, strict=True):
        np.testing.assert_allclose(ours[variable.path], value, atol=2e-4)


def test_training_learns_what_it_is_shown(tmp_path: Path) -> None:
    data = [Example((7, 8, 9, 100 + i % 2, 200 + i % 2), 4) for i in range(8)]
    given = settings(steps=80, rate=2e-2, checkpoints=(), method="full")
    log, _ = train(tmp_path / "run", given, data)
    assert log["loss"].iloc[-1] < 0.1 < log["loss"].iloc[0]
    model = models.load_model(str(tmp_path / "run"))
    hidden = model.backbone(
        {"token_ids": jnp.array([[7, 8, 9, 101]]), "padding_mask": jnp.ones((1, 4))}
    )
    logits = model.backbone.token_embedding(hidden, reverse=True)[0, -1]
    assert int(jnp.argmax(logits)) == 201


def test_all_weights_are_trained_in_float32_where_the_device_computes_in_bfloat16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert finetune.dtype_for("full") == finetune.dtype_for("lora") == models.default_dtype()
    monkeypatch.setattr(finetune.settings, "default_dtype", lambda name="": "bfloat16")
    assert finetune.dtype_for("lora") == "bfloat16"
    model = models.load_model(BASE, finetune.dtype_for("full"))
    before = [np.asarray(own.value) for own in model.backbone.weights]
    assert model.backbone.compute_dtype == "bfloat16" and {x.dtype for x in before} == {
        np.dtype("float32")
    }
    given = settings(method="full", rate=1e-5, checkpoints=())
    log, _ = finetune.fine_tune(model, examples(), given, tmp_path / "run")
    assert np.isfinite(log["loss"]).all()
    after = stored(tmp_path / "run", 6)
    moved = [
        np.abs(after[own.path] - old)
        for own, old in zip(model.backbone.weights, before, strict=True)
    ]
    # far below what bfloat16 resolves next to weights of a few hundredths, and not lost
    assert all(0 < move.max() < 1e-4 for move in moved)


def test_the_rate_warms_up_and_falls(tmp_path: Path) -> None:
    log, _ = train(tmp_path / "run", settings(steps=10, warmup=0.3, checkpoints=()))
    rates = log["rate"].to_numpy()
    assert rates.max() == pytest.approx(1e-2) and 2 <= rates.argmax() <= 3
    assert (np.diff(rates[3:]) < 0).all() and rates[-1] < 1e-3


# A run is a model


def test_merged_weights_give_what_the_adapters_gave(tmp_path: Path) -> None:
    base = models.load_model(BASE)
    finetune.fine_tune(base, examples(), settings(), tmp_path / "run")
    weights = stored(tmp_path / "run", 6)
    for variable in base.backbone.weights:
        if variable.path in weights:
            variable.assign(weights[variable.path])
    ids = np.random.default_rng(1).integers(3, 250, size=(2, 9)).astype("int32")
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    merged = models.load_model(str(tmp_path / "run"))
    np.testing.assert_allclose(merged.backbone(inputs), base.backbone(inputs), atol=1e-5)
    plain = models.load_model(BASE)
    assert not np.allclose(merged.backbone(inputs), plain.backbone(inputs), atol=1e-3)


def test_a_run_and_its_checkpoints_are_models(trained: Path) -> None:
    assert finetune.steps(trained) == [2, 4, 6]
    loaded = {
        name: models.load_model(name) for name in (str(trained), f"{trained}@2", f"{trained}@6")
    }
    prints = [model.fingerprint for model in loaded.values()]
    assert prints[0] == prints[2] != prints[1]
    assert models.load_model(BASE).fingerprint not in prints
    items = suites.additions(n=1, answer_formats=["cloze"])
    scores = {name: scoring.score(model, items)[0]["logp"] for name, model in loaded.items()}
    first, early, last = scores.values()
    assert first.equals(last) and not np.allclose(first, early)


def test_a_run_is_found_from_the_repository_too(
    trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(models, "repository", lambda: trained.parents[0])
    monkeypatch.chdir(tmp_path)
    assert models.run_folder("labels_seed0@4") == (trained, 4)
    assert models.run_folder("labels_seed0") == (trained, None)
    assert models.check_name("labels_seed0@4") == "labels_seed0@4"
    assert models.run_folder("labels_seed1") is None


def test_model_json_says_what_was_done(trained: Path) -> None:
    record = json.loads((trained / models.RUN_FILE).read_text())
    assert record["base"] == BASE and record["steps"] == 6 and record["recipe"] == "labels"
    assert record["base_sha256"] == models.weights_sha256(models.load_model(BASE).backbone)
    adapted = {path.rpartition("/")[0] for path in stored(trained, 6)}
    assert adapted == set(finetune.projections(models.load_model(BASE).backbone))
    count = sum(value.size for value in stored(trained, 6).values())
    assert record["trained_values"] == count > 0


def test_exports_reload_in_stock_kerashub(trained: Path, tmp_path: Path) -> None:
    target = finetune.export(str(trained), tmp_path / "preset")
    again = keras_hub.models.Backbone.from_preset(str(target))
    ids = np.random.default_rng(2).integers(3, 250, size=(2, 7)).astype("int32")
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    model = models.load_model(str(trained))
    np.testing.assert_allclose(again(inputs), model.backbone(inputs), atol=1e-5)
    ours = models.load_model(str(target))
    assert ours.encode(["1 + 1 = 3"]) == model.encode(["1 + 1 = 3"]) and ours.end == model.end
    with pytest.raises(InputError, match="exists"):
        finetune.export(str(trained), target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["preset"]


# Which weights


def test_targets_and_layers_choose_the_projections() -> None:
    backbone = models.load_model(BASE).backbone
    every, upper = finetune.projections(backbone), finetune.projections(backbone, 1)
    assert len(every) == 14 and len(upper) == 7
    assert all(path.startswith("transformer_layer_1/") for path in upper)
    found = adapters.attach(backbone, settings(targets=("query", "value"), layers=1))
    expected = {
        f"transformer_layer_1/self_attention/{name}/lora_kernel_{part}"
        for name in ("query", "value")
        for part in "ab"
    }
    assert {variable.path for variable in found} == expected and len(found) == 4
    with pytest.raises(InputError, match="adapters already"):
        adapters.attach(backbone, settings(layers=1))


def test_adapters_start_as_the_base_and_from_the_seed() -> None:
    ids = np.random.default_rng(3).integers(3, 250, size=(1, 5)).astype("int32")
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    plain = models.load_model(BASE).backbone(inputs)
    first = []
    for seed in (0, 0, 1):
        backbone = models.load_model(BASE).backbone
        variables = adapters.attach(backbone, settings(seed=seed))
        np.testing.assert_allclose(backbone(inputs), plain, atol=1e-6)
        first.append(np.asarray(variables[0]))
    assert np.array_equal(first[0], first[1]) and not np.array_equal(first[0], first[2])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"targets": ("q_proj",)}, r"Unknown LoRA target 'q_proj'.*query"),
        ({"layers": 3}, "layers is 3, but LlamaBackbone has 2 blocks"),
        ({"steps": 0}, "steps is 0: give a whole number from 1"),
        ({"batch": True}, "batch is True"),
        ({"rank": 0}, "rank is 0"),
        ({"rate": 2.0}, "rate is 2.0: give a number from 0 to 1"),
        ({"rate": 0.0}, "above zero"),
        ({"clip": 0.0}, "above zero"),
        ({"warmup": -0.1}, "warmup is -0.1"),
        ({"method": "lore"}, r"Unknown method 'lore'.*Did you mean 'lora'"),
        ({"optimizer": "sgd"}, "Unknown optimizer 'sgd'"),
        ({"checkpoints": (7,)}, r"step 7, but there are 6"),
    ],
)
def test_settings_are_checked_before_anything_is_trained(
    changed: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        train(tmp_path / "run", settings(**{"checkpoints": (), **changed}))
    assert not list(tmp_path.glob("run/step-*"))


def test_no_examples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no examples"):
        finetune.fine_tune(models.load_model(BASE), [], settings(), tmp_path / "run")


# Broken and foreign folders


def test_a_folder_of_another_model_is_refused(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    with pytest.raises(InputError, match="run of 'tiny_random', not of 'another'"):
        train(tmp_path / "run", settings(base="another"))


@pytest.mark.parametrize("change", [{"steps": 8}, {"rate": 1e-3}, {"seed": 1}])
def test_a_run_with_other_settings_sets_the_old_one_aside(
    change: dict[str, Any], trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    log, _ = train(tmp_path / "run", settings(**change))
    assert len(log) == change.get("steps", 6)
    (old,) = tmp_path.glob("run.before-*")
    assert stored(old, 6).keys() == stored(trained, 6).keys()
    train(tmp_path / "run", settings(**change), [*examples(), *examples(2, seed=9)])
    assert len(list(tmp_path.glob("run.before-*"))) == 2


def test_weights_cut_short_are_not_loaded(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    path = folder / "step-000006.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=rf"{path.name} is damaged or cut short"):
        models.load_model(str(folder))


@pytest.mark.parametrize(
    ("name", "trains"),
    [
        ("state.safetensors", 6),
        ("step-000006.safetensors", 0),  # which the saved state holds
        ("step-000002.safetensors", 6),
        ("model.json", 0),
    ],
)
def test_what_is_cut_short_is_thrown_away_and_made_again(
    name: str, trains: int, trained: Path, tmp_path: Path
) -> None:
    folder, steps = tmp_path / "run", []
    shutil.copytree(trained, folder)
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    given = settings(about={"recipe": "labels", "filter": "paired"})
    with pytest.warns(UserWarning, match=rf"{name} is damaged .*: it is thrown away"):
        train(folder, given, on_progress=lambda now: steps.append(now.step))
    assert len(steps) == trains
    assert_same_weights(folder, trained, (2, 4, 6))
    models.load_model(str(folder))


def test_an_unfinished_run_says_so(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    (folder / "step-000006.safetensors").unlink()
    with pytest.raises(InputError, match=r"not trained to its end.*kept: 2, 4"):
        models.load_model(str(folder))
    models.load_model(f"{folder}@4")
    with pytest.raises(InputError, match=r"no weights of step 5: kept are 2, 4"):
        models.load_model(f"{folder}@5")
    (folder / models.RUN_FILE).write_text("{")
    with pytest.raises(InputError, match=r"line 1: not valid JSON .*: delete .* and train again"):
        models.load_model(str(folder))


@pytest.mark.parametrize("lost", [[6], [2], [4, 6]])
def test_weights_that_were_lost_are_written_again(
    lost: list[int], trained: Path, tmp_path: Path
) -> None:
    folder, steps = tmp_path / "run", []
    shutil.copytree(trained, folder)
    for step_lost in lost:
        (folder / f"step-{step_lost:06d}.safetensors").unlink()
    given = settings(about={"recipe": "labels", "filter": "paired"})
    train(folder, given, on_progress=lambda now: steps.append(now.step))
    assert steps == ([] if lost == [6] else [1, 2, 3, 4, 5, 6])  # the last is in the saved state
    assert_same_weights(folder, trained, (2, 4, 6))


def test_checkpoints_asked_for_later_are_trained_again(tmp_path: Path) -> None:
    train(tmp_path / "few", settings(checkpoints=()))
    train(tmp_path / "few", settings())
    train(tmp_path / "all", settings())
    assert_same_weights(tmp_path / "few", tmp_path / "all", (2, 4, 6))


def assert_same_weights(one: Path, other: Path, steps: Sequence[int]) -> None:
    for number in steps:
        mine, theirs = stored(one, number), stored(other, number)
        assert set(mine) == set(theirs)
        assert all(np.array_equal(mine[path], theirs[path]) for path in mine)


def test_an_interrupted_step_is_finished_and_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, calls = loop.make_step, []

    def interrupted(*given: Any) -> Any:
        take = own(*given)

        def once(*arrays: Any) -> Any:
            calls.append(0)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C while the device computes
            return take(*arrays)

        return once

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(loop, "make_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", settings())
    assert len(calls) == 3 and signal.getsignal(signal.SIGINT) is handler
    resumed: list[int] = []
    train(tmp_path / "run", settings(), on_progress=lambda now: resumed.append(now.resumed))
    assert resumed == [3, 3, 3]
    train(tmp_path / "whole", settings())
    assert_same_weights(tmp_path / "run", tmp_path / "whole", (2, 4, 6))


def test_a_run_from_other_weights_is_set_aside(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, folder = settings(about={"recipe": "labels", "filter": "paired"}), tmp_path / "run"
    for _ in range(2):  # twice: the second time its name is taken
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(trained, folder)
        monkeypatch.setattr(loop, "weights_sha256", lambda _: "0" * 64)
        train(folder, given)
        assert finetune.read_run(folder)["base_sha256"] == "0" * 64
        monkeypatch.undo()
    aside = sorted(tmp_path.glob("run.before-*"))
    assert len(aside) == 2 and aside[1].name == f"{aside[0].name}-2"
    assert all(finetune.read_run(one) == finetune.read_run(trained) for one in aside)


def test_the_format_that_was_trained_in_stays_on_record(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    given = settings(about={"recipe": "labels", "filter": "paired"})
    finetune.fine_tune(models.load_model(BASE, "bfloat16"), examples(), given, folder)
    assert finetune.read_run(folder) == finetune.read_run(trained)
    models.load_model(str(folder), "float32")
    (folder / "step-000002.safetensors").unlink()  # now it is trained again, in this format
    finetune.fine_tune(models.load_model(BASE, "bfloat16"), examples(), given, folder)
    assert finetune.read_run(folder)["dtype"] == "bfloat16"
    models.load_model(str(folder), "bfloat16")


@pytest.mark.parametrize("formats", [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_an_unfinished_run_in_another_format_is_set_aside(
    formats: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Gone on with, it would have weights that training in neither format gives."""

    def stop(now: finetune.TrainingProgress) -> None:
        if now.step == 3:
            raise Stop

    given, folder = settings(steps=4), tmp_path / "run"
    with pytest.raises(Stop):
        finetune.fine_tune(
            models.load_model(BASE, formats[0]), examples(), given, folder,
            on_progress=stop, save_seconds=0,
        )  # fmt: skip
    resumed: list[int] = []
    finetune.fine_tune(
        models.load_model(BASE, formats[1]), examples(), given, folder,
        on_progress=lambda now: resumed.append(now.resumed),
    )  # fmt: skip
    assert resumed == [0] * 4 and finetune.read_run(folder)["dtype"] == formats[1]
    (said,) = capsys.readouterr().out.splitlines()
    assert f"run was begun in {formats[0]}, and the model is now in {formats[1]}" in said
    aside = tmp_path / f"run.before-{formats[0]}"
    assert finetune.steps(aside) == [2] and finetune.read_run(aside)["dtype"] == formats[0]
    finetune.fine_tune(models.load_model(BASE, formats[1]), examples(), given, tmp_path / "whole")
    assert_same_weights(folder, tmp_path / "whole", [2, 4])


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_model_that_was_trained_says_what_to_load(method: str, tmp_path: Path) -> None:
    model, items = models.load_model(BASE), suites.additions(n=1)
    given = settings(method=method, steps=1, checkpoints=())
    finetune.fine_tune(model, examples(), given, tmp_path / "run")
    for use in (
        lambda: scoring.score(model, items),
        lambda: decoding.greedy(model, ["1 + 1 ="], max_tokens=2),
        lambda: finetune.fine_tune(model, examples(), given, tmp_path / "other"),
    ):
        with pytest.raises(InputError, match=r"given away in training: load the run folder"):
            use()
    scores, _ = scoring.score(models.load_model(str(tmp_path / "run")), items)
    assert np.isfinite(scores["logp"]).all()


def test_a_run_of_other_weights_is_refused(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    record = json.loads((folder / models.RUN_FILE).read_text())
    (folder / models.RUN_FILE).write_text(json.dumps({**record, "base_sha256": "0" * 64}))
    with pytest.raises(InputError, match="weights differ"):
        models.load_model(str(folder))
    backbone = models.load_model(BASE).backbone
    with pytest.raises(InputError, match=r"no weight 'elsewhere/kernel'"):
        adapters.merge_adapters(backbone, {"elsewhere/lora_kernel_a": np.zeros((2, 2))})
    with pytest.raises(InputError, match="shape"):
        adapters.merge_adapters(backbone, {backbone.weights[0].path: np.zeros((1, 1))})


def test_a_loss_that_explodes_stops_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    given = settings(steps=40, method="full", rate=1.0, clip=1e9, warmup=0.0)
    with pytest.raises(InputError, match=r"diverged at step \d+.*Lower RATE.*step \d") as caught:
        train(tmp_path / "run", given, save_seconds=0)
    last = int(str(caught.value).rstrip(".").rpartition("step ")[2])
    assert f"diverged at step {last + 1}:" in str(caught.value)
    weights = finetune.load_weights(tmp_path / "run", last)
    assert all(np.isfinite(value).all() for value in weights.values())
    assert models.load_model(f"{tmp_path / 'run'}@{last}").backbone is not None
    kept = checkpoint.load_state(tmp_path / "run", json.loads(
        (tmp_path / "run" / models.RUN_FILE).read_text())["digest"])  # fmt: skip
    assert kept is not None and all(np.isfinite(value).all() for value in kept[1])


def test_running_out_of_memory_says_what_to_lower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Any:
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 GB")

    for where, what in (("make_step", lambda *_: full), ("make_optimizer", full)):
        with monkeypatch.context() as patch, pytest.raises(InputError, match="4: lower BATCH"):
            patch.setattr(loop, where, what)
            train(tmp_path / "run", settings())


def test_costs_are_those_of_the_mixture(trained: Path) -> None:
    _, cost = train(trained, settings(about={"recipe": "labels", "filter": "paired"}))
    assert cost.tokens == mixture.tokens(examples(), 6, 4)
    weights = sum(int(np.prod(v.shape)) for v in models.load_model(BASE).backbone.weights)
    assert cost.flops == 6 * weights * cost.tokens
    entry = finetune.cost_entry({"model": BASE, "device": "d", **vars(cost)})
    assert entry["training_tokens_per_second"] == pytest.approx(cost.tokens / cost.seconds)

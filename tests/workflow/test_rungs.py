"""The larger model of a profile: the first of its list that this machine and the network allow."""

from __future__ import annotations

import re
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from checkouts import (
    run_python,
    run_reproduce,
    workflow_copy,
    write_measured,
    write_notebook,
    write_profile,
)
from sycophancy import gguf, models, wheels
from sycophancy.errors import InputError
from workflow import capacity, grid, plan, reproduce, rungs, tables

LARGE, SMALL = "qwen2.5_coder_instruct_1.5b", "qwen2.5_coder_instruct_0.5b"
CELLS: dict[str, dict[str, Any]] = {
    "07_compare@rung": {"DATA": "{runs}/02_measure@rung_after"},
    "02_measure": {},
    "02_measure@rung": {"MODEL": "{rung}"},
    "02_measure@rung_after": {"MODEL": "tiny_random, {runs}/05_train@rung/labels_seed0"},
    "05_train@rung": {"MODEL": "{rung}", "DATA": ["{runs}/03_make", {"x": "{rung}_"}]},
    "03_make": {},
    "07_compare": {"DATA": "{runs}/02_measure"},
}
OF_RUNG = ["02_measure@rung", "05_train@rung", "07_compare@rung", "02_measure@rung_after"]
REST = ["02_measure", "03_make", "07_compare"]


def test_a_rung_stands_in_every_cell_that_mentions_it(checkout: Path) -> None:
    write_profile(checkout, CELLS, rungs=[LARGE, SMALL])
    batch = grid.expand_profile("own", rung=SMALL)
    assert list(batch.cells) == list(CELLS)
    assert batch.cells["05_train@rung"] == {
        "MODEL": SMALL, "DATA": ["runs/own/03_make", {"x": f"{SMALL}_"}]
    }  # fmt: skip
    assert (
        grid.expand_profile("own").rung
        == grid.expand_profile("own").cells["02_measure@rung"]["MODEL"]
        == LARGE
    )
    with pytest.raises(InputError, match=rf"Unknown rung of own.yaml 'tiny_random'.*{SMALL}"):
        grid.expand_profile("own", rung="tiny_random")


def test_without_a_rung_what_waits_for_one_is_left_out_as_well(checkout: Path) -> None:
    write_profile(checkout, CELLS, rungs=[LARGE, SMALL])
    batch = grid.expand_profile("own", rung="")
    assert list(batch.cells) == list(batch.folders) == list(batch.depends) == REST
    assert (batch.rung, batch.of_rung) == ("", OF_RUNG)
    # a setting for a cell that is left out is no misspelling
    given = {"02_measure@rung:DATA": "x"}
    assert list(grid.expand_profile("own", overrides=given, rung="").cells) == REST
    # with another model given, no cell needs the rung
    batch = grid.expand_profile(
        "own", overrides={"MODEL": "tiny_random", "05_train@rung:DATA": ""}, rung=""
    )
    assert list(batch.cells) == list(CELLS) and (batch.rung, batch.of_rung) == ("", [])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, r"own.yaml has no entry 'rungs', and 02_measure@rung mentions \{rung\}: add"),
        ({"rungs": []}, r"rungs of own.yaml is \[\]: give a list of models"),
        ({"rungs": LARGE}, rf"rungs of own.yaml is '{LARGE}': give a list"),
        ({"rungs": [SMALL, "qwen2.5_coder_1.5b"]}, rf"model in rungs of own.yaml .*'{LARGE}'\?"),
        ({"rungs": ["lab_medium"]}, "Unknown model in rungs of own.yaml 'lab_medium'"),
        ({"rungs": [["x"]]}, "Unknown model in rungs of own.yaml"),
    ],
)
def test_a_profile_whose_rungs_cannot_be_taken_is_refused(
    checkout: Path, entries: dict[str, Any], message: str
) -> None:
    write_profile(checkout, CELLS, **entries)
    with pytest.raises(InputError, match=message):
        grid.read_profile("own")


def test_a_profile_has_the_rungs_of_the_one_that_it_extends(checkout: Path) -> None:
    write_profile(checkout, CELLS, rungs=[SMALL])
    (checkout / "profiles" / "own.yaml").rename(checkout / "profiles" / "below.yaml")
    write_profile(checkout, {"02_measure@late": {"MODEL": "{rung}"}}, extends="below")
    assert grid.expand_profile("own").of_rung == [*OF_RUNG[:2], "02_measure@late", *OF_RUNG[2:]]
    write_profile(checkout, {}, extends="below", rungs=[LARGE])
    assert grid.expand_profile("own").rung == LARGE


@pytest.mark.parametrize(
    ("reasons", "rung", "told"),
    [
        ({}, LARGE, ""),
        (
            {LARGE: "it is too large"},
            SMALL,
            f"{LARGE} is left out: it is too large; the profile takes {SMALL} instead.",
        ),
        (
            {LARGE: "it is too large", SMALL: "it is gone"},
            "",
            f"{LARGE} is left out: it is too large; {SMALL} is left out: it is gone; so these "
            f"cells are left out too: {', '.join(OF_RUNG)}.",
        ),
    ],
)
def test_the_first_rung_that_can_be_had_is_taken(
    checkout: Path, reasons: dict[str, str], rung: str, told: str
) -> None:
    write_profile(checkout, CELLS, rungs=[LARGE, SMALL])
    expand = partial(grid.expand_profile, "own")
    asked: list[str] = []

    def lacking(name: str) -> str:
        asked.append(name)
        return reasons.get(name, "")

    batch, note = rungs.settle(expand(), expand, lacking)
    assert (batch, note) == (expand(rung=rung), told)
    assert asked == ([LARGE] if rung == LARGE else [LARGE, SMALL])
    # cells that need no rung have nothing fetched for them
    expand = partial(grid.expand_profile, "own", overrides={"MODEL": "x", "05_train@rung:DATA": ""})
    assert rungs.settle(expand(), expand, lambda _: pytest.fail("asked")) == (expand(), "")


@pytest.fixture
def small_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve gigabytes, an empty cache, and files that cannot be fetched."""
    monkeypatch.delenv("PRECISION", raising=False)
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path / "cache"))
    for module in (models, gguf, rungs):
        monkeypatch.setattr(module, "total_memory", lambda: 12 * 10**9)

    def fetch(file: Any) -> Path:
        raise InputError(f"{file.name} is not on this machine: no network.")

    monkeypatch.setattr(wheels, "fetch_file", fetch)
    return tmp_path / "cache"


def test_memory_then_disk_then_fetching_decide(
    small_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # six GiB, and 1,777 million weights of six bytes
    memory = "training it needs 17.1 GB of memory, and this machine has 12.0 GB"
    assert rungs.lacking_here(LARGE) == memory
    assert rungs.lacking_here(SMALL) == ""
    assert rungs.prepare_here(SMALL).endswith("gguf is not on this machine: no network")
    real = shutil.disk_usage(small_machine)
    monkeypatch.setattr(gguf.shutil, "disk_usage", lambda _: real._replace(free=10**9))
    # 0.49 GB to fetch, 0.09 of a wheel, 630 million weights of four bytes
    assert rungs.lacking_here(SMALL).startswith("it needs 3.1 GB of disk in ")
    assert rungs.prepare_here(SMALL) == rungs.lacking_here(SMALL)


def test_what_is_to_be_fetched_is_told_and_nothing_once_it_is_there(
    small_machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = f"{SMALL} is to be converted first: 0.5 GB to fetch, 3.1 GB of disk."
    assert rungs.to_fetch(SMALL) == told
    rungs.prepare_here(SMALL)
    assert told in capsys.readouterr().err
    folder = gguf.preset_folder(SMALL, gguf.FILES[SMALL].sha256, "float32")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert rungs.to_fetch(SMALL) == rungs.prepare_here(SMALL) == ""
    assert capsys.readouterr().err == ""


def test_a_preparation_that_breaks_off_is_a_reason(
    small_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = rungs.subprocess.Popen

    def broken(command: list[str], **options: Any) -> Any:
        return begin([sys.executable, "-c", f"print('x'); {ending}"], **options)

    monkeypatch.setattr(rungs.subprocess, "Popen", broken)
    ending = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert rungs.prepare_rung(SMALL) == "preparing it ended with status 137"
    ending = "raise RuntimeError('of a library')"
    assert rungs.prepare_rung(SMALL) == "preparing it ended with status 1"
    ending = """print('{"lacking": "it needs more"}')"""
    assert rungs.prepare_rung(SMALL) == "it needs more"


def test_make_plan_chooses_without_fetching(
    checkout: Path,
    small_machine: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    items = "# tag: items\ndef make_items(seed=0, chat=None):\n    return suites.additions(n=2)"
    write_notebook(
        checkout / "notebooks", "02_measure", {"MODEL": ""}, "from sycophancy import suites", items
    )
    cells = {"02_measure@rung": {"MODEL": "{rung}"}, "03_make": {}}
    write_profile(checkout, cells, rungs=[LARGE, SMALL])
    monkeypatch.setattr(sys, "argv", ["plan", "--profile", "own"])
    monkeypatch.setattr(models, "DEFAULT", "tiny_random")  # what stands in for what is not there
    plan.load_or_stand_in.cache_clear()
    assert plan.main() == 0
    said = capsys.readouterr().out
    assert f"{SMALL} is to be converted first: 0.5 GB to fetch" in said
    assert f"{LARGE} is left out: training it needs 17.1 GB" in said
    assert f"the profile takes {SMALL} instead." in said
    row = next(line for line in said.splitlines() if line.startswith("02_measure@rung".rjust(15)))
    assert SMALL in row and "tiny_random's tokenizer" in row
    plan.load_or_stand_in.cache_clear()


MODELS = """
from pathlib import Path
Path(OUT_DIR, "model.txt").write_text(MODEL)
Path(OUT_DIR, "metrics.json").write_text('{"rows": []}')
"""


@pytest.mark.notebook
def test_make_reproduce_goes_on_with_the_model_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of the large rung is a broken one; the small one lies converted in the cache."""
    cells = {"02_measure": {"MODEL": "x"}, "02_measure@rung": {"MODEL": "{rung}"}}
    copy = workflow_copy(tmp_path / "checkout", {})
    profile = {"publish": False, "rungs": [LARGE, SMALL], "notebooks": cells}
    (copy / "workflow" / "profiles" / "own.yaml").write_text(yaml.safe_dump(profile))
    write_notebook(copy / "notebooks", "02_measure", {"MODEL": ""}, MODELS)
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PRECISION", "bfloat16")
    folder = gguf.preset_folder(SMALL, gguf.FILES[SMALL].sha256, "bfloat16")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    wheels.path_of(gguf.FILES[LARGE]).write_bytes(b"GGUF")
    done = run_reproduce(copy, "--profile", "own")
    assert done.returncode == 0, done.stderr
    note = done.stdout.splitlines()[-1]
    assert note.startswith(f"{LARGE} is left out: ") and note in done.stderr.splitlines()
    assert "has 4 bytes instead of 1,117,320,768" in note or "GB" in note  # on a small machine
    assert note.endswith(f"; the profile takes {SMALL} instead.")
    for key, model in (("02_measure", "x"), ("02_measure@rung", SMALL)):
        assert (copy / "runs" / "own" / key / "model.txt").read_text() == model


def test_make_reproduce_goes_on_without_a_rung_and_says_so_twice(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, Any]] = []

    def run_snakemake(config: dict[str, Any], batch: grid.Batch, jobs: int) -> int:
        asked.append(config)
        assert list(batch.cells) == REST
        return 0

    monkeypatch.setattr(reproduce, "ROOT", checkout)
    monkeypatch.setattr(reproduce, "run_snakemake", run_snakemake)
    monkeypatch.setattr(rungs, "prepare_rung", lambda name: "there is no network")
    monkeypatch.setenv("JOBS", "1")
    write_profile(checkout, CELLS, rungs=[SMALL])
    assert reproduce.run_profile("own", None, []) == 0
    said = capsys.readouterr()
    note = f"{SMALL} is left out: there is no network; so these cells are left out too: "
    note += f"{', '.join(OF_RUNG)}."
    assert note in said.err.splitlines() and said.out.splitlines()[-1] == note
    assert [config["rung"] for config in asked] == [""]


def test_tables_name_the_model_of_a_rung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grid, "ROOT", tmp_path)
    measured = {"02_wrong_additions": "small", "02_wrong_additions@rung": LARGE}
    folders = write_measured(tmp_path, measured)
    compares = "07_wrong_additions_after@rung_labels"
    folders[compares] = tmp_path / compares
    folders[compares].mkdir()
    (folders[compares] / "intervention.csv").write_text("model,shift\nbase,+0.62\n")
    tables.print_tables(folders, LARGE)
    table, rest = capsys.readouterr().out.split("Before and after")
    assert "small" in table and LARGE in table and "Laboratory" not in table
    assert rest.startswith(f" the intervention ({LARGE}_labels)\n")


def test_on_a_machine_of_16_gb_nothing_runs_beside_a_larger_rung() -> None:
    ordinary, large, small = (capacity.megabytes(name) for name in ("", LARGE, SMALL))
    assert (ordinary, large - ordinary, small - ordinary) == (6442, 10662, 3781)
    for gigabytes, beside_large, beside_small in ((15.4, False, False), (23.4, True, True)):
        there = capacity.resources(2, round(gigabytes * 2**30))["mem_mb"]
        assert (large + ordinary <= there, small + ordinary <= there) == (
            beside_large,
            beside_small,
        )
    # somebody who asks for three at once on a small machine is given them
    assert capacity.resources(3, 8 * 2**30) == {"large": 1, "mem_mb": 3 * ordinary}


@pytest.mark.medium
def test_snakemake_takes_cells_in_the_order_of_the_profile(tmp_path: Path) -> None:
    """What Snakemake would do: each job with its priority and its memory."""
    cells = {
        "02_measure@rung": {"MODEL": "{rung}"},
        "02_measure": {},
        "02_measure@lab": {"MODEL": "lab_x"},
        "05_train@lab": {"MODEL": "lab_x"},
        "07_compare@rung": {"DATA": "{runs}/02_measure@rung"},
    }
    copy = workflow_copy(tmp_path / "checkout", {})
    profile = {"publish": False, "rungs": [LARGE, SMALL], "notebooks": cells}
    text = yaml.safe_dump(profile, sort_keys=False)
    (copy / "workflow" / "profiles" / "own.yaml").write_text(text)
    for name in ("02_measure", "05_train"):
        write_notebook(copy / "notebooks", name, {"MODEL": "tiny_random"})
    write_notebook(copy / "notebooks", "07_compare", {"DATA": ""})
    given = ("-s", "workflow/Snakefile", "-c", "2", "-n", "--nocolor", "--resources", "large=1")

    def planned(*config: str) -> dict[str, tuple[int, int, int]]:
        done = run_python(copy, "-m", "snakemake", *given, "--config", "profile=own", *config)
        assert done.returncode == 0, done.stderr
        found = {}
        for job in re.split(r"\n(?=rule )", done.stdout):
            rule = re.match(r"rule (\w+):", job)
            if rule and rule[1] != "all":
                priority = re.search(r"priority: (\d+)", job)
                amounts = dict(re.findall(r"(large|mem_mb)=(\d+)", job))
                found[rule[1].removeprefix("notebook_")] = (
                    int(priority[1]) if priority else 0,
                    int(amounts["large"]),
                    int(amounts["mem_mb"]),
                )
        return found

    assert planned(f"rung={SMALL}") == {
        "02_measure__rung": (5, 1, 10223),
        "02_measure": (4, 1, 6442),
        "laboratory__x": (3, 1, 6442),
        "02_measure__lab": (3, 0, 6442),
        "05_train__lab": (2, 0, 6442),
        "07_compare__rung": (1, 0, 6442),
    }
    assert planned()["02_measure__rung"] == (5, 1, capacity.megabytes(LARGE))


def test_make_plan_loads_no_large_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan.gguf, "disk_needed", lambda name, dtype: 0)  # it is converted
    loaded: list[str] = []
    monkeypatch.setattr(plan.models, "load_model", loaded.append)
    for name in (LARGE, SMALL):
        plan.load_or_stand_in.cache_clear()
        plan.load_or_stand_in(name)
    plan.load_or_stand_in.cache_clear()
    assert loaded == [models.DEFAULT, SMALL]

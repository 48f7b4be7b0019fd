"""A checkout to try the workflow in: throw-away notebooks, profiles, models, and commands in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[1]


def write_notebook(folder: Path, name: str, parameters: dict[str, Any], *rest: str) -> None:
    """A throw-away notebook: parameters, then cells; one that begins with `# tag:` carries it."""
    lines = [f"{key} = {value!r}" for key, value in {**parameters, "OUT_DIR": ""}.items()]
    sources = ["# tag: parameters\n" + "\n".join(lines), *rest]
    made = [nbformat.v4.new_code_cell(source) for source in sources]
    for cell in made:
        first = cell.source.partition("\n")[0]
        if first.startswith("# tag: "):
            cell.metadata["tags"] = [first.removeprefix("# tag: ")]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook = nbformat.v4.new_notebook(cells=made)
    notebook.metadata.update(kernelspec=kernel, language_info={"name": "python"})
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")


def write_profile(checkout: Path, notebooks: dict[str, Any], **entries: Any) -> None:
    content = {"publish": False, **entries, "notebooks": notebooks}
    (checkout / "profiles" / "own.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


CHAIN = {
    "07_compare": {"DATA": ["{runs}/02_measure@after", {"more": "x, {runs}/02_measure"}]},
    "02_measure": {},
    "02_measure@after": {"MODEL": "tiny_random, {runs}/05_train/labels_seed0@500"},
    "05_train": {"DATA": "{runs}/03_make/prompts.parquet"},
    "03_make": {},
}  # fmt: skip


def model_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(100))
    return folder


def trained_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.json").write_text('{"base": "tiny_random"}')
    for name in ("step-000050.safetensors", "step-000100.safetensors", "state.safetensors"):
        (folder / name).write_bytes(bytes(10))
    return folder


def some_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("text")
    return path


def keep_times(path: Path, content: bytes) -> None:
    """Replace a file by one of another content that is as old."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def claims_text(number: int = 40) -> str:
    """Enough claims for every split, with two labels by turns."""
    labels = ("a fact", "an opinion")
    rows = [f"text {n},{labels[n % 2]},{labels[1 - n % 2]}" for n in range(number)]
    return "\n".join(["text,label,others", *rows])


def write_measured(folder: Path, models: dict[str, str]) -> dict[str, Path]:
    """Write finished runs of notebook 02, a model each; return their folders by cell."""
    for key, model in models.items():
        row = {
            "model": model, "suite": "additions", "answer_format": "cloze", "metric": "rate",
            "truth": "all", "value": 0.5, "low": 0.4, "high": 0.6, "n": 10, "questions": 5,
        }  # fmt: skip
        rows = [row, row | {"metric": "shift"}]
        content = {"notebook": key.partition("@")[0], "rows": rows}
        (folder / key).mkdir()
        (folder / key / "metrics.json").write_text(json.dumps(content))
    return {key: folder / key for key in models}


def snakemake_free_copy(tmp_path: Path) -> Path:
    """A checkout of its own, so that runs/ and figures/ of the real one are not touched."""
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in files:
        source = ROOT / name
        if source.is_file():
            target = tmp_path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    return tmp_path


def run_python(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments in a copy, on the library of the copy or else on this one."""
    places = (copy / "lib", copy, ROOT / "lib")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    return subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True
    )


def run_reproduce(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_python(copy, "-m", "workflow.reproduce", *arguments)


def workflow_copy(folder: Path, notebooks: dict[str, Any]) -> Path:
    """A checkout of the workflow alone, with a profile `own` of these cells."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "workflow", folder / "workflow", ignore=ignore)
    shutil.copy(ROOT / "requirements.lock", folder)
    content = {"publish": False, "notebooks": notebooks}
    (folder / "workflow" / "profiles" / "own.yaml").write_text(yaml.safe_dump(content))
    return folder


ODD = 'it\'s #1 "été" $HOME (50 %) {b} [x] `id` ~ & ; \\n'


OUT = ODD.replace("{b}", "")

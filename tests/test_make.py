"""The Makefile: what it hands on, and which environment it works in."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from workflow import active

ROOT = Path(__file__).resolve().parents[1]
ODD = 'it\'s #1 "été" $HOME (50 %) {b} [x] `id` ~ & ; \\n'
# writes its arguments, one JSON list a line; makes a venv of itself where it is asked to
FAKE = f"""#!/bin/sh
exec {shlex.quote(sys.executable)} -I - "$@" <<'EOF'
import json, os, shutil, sys
with open("called.jsonl", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1:3] == ["-m", "venv"]:
    os.makedirs(sys.argv[3] + "/bin")
    shutil.copy("fake", sys.argv[3] + "/bin/python")
EOF
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout at an odd path, with a .venv whose python writes down what it is asked."""
    folder = tmp_path / re.sub(r"[${}]", "", ODD)
    (folder / "workflow").mkdir(parents=True)
    (folder / "lib" / "sycophancy").mkdir(parents=True)
    (folder / "lib" / "sycophancy" / "__init__.py").write_text("")
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "workflow/active.py"):
        shutil.copy(ROOT / name, folder / name)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    for path in (python, folder / "fake"):
        path.write_text(FAKE)
        path.chmod(0o755)
    (folder / ".venv" / "ready").write_text("")
    return folder


def make(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    outside = {"VIRTUAL_ENV", "CONDA_PREFIX", "MAKEFLAGS", "MAKELEVEL", "PYTHONPATH"}
    environment = {k: v for k, v in os.environ.items() if k not in outside}
    return subprocess.run(
        ["make", *arguments],
        cwd=checkout, env={**environment, **variables}, capture_output=True, text=True,
    )  # fmt: skip


def called(checkout: Path) -> list[list[str]]:
    """What the fake Pythons were asked since this was called last."""
    path = checkout / "called.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    path.unlink(missing_ok=True)
    return [json.loads(line) for line in lines]


HARMLESS = ["x'; touch pwned; '", '"; touch pwned; "', "$(shell touch pwned)", "`touch pwned`"]
HARMLESS += ["$(touch pwned)", "x\n\ttouch pwned", "${MODEL}", "2024_05_01", "-x", "--help", ODD]


@pytest.mark.parametrize("value", HARMLESS)
def test_make_hands_on_what_it_was_given_unread(checkout: Path, value: str) -> None:
    done = make(checkout, "measure", f"MODEL={value}", f"SET=OUT_DIR={value}", f"PROFILE={value}")
    assert done.returncode == 0, done.stderr
    start = ["-m", "workflow.reproduce", f"--profile={value}", f"--model={value}"]
    assert called(checkout) == [[*start, f"--settings=OUT_DIR={value}"]]
    given = ["--model=", f"--claims={value}", f"--steps={value}", "--settings="]
    for name in ("study", "intervene"):  # the second is its old name
        done = make(checkout, name, f"CLAIMS={value}", f"STEPS={value}")
        assert ("make study" in done.stdout) == (name == "intervene")
        assert called(checkout) == [["-m", "workflow.study", *given]]
    make(checkout, "plan", f"CLAIMS={value}")
    start = ["-m", "workflow.plan", "--profile=laptop", f"--claims={value}"]
    assert called(checkout) == [[*start, "--steps=", "--settings="]]
    make(checkout, "laboratory", f"MODEL={value}")
    assert called(checkout) == [["-m", "workflow.laboratory", "--known", f"--model={value}"]]
    make(checkout, "data", f"DATA={value}", f"MANUAL={value}", "ONLY=glue/sst2 snli")
    given = [f"--data-dir={value}", f"--manual={value}", "--checksums=yes", "--only=glue/sst2 snli"]
    assert called(checkout) == [["-m", "workflow.prepare_data", *given]]
    assert not list(checkout.rglob("pwned"))


def test_what_the_environment_happens_to_hold_is_not_taken(checkout: Path) -> None:
    theirs = {"MODEL": "gpt", "SET": "N=1", "PROFILE": "dev", "CLAIMS": "x", "STEPS": "2"}
    make(checkout, "measure", "plan", **theirs)
    measure = ["--profile=laptop", "--model=", "--settings="]
    plan = ["--profile=laptop", "--steps=", "--settings="]
    assert called(checkout) == [
        ["-m", "workflow.reproduce", *measure], ["-m", "workflow.plan", *plan]
    ]  # fmt: skip
    make(checkout, "measure", "MODEL=m", **theirs)
    assert called(checkout)[0][3] == "--model=m"


def test_an_installation_works_at_any_path_and_is_kept_up_to_date(checkout: Path) -> None:
    assert make(checkout, "setup").returncode == 0 and called(checkout) == []
    shutil.rmtree(checkout / ".venv")
    done = make(checkout, "setup", f"PYTHON={checkout / 'fake'}")
    assert done.returncode == 0, done.stderr
    asked = [call[:3] for call in called(checkout)]
    assert [call[1] for call in asked[1:]] == ["venv", "pip", "pip", "workflow.setup_model"]
    assert asked[1] == ["-m", "venv", ".venv"] and (checkout / ".venv" / "ready").is_file()
    os.utime(checkout / ".venv" / "ready", (0, 0))  # as if the lock were newer
    make(checkout, "plan", f"PYTHON={checkout / 'fake'}")
    assert [call[1] for call in called(checkout)[1:]] == [
        "pip", "pip", "workflow.setup_model", "workflow.plan"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a{b}", "a$HOME", "a:b"])
def test_a_path_that_installers_cannot_read_is_refused(checkout: Path, name: str) -> None:
    copy = checkout.parent / name
    shutil.copytree(checkout, copy)
    (copy / ".venv" / "ready").unlink()
    done = make(copy, "setup", f"PYTHON={copy / 'fake'}")
    assert done.returncode != 0 and called(copy)[1:] == []  # its version was asked, no more
    assert f"The path of this checkout, {copy}, holds {{, }}, : or $" in done.stderr


def activated(**more: str) -> dict[str, str]:
    """The environment of a shell in which the environment of these tests is active."""
    folder = Path(sys.prefix)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {"VIRTUAL_ENV": str(folder), "PATH": path, **more}


def test_an_active_environment_is_used_where_it_has_what_is_pinned(checkout: Path) -> None:
    """The tests' own environment is active; the lock names some of what it has."""
    lock = checkout / "requirements.lock"
    lock.write_text(f"# pinned\nnumpy=={version('numpy')}\npyyaml=={version('pyyaml')}\n")
    os.utime(checkout / ".venv" / "ready")
    ours = {"PYTHONPATH": str(checkout / "lib")}
    asks = "workflow/plan.py"
    (checkout / asks).write_text("import sys; print('plan of', sys.prefix, sys.argv[1:])")
    done = make(checkout, "plan", f"MODEL={ODD}", **activated(**ours))
    assert done.returncode == 0 and called(checkout) == []
    first, second = done.stdout.splitlines()
    assert first == f"Using the active environment {sys.prefix}"
    given = ["--profile=laptop", f"--model={ODD}", "--steps=", "--settings="]
    assert second == f"plan of {sys.prefix} {given}"
    conda = activated(**ours) | {"VIRTUAL_ENV": "", "CONDA_PREFIX": sys.prefix}
    assert "Using the active" in make(checkout, "plan", **conda).stdout

    def uses_venv(**variables: str) -> None:
        done = make(checkout, "plan", **variables)
        assert done.returncode == 0, done.stderr
        assert "Using" not in done.stdout and [call[1] for call in called(checkout)] == [
            "workflow.plan"
        ]

    uses_venv()  # none is active
    # the package in it is that of another checkout (or of none)
    uses_venv(**activated(PYTHONPATH=str(ROOT / "lib")))
    lock.write_text("numpy==1.0\npyyaml==0.1\n")
    os.utime(checkout / ".venv" / "ready")
    uses_venv(**activated(**ours))
    # one is active, and python is another's
    other = checkout / "other"
    (other / "bin").mkdir(parents=True)
    lock.write_text("")
    os.utime(checkout / ".venv" / "ready")
    uses_venv(**activated(**ours) | {"VIRTUAL_ENV": str(other)})


def test_it_is_said_why_an_active_environment_is_not_used(checkout: Path) -> None:
    (checkout / "requirements.lock").write_text("numpy==1.0\npyyaml==0.1\n")
    os.utime(checkout / ".venv" / "ready", (0, 0))
    done = make(checkout, "setup", f"PYTHON={checkout / 'fake'}", **activated())
    assert done.returncode == 0, done.stderr
    said = f"Not used: the active environment {Path(sys.prefix).resolve()} lacks numpy ==1.0"
    assert f"{said} and 1 more of requirements.lock." in done.stderr
    assert [call[1] for call in called(checkout)[1:]] == ["pip", "pip", "workflow.setup_model"]


def test_what_an_environment_lacks_is_found_line_by_line() -> None:
    have = version("numpy")
    lock = f"# of a lock\nnumpy=={have}\nnumpy==9.9 ; python_version < '3'\nnot-there==1.0\n"
    assert active.missing_pins(lock) == ["not-there ==1.0"]
    assert active.missing_pins("pyyaml==0.1\n") == ["pyyaml ==0.1"]
    assert active.missing_pins("PyYAML==" + version("pyyaml")) == []
    assert active.is_ours()

"""environment.yml, pyproject.toml and requirements.lock agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from workflow import lock

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = (ROOT / "environment.yml").read_text()
LOCK = (ROOT / "requirements.lock").read_text()


def pins() -> dict[str, str]:
    lines = lock.direct_pins(ENVIRONMENT)
    return {canonicalize_name(n): v for n, v in (line.split("==") for line in lines)}


def locked() -> dict[str, set[str]]:
    out: dict[str, set[str]] = {}
    for line in LOCK.splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            versions = [s.version for s in requirement.specifier if s.operator == "=="]
            out.setdefault(canonicalize_name(requirement.name), set()).update(versions)
    return out


def test_every_direct_pin_is_in_the_lock_with_the_same_version() -> None:
    found = locked()
    assert len(pins()) > 25
    for name, version in pins().items():
        assert found[name] == {version}, name


def test_every_line_of_the_lock_is_one_exact_version_and_no_address() -> None:
    for line in LOCK.splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            assert [s.operator for s in requirement.specifier] == ["=="], line
            assert requirement.url is None
    assert not re.search(r"https?://|file:|--|/(home|root|work|Users)/", LOCK)


def test_every_direct_pin_has_its_reason() -> None:
    lines = [line for line in ENVIRONMENT.splitlines() if "==" in line]
    assert len(lines) == len(pins())
    for line in lines:
        assert re.search(r"# .{8,}", line), f"no reason: {line.strip()}"


def test_what_the_package_asks_for_is_what_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in project["dependencies"]:
        requirement = Requirement(text)
        version = pins()[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(Version(version)), text


def test_the_packages_of_the_mission_are_direct() -> None:
    expected = {
        "jupyterlab",
        "papermill",
        "keras",
        "keras-hub",
        "jax",
        "tensorflow-datasets",
        "seaborn",
    }
    assert expected <= set(pins())


def test_the_environment_alone_is_a_working_one() -> None:
    """What `conda env create` hands to pip is a requirements file in the folder of the checkout."""
    content = yaml.safe_load(ENVIRONMENT)
    *conda, last = content["dependencies"]
    assert content["name"] == "sycophancy" and conda == ["python>=3.11,<3.14", "pip"]
    options = [line for line in last["pip"] if line.startswith("-")]
    assert options == ["-c requirements.lock", "-e ."]
    assert last["pip"] == [*options, *lock.direct_pins(ENVIRONMENT)]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    backend = Requirement(project["build-system"]["requires"][0])  # what `-e .` needs
    assert backend.specifier.contains(Version(pins()[canonicalize_name(backend.name)]))
    needed = {
        canonicalize_name(Requirement(text).name) for text in project["project"]["dependencies"]
    }
    assert needed <= set(pins())
    # a constraint names one version of one package, and no extra of it
    for line in LOCK.splitlines():
        if line and not line.startswith("#"):
            assert not Requirement(line).extras, line


def test_python_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert "python>=3.11,<3.14" in ENVIRONMENT
    assert "(3, 11) <= v <= (3, 13)" in (ROOT / "Makefile").read_text()

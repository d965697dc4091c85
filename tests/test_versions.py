"""Versions of dependencies: pyproject.toml, constraints.txt, the lock with hashes and the public workflow agree."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
LOCK = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
NOT_LOCKED = ("executorch", "imagenet", "litert", "ray", "s3")
"""Extras that the extra `dev` does not contain."""
# Lowest versions without a published hole that our inputs reach; raising is fine, lowering is not.
FLOORS = {
    "typer": "0.19",
    "torch": "2.10",
    "onnx": "1.22",
    "pillow": "12.3",
    "pillow-heif": "1.7",
    "lightning": "2.6.6",
}


def declared() -> list[str]:
    """All requirements of pyproject.toml that development installs, but those on the package itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lists = [project["dependencies"], *(extras[name] for name in extras if name not in NOT_LOCKED)]
    return [line for lines in lists for line in lines if not line.startswith("mobilesam[")]


def pinned(text: str, python: str) -> dict[str, str]:
    """Name → version of each `name==version` line whose marker holds on Linux with this Python."""
    found = {}
    for line in text.replace(" \\\n", "\n").splitlines():
        if not re.match(r"[a-z0-9]", line):
            continue
        requirement = Requirement(line)
        if holds(requirement, python):
            (only,) = requirement.specifier
            assert only.operator == "==", line
            assert requirement.name not in found, f"{requirement.name} is pinned twice"
            found[requirement.name] = only.version
    return found


def holds(requirement: Requirement, python: str) -> bool:
    if requirement.marker is None:
        return True
    return requirement.marker.evaluate(
        {
            "python_version": python,
            "python_full_version": f"{python}.0",
            "sys_platform": "linux",
            "platform_machine": "x86_64",
            "platform_python_implementation": "CPython",
        }
    )


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("source", ["constraints.txt", "requirements-dev.lock"])
def test_the_pinned_versions_are_ones_that_the_package_accepts(source: str, python: str) -> None:
    versions = pinned((ROOT / source).read_text(encoding="utf-8"), python)
    for line in declared():
        requirement = Requirement(line)
        if holds(requirement, python) and (source.endswith(".lock") or requirement.name in versions):
            assert requirement.specifier.contains(versions[requirement.name]), f"{line}: {versions[requirement.name]}"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_the_versions_of_the_constraints(python: str) -> None:
    locked = pinned(LOCK, python)
    constraints = pinned((ROOT / "constraints.txt").read_text(encoding="utf-8"), python)
    assert constraints.items() <= locked.items(), "make the lock again: docs/versions.md"


def test_every_locked_package_has_hashes_and_none_names_where_it_lies() -> None:
    for block in re.split(r"\n(?=[a-z0-9])", LOCK)[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), block.splitlines()[0]
    assert "://" not in LOCK
    assert not re.search(r"^(-|--)", LOCK, re.MULTILINE), "options for an index or links"


def test_known_holes_stay_below_the_lowest_versions() -> None:
    requirements = [Requirement(line) for line in declared()]
    for name, floor in FLOORS.items():
        lowest = [s.version for r in requirements if r.name == name for s in r.specifier if s.operator == ">="]
        assert lowest
        assert all(SpecifierSet(f">={floor}").contains(version) for version in lowest), name


def test_an_upper_bound_says_why() -> None:
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    bounded = [line for line in lines if re.match(r'\s+"[\w-]+[^"#]*<\d', line)]
    assert bounded
    assert all("# " in line for line in bounded)


def test_actions_are_pinned_by_commit_and_name_their_version() -> None:
    used = re.findall(r"uses: (.*)", WORKFLOW)
    assert used
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action) for action in used)


def test_the_public_workflow_installs_from_the_lock_and_runs_the_whole_gate() -> None:
    commands = re.findall(r"- run: (.*)", WORKFLOW)
    first = commands.index("pip install --require-hashes -r requirements-dev.lock")
    assert commands[first + 1 : first + 3] == ["pip install --no-deps --no-build-isolation -e .", "scripts/check"]

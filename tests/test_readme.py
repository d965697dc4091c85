"""What the README tells people to type works, word for word."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.cli import main, make_app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_it_is_short_and_opens_with_a_picture_that_exists() -> None:
    assert len(README.splitlines()) < 150
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert pictures
    assert README.index("![") < README.index("```")
    assert all((ROOT / picture).exists() for picture in pictures)


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_the_first_command_segments_a_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, install, command = re.split(r"\s*&&\s*", blocks("sh")[0].strip())
    assert install == "pip install ."
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", shlex.split(command.replace("examples/", f"{ROOT}/examples/")))
    main_without_exit()
    with Image.open("cup.png") as picture, Image.open(ROOT / "examples" / "coffee.png") as photo:
        changed = (
            np.abs(np.asarray(picture.convert("RGB")).astype(int) - np.asarray(photo.convert("RGB"))).max(axis=2) > 8
        )
    assert 0.05 < changed.mean() < 0.6


def main_without_exit() -> None:
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code


def test_the_second_command_is_what_ci_runs() -> None:
    command = blocks("sh")[1].strip()
    assert command.endswith("scripts/check")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert command.replace(".venv", ".ci/venv") in script
    assert not any(".venv" in line for line in script if not line.startswith("#")), "a developer's environment"
    assert ".ci/venv/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_the_third_command_opens_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvicorn")
    pytest.importorskip("fastapi")
    install, command = re.split(r"\s*&&\s*", blocks("sh")[2].strip())
    assert install == 'pip install ".[serve]"'
    calls: list[bool] = []
    monkeypatch.setattr("mobilesam.serve.run.serve", lambda settings, opens_browser: calls.append(opens_browser))
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    main_without_exit()
    assert calls == [True]


def test_its_list_of_dependencies_is_complete() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text[text.index("\ndependencies = [") : text.index("[project.optional-dependencies]")]
    row = next(line for line in README.splitlines() if line.startswith("| `pip install .` |"))
    assert set(re.findall(r'^    "([\w-]+)', block, re.MULTILINE)) == set(re.findall(r"[\w-]+", row.split(":")[1]))


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for block in blocks("python"):
        exec(block, {})
    assert (tmp_path / "cup_alone.png").exists()


def test_its_verbs_and_options_exist() -> None:
    import typer.main

    commands = typer.main.get_command(make_app()).commands  # type: ignore[attr-defined]
    for line in "\n".join(blocks("sh")).splitlines():
        words = line.split("#")[0].split()
        if not words or words[0] != "mobilesam":
            continue
        verb = commands[words[1]]
        verb = getattr(verb, "commands", {}).get("run", verb)  # what a group does where no subcommand is named
        options = {option for parameter in verb.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line

"""Every script that documents name says what it does, and does nothing else, when it is asked for help."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NO_COMMANDS = {"site_hooks.py", "check", "check_web"}  # a module of mkdocs, and shell scripts without options
SCRIPTS = [
    path.relative_to(ROOT).as_posix()
    for path in sorted([*ROOT.glob("scripts/*"), *ROOT.glob("recipes/**/*.py")])
    if path.is_file() and path.name not in NO_COMMANDS
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_answers_help(
    script: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / script), run_name="__main__")
    except ImportError as error:
        pytest.skip(f"needs {error.name}")
    assert ended.value.code in (0, None)
    told = capsys.readouterr().out
    assert told.startswith("usage: ")
    assert Path(script).name in told


def test_all_scripts_are_found() -> None:
    assert {"scripts/run_notebooks.py", "scripts/fuzz", "recipes/miniature/run.py"} <= set(SCRIPTS)

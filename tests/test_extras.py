"""Optional dependencies: what a user is told to type."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import mobilesam
from mobilesam import extras
from mobilesam.errors import MissingExtraError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PLACE_OF_THE_EXTRA = {"require": 1, "MissingExtraError": 0, "install_command": 0}


def named_extras() -> set[str]:
    """Each extra that some module of the package tells a user to install."""
    found = set()
    for path in Path(mobilesam.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = PLACE_OF_THE_EXTRA.get(node.func.id)
                if any(keyword.arg == "command" for keyword in node.keywords):  # a library that is no extra
                    continue
                if place is not None and isinstance(argument := node.args[place], ast.Constant):
                    found.add(str(argument.value))
    return found


def test_every_extra_that_is_named_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"torch", "train", "openvino", "eval", "imagenet", "serve"} <= named_extras()
    assert named_extras() <= set(project["optional-dependencies"])


def test_no_message_spells_the_command_by_itself() -> None:
    package = Path(mobilesam.__file__).parent
    spelled = {
        p.relative_to(package).as_posix() for p in package.rglob("*.py") if 'pip install "' in p.read_text("utf-8")
    }
    # A docstring for developers, and the model card, which others read.
    assert spelled <= {"extras.py", "model/imagenet.py", "export/hub.py"}


@pytest.mark.parametrize(
    ("source", "command"),
    [
        ({"url": "file:///home/me/mobile%20sam", "dir_info": {}}, 'pip install "/home/me/mobile sam[torch]"'),
        ({"url": "file:///src/m", "dir_info": {"editable": True}}, 'pip install -e "/src/m[torch]"'),
        (
            {"url": "https://host/m.git", "vcs_info": {"vcs": "git", "commit_id": "1a2b"}},
            'pip install "mobilesam[torch] @ git+https://host/m.git@1a2b"',
        ),
        ({"url": "file:///tmp/m.whl", "archive_info": {}}, 'pip install "mobilesam[torch] @ file:///tmp/m.whl"'),
        ({}, 'pip install ".[torch]" in a checkout of mobilesam'),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="paths are written otherwise")
def test_a_missing_extra_names_the_command_for_this_installation(
    monkeypatch: pytest.MonkeyPatch, source: dict[str, object], command: str
) -> None:
    monkeypatch.setattr(extras, "_direct_url", lambda: source)
    with pytest.raises(MissingExtraError, match="exporting needs an optional dependency") as error:
        extras.require("no_such_module", "torch", "exporting")
    assert str(error.value).endswith(command)

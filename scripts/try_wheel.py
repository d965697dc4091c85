"""Installs a wheel into a bare environment and runs README's first command there, outside of the repository.

    python scripts/try_wheel.py dist/*.whl [--keep FOLDER]

Nothing but the wheel and its dependencies is installed, and the photo is all that is copied from the repository.
"""

from __future__ import annotations

import argparse
import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def first_command() -> list[str]:
    """The words of README's first `mobilesam ...` line."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^\s*(mobilesam segment .*)$", readme, re.MULTILINE)
    if not found:
        raise SystemExit("README.md has no line that begins with 'mobilesam segment'")
    return shlex.split(found[1])


def check(wheel: Path, folder: Path) -> None:
    """Install the wheel into FOLDER/venv, and run the command in FOLDER/work."""
    venv.create(folder / "venv", with_pip=True, clear=True)
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    work = folder / "work"
    work.mkdir()
    words = first_command()
    photo = words[2]
    (work / photo).parent.mkdir(parents=True)
    shutil.copy(ROOT / photo, work / photo)
    # Without the variables of the caller: neither its packages nor its checkout may help.
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    python = programs / "python"
    for command in (
        [python, "-m", "pip", "install", "--quiet", wheel.resolve()],
        [python, "-c", "import importlib.util as u; assert u.find_spec('torch') is None"],
        [programs / words[0], *words[1:]],
        [python, "-c", f"from PIL import Image; assert Image.open({words[-1]!r}).size == (600, 400)"],
    ):
        subprocess.run([str(word) for word in command], cwd=work, env=bare, check=True)
    print(f"{wheel.name} works by itself on Python {sys.version.split()[0]}")


def main() -> None:
    """Check the one wheel that the argument names; patterns are expanded, for shells that do not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel")
    parser.add_argument("--keep", type=Path, help="folder for the environment; default: a temporary one, removed")
    arguments = parser.parse_args()
    (wheel,) = glob.glob(arguments.wheel) or [arguments.wheel]
    if arguments.keep:
        arguments.keep.mkdir(parents=True)
        check(Path(wheel), arguments.keep)
        return
    with tempfile.TemporaryDirectory() as folder:
        check(Path(wheel), Path(folder))


if __name__ == "__main__":
    main()

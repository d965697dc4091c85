"""Checks that a tag may be released: python scripts/check_release.py v0.2.0

The version stands in one place, `mobilesam.__version__`, so that a source archive without git can be installed; this
compares the tag with it and with CHANGELOG.md.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def problems(tag: str, root: Path = ROOT) -> list[str]:
    """What keeps a tag from being released; empty if nothing does."""
    text = (root / "src" / "mobilesam" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    changes = re.search(r"^## (\S+)(.*)$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    if not version or not changes:
        return ["mobilesam/__init__.py has no __version__, or CHANGELOG.md no heading"]
    found = []
    if tag != f"v{version[1]}":
        found.append(
            f"the tag is {tag}, mobilesam.__version__ is {version[1]}: they must be v{version[1]} and the same"
        )
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version[1]):
        found.append(f"{version[1]} is no version to release: remove what follows the three numbers")
    if changes[1] != version[1] or "unreleased" in changes[2]:
        found.append(
            f"the topmost heading of CHANGELOG.md is '{changes[1]}{changes[2]}'; it must be '{version[1]} (DATE)'"
        )
    return found


def main() -> None:
    """Print the problems of the tag, and exit with 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag", help="such as v0.2.0")
    found = problems(parser.parse_args().tag)
    for problem in found:
        print(problem, file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

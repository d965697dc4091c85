"""What `pip install .` puts on the disk: megabytes of each package, with compiled files, and who brings it.

    python -m benchmarks.install_size                        # makes an environment of its own
    python -m benchmarks.install_size --environment PYTHON   # measures one that is there

pip itself is not counted, since the command needs it anyway. See docs/size.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.common import ROOT, make_parser, parse

PACKAGE = "mobilesam"
PLACES = "import sysconfig as s; print(*{s.get_paths()[n] for n in ('purelib', 'platlib')}, sep='\\n')"
LARGEST = 12  # files that are named


def make_environment(folder: Path) -> Path:
    """A fresh environment with the package of this checkout; its interpreter."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(ROOT)], check=True)
    return python


def installed(python: Path) -> dict[str, Distribution]:
    """The distributions of an interpreter, by their normalised names."""
    asked = subprocess.run([python, "-c", PLACES], check=True, capture_output=True, text=True)
    return {canonicalize_name(found.name): found for found in distributions(path=asked.stdout.split("\n")[:-1])}


def needed(packages: dict[str, Distribution]) -> dict[str, str]:
    """Each package that the package brings without extras → the one that asks for it."""
    brought = {PACKAGE: ""}
    waiting = [PACKAGE]
    while waiting:
        name = waiting.pop(0)
        for line in packages[name].requires or ():
            requirement = Requirement(line)
            key = canonicalize_name(requirement.name)
            if (
                key in packages
                and key not in brought
                and (not requirement.marker or requirement.marker.evaluate({"extra": ""}))
            ):
                brought[key] = name
                waiting.append(key)
    return brought


def files_of(name: str, package: Distribution) -> list[Path]:
    """The files of a package, those of Python compiled."""
    paths = [Path(str(package.locate_file(file))) for file in package.files or ()]
    if name == PACKAGE and not any(path.suffix == ".onnx" for path in paths):  # an editable installation
        paths = [path for path in (ROOT / "src" / PACKAGE).rglob("*") if path.is_file()]
    return [path for path in paths if path.is_file()]


def report(python: Path) -> None:
    """Print the table of an environment."""
    packages = installed(python)
    brought = needed(packages)
    sizes: Counter[str] = Counter()
    largest: Counter[str] = Counter()
    for name in brought:
        for path in files_of(name, packages[name]):
            sizes[name] += path.stat().st_size
            largest[f"{name}: {path.name}"] = path.stat().st_size
    print("| package | version | MB | brought by |\n|---|---|---|---|")
    for name, size in sizes.most_common():
        print(f"| {name} | {packages[name].version} | {size / 1e6:.1f} | {brought[name]} |")
    print(f"| together | | {sum(sizes.values()) / 1e6:.0f} | |\n\nThe largest files, in MB:")
    for name, size in largest.most_common(LARGEST):
        print(f"{size / 1e6:6.1f}  {name}")


def main() -> None:
    """Measure a fresh environment, or the one that is given."""
    parser = make_parser(__doc__)
    parser.add_argument("--environment", type=Path, help="an interpreter whose environment is measured as it is")

    def smoke(_: Path) -> Sequence[str]:
        return ["--environment", sys.executable]

    arguments = parse(parser, smoke)
    if arguments.environment:
        report(arguments.environment)
        return
    with tempfile.TemporaryDirectory() as folder:
        report(make_environment(Path(folder) / "venv"))


if __name__ == "__main__":
    main()

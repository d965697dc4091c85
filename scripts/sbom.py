"""Writes what an environment holds as CycloneDX: python scripts/sbom.py bare/venv/bin/python mobilesam.cdx.json

cyclonedx-py lists the packages with their versions and licences; this package's version, which pyproject.toml leaves
to the source, is added, and what only installs packages is left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
INSTALLERS = {"pip", "setuptools"}


def completed(record: dict[str, Any], version: str) -> dict[str, Any]:
    """The record with this package's version, and without the programs that install packages."""
    main = record["metadata"]["component"]
    main |= {"version": version, "purl": f"pkg:pypi/{main['name']}@{version}"}
    left_out = {part["bom-ref"] for part in record["components"] if part["name"] in INSTALLERS}
    parts = [part for part in record["components"] if part["bom-ref"] not in left_out]
    links = [link for link in record.get("dependencies", []) if link["ref"] not in left_out]
    return {**record, "components": parts, "dependencies": links}


def main() -> None:
    """List the environment of an interpreter into a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", help="the interpreter of the environment")
    parser.add_argument("output", type=Path, help="the file to write")
    arguments = parser.parse_args()
    python, output = arguments.python, arguments.output
    command = ["cyclonedx-py", "environment", "--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "library"]
    listed = subprocess.run(
        [*command, "--output-reproducible", "--of", "JSON", "-o", "-", python], check=True, capture_output=True
    )
    asked = [python, "-c", "import mobilesam; print(mobilesam.__version__)"]
    version = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    record = completed(json.loads(listed.stdout), version)
    output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{output}: {len(record['components'])} packages")


if __name__ == "__main__":
    main()

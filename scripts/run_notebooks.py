"""Runs the notebooks of examples/notebooks and keeps their outputs small: python scripts/run_notebooks.py [NAME ...]

Pictures stay as the notebooks made them; messages on standard error, times and what names this machine are removed.
`tests/examples/test_notebooks.py` runs them too, and compares their outputs with what is
committed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "examples" / "notebooks"
LIVE = "application/vnd.jupyter.widget-view+json"
"""A widget that runs; without its kernel it shows nothing."""


def notebooks() -> list[Path]:
    """All of them."""
    return sorted(FOLDER.glob("*.ipynb"))


def run(path: Path, folder: Path) -> Any:
    """Run a notebook in a folder, in a kernel of its own; returns it with its outputs, cleaned."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}, record_timing=False
    )
    client.store_widget_state = False
    client.execute()
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = joined([clean(output) for output in cell.outputs if output.get("name") != "stderr"])
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return notebook


def joined(outputs: list[Any]) -> list[Any]:
    """Outputs with successive prints as one; a kernel cuts them wherever its clock says so."""
    found: list[Any] = []
    for output in outputs:
        if found and output.output_type == found[-1].output_type == "stream":
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def clean(output: Any) -> Any:
    """An output without what only a running kernel can show."""
    output.get("data", {}).pop(LIVE, None)
    return output


def main() -> None:
    """Run the notebooks beside copies of the example photos."""
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as everything; all notebooks by default")
    names = parser.parse_args().names
    if wrong := set(names) - {path.stem for path in notebooks()}:
        parser.error(f"no such notebook: {', '.join(sorted(wrong))}")
    for path in (path for path in notebooks() if not names or path.stem in names):
        with tempfile.TemporaryDirectory() as folder:
            for photo in FOLDER.parent.glob("*.png"):
                Path(folder, photo.name).symlink_to(photo)
            nbformat.write(run(path, Path(folder)), path)
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()

"""Make docs/images/tasks: what the commands of the task pages write, run as a reader would, put side by side.

python scripts/draw_documents.py [PAGE ...]    # such as boxes; without names, all of them

Pages that train or export (fine-tune, distillation, phone) need the extra train and some minutes; service needs curl
and the extra serve. Prompts are those of the pages, whatever the model answers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from mobilesam.draw import overlay  # noqa: E402
from mobilesam.image import open_photo  # noqa: E402
from mobilesam.masks import from_rle  # noqa: E402
from tests.helpers.documents import blocks, commands, run, run_page  # noqa: E402
from tests.helpers.pictures import FILES, TARGET, files_of, save, shown, side_by_side  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(PAGES)}; all of them by default")
    names: list[str] = parser.parse_args().names
    if wrong := set(names) - set(PAGES):
        raise SystemExit(f"no such page: {', '.join(sorted(wrong))}; there are {', '.join(PAGES)}")
    for name in names or PAGES:
        with tempfile.TemporaryDirectory() as folder:
            pictures = PAGES[name](ROOT / "docs" / f"{name}.md", Path(folder))
            target = TARGET / f"{name}.webp"
            save(side_by_side(pictures), target)
            if name == "first-cut-out":  # the first command's alone, for the README and the first page
                side_by_side(pictures[:1]).save(TARGET / "cup.webp", quality=82, method=6)
            os.chdir(ROOT)
        print(f"wrote {target}, {target.stat().st_size / 1000:.0f} kB")


def of_files(*patterns: str, everything: bool = False) -> Callable[[Path, Path], list[Image.Image]]:
    """The pictures that a page's blocks wrote, by their names."""

    def draw(page: Path, folder: Path) -> list[Image.Image]:
        (folder / "recipes").symlink_to(ROOT / "recipes")
        run_page(page, folder, everything=everything)
        return files_of(folder, patterns)

    return draw


def distilled(page: Path, folder: Path) -> list[Image.Image]:
    """The last validation picture of the student of recipes/tiny, on drawn scenes."""
    from tests.helpers.scenes import write_shard

    os.chdir(folder)
    (folder / "recipes").symlink_to(ROOT / "recipes")
    write_shard(folder / "drawn.tar", 200)
    for block in blocks(page.read_text(encoding="utf-8")):
        if "recipes/tiny/student.toml" in block.text:
            for line in block.text.splitlines()[:-1]:
                words = [word.strip("'").replace("PATH/*.tar", "drawn.tar") for word in line.split()]
                assert run(words) == 0, line
    last = sorted((folder / "runs" / "tiny" / "student" / "pictures").iterdir())[-1]
    picture = shown(last)
    return [picture.resize((3 * picture.width, 3 * picture.height), Image.Resampling.NEAREST)]  # photos of 64 px


def for_a_phone(page: Path, folder: Path) -> list[Image.Image]:
    """Masks of the model in Python and of the exported files."""
    run_page(page, folder, everything=True)
    run(["mobilesam", "segment", "examples/coffee.png", "--box", "170,15,410,310", "--overlay", "-o", "python.png"])
    return [shown("python.png"), shown("phone.png")]


def served(page: Path, folder: Path) -> list[Image.Image]:
    """The mask that the service answers to the page's curl, beside the photo."""
    (folder / "examples").symlink_to(ROOT / "examples")
    shell = next(one.text for one in blocks(page.read_text(encoding="utf-8")) if "curl" in one.text)
    service = subprocess.Popen([sys.executable, "-m", "mobilesam", "serve"], cwd=folder)
    try:
        for _ in range(60):
            time.sleep(1)
            if (
                subprocess.run(["curl", "-sf", "http://127.0.0.1:8000/readyz"], stdout=subprocess.DEVNULL).returncode
                == 0
            ):
                break
        subprocess.run(["bash", "-ec", shell], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    finally:
        service.terminate()
        service.wait()
    return [shown(folder / "examples" / "coffee.png"), shown(folder / "served.png")]


def annotated(page: Path, folder: Path) -> list[Image.Image]:
    """`sample.jpg` of a run over pieces of the two photos."""
    os.chdir(folder)
    (folder / "photos").mkdir()
    for name, left, top in [("coffee", x, y) for y in (0, 130) for x in (0, 150, 300)] + [
        ("chelsea", 0, 0),
        ("chelsea", 150, 30),
    ]:
        with Image.open(ROOT / "examples" / f"{name}.png") as photo:
            photo.crop((left, top, left + 300, top + 270)).save(folder / "photos" / f"{name}_{left}_{top}.png")
    assert "annotate photos/ -o all_masks/" in page.read_text(encoding="utf-8")
    assert run(["mobilesam", "annotate", "photos/", "-o", "all_masks/", "--set", "points_per_side=16"]) == 0
    return [shown(folder / "all_masks" / "sample.jpg")]


def published(page: Path, folder: Path) -> list[Image.Image]:
    """A mask of the model that the page exports for the Hub and loads from there."""
    os.chdir(folder)
    (folder / "examples").symlink_to(ROOT / "examples")
    shell = next(one.text for one in blocks(page.read_text(encoding="utf-8")) if "--format hub" in one.text)
    for words in commands(shell):
        if words[0] == "mobilesam":
            assert run(words) == 0
    return [shown("loaded.png")]


def by_client(page: Path, folder: Path) -> list[Image.Image]:
    """The cut-out that the page's Python client asks the server for."""
    run_page(page, folder)
    client = next(one.text for one in blocks(page.read_text(encoding="utf-8")) if one.language == "python")
    subprocess.run([sys.executable, "-c", client], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return [shown(path) for path in sorted((folder / "examples" / "mobilesam").glob("*.png"))]


def by_scripts(page: Path, folder: Path) -> list[Image.Image]:
    """What two of the scripts write: a cut-out, and COCO, which is drawn on its photo."""
    photo = ROOT / "examples" / "coffee.png"
    for script, *words in (["correct.py", "cup.png"], ["everything_to_coco.py", "all.json", str(photo)]):
        assert script in page.read_text(encoding="utf-8")
        subprocess.run([sys.executable, str(ROOT / "examples" / script), *words], cwd=folder, check=True)
    annotations = json.loads((folder / "all.json").read_text(encoding="utf-8"))["annotations"]
    drawn = overlay(open_photo(photo), [from_rle(one["segmentation"]) for one in annotations])
    return [shown(folder / "cup.png"), Image.fromarray(drawn).convert("RGBA")]


PAGES: dict[str, Callable[[Path, Path], list[Image.Image]]] = {
    **{name: of_files(*patterns) for name, patterns in FILES.items()},
    "service": served,
    "fine-tune": of_files("before.png", "after.png", everything=True),
    "distillation": distilled,
    "phone": for_a_phone,
    "scale": annotated,
    "mcp": by_client,
    "weights": published,
    "examples": by_scripts,
}


if __name__ == "__main__":
    main()

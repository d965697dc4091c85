"""What the tools of the MCP server do, without the protocol: photos of a folder → files in it and short records."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from mobilesam.draw import overlay
from mobilesam.errors import PromptError
from mobilesam.everything.generate import segment_everything
from mobilesam.everything.settings import EverythingSettings
from mobilesam.everything.write import write
from mobilesam.files import save_json, save_picture
from mobilesam.image import is_photo_name
from mobilesam.interchange.coco import to_coco
from mobilesam.mcp.folder import RESULTS, Folder
from mobilesam.names import output_names
from mobilesam.outputs import Outputs
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.results import Mask

KEPT = 4  # photos whose embeddings are kept for the next prompt
MOST_LISTED = 50  # masks of "everything" in an answer: a language model reads all of it


@dataclass(frozen=True)
class Asked:
    """A prompt: points, their labels, and a box, in pixels of the photo.

    Raises:
        PromptError: there is neither a point nor a box.
    """

    points: Sequence[Sequence[float]] | None = None
    labels: Sequence[int] | None = None
    box: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if not self.points and self.box is None:  # the predictor's own sentence names a prior, which no tool takes
            raise PromptError("nothing to segment: give 'points' ([[x, y], ...]), 'box' ([x0, y0, x1, y1]), or both")


@dataclass(frozen=True)
class Tools:
    """The tools on one folder, with one model; they may be called from several threads."""

    predictor: Predictor
    folder: Folder
    _kept: OrderedDict[tuple[object, ...], ImageEmbedding] = field(default_factory=OrderedDict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def segment(
        self, photo: str, asked: Asked, *, all_masks: bool = False, results: str | None = None
    ) -> dict[str, Any]:
        """Segment the object at a prompt.

        Writes one mask picture for each mask, an overlay, and a COCO file with run lengths and polygons.

        Args:
            photo: its name in the folder.
            asked: the prompt.
            all_masks: keep three masks of different extent instead of the best one.
            results: folder of the files; None for `RESULTS`.

        Returns:
            A JSON-able record: the size of the photo, and each mask's box, area, score and file.

        Raises:
            MobileSamError: the photo, the prompt or the path is refused.
        """
        path = self._photo(photo, results)
        image = self._embed(path)
        found = image.predict(
            points=asked.points, labels=asked.labels, box=asked.box, multimask=True if all_masks else None
        )
        masks = list(found) if all_masks else [found.best]
        names = ["_mask"] if len(masks) == 1 else [f"_mask_{i}" for i in range(1, len(masks) + 1)]
        files = [
            self._picture(mask.array, path, results, f"{name}.png") for mask, name in zip(masks, names, strict=True)
        ]
        drawn = self._drawn(image, masks, asked)
        record = to_coco(masks, self.folder.name(path), original_hw=image.original_hw)
        for annotation, mask in zip(record["annotations"], masks, strict=True):
            annotation["polygons"] = [
                {"outer": polygon.outer.tolist(), "holes": [hole.tolist() for hole in polygon.holes]}
                for polygon in mask.polygons()
            ]
        return {
            **self._about(path, image),
            "masks": [{**_short(mask), "file": file} for mask, file in zip(masks, files, strict=True)],
            "overlay": self._picture(drawn, path, results, "_overlay.jpg"),
            "coco": self._json(record, path, results, "_coco.json"),
        }

    def everything(self, photo: str, *, points_per_side: int = 32, results: str | None = None) -> dict[str, Any]:
        """Find all masks of a photo.

        Writes a label picture, an overlay and an SA-1B record with run lengths.

        Args:
            photo: its name in the folder.
            points_per_side: of the grid of points that are tried.
            results: folder of the files; None for `RESULTS`.

        Returns:
            A JSON-able record: the number of masks, the largest of them with box, area and score, and the files.

        Raises:
            MobileSamError: the photo, a setting or the path is refused.
        """
        path = self._photo(photo, results)
        settings = EverythingSettings(points_per_side=points_per_side)
        image = self._embed(path)
        found = segment_everything(self.predictor, image, settings=settings)
        folder, name = self._place(path, results)
        for ending in ("_labels.png", "_overlay.jpg", ".json"):
            self.folder.inside(folder / (name + ending))
        assert image.photo is not None  # it was opened here
        made = {"made_by": "mobilesam mcp"}
        shown = self.folder.name(path)
        files = write(folder, name, shown, image.photo, found, ("labels", "overlay"), made, self._rule(path))
        order = sorted(range(len(found)), key=lambda i: -found[i].area)[:MOST_LISTED]
        return {
            **self._about(path, image),
            "count": len(found),
            "largest": [{"label": i + 1, **_short(found[i])} for i in order],
            "files": [self.folder.name(file) for file in files],
        }

    def cut_out(self, photo: str, asked: Asked, *, results: str | None = None) -> tuple[dict[str, Any], Path]:
        """Cut the object at a prompt out of its background.

        Args:
            photo: its name in the folder.
            asked: the prompt.
            results: folder of the file; None for `RESULTS`.

        Returns:
            A JSON-able record with the mask's box, area, score and the file; and the path of the PNG, RGBA.

        Raises:
            MobileSamError: the photo, the prompt or the path is refused, or the mask is empty.
        """
        path = self._photo(photo, results)
        image = self._embed(path)
        mask = image.predict(points=asked.points, labels=asked.labels, box=asked.box).best
        file = self._picture(mask.cutout(), path, results, "_cutout.png")
        return {**self._about(path, image), **_short(mask), "file": file}, self.folder.inside(file)

    def _photo(self, name: str, results: str | None) -> Path:
        """The path of a photo; whether its results may be written is checked too, before anything is computed."""
        path = self.folder.photo(name)
        self.folder.inside(results or RESULTS)
        return path

    def _embed(self, path: Path) -> ImageEmbedding:
        """The photo's embedding, from the last few photos if it is among them and unchanged."""
        state = path.stat()
        key = (path, state.st_mtime_ns, state.st_size)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        image = self.predictor.embed(path)
        with self._lock:
            self._kept[key] = image
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return image

    def _rule(self, path: Path) -> Outputs:
        return Outputs.beside([path])

    def _place(self, path: Path, results: str | None) -> tuple[Path, str]:
        """The folder of a photo's files, which repeats the photo's subfolder, and the first part of their names."""
        subfolder = path.parent.relative_to(self.folder.root)
        alike = [other for other in path.parent.glob(f"{escape(path.stem)}.*") if is_photo_name(other.name)]
        return self.folder.results(self.folder.inside(results or RESULTS) / subfolder), output_names([path, *alike])[0]

    def _target(self, path: Path, results: str | None, ending: str) -> Path:
        folder, name = self._place(path, results)
        return self.folder.inside(folder / (name + ending))

    def _picture(self, picture: Image | NDArray[np.generic], path: Path, results: str | None, ending: str) -> str:
        target = self._target(path, results, ending)
        return self.folder.name(save_picture(picture, target, outputs=self._rule(path)))

    def _json(self, record: dict[str, Any], path: Path, results: str | None, ending: str) -> str:
        return self.folder.name(save_json(record, self._target(path, results, ending), self._rule(path)))

    def _drawn(self, image: ImageEmbedding, masks: list[Mask], asked: Asked) -> NDArray[np.uint8]:
        """The photo with the masks and the prompt on it: (H, W, 3)."""
        assert image.photo is not None  # it was opened here
        points = [(x, y) for x, y in asked.points or ()]
        x0y0x1y1 = None if asked.box is None else (asked.box[0], asked.box[1], asked.box[2], asked.box[3])
        arrays = [mask.array for mask in masks]
        return overlay(image.photo, arrays, points=points, labels=list(asked.labels or ()), box=x0y0x1y1)

    def _about(self, path: Path, image: ImageEmbedding) -> dict[str, Any]:
        height, width = image.original_hw
        return {"photo": self.folder.name(path), "width": width, "height": height}


def _short(mask: Mask) -> dict[str, Any]:
    """What a language model needs to know of a mask; the pixels are in files."""
    return {"box_xyxy": list(mask.box_xyxy), "area": mask.area, "score": round(mask.score, 3)}

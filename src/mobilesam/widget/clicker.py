"""`Clicker`: a photo in a notebook; clicks show masks at once, and Python has them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray
from PIL import Image

from mobilesam import contract
from mobilesam.errors import MobileSamError, SettingsError
from mobilesam.image import PhotoLike, to_square
from mobilesam.integrity import read_card
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.load import load
from mobilesam.predict.pair import PairBackend
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.results import Mask, Prediction
from mobilesam.web import VENDOR, static_folder
from mobilesam.widget.bundle import bundle

SHOWN_SIDE = 1600  # pixels of the picture on the screen; masks have the size of the photo
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm.gz")
HERE = Path(__file__).parent


class Clicker(anywidget.AnyWidget):
    """A photo whose objects are cut out by clicks and boxes, for Jupyter and other notebooks.

    The photo is encoded in Python; the decoder runs in the browser, with the code of the page, so that pointing shows a
    mask without a delay. `masks` are computed in Python from the same prompts.

        clicker = mobilesam.widget.Clicker("dog.jpg")
        clicker                                   # shown; click in it
        clicker.masks[0].cutout()                 # in a later cell
    """

    _esm = bundle(HERE / "clicker.js")
    _css = (HERE / "clicker.css").read_text(encoding="utf-8")
    _photo = traitlets.Bytes().tag(sync=True)
    _facts = traitlets.Dict().tag(sync=True)
    objects = traitlets.List(traitlets.Dict()).tag(sync=True)
    """A prompt for each object, changed by clicks: {"points": [[x, y], ...], "labels": [1, ...], "box": [...] or None}
    in pixels of the photo. `observe` it to be told of clicks."""

    def __init__(self, photo: PhotoLike, predictor: Predictor | None = None) -> None:
        """Encode a photo, to be shown when the widget is the last line of a cell.

        Args:
            photo: path, bytes, PIL image or array; see `mobilesam.image.open_photo`.
            predictor: a model that `mobilesam.load` gave, run by onnxruntime or OpenVINO; None for the embedded one.

        Raises:
            ImageError: the photo cannot be opened.
            SettingsError: the model is of another backend, whose files a browser cannot run.
        """
        predictor = load() if predictor is None else predictor
        backend = predictor.backend
        if not isinstance(backend, PairBackend) or not (backend.folder / contract.DECODER_FILE).is_file():
            raise SettingsError("a browser runs exported pairs only; load one: mobilesam.load(..., backend='onnx')")
        self._backend: PairBackend[Any] = backend
        self._image = predictor.embed(photo)
        self._answers: dict[str, Prediction] = {}
        card = read_card(backend.folder)
        height, width = self._image.original_hw
        info = predictor.info
        kept = {"zoom_below": info.zoom_below, "click_zoom_below": info.click_zoom_below, "name": card.get("name", "")}
        facts = {"width": width, "height": height, "side": self._image.image_size, "card": kept}
        super().__init__(_photo=_shown(self._rgb), _facts=facts)
        self.on_msg(self._answer)

    @property
    def image(self) -> ImageEmbedding:
        """The encoded photo, for more prompts."""
        return self._image

    @property
    def masks(self) -> list[Mask]:
        """The best mask of each object, in the order in which they were begun.

        Each equals what the Python API gives: `predict` for the first click or the box, then again for each further
        click, with all points so far and the last prediction as `prior`.
        """
        return [prediction.best for prediction in self.predictions]

    @property
    def predictions(self) -> list[Prediction]:
        """All masks and scores of each object, in the order in which they were begun."""
        return [self._predict(one["points"], one["labels"], one.get("box")) for one in self.objects]

    def clear(self) -> None:
        """Forget all objects, in the browser too."""
        self.objects = []

    def __repr__(self) -> str:
        height, width = self._image.original_hw
        return f"Clicker({width}x{height}, objects={len(self.objects)})"

    @property
    def _rgb(self) -> NDArray[np.uint8]:
        assert self._image.photo is not None  # it was opened here
        return self._image.photo

    def _predict(self, points: list[list[float]], labels: list[int], box: list[float] | None) -> Prediction:
        """The answer to the last click, after those before it."""
        key = json.dumps([points, labels, box])
        if key not in self._answers:
            is_first = len(points) + (box is not None) == 1
            prior = None if is_first else self._predict(points[:-1], labels[:-1], box)
            self._answers[key] = self._image.predict(points=points or None, labels=labels or None, box=box, prior=prior)
        return self._answers[key]

    def _answer(self, _: object, question: dict[str, Any], buffers: object = None) -> None:
        """Answer a question of the browser; errors become sentences that it shows."""
        key = question.get("id")
        try:
            if question.get("kind") == "files":
                files = self._files()
                self.send({"id": key, "names": [*files]}, [*files.values()])
                return
            found = self._encode(question.get("region"))
            self.send({"id": key, "shape": [*found.shape]}, [found.tobytes()])
        except (MobileSamError, OSError, ValueError, TypeError) as error:
            self.send({"id": key, "error": str(error)})

    def _files(self) -> dict[str, bytes]:
        """What the browser needs to run the decoder."""
        files = {name: (static_folder() / VENDOR / name).read_bytes() for name in RUNTIME}
        return {**files, contract.DECODER_FILE: (self._backend.folder / contract.DECODER_FILE).read_bytes()}

    def _encode(self, region: list[int] | None) -> NDArray[np.float32]:
        """The embedding (1, C, g, g) of the photo, or of a region (x0, y0, x1, y1) for a second look."""
        if region is None:
            return self._image.array
        height, width = self._image.original_hw
        x0, y0, x1, y1 = (int(value) for value in region)
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ValueError(f"region {region} lies outside of the photo")
        return self._backend.encode(to_square(self._rgb[y0:y1, x0:x1], self._image.image_size))


def _shown(rgb: NDArray[np.uint8]) -> bytes:
    """The photo as a JPEG for the screen."""
    picture, file = Image.fromarray(rgb), io.BytesIO()
    picture.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()

"""Find further objects in training photos with few annotated ones: masks on which several views of the photo agree.

python scripts/agreeing_masks.py 'PATH/*.tar' -o found --photos 900
mobilesam train RECIPE --set 'data.paths=["PATH/*.tar", "found/*"]' --set data.source_weights.found=2

A model finds all masks of a photo. A mask is kept if the same point also gives it in the mirrored photo and at another
image size, and if it is not annotated already. It is written in the SA-1B layout, one folder per data set, with the
source "found", whose weight in a recipe says how often these targets are drawn. A photo that is finished is skipped
when the command is repeated. The idea: the data engine of SAM, arXiv 2304.02643, section 4.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mobilesam
from mobilesam.data.decoded import DecodedPhoto, read_photo, warn_left_out
from mobilesam.data.photo import PhotoRef
from mobilesam.data.survey import survey
from mobilesam.errors import DataError
from mobilesam.evaluate.metrics import iou
from mobilesam.everything.generate import segment_everything
from mobilesam.everything.results import FoundMask
from mobilesam.everything.settings import EverythingSettings
from mobilesam.files import save_json, save_picture
from mobilesam.predict.predictor import Predictor

SOURCE = "found"
MIN_AREA = 0.002  # of the photo; smaller masks are hardly ever prompted in training
MAX_AREA = 0.3  # larger ones are mostly sky, ground and walls
ANNOTATED = 0.5  # IoU with an annotated object above which a mask is that object


def find(models: Sequence[Predictor], photo: DecodedPhoto, points_per_side: int, agreement: float) -> list[FoundMask]:
    """Find the masks of a photo that are not annotated and on which all views agree.

    Args:
        models: the first one finds the masks, also in the mirrored photo; all of them are asked for each mask again.
        photo: the photo and its annotated objects.
        points_per_side: of the grid of points that is searched.
        agreement: least IoU with the mask of every other view, 0-1.
    """
    first, *others = models
    settings = EverythingSettings(points_per_side=points_per_side)
    annotated = [photo.mask(i) for i in range(len(photo.run_lengths))]
    found = [
        mask
        for mask in segment_everything(first, photo.rgb, settings=settings)
        if MIN_AREA <= mask.array.mean() <= MAX_AREA and all(iou(mask.array, other) <= ANNOTATED for other in annotated)
    ]
    for model, mirrored in [(first, True), *((other, False) for other in others)]:
        if found:
            again = ask_again(model, photo.rgb, found, mirrored=mirrored)
            found = [mask for mask, same in zip(found, again, strict=True) if same >= agreement]
    return found


def ask_again(model: Predictor, rgb: NDArray[np.uint8], found: Sequence[FoundMask], *, mirrored: bool) -> list[float]:
    """Prompt a model with the points of masks; for each, the highest IoU that a mask of its point has with it."""
    width = rgb.shape[1]
    image = model.embed(np.ascontiguousarray(rgb[:, ::-1]) if mirrored else rgb)
    points = [(width - mask.point_xy[0], mask.point_xy[1]) if mirrored else mask.point_xy for mask in found]
    predictions = image.predict_batch(points=[[point] for point in points], multimask=True, zoom=False)
    step = -1 if mirrored else 1
    return [
        max(iou(mask.array, other[:, ::step]) for other in prediction.masks)
        for mask, prediction in zip(found, predictions, strict=True)
    ]


def write(folder: Path, photo: DecodedPhoto, found: Sequence[FoundMask]) -> None:
    """Write a photo and its masks in the SA-1B layout; the record comes last and marks the photo as finished."""
    picture, record = target(folder, photo.id.dataset, photo.id.path)
    picture.parent.mkdir(parents=True, exist_ok=True)
    save_picture(photo.rgb, picture, quality=95)
    image = {"file_name": picture.name, "width": photo.rgb.shape[1], "height": photo.rgb.shape[0]}
    annotations = [{"id": i, **mask.to_sa1b()} for i, mask in enumerate(found, 1)]
    save_json({"image": image, "annotations": annotations, "source": SOURCE}, record)


def target(folder: Path, dataset: str, path: str) -> tuple[Path, Path]:
    """The files of a photo: its picture and its record."""
    name = path.replace("/", "_").removesuffix(".jpg")
    return folder / dataset / f"{name}.jpg", folder / dataset / f"{name}.json"


def choose(photos: Sequence[PhotoRef], max_objects: int, count: int | None) -> list[PhotoRef]:
    """Draw photos with few annotated objects, the same ones in every run."""
    few = [photo for photo in photos if len(photo.annotation().objects) <= max_objects]
    return sorted(few, key=lambda photo: zlib.crc32(SOURCE.encode() + photo.id.path.encode()))[:count]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", help="data sets of any layout that training reads")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the results")
    parser.add_argument("-m", "--model", default="embedded")
    parser.add_argument(
        "--image-size", type=int, nargs="+", default=[512, 384], help="of the search, and of the others"
    )
    parser.add_argument("--max-objects", type=int, default=1, help="skip photos with more annotated objects")
    parser.add_argument("--photos", type=int, help="at most so many photos; default: all")
    parser.add_argument("--points-per-side", type=int, default=16)
    parser.add_argument("--agreement", type=float, default=0.85, help="least IoU between the views")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args(arguments)
    models = [mobilesam.load(options.model, image_size=side, threads=options.threads) for side in options.image_size]
    photos = choose(survey(options.data).photos, options.max_objects, options.photos)
    for number, reference in enumerate(photos, 1):
        if target(options.output, reference.id.dataset, reference.id.path)[1].exists():
            continue
        try:
            photo = read_photo(reference)
        except DataError as error:
            warn_left_out(error)
            continue
        found = find(models, photo, options.points_per_side, options.agreement)
        write(options.output, photo, found)
        print(f"{number}/{len(photos)} {reference.id}: {len(found)} masks", flush=True)


if __name__ == "__main__":
    main()

"""Zero-shot instance segmentation: a detector's boxes as prompts, measured by COCO or LVIS AP.

Rule (SAM, arXiv 2304.02643, section 7.4): every box of a COCO-format detection file is a prompt; the single mask takes
the detector's class and score; COCO counts up to 100 masks per photo, LVIS up to 300. The AP depends on the box file by
several points, so the report names it with its sha256.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pycocotools import mask as coco_mask

from mobilesam import weights
from mobilesam.choices import Frame
from mobilesam.data.coco import ImageKey, image_key
from mobilesam.data.layouts import read
from mobilesam.data.pairs import is_record_name
from mobilesam.data.photo import MALFORMED, Item, PhotoId, PhotoRef, Problem, reason
from mobilesam.data.shapes import to_shape
from mobilesam.errors import DataError, PromptError
from mobilesam.evaluate.everything import require_coco_eval
from mobilesam.evaluate.records import Json, problem_to_dict
from mobilesam.image import MAX_PIXELS
from mobilesam.opening.tones import check_range
from mobilesam.predict.identity import runtime_of
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.zoom import Zoom
from mobilesam.rle import is_whole
from mobilesam.settings import fits
from mobilesam.text import parse_json

COCO_MAX_DETECTIONS = [1, 10, 100]
LVIS_MAX_DETECTIONS = [300]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class DetectionReport:
    """AP of one detection file, with the model and the files it was measured with."""

    style: str
    """"COCO" or "LVIS"."""
    zoom: Zoom
    value_range: tuple[float, float] | None
    """Black and white of photos of more than 8 bits, where they were given."""
    detections: str
    """Name of the detection file."""
    detections_sha256: str
    num_masks: int
    num_boxes_elsewhere: int
    """Boxes of photos that are not in the annotation file; they are skipped."""
    problems: tuple[Problem, ...]
    ap: dict[str, float]
    """Every number that faster-coco-eval reports, 0-1."""
    model: Json
    """Name, hash of the weights and so on."""
    runtime: Json
    """The backend that ran it, the precision that it computed in, how the files store it, and versions."""

    def to_dict(self) -> Json:
        """The report as a JSON-able dict."""
        rule = {"protocol": "detections", "mask": "single mask, detector's score"}
        return {**rule, **asdict(self), "problems": [problem_to_dict(problem) for problem in self.problems]}


def evaluate_detections(
    sam: Predictor,
    truth: Path,
    detections: Path,
    images: Path | None = None,
    *,
    zoom: Zoom = "auto",
    unclear_frame: Frame = "upright",
    max_pixels: int = MAX_PIXELS,
    value_range: tuple[float, float] | None = None,
    progress: Callable[[Sequence[Item]], Iterable[Item]] = iter,
) -> DetectionReport:
    """Measure the COCO or LVIS AP of masks prompted by the boxes of one detection file.

    Args:
        sam: the model.
        truth: COCO or LVIS instance JSON.
        detections: a list of {"image_id", "category_id", "bbox": [x, y, w, h], "score"}.
        images: folder of the photos.
        zoom: second looks, as in `ImageEmbedding.predict`.
        unclear_frame: orientation of annotations that do not state it, for photos with an EXIF orientation.
        max_pixels: larger photos are problems.
        value_range: the values of black and white of photos of more than 8 bits; see `mobilesam.image.open_photo`.
        progress: wraps the list of photos, such as with a progress bar.

    Raises:
        DataError: a file does not have the expected format.
        MissingExtraError: faster-coco-eval is not installed.
    """
    check_inputs(truth, detections)  # before hours of work, not after
    value_range = None if value_range is None else check_range(value_range)
    by_image, problems = group_boxes(detections)
    results: list[Json] = []
    known: set[ImageKey] = set()
    for item in progress(list(read(truth, photos=images, unclear_frame=unclear_frame))):
        if isinstance(item, Problem):
            problems.append(item)
            continue
        known.update(item.image_ids)
        boxes = [box for id in item.image_ids for box in by_image.get(id, [])]
        photo = replace(item, max_pixels=max_pixels, value_range=value_range)
        results += segment_boxes(sam, photo, boxes, problems, zoom)
    if not results and problems:
        raise DataError(f"no box could be answered, {len(problems)} problems; {problems[0].id}: {problems[0].reason}")
    ap, is_lvis = score(check_truth(truth, sizes_of(results), problems), results)
    return DetectionReport(
        style="LVIS" if is_lvis else "COCO",
        zoom=zoom,
        value_range=value_range,
        detections=detections.name,
        detections_sha256=weights.file_sha256(detections),
        num_masks=len(results),
        num_boxes_elsewhere=sum(len(boxes) for image_id, boxes in by_image.items() if image_id not in known),
        problems=tuple(problems),
        ap=ap,
        model=asdict(sam.info),
        runtime=asdict(runtime_of(sam.backend)),
    )


def check_inputs(truth: Path, detections: Path) -> None:
    """Check what is known before a model is loaded: that the files are there, and the extra to measure with.

    Raises:
        DataError: a file is missing, or has another ending than `.json`.
        MissingExtraError: faster-coco-eval is not installed.
    """
    if not is_record_name(truth.name):
        raise DataError(f"'{truth}' is not a COCO or LVIS annotation file (.json)")
    for file in (truth, detections):
        if not file.is_file():
            raise DataError(f"there is no file '{file}'")
    require_coco_eval()


def group_boxes(path: Path) -> tuple[dict[ImageKey | None, list[Json]], list[Problem]]:
    """Read a detection file: its boxes by image id, and a problem for each record that is no detection.

    Raises:
        DataError: the file is not a list of detections, or none of them can be used.
    """
    groups: dict[ImageKey | None, list[Json]] = defaultdict(list)
    problems: list[Problem] = []
    try:
        records: list[Json] = parse_json(path.read_bytes())
        for i, box in enumerate(records):
            try:
                groups[check_detection(box)].append(box)
            except MALFORMED as error:
                problems.append(Problem(PhotoId(path.stem, f"[{i}]"), f"broken detection: {reason(error)}"))
        if problems and not groups:
            raise DataError(problems[0].reason)
    except (*MALFORMED, OSError) as error:
        raise DataError(
            f"'{path}' is not a COCO detection file: expected a list of objects with image_id, category_id, bbox and "
            f"score ({type(error).__name__}: {error})"
        ) from error
    return groups, problems


def check_detection(box: Json) -> ImageKey | None:
    """The photo of a detection, whose numbers are checked.

    Raises:
        DataError, KeyError, TypeError: it cannot be used.
    """
    # Checked before any photo is opened, so that a file of another kind fails now and not hours later.
    if not is_whole(box["category_id"]) or not fits(box["score"], float) or not fits(tuple(box["bbox"]), Box):
        raise DataError(f"a detection cannot be {box!r:.80}")
    if not all(map(math.isfinite, (*box["bbox"], box["score"]))):
        raise DataError(f"the numbers of a detection must be finite: {box!r:.80}")
    return image_key(box["image_id"])


def segment_boxes(
    sam: Predictor, photo: PhotoRef, boxes: Sequence[Json], problems: list[Problem], zoom: Zoom = "auto"
) -> list[Json]:
    """One mask per box of one photo, in COCO's result format; failures are appended to `problems`."""
    try:
        image = sam.embed(photo.open())
    except (DataError, ValueError) as error:
        problems.append(Problem(photo.id, str(error)))
        return []
    results = []
    for box in boxes:
        x, y, w, h = box["bbox"]  # COCO: corner and size; prompts are two corners
        try:
            found = image.predict(box=(x, y, x + w, y + h), multimask=False, zoom=zoom)
        except PromptError as error:
            problems.append(Problem(photo.id, str(error)))  # such as a box outside the photo
            continue
        kept = {"image_id": image_key(box["image_id"]), "category_id": int(box["category_id"]), "score": box["score"]}
        # The detector's score, not the model's, so that AP ranks the masks as it would rank the boxes.
        results.append({**kept, "segmentation": found.best.rle()})
    return results


def sizes_of(results: Sequence[Json]) -> dict[ImageKey, tuple[int, int]]:
    """Size (H, W) of each photo that has a mask."""
    return {one["image_id"]: (one["segmentation"]["size"][0], one["segmentation"]["size"][1]) for one in results}


def check_truth(path: Path, sizes: Mapping[ImageKey, tuple[int, int]], problems: list[Problem]) -> Json:
    """A COCO or LVIS file as faster-coco-eval takes it: that library checks no polygon and no run lengths either.

    Args:
        path: the file.
        sizes: (H, W) of photos that were opened; others have the size that the file states.
        problems: annotations that cannot be used are appended.

    Raises:
        DataError: it is no COCO file.
    """
    data = parse_json(path.read_bytes())
    images: dict[ImageKey, Json] = {}
    annotations: list[Json] = []
    try:
        for image in data["images"]:
            images[image_key(image["id"])] = {**image, "id": image_key(image["id"])}
        categories = [{**one, "id": int(one["id"])} for one in data["categories"]]
        for i, record in enumerate(data["annotations"]):
            try:
                annotations.append(check_annotation(record, i, images, sizes))
            except MALFORMED as error:
                problems.append(Problem(PhotoId(path.stem, f"annotations[{i}]"), f"broken annotation: {reason(error)}"))
    except MALFORMED as error:
        raise DataError(f"'{path}' is not a COCO annotation file ({reason(error)})") from error
    lists = {"images": list(images.values()), "annotations": annotations, "categories": categories}
    return {**data, **lists}


def check_annotation(
    record: Json, index: int, images: Mapping[ImageKey, Json], sizes: Mapping[ImageKey, tuple[int, int]]
) -> Json:
    """One annotation with a mask of run lengths that fit its photo, and the numbers that COCO's metric needs.

    Raises:
        DataError, KeyError, TypeError, ValueError: it cannot be used.
    """
    image = images[image_key(record["image_id"])]
    hw = sizes.get(image["id"]) or (image["height"], image["width"])
    if not all(map(is_whole, hw)):
        raise DataError(f"the photo's size must be whole numbers, not {hw!r:.40}")
    rle = to_shape(record.get("segmentation")).rle((int(hw[0]), int(hw[1])))
    area = record.get("area")
    return {
        **record,
        "id": index + 1,  # the metric takes an id of 0 for "no match"
        "image_id": image["id"],
        "category_id": int(record["category_id"]),
        "iscrowd": int(record.get("iscrowd") in (1, "1")),
        "segmentation": rle,
        "bbox": coco_mask.toBbox(rle).tolist(),
        "area": area if fits(area, float) else float(coco_mask.area(rle)),
    }


def score(truth: Json, results: list[Json]) -> tuple[dict[str, float], bool]:
    """AP computed by faster-coco-eval, 0-1 per name, and whether the annotations are LVIS's.

    Raises:
        DataError: there are no results.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    if not results:
        raise DataError("no detection belongs to a photo of the annotation file; do their image_ids match?")
    reference = COCO(truth)
    # Only LVIS annotations state how frequent a category is; file names tell nothing reliable.
    is_lvis = any("frequency" in category for category in reference.dataset["categories"])
    evaluation = COCOeval_faster(reference, reference.loadRes(results), "segm", lvis_style=is_lvis)
    # faster-coco-eval has COCO's limits by default; LVIS allows 300, because it does not annotate every object.
    evaluation.params.maxDets = LVIS_MAX_DETECTIONS if is_lvis else COCO_MAX_DETECTIONS
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return {name: float(value) for name, value in evaluation.stats_as_dict.items()}, is_lvis

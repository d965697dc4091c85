"""Boxes to masks with second looks: their cost in photos/s, their gain, and whether batches across photos pay.

    python -m benchmarks.scale_looks [--data eval/coco_00000.tar] [--batches 1,4,16] [--repeat 3] [--threads 1]

The data's own boxes are the prompts. Every way annotates all photos with one worker in this process, and all take
turns: without second looks, and with them at each number of regions in a call of the encoder, gathered across photos.
IoU is with the annotated masks. Masks of all batches must be the same, and those of `predict_batch` for each photo.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import mobilesam
from benchmarks.common import machine, make_parser, parse
from mobilesam import boxes, masks
from mobilesam.annotate.job import AnnotateJob, ModelChoice
from mobilesam.annotate.plan import make_plan
from mobilesam.annotate.report import results_of
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.work import annotate_shard
from mobilesam.data.layouts import read_all
from mobilesam.data.photo import PhotoRef
from tests.helpers.scenes import draw_scene

Found = dict[str, list[masks.Rle]]
"""Photo to the masks of its boxes."""


@dataclass
class Way:
    """One way to answer, and what was measured."""

    name: str
    settings: AnnotateSettings
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Processor time in seconds, which other work on the machine disturbs less."""
    found: Found = field(default_factory=dict)
    looks: int = 0


def run(way: Way, arguments: argparse.Namespace, sam: mobilesam.Predictor, choice: ModelChoice) -> AnnotateJob:
    """Annotate all photos."""
    with tempfile.TemporaryDirectory() as folder:
        job = make_plan([arguments.data], Path(folder) / "out", sam, choice, way.settings)
        start, cpu = time.perf_counter(), time.process_time()
        for index in range(job.num_shards):
            annotate_shard(job, job.shard(index), sam)
        way.seconds.append(time.perf_counter() - start)
        way.cpu.append(time.process_time() - cpu)
        records = [json.loads(job.done_file(name).read_text()) for name in job.names]
        way.looks = sum(record["second_looks"] for record in records)
        for index in range(job.num_shards):
            for task, _, rows in results_of(job, index):
                way.found[task.photo.path] = [row["segmentation"] for row in rows]
        return job


def mean_iou(found: Found, truth: dict[str, list[NDArray[np.bool_]]]) -> float:
    """Mean IoU over all objects."""
    ious = []
    for name, rles in found.items():
        for rle, mask in zip(rles, truth[name], strict=True):
            seen = masks.from_rle(rle)
            ious.append((seen & mask).sum() / max(1, (seen | mask).sum()))
    return float(np.mean(ious))


def by_the_api(arguments: argparse.Namespace, sam: mobilesam.Predictor, job_asks: dict[str, list[object]]) -> Found:
    """What `predict_batch` finds for the same boxes."""
    found: Found = {}
    for photo in read_all([arguments.data]):
        if isinstance(photo, PhotoRef) and job_asks.get(photo.name):
            image = sam.embed(photo.open())
            found[photo.name] = [answer.best.rle() for answer in image.predict_batch(boxes=job_asks[photo.name])]  # type: ignore[arg-type]
    return found


def measure(arguments: argparse.Namespace, backend: str) -> None:
    """Print the table of one runtime."""
    choice = ModelChoice(model=arguments.model, backend=backend, image_size=arguments.image_size)
    sam = choice.load(arguments.threads)
    ways = [Way("first looks alone", AnnotateSettings(prompts="given", zoom=False))]
    for batch in map(int, arguments.batches.split(",")):
        ways.append(Way(f"second looks, {batch} in a call", AnnotateSettings(prompts="given", zoom_batch=batch)))
    truth: dict[str, list[NDArray[np.bool_]]] = {}
    for photo in read_all([arguments.data]):
        if isinstance(photo, PhotoRef):
            h, w = photo.open().shape[:2]
            truth[photo.name] = [one.mask((h, w)) for one in photo.annotation().objects]
    for _ in range(arguments.repeat):
        for way in ways:
            run(way, arguments, sam, choice)
    with tempfile.TemporaryDirectory() as folder:
        job = make_plan([arguments.data], Path(folder) / "out", sam, choice, ways[0].settings)
        asks: dict[str, list[object]] = {}
        for index in range(job.num_shards):
            asks |= {task.photo.path: [ask.box_xyxy for ask in task.asks] for task in job.shard(index).tasks}
    expected = by_the_api(arguments, sam, asks)
    count = sum(map(len, expected.values()))
    print(f"\n{backend} at {sam.info.image_size} px; {machine(arguments.threads, ('onnxruntime',))}")
    print(f"{len(asks)} photos, {count} boxes\n")
    print("| | second looks | photos/s | photos per CPU second | mean IoU | masks as of the Python API |")
    print("|---|---|---|---|---|---|")
    for way in ways:
        rate, of_cpu = (len(asks) / statistics.median(times) for times in (way.seconds, way.cpu))
        same = sum(a == b for name in expected for a, b in zip(way.found[name], expected[name], strict=True))
        shown = f"{same} of {count}" if way.looks else "-"
        print(f"| {way.name} | {way.looks} | {rate:.2f} | {of_cpu:.2f} | {mean_iou(way.found, truth):.3f} | {shown} |")
    if any(way.found != ways[1].found for way in ways[1:]):
        raise SystemExit("batches of other sizes gave other masks")


def drawn(folder: Path) -> str:
    """A COCO file of two drawn photos with their objects' masks and boxes."""
    images, annotations = [], list[dict[str, object]]()
    for i in range(2):
        rgb, objects = draw_scene(np.random.default_rng(i))
        Image.fromarray(rgb).save(folder / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": rgb.shape[1], "height": rgb.shape[0]})
        for mask in objects:
            bbox = boxes.xyxy_to_xywh(boxes.from_mask(mask))
            about = {"id": len(annotations), "image_id": i, "category_id": 1, "iscrowd": 0, "bbox": bbox}
            annotations.append({**about, "segmentation": masks.to_rle(mask), "area": int(mask.sum())})
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "a"}]}))
    return str(path)


def main() -> None:
    """Print a table for each runtime."""
    parser = make_parser(__doc__)
    parser.add_argument("--data", default="eval/coco_00000.tar")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--batches", default="1,4,16")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--backends", default="onnx,openvino")

    def smoke(folder: Path) -> tuple[str, ...]:
        words = ("--repeat", "1", "--image-size", "256", "--batches", "1,4", "--backends", "onnx")
        return ("--data", drawn(folder), *words)

    arguments = parse(parser, smoke)
    for backend in arguments.backends.split(","):
        if backend != "openvino" or find_spec("openvino"):
            measure(arguments, backend)


if __name__ == "__main__":
    main()

"""Masks for a data set: loops, `annotate` with one and two workers, and Ray in turn; a plan of many photos.

    python -m benchmarks.scale [--photos 1000] [--repeat 3] [--image-size 256] [--data 'PATH/instances.json']
    python -m benchmarks.scale --ways 'plain loop,local 2,ray 1,ray 2' --photos 2000 --image-size 512 --repeat 1
    python -m benchmarks.scale --listing 100000

Each way runs in processes of its own, and every repeat runs all ways. Photos are drawn, with two boxes each, unless
`--data` gives a COCO file or a shard, whose own boxes are the prompts.

"Python API loop" is what a user writes with the Python API: for each photo of a COCO file embed, predict its boxes and
write a line of JSON, one after the other; nothing overlaps, and the photos are not copied. "plain loop" calls
`annotate_shard` for one shard after the other, which decodes photos ahead while the model runs: what the engines add to
it is their overhead. Both have one process with as many threads as there are cores; workers divide the cores, one alone
has all. Seconds count everything from start to exit, "working" only from the begin of the first shard to the end of the
last, or from the first photo to the last; what is left is loading, planning, starting the engine and the report. All
ways must write the same masks, and all but the first the same bytes. Memory is the peak of the worker that took most.
Ray runs where it is installed. `--listing` measures planning, and what a second start costs before it works, for photos
of 8 x 8 pixels whose shards are declared done.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import mobilesam
from benchmarks.common import ROOT, in_process, machine, make_parser, parse
from benchmarks.everything import peak_memory_mb
from mobilesam.annotate.job import AnnotateJob, ModelChoice
from mobilesam.annotate.plan import make_plan
from mobilesam.annotate.report import results_of
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.work import MaskResult, annotate_shard
from mobilesam.shards.job import Job, open_job
from mobilesam.shards.status import Counter
from mobilesam.shards.worker import redo_missing
from tests.helpers.scenes import draw_scene

API_FILE = "masks.jsonl"
LOOPS = {"Python API loop": "--api", "plain loop": "--plain"}
"""Ways that are a mode of this module."""
BOXES = ([10, 20, 50, 60], [50, 10, 40, 70])


def draw(folder: Path, count: int, side: int = 480) -> Path:
    """Photos with boxes: a COCO file of drawn scenes; the pictures repeat, since speed does not depend on them."""
    rng, scenes = np.random.default_rng(0), []
    for _ in range(min(count, 16)):
        scenes.append(Image.fromarray(draw_scene(rng)[0]).resize((side, side * 3 // 4)))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    scale = side / 96
    for i in range(count):
        name = f"{i:07}.jpg"
        scenes[i % len(scenes)].save(folder / name, quality=90)
        images.append({"id": i + 1, "file_name": name, "width": side, "height": side * 3 // 4})
        for box in BOXES:
            x, y, w, h = (scale * value for value in box)
            box_xywh = [x, y * 0.75, w, h * 0.75]
            annotations.append({"id": len(annotations) + 1, "image_id": i + 1, "category_id": 1, "bbox": box_xywh})
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    return path


def plan(data: str, output: Path, image_size: int | None) -> AnnotateJob:
    """Plan a run with the boxes of a COCO file."""
    choice = ModelChoice(model="embedded", backend="onnx", image_size=image_size)
    return make_plan([data], output, choice.load(1), choice, AnnotateSettings(prompts="given", zoom_batch=1))


def api_loop(arguments: argparse.Namespace) -> None:
    """What a user would write: one photo after the other, its boxes at once, a line of JSON for its masks."""
    data = json.loads(Path(arguments.data).read_text())
    boxes: dict[int, list[list[float]]] = {}
    for record in data["annotations"]:
        x, y, w, h = record["bbox"]
        boxes.setdefault(record["image_id"], []).append([x, y, x + w, y + h])
    predictor = mobilesam.load(backend="onnx", image_size=arguments.image_size, threads=os.cpu_count())
    output = Path(arguments.output)
    output.mkdir()
    started = time.perf_counter()
    with (output / API_FILE).open("w") as file:
        for photo in (one for one in data["images"] if one["id"] in boxes):
            image = predictor.embed(Path(arguments.data).parent / photo["file_name"])
            found = [answer.best for answer in image.predict_batch(boxes=boxes[photo["id"]])]
            file.write(json.dumps(mobilesam.to_coco(found, photo["file_name"], image_id=photo["id"])) + "\n")
    told = {"working": time.perf_counter() - started, "worker_mb": peak_memory_mb(), "count": len(data["images"])}
    (output / "told.json").write_text(json.dumps(told))


def plain_loop(arguments: argparse.Namespace) -> None:
    """The work of the engines without an engine: one shard after the other in one process, with all cores."""
    job = plan(arguments.data, Path(arguments.output), arguments.image_size)
    predictor = job.model_choice.load(os.cpu_count())
    for index in range(job.num_shards):
        annotate_shard(job, job.shard(index), predictor)


def masks_of(output: Path) -> set[tuple[str, str]]:
    """Photo and run lengths of each mask that a way has written."""
    if (output / API_FILE).exists():
        lines = [json.loads(line) for line in (output / API_FILE).read_text().splitlines()]
        return {
            (line["images"][0]["file_name"], one["segmentation"]["counts"])
            for line in lines
            for one in line["annotations"]
        }
    job = open_job(output, AnnotateJob)
    results = (result for index in range(job.num_shards) for result in results_of(job, index))
    return {(task.photo.path, record["segmentation"]["counts"]) for task, _, records in results for record in records}


@dataclass(frozen=True)
class Taken:
    """What one run took."""

    seconds: float
    working: float
    """Seconds from the begin of the first shard to the end of the last."""
    worker_mb: float


def run_way(way: str, data: str, output: Path, image_size: int) -> Taken:
    """Run one way."""
    words = [sys.executable, "-m", "benchmarks.scale", LOOPS.get(way, ""), "--data", data, "--output", str(output)]
    if way not in LOOPS:
        engine, workers = way.split()
        words = [sys.executable, "-m", "mobilesam", "annotate", data, "-o", str(output), "--own-boxes"]
        words += ["--engine", engine, "--workers", workers, "--backend", "onnx"]
        words += ["--threads", str(max(1, (os.cpu_count() or 1) // int(workers)))]
    words += ["--image-size", str(image_size)]
    start = time.perf_counter()
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stderr)
    if (output / "told.json").exists():
        told = json.loads((output / "told.json").read_text())
        return Taken(seconds, told["working"], told["worker_mb"])
    records = [(path.stat().st_mtime, json.loads(path.read_text())) for path in (output / "done").glob("*.json")]
    working = max(end for end, _ in records) - min(end - record["seconds"] for end, record in records)
    return Taken(seconds, working, max(record["peak_mb"] for _, record in records))


def engines(arguments: argparse.Namespace, folder: Path) -> None:
    """Print photos/s of each way."""
    data = arguments.data or str(draw_into(folder / "photos", arguments.photos))
    # A loop over a COCO file; of a shard the user would have to read the records first.
    ways = [way for way in arguments.ways.split(",") if way != "Python API loop" or data.endswith(".json")]
    ways = [way for way in ways if "ray" not in way or find_spec("ray")]
    taken: dict[str, list[Taken]] = {way: [] for way in ways}
    first: dict[str, bytes] = {}
    masks: set[tuple[str, str]] = set()
    for _ in range(arguments.repeat):
        for way in ways:
            output = folder / "out"
            taken[way].append(run_way(way, data, output, arguments.image_size))
            found = masks_of(output)
            masks = masks or found
            if found != masks:
                raise SystemExit(f"{way} found other masks than {ways[0]}")
            if (output / "shards").is_dir():
                count = open_job(output, Job).num_photos
                shards = {path.name: path.read_bytes() for path in sorted((output / "shards").iterdir())}
                first = first or shards
                if shards != first:
                    raise SystemExit(f"{way} wrote other bytes than the way before it")
            else:
                count = json.loads((output / "told.json").read_text())["count"]
            shutil.rmtree(output)
    print(machine(os.cpu_count() or 1, ("onnxruntime", *(("ray",) if find_spec("ray") else ()))))
    reference = "plain loop" if "plain loop" in ways else ways[0]
    print(f"{count} photos at {arguments.image_size} px, all ways wrote the same masks, in shards the same bytes\n")
    print(
        f"| way | seconds | not working | photos/s | photos/s, working | time against {reference} | worker's memory |"
    )
    print("|---|---|---|---|---|---|---|")
    for way in ways:
        print_row(way, taken[way], taken[reference], count)


def print_row(way: str, taken: list[Taken], reference: list[Taken], count: int) -> None:
    """One row of the table, of medians."""
    seconds, working = (statistics.median(getattr(one, name) for one in taken) for name in ("seconds", "working"))
    ratio = statistics.median(a.seconds / b.seconds for a, b in zip(taken, reference, strict=True))
    memory = max(one.worker_mb for one in taken)
    print(
        f"| {way} | {seconds:.1f} | {seconds - working:.1f} | {count / seconds:.1f} | {count / working:.1f} "
        f"| {ratio:.3f} | {memory:.0f} MB |"
    )


def draw_into(folder: Path, count: int) -> Path:
    """`draw` into a new folder."""
    folder.mkdir()
    return draw(folder, count)


def listing_one(arguments: argparse.Namespace) -> None:
    """Plan a folder of photos and open it again; prints seconds and memory as JSON."""
    folder, output = Path(arguments.data), Path(arguments.output)
    choice = ModelChoice(model="embedded", backend="onnx", image_size=256)
    predictor = choice.load(1)
    base = peak_memory_mb()
    start = time.perf_counter()
    is_new = not (output / "job.json").exists()
    job = make_plan([str(folder)], output, predictor, choice, AnnotateSettings())
    if is_new:
        record = {**asdict(MaskResult(photos=256)), "seconds": 1.0}
        seconds = time.perf_counter() - start
        for name in job.names[:-1]:
            Path(job.result(name)).touch()
            job.done_file(name).write_text(json.dumps(record))
    else:
        assert not redo_missing(job)
        Counter(job).status()
        left = job.unfinished()
        seconds = time.perf_counter() - start
        assert left == [job.num_shards - 1]
    print(json.dumps({"seconds": seconds, "memory": peak_memory_mb() - base, "photos": job.num_photos}))


def listing(arguments: argparse.Namespace, folder: Path) -> None:
    """Print what planning and a second start cost for growing numbers of photos."""
    print(machine(1, ("onnxruntime",)) + "\n")
    print("| photos | plan s | plan, memory added | second start s | memory added |\n|---|---|---|---|---|")
    picture = Image.new("RGB", (8, 8))
    for count in (arguments.listing // 100, arguments.listing // 10, arguments.listing):
        photos = folder / f"photos{count}"
        for i in range(count):
            place = photos / f"{i // 1000:04}"
            place.mkdir(parents=True, exist_ok=True)
            if i == 0:
                picture.save(place / "0000000.jpg")
            else:
                shutil.copyfile(photos / "0000" / "0000000.jpg", place / f"{i:07}.jpg")
        words = ["--one-listing", "--data", str(photos), "--output", str(folder / f"out{count}")]
        first, second = (in_process("benchmarks.scale", words, 1) for _ in range(2))
        assert first["photos"] == count
        print(
            f"| {count} | {first['seconds']:.2f} | {first['memory']:.0f} MB "
            f"| {second['seconds']:.2f} | {second['memory']:.0f} MB |"
        )


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--ways", default="Python API loop,plain loop,local 1,local 2,ray 1,ray 2")
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--data", default="")
    parser.add_argument("--listing", type=int, default=0, help="number of photos to plan; nothing else is measured")
    parser.add_argument("--output", default="", help=argparse.SUPPRESS)
    for hidden in ("--api", "--plain", "--one-listing"):
        parser.add_argument(hidden, action="store_true", help=argparse.SUPPRESS)
    arguments = parse(parser, lambda _: ("--photos", "4", "--repeat", "1"))
    if arguments.api:
        api_loop(arguments)
    elif arguments.plain:
        plain_loop(arguments)
    elif arguments.one_listing:
        listing_one(arguments)
    else:
        with tempfile.TemporaryDirectory() as folder:
            (listing if arguments.listing else engines)(arguments, Path(folder))


if __name__ == "__main__":
    main()

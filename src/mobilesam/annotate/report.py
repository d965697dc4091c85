"""The end of an annotation run: its report, a contact sheet, and one COCO file where it is asked for."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mobilesam import masks
from mobilesam.annotate.categories import Categories
from mobilesam.annotate.job import AnnotateJob, stored_as
from mobilesam.annotate.naming import ImageNames
from mobilesam.annotate.work import decode
from mobilesam.data.tar import read_tar
from mobilesam.draw import overlay_labels
from mobilesam.errors import MobileSamError
from mobilesam.everything.write import COCO_FILE
from mobilesam.files import replacing, save_picture
from mobilesam.image import Rgb, within_memory
from mobilesam.outputs import ALL
from mobilesam.shards.parquet import read_rows
from mobilesam.shards.records import all_done
from mobilesam.shards.report import write_errors, write_numbers
from mobilesam.shards.status import Status
from mobilesam.shards.tasks import Task
from mobilesam.tables import table
from mobilesam.temporaries import file_for

SAMPLES = 25  # photos on the contact sheet, 5 x 5
TILE = 320  # pixels
DRAWN_SIDE = 2 * TILE  # of a photo before it is reduced to its tile
WORST = 10
Record = dict[str, Any]


def write_report(
    job: AnnotateJob, status: Status, *, wall_seconds: float, new_photos: int, coco: Sequence[str] | None
) -> list[Path]:
    """Write report.json, report.md, errors.jsonl, sample.jpg and, if asked, instances.json; returns the files.

    Args:
        job, status, wall_seconds, new_photos: as of `shards.report.write_numbers`.
        coco: inputs and prompt files, whose categories instances.json gets; None for no such file.
    """
    files = [write_errors(job), write_sample(job)]
    if coco is not None:
        files.append(write_coco(job, coco))
    worst = sorted(one for _, record in all_done(job.folder) for one in record["worst"])[:WORST]
    parts = []
    if worst:
        lowest = [(str(photo), str(count), f"{score:.3f}") for score, photo, count in worst]
        parts += ["## Lowest scores", "\n".join(table(("photo", "masks", "mean score"), lowest))]
    rows = [
        ("masks", str(status.masks)),
        *second_look_rows(status),
        *unclear_rows(job),
        ("model", model_row(job)),
    ]
    files += write_numbers(
        job,
        status,
        title="Annotation run",
        wall_seconds=wall_seconds,
        new_photos=new_photos,
        rows=rows,
        more={"worst": worst},
        parts=[*parts, "![A random sample](sample.jpg)"],
    )
    return [file for file in files if file is not None]


def model_row(job: AnnotateJob) -> str:
    """The model of a run, and what computed it."""
    return f"{job.model['name']} at {job.model['image_size']} px{stored_as(job.model)}, {job.model_choice.backend}"


def unclear_rows(job: AnnotateJob) -> list[tuple[str, str]]:
    """How many photos had an orientation that was assumed, if any."""
    count = sum(record.get("unclear_frames", 0) for _, record in all_done(job.folder))
    frame = job.settings.unclear_frame
    return [("turned photos", f"{count} whose prompts may be of other pixels; taken as {frame}")] if count else []


def second_look_rows(status: Status) -> list[tuple[str, str]]:
    """What second looks cost, where there were any."""
    if not status.second_looks:
        return []
    rate, without = status.worker_rates
    share = status.second_look_seconds / status.seconds if status.seconds else 0.0
    return [
        ("second looks", f"{status.second_looks}, {share:.0%} of the time of workers"),
        ("photos/s of a worker", f"{rate:.2f}; without second looks it would be {without:.2f}"),
    ]


def results_of(job: AnnotateJob, index: int) -> Iterator[tuple[Task, tuple[int, int], list[Record]]]:
    """The photos of a finished shard with their sizes (height, width) and masks, in the order of the plan."""
    shard = job.shard(index)
    path = job.result(shard.name)
    tasks = {str(task.photo): task for task in shard.tasks}
    if job.settings.form == "parquet":
        yield from parquet_results(path, tasks)
        return
    for item in read_tar(path, ""):
        record = json.loads(item.truth.file.read())  # type: ignore[union-attr]
        image = record["image"]
        yield tasks[image["photo"]], (image["height"], image["width"]), record["annotations"]


def parquet_results(path: str, tasks: dict[str, Task]) -> Iterator[tuple[Task, tuple[int, int], list[Record]]]:
    """The rows of a Parquet shard, photo by photo."""
    current, records, hw = "", list[Record](), (0, 0)
    for row in read_rows(path):
        photo = f"{row['dataset']}/{row['photo']}"
        if photo != current and current:
            yield tasks[current], hw, records
            records = []
        current, hw = photo, (row["height"], row["width"])
        if row["rle"] is not None:
            records.append({**row, "segmentation": {"size": list(hw), "counts": row["rle"]}})
    if current:
        yield tasks[current], hw, records


def write_coco(job: AnnotateJob, named: Sequence[str] = ()) -> Path:
    """Merge all shards into one COCO file, photo by photo, so that only few masks are in memory at a time.

    Ids and names of photos are those of the inputs where no other photo of the run has them (`ImageNames`).

    Args:
        job: the run.
        named: inputs and prompt files whose categories are kept.

    Raises:
        OutputError: the file was changed after it was written.
    """
    path = job.folder / COCO_FILE
    done, categories, names = job.finished(), Categories(named), ImageNames(job)
    # Not as the other files of the run: people open this one in other programs and correct it there.
    with replacing(path) as partial, file_for(path) as images:
        with partial.open("w", encoding="utf-8") as file, images.open("w", encoding="utf-8") as photos:
            file.write('{"annotations": [')
            number = count = 0
            for index in (i for i, name in enumerate(job.names) if name in done):
                for task, (h, w), records in results_of(job, index):
                    count += 1
                    image_id = names.id(task)
                    image = {"id": image_id, "file_name": names.name(task), "width": w, "height": h}
                    photos.write(("," if count > 1 else "") + "\n" + json.dumps(image))
                    for record in records:
                        number += 1
                        annotation = to_coco(record, number, image_id, (h, w), categories)
                        file.write(("," if number > 1 else "") + "\n" + json.dumps(annotation))
            file.write('\n], "categories": ' + json.dumps(categories.all()) + ', "images": [')
        with partial.open("a", encoding="utf-8") as file, images.open(encoding="utf-8") as photos:
            file.writelines(photos)
            file.write('\n], "info": {"software": "written by mobilesam"}}\n')
    return path


def to_coco(record: Record, id: int, image_id: int | str, hw: tuple[int, int], categories: Categories) -> Record:
    """A mask of a photo of size `hw` as an annotation of a COCO file.

    Raises:
        DataError: its run lengths do not fit the photo; the shard was changed or damaged.
    """
    from mobilesam.boxes import from_rle, xyxy_to_xywh
    from mobilesam.rle import check_rle

    rle = check_rle(record["segmentation"], hw)
    score = record.get("predicted_iou", record.get("score"))
    return {
        "id": id,
        "image_id": image_id,
        "category_id": categories.of(record.get("category_id")),
        "iscrowd": 0,
        "segmentation": rle,
        "area": record["area"],
        "bbox": list(xyxy_to_xywh(from_rle(rle))),
        "score": score,
    }


def write_sample(job: AnnotateJob) -> Path | None:
    """A contact sheet of random results, the same for the same run; None if there is no result."""
    done = job.finished()
    indices = [i for i, name in enumerate(job.names) if name in done]
    rng = random.Random(0)
    chosen = rng.sample(indices, min(len(indices), SAMPLES))
    tiles: list[Rgb] = []
    for turn, index in enumerate(chosen):
        share = SAMPLES // len(chosen) + (turn < SAMPLES % len(chosen))
        results = list(results_of(job, index))
        for task, hw, records in rng.sample(results, min(share, len(results))):
            try:
                with within_memory("the photo"):
                    rgb = decode(task, task.read(), job.settings, max_side=DRAWN_SIDE)
                    tiles.append(tile(rgb, hw, records))
            except (MobileSamError, OSError):
                continue  # the photo has gone since
    if not tiles:
        return None
    columns = min(5, len(tiles))
    sheet = Image.new("RGB", (columns * TILE, -(-len(tiles) // columns) * TILE), (24, 24, 27))
    for i, one in enumerate(tiles):
        picture = Image.fromarray(one)
        left, top = (i % columns) * TILE, i // columns * TILE
        sheet.paste(picture, (left + (TILE - picture.width) // 2, top + (TILE - picture.height) // 2))
    return save_picture(sheet, job.folder / "sample.jpg", outputs=ALL)


def tile(rgb: Rgb, hw: tuple[int, int], records: list[Record]) -> Rgb:
    """A photo, which may be reduced, with its masks of size `hw` in colours, at most `TILE` pixels a side."""
    labels = np.zeros(hw, np.uint16)
    for i in sorted(range(len(records)), key=lambda i: -records[i]["area"]):
        labels[masks.from_rle(records[i]["segmentation"], hw)] = i + 1
    reduced = np.asarray(cv2.resize(labels, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_NEAREST), np.uint16)
    picture = Image.fromarray(overlay_labels(rgb, reduced))
    picture.thumbnail((TILE - 4, TILE - 4))
    return np.asarray(picture)

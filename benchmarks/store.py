"""How fast a store of embeddings is read, against the step that waits for it.

    python -m benchmarks.store RECIPE [--set section.key=value ...] [--photos 256]

On the photos of a distillation recipe, on one thread: the store's records (MB/s, photos/s), a photo decoded and resized
with its record, and the share of the time that a short real run waits for its photos, prepared in its own process or
by a worker beside it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.common import ROOT, make_pair, make_parser, parse, synthetic_shard
from mobilesam import processor
from mobilesam.data.store_format import record_name
from mobilesam.distill.config import DistillRecipe
from mobilesam.distill.embed import embed
from mobilesam.distill.run import distill, make_job
from mobilesam.recipe import load_recipe
from mobilesam.train.epochs import EpochPhotos

LEFT_OUT = 10  # steps, while everything warms up


def time_each(read: object, count: int) -> float:
    """Median seconds of one call."""
    seconds = []
    for i in range(count):
        start = time.perf_counter()
        read(i)  # type: ignore[operator]
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def waiting_share(recipe: DistillRecipe, workers: int, steps: int) -> tuple[float, float]:
    """(share of the time spent waiting for data, photos/s) of a short run, its first steps left out."""
    with tempfile.TemporaryDirectory() as folder:
        every = min(LEFT_OUT, steps - LEFT_OUT)
        run = dataclasses.replace(
            recipe.run,
            steps=steps,
            workers=workers,
            output=folder + "/run",
            log_every=every,
            report=False,
        )
        validation = dataclasses.replace(recipe.validation, photos=0)
        distill(dataclasses.replace(recipe, run=run, validation=validation), show_progress=False)
        lines = [json.loads(text) for text in Path(run.output, "history.jsonl").read_text().splitlines()]
    later = [line for line in lines if line["step"] > LEFT_OUT]
    share, speed = (statistics.mean(line[key] for line in later) for key in ("waiting", "photos_per_second"))
    return share, speed


def smallest(folder: Path) -> list[str]:
    """A toy recipe with drawn photos, whose store is embedded here."""
    words = [str(ROOT / "recipes" / "tiny" / "student.toml"), "--steps", "12"]
    make_pair("tiny", folder / "teacher")
    settings = (
        f"data.paths={synthetic_shard(folder, 12)}",
        f"store.path={folder / 'store'}",
        f"teacher.checkpoint={folder / 'teacher'}",
    )
    embed(load_recipe(DistillRecipe, Path(words[0]), list(settings)))
    return [*words, *(word for setting in settings for word in ("--set", setting))]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--set", action="append", dest="overrides")
    parser.add_argument("--photos", type=int, default=256)
    parser.add_argument("--steps", type=int, default=30, help="of the short runs, more than 10")
    arguments = parse(parser, smallest)

    torch.set_num_threads(1)
    recipe = load_recipe(DistillRecipe, arguments.recipe, arguments.overrides or [])
    photos = make_job(recipe).dataset
    assert isinstance(photos, EpochPhotos)
    assert photos.stores is not None
    stores, some = photos.stores, [photo.id for photo in photos.photos[: arguments.photos]]
    for one in some:
        stores[one].read(one.path)  # into the page cache
    size = statistics.mean(stores[one].members[record_name(one.path, 0)].file_size for one in some)
    record = time_each(lambda i: stores[some[i]].read(some[i].path), len(some))
    item = time_each(photos.__getitem__, len(some))

    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    print(f"{processor.describe()}, {os.cpu_count()} cores, {versions}")
    print(f"record, checked and as float32  {size / record / 1e6:8.0f} MB/s {1 / record:8.0f} photos/s")
    print(f"photo, resized, and its record  {'':>13} {1 / item:8.0f} photos/s")
    for workers in (0, 1):
        share, speed = waiting_share(recipe, workers, arguments.steps)
        print(f"training, {workers} workers             {'':>13} {speed:8.1f} photos/s, waiting {100 * share:.1f} %")


if __name__ == "__main__":
    main()

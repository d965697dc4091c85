"""Planning of a run: photos are grouped into shards, and everything that decides what is written is recorded.

A plan is made once. Whoever starts the same command again, on this machine or another one that sees the folder, works
on the same plan.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mobilesam.data.checksums import Listings
from mobilesam.data.photo import Problem
from mobilesam.engines.claims import Claims
from mobilesam.errors import DataError, SettingsError
from mobilesam.files import make_folder, replacing, save_json
from mobilesam.outputs import ALL
from mobilesam.shards.job import (
    FORMAT,
    JOB_FILE,
    MANIFEST_FILE,
    PROBLEMS_FILE,
    AnyJob,
    check_output,
    open_job,
    open_record,
)
from mobilesam.shards.places import are_same, in_list, placed
from mobilesam.shards.tasks import Task

FOLDERS = ("shards", "done", "claims", "failed")
PLANNING = ".planning"
PLACES = ("inputs", "photos", "results")
"""What is asked for by paths and addresses."""
WAIT = 1.0  # seconds between two looks at a plan that another process makes


def make_plan(
    output: Path,
    kind: type[AnyJob],
    find: Callable[[Listings], Iterable[Task | Problem]],
    *,
    inputs: Sequence[str],
    results: str,
    asked: dict[str, Any],
    choice: dict[str, Any],
    suffix: str,
    shard_photos: int,
    photos: str | None = None,
) -> AnyJob:
    """Plan a run, or open the plan that is there.

    Args:
        output: the folder of the run; made if missing.
        kind: the class of the job.
        find: lists the photos; only called where there is no plan yet.
        inputs: what the user named, by `places.placed`, so that `find` finds the same from any folder.
        results: address in an object store for the shards' results; "" for the folder `shards`.
        asked: what decides the results besides the photos: a JSON object with "model" and "settings".
        choice: how workers load the model.
        suffix: of the files of results.
        shard_photos: most photos in a shard.
        photos: folder of the photos of COCO files, likewise, or its address in an object store; None where none is
            named.

    Raises:
        DataError: an input cannot be read, there are no photos or no prompts, or the folder holds something else.
        SettingsError: the folder has a plan of other inputs, another model or other settings, or is in a store.
    """
    check_output(output)
    asked = {
        "job": kind.kind,
        "inputs": list(inputs),
        "photos": photos or None,
        "results": placed(results).rstrip("/") if results else "",
        **asked,
    }
    make_folder(output)
    # What a start that failed left is no other file.
    others = {path.name for path in output.iterdir() if not path.name.startswith(".")}
    if JOB_FILE not in others and others - {*FOLDERS, MANIFEST_FILE, PROBLEMS_FILE}:
        raise DataError(f"'{output}' holds other files; give an empty or a new folder")
    for name in FOLDERS:
        (output / name).mkdir(exist_ok=True)
    claims = Claims(output)
    # Of several workers that start together, one plans and the others wait; should it die, another one plans.
    while not (output / JOB_FILE).exists():
        if not claims.take(PLANNING):
            time.sleep(WAIT)
            continue
        try:
            if (output / JOB_FILE).exists():  # another one finished it between the two looks
                break
            with claims.holding(PLANNING):
                listings = Listings()
                counts = write_manifest(output, find(listings), shard_photos, asked)
                record = {"format": FORMAT, "asked": asked, "choice": choice, "suffix": suffix, **counts}
                save_json({**record, "listings": listings.checksums()}, output / JOB_FILE, ALL)
        finally:
            claims.forget(PLANNING)
    check_same(open_record(output)["asked"], asked, output)
    return open_job(output, kind)


def write_manifest(
    output: Path, found: Iterable[Task | Problem], shard_photos: int, asked: dict[str, Any]
) -> dict[str, Any]:
    """Group photos into shards and write them down; returns their numbers, names and offsets."""
    counts = {"num_photos": 0, "num_prompts": 0, "num_problems": 0}
    names: list[str] = []
    offsets: list[int] = []
    salted = {key: value for key, value in asked.items() if key != "photos"}
    salt = json.dumps({**salted, "inputs": None, "results": None}, sort_keys=True)
    with replacing(output / MANIFEST_FILE, ALL) as partial, replacing(output / PROBLEMS_FILE, ALL) as aside:
        with partial.open("wb") as file, aside.open("w", encoding="utf-8") as problems:

            def tell(problem: Problem) -> None:
                problems.write(json.dumps({"photo": str(problem.id), "reason": problem.reason}) + "\n")
                counts["num_problems"] += 1

            for tasks in shards_of(found, shard_photos, tell):
                records = [task.to_dict() for task in tasks]
                # Photos are identified by their place in the data set and their state, not by where they are mounted.
                identity = [{**record, "path": None} for record in records]
                name = hashlib.sha256((salt + json.dumps(identity)).encode()).hexdigest()[:16]
                names.append(name)
                offsets.append(file.tell())
                file.write(json.dumps({"name": name, "tasks": records}).encode() + b"\n")
                counts["num_photos"] += len(tasks)
                counts["num_prompts"] += sum(len(task.asks) for task in tasks)
        if not counts["num_photos"]:
            raise DataError("the inputs hold no photo that can be used")
        if asked.get("prompts") and not counts["num_prompts"]:
            raise DataError("no prompt belongs to a photo of the inputs; their image_id or file_name must match")
        size = partial.stat().st_size
    return {**counts, "names": names, "offsets": offsets, "manifest_bytes": size}


def shards_of(found: Iterable[Task | Problem], most: int, tell: Callable[[Problem], None]) -> Iterator[list[Task]]:
    """Group photos into shards, in order: at most `most` photos of one data set each.

    Args:
        found: photos, and problems between them.
        most: of photos in a shard.
        tell: called with each problem.
    """
    group: list[Task] = []
    for item in found:
        if isinstance(item, Problem):
            tell(item)
            continue
        if group and (len(group) == most or group[-1].photo.dataset != item.photo.dataset):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def check_same(there: dict[str, Any], asked: dict[str, Any], output: Path) -> None:
    """Refuse to mix runs.

    Raises:
        SettingsError: names what differs.
    """
    asked = json.loads(json.dumps(asked))
    if "photos" not in there:  # a plan of a version that did not note them
        asked.pop("photos", None)
    if "stored" not in there.get("model", {}):  # likewise, of how files store the weights
        asked.get("model", {}).pop("stored", None)
    different = [key for key in asked if there.get(key) != asked[key]]
    # One place has many paths, and no result depends on the order of the inputs.
    is_other = [key for key in PLACES if key in different and not are_same(in_list(there[key]), in_list(asked[key]))]
    different = [key for key in different if key not in PLACES or key in is_other]
    if "settings" in different:
        old, new = there["settings"], asked["settings"]
        different += [f"settings.{key}" for key in new if old.get(key) != new[key]]
        different.remove("settings")
    if different:
        raise SettingsError(
            f"'{output}' was begun with other {', '.join(different)}; give another --output, or the same ones"
        )

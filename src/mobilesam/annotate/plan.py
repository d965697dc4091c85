"""Planning of a run: photos are grouped into shards, and everything that decides what is written is recorded.

A plan is made once. Whoever starts the same command again, on this machine or another one that sees the folder, works
on the same plan.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mobilesam.annotate.inputs import find_tasks
from mobilesam.annotate.job import (
    FORMAT,
    JOB_FILE,
    MANIFEST_FILE,
    PROBLEMS_FILE,
    Job,
    ModelChoice,
    check_output,
    identity_of,
    open_job,
    open_record,
)
from mobilesam.annotate.prompts import PromptFile
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.tasks import Task
from mobilesam.data.photo import Problem
from mobilesam.engines.claims import Claims
from mobilesam.errors import DataError, SettingsError
from mobilesam.files import replacing, save_json
from mobilesam.outputs import ALL
from mobilesam.predict.predictor import Predictor
from mobilesam.remote import is_remote

FOLDERS = ("shards", "done", "claims", "failed")
PLANNING = ".planning"
WAIT = 1.0  # seconds between two looks at a plan that another process makes


def make_plan(
    inputs: Sequence[str],
    output: Path,
    predictor: Predictor,
    choice: ModelChoice,
    settings: AnnotateSettings,
    *,
    prompts: Path | None = None,
    photos: Path | None = None,
    results: str = "",
) -> Job:
    """Plan a run, or open the plan that is there.

    Args:
        inputs: see `inputs.find_tasks`.
        output: the folder of the run; made if missing.
        predictor: the model.
        choice: how workers load it.
        settings: what to ask and how to write.
        prompts: the file of boxes or points; None for all masks, or for a COCO input's own boxes.
        photos: folder of the photos of COCO inputs.
        results: address in an object store for the shards' results; "" for the folder `shards`.

    Raises:
        DataError: an input cannot be read, there are no photos or no prompts, or the folder holds something else.
        SettingsError: the folder has a plan of other inputs, another model or other settings, or is in a store.
    """
    check_output(output)
    info = predictor.info
    model = {"name": info.name, "weights_sha256": info.weights_sha256, "image_size": info.image_size}
    asked = {
        "inputs": [one if is_remote(one) else str(Path(one).absolute()) for one in inputs],
        "prompts": None if prompts is None else file_sha256(prompts),
        "results": results.rstrip("/"),
        **identity_of(choice, settings, model),
    }
    output.mkdir(parents=True, exist_ok=True)
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
            with claims.holding(PLANNING):
                wants_asks, file = settings.prompts == "given", None if prompts is None else PromptFile(prompts)
                found = find_tasks(inputs, file, wants_asks=wants_asks, photos=photos)
                counts = write_manifest(output, found, settings, asked)
                record = {"format": FORMAT, "asked": asked, "choice": asdict(choice), **counts}
                save_json(record, output / JOB_FILE, ALL)
        finally:
            claims.forget(PLANNING)
    check_same(open_record(output)["asked"], asked, output)
    return open_job(output)


def write_manifest(
    output: Path, found: Iterable[Task | Problem], settings: AnnotateSettings, asked: dict[str, Any]
) -> dict[str, Any]:
    """Group photos into shards and write them down; returns their numbers, names and offsets."""
    counts = {"num_photos": 0, "num_prompts": 0, "num_problems": 0}
    names: list[str] = []
    offsets: list[int] = []
    salt = json.dumps({**asked, "inputs": None, "results": None}, sort_keys=True)
    with replacing(output / MANIFEST_FILE, ALL) as partial, replacing(output / PROBLEMS_FILE, ALL) as aside:
        with partial.open("wb") as file, aside.open("w", encoding="utf-8") as problems:

            def tell(problem: Problem) -> None:
                problems.write(json.dumps({"photo": str(problem.id), "reason": problem.reason}) + "\n")
                counts["num_problems"] += 1

            for tasks in shards_of(found, settings.shard_photos, tell):
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
        if settings.prompts == "given" and not counts["num_prompts"]:
            raise DataError("no prompt belongs to a photo of the inputs; their image_id or file_name must match")
        size = partial.stat().st_size
    return {**counts, "names": names, "offsets": offsets, "manifest_bytes": size}


def shards_of(found: Iterable[Task | Problem], most: int, tell: Callable[[Problem], None]) -> Iterator[list[Task]]:
    """Group the photos in order, at most `most` in a shard and of one data set; `tell` gets the problems."""
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
    different = [key for key in asked if there.get(key) != asked[key]]
    if "settings" in different:
        old, new = there["settings"], asked["settings"]
        different += [f"settings.{key}" for key in new if old.get(key) != new[key]]
        different.remove("settings")
    if different:
        raise SettingsError(
            f"'{output}' was begun with other {', '.join(different)}; give another --output, or the same ones"
        )


def file_sha256(path: Path) -> str:
    """Hash of the prompt file.

    Raises:
        DataError: it is missing.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"the prompt file '{path}' cannot be read ({error.strerror})") from error

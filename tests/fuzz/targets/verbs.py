"""What annotate, track, serve and mcp read: prompt files, plans, prompts, requests and calls."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from contextlib import closing
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from tests.fuzz import seeds
from tests.fuzz.targets.common import fresh, refusal, write
from tests.fuzz.targets.library import predictor

SHARD = "0123456789abcdef"


def prompt_files() -> list[bytes]:
    """Prompts of `annotate`: a COCO file, boxes by photo and points by name."""
    boxes = [{"image_id": i, "category_id": 1, "bbox": [6, 4, 20, 16], "score": 0.5, "id": i} for i in range(2)]
    points = [{"file_name": name, "point": [9, 9]} for name in ("a.jpg", "sub/b.jpg")]
    return [*seeds.coco(), *seeds.as_json(boxes, points)]


def prompt_file(data: bytes, folder: Path) -> None:
    """Read a prompt file, and look for the prompts of a photo."""
    from mobilesam.annotate.prompts import PromptFile
    from mobilesam.data.files import FileRef
    from mobilesam.data.photo import PhotoId
    from mobilesam.shards.tasks import Task

    found = PromptFile(write(folder / "prompts.json", data))
    ids = {"sub/b.jpg": 1, "a.jpg": 0, "c/a.jpg": None}
    tasks = [Task(PhotoId("d", name), FileRef(name), (1, 1), image_id=id) for name, id in ids.items()]
    list(found.give(tasks, folder))


def plans() -> list[bytes]:
    """The plan of an annotation run, a shard of it, and the record of a finished one, in one object."""
    numbers = ("photos", "photos_failed", "masks", "bytes", "seconds", "second_looks", "second_look_seconds", "peak_mb")
    done = {**dict.fromkeys(numbers, 1), "errors": [["d/a.jpg", "damaged"]], "worst": [[0.5, "d/a.jpg", 3]]}
    task = {"photo": ["d", "a.jpg"], "path": "a.jpg", "state": [9, 9], "asks": [["0", [1, 2, 3, 4], None, 1, 0.5]]}
    job = {
        "format": 2,
        "choice": {"model": "embedded", "backend": "auto"},
        "num_photos": 1,
        "num_prompts": 0,
        "num_problems": 0,
    }
    asked = {"job": "annotate", "settings": {}, "model": {"name": "x"}, "results": None}
    job |= {"asked": asked, "suffix": ".tar", "names": [SHARD], "offsets": [0], "listings": {"d": "0"}}
    return seeds.as_json(
        {"job": job, "shard": {"name": SHARD, "tasks": [task]}, "done": done, "failed": {"reason": "x"}}
    )


def plan(data: bytes, folder: Path) -> None:
    """Ask for the state of a run whose files were changed, and go on with it."""
    from mobilesam.annotate.job import AnnotateJob
    from mobilesam.shards.job import JOB_FILE, MANIFEST_FILE, open_job
    from mobilesam.shards.status import read_status
    from mobilesam.shards.worker import redo_missing

    inside = fresh(folder / "run")
    try:
        parts = json.loads(data)
        job, shard, done, failed = (parts[name] for name in ("job", "shard", "done", "failed"))
    except (ValueError, KeyError, TypeError, RecursionError):  # then the whole is every part
        job = shard = done = failed = None
    text = [data if part is None else json.dumps(part).encode() for part in (job, shard, done, failed)]
    if isinstance(job, dict):
        text[0] = json.dumps({**job, "manifest_bytes": len(text[1])}).encode()
    for name, content in zip((JOB_FILE, MANIFEST_FILE, f"done/{SHARD}.json", "failed/t.json"), text, strict=True):
        write(inside / name, content)
    (inside / "claims").mkdir()
    refused = refusal(lambda: read_status(inside))
    found = open_job(inside, AnnotateJob)
    refused = refusal(lambda: found.shard(0)) or refused
    redo_missing(found)
    if refused is not None:
        raise refused


def tracked() -> list[bytes]:
    """Prompts and settings of `track`."""
    one = {"points": [[9, 9]], "labels": [1], "box": None}
    two = {"points": None, "labels": None, "box": [6, 4, 26, 20]}
    return seeds.as_json({"objects": [one, two], "frame": 0, "settings": {"lost_below": 0.4, "flow_side": 64}})


def tracking(data: bytes, folder: Path) -> None:
    """Follow objects through two frames."""
    from mobilesam.tracking.settings import ObjectPrompt, TrackSettings
    from mobilesam.tracking.track import track

    call = json.loads(data)
    settings = TrackSettings(**call["settings"])
    objects = [ObjectPrompt(**one) for one in call["objects"]]
    frames = [seeds.RGB, seeds.RGB]
    with closing(track(predictor(), frames, objects=objects, frame=call["frame"], settings=settings)) as found:
        for _ in islice(found, 2):
            pass


def requests() -> list[bytes]:
    """Requests to the service: the path, and the body in JSON."""
    photo = base64.b64encode(seeds.photo()).decode()
    drawn = [{"type": "keypointlabels", "value": {"x": 30, "y": 40, "keypointlabels": ["a"]}}]
    studio = {
        "tasks": [{"id": 1, "data": {"image": "/data/a.jpg"}}],
        "label_config": '<View><Image name="i" value="$image"/><BrushLabels name="b" toName="i"/></View>',
        "params": {"context": {"result": drawn}},
    }
    return seeds.as_json(
        {"path": "/v1/segment", "body": {"photo": photo, "points": [[9, 9]], "labels": [1], "format": "rle"}},
        {"path": "/v1/segment", "body": {"photo": photo, "boxes": [[6, 4, 26, 20]], "multimask": True}},
        {"path": "/v1/embeddings", "body": {"photo": photo}},
        {"path": "/predict", "body": studio},
    )


@cache
def service() -> Any:
    """The loop and the client of the application, which is called without a network."""
    import httpx

    from mobilesam.serve.app import create_app
    from mobilesam.serve.settings import ServeSettings

    transport = httpx.ASGITransport(create_app(ServeSettings(), predictor()))
    return asyncio.new_event_loop(), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")


def request(data: bytes, folder: Path) -> None:
    """Send a request; an answer of 4xx is a refusal, one of 5xx is none."""
    from mobilesam.serve.problems import Problem

    spec = json.loads(data)
    loop, client = service()
    sent = client.post(spec["path"], content=json.dumps(spec["body"]), headers={"Content-Type": "application/json"})
    answer = loop.run_until_complete(sent)
    if answer.status_code >= 500:
        raise RuntimeError(f"{answer.status_code}: {answer.text[:200]}")
    if answer.status_code >= 400:
        raise Problem(answer.status_code, answer.text[:200])


def calls() -> list[bytes]:
    """Calls of the tools of the MCP server."""
    asked = {"points": [[9, 9]], "labels": [1], "box": [6, 4, 26, 20]}
    return seeds.as_json(
        {"tool": "segment", "photo": "a.png", "asked": asked, "options": {"all_masks": True, "results": "out"}},
        {"tool": "cut_out", "photo": "a.png", "asked": asked, "options": {"results": None}},
        {"tool": "everything", "photo": "a.png", "asked": None, "options": {"points_per_side": 1}},
    )


def call(data: bytes, folder: Path) -> None:
    """Call a tool in a folder of one photo, beside which nothing may appear."""
    from mobilesam.errors import PromptError
    from mobilesam.mcp.folder import Folder
    from mobilesam.mcp.tools import Asked, Tools

    spec = json.loads(data)
    inside = fresh(folder / "photos")
    file = io.BytesIO()
    Image.fromarray(seeds.RGB).save(file, "PNG")
    write(inside / "a.png", file.getvalue())
    before = set(folder.iterdir())
    try:
        tools = Tools(predictor(), Folder.open(inside))
        if not isinstance(spec["asked"], dict | None) or not isinstance(spec["options"], dict):
            raise PromptError("the protocol refuses it")
        asked = () if spec["tool"] == "everything" else (Asked(**spec["asked"] or {}),)
        getattr(tools, spec["tool"])(spec["photo"], *asked, **spec["options"])
    finally:
        assert set(folder.iterdir()) == before, "a file outside of the folder"


def mutate_call(rng: Any, data: bytes) -> bytes:
    """A call in which values of the arguments, not their names, are something else."""
    from tests.fuzz.mutate import change_value

    spec = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice([key for key in spec if key not in ("tool", "path")])
        value = spec[name]
        if isinstance(value, dict) and value:
            inner = rng.choice(list(value))
            value[inner] = change_value(rng, value[inner])
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            one = rng.choice(value)
            inner = rng.choice(list(one))
            one[inner] = change_value(rng, one[inner])
        else:
            spec[name] = change_value(rng, value)
    return json.dumps(spec).encode()

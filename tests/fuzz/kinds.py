"""The table of what is fuzzed: valid files, how they are changed, and what is done with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz import seeds
from tests.fuzz.known import KNOWN
from tests.fuzz.mutate import VALUES, mutate_bytes, mutate_json, mutate_zip
from tests.fuzz.targets import checkpoints, data, library, photos, settings, stores, verbs


@dataclass(frozen=True)
class Kind:
    """One kind of input."""

    seeds: Callable[[], list[bytes]]
    """Valid inputs."""
    mutate: Callable[[Random, bytes], bytes]
    """Make an input of a valid one."""
    use: Callable[[bytes, Path], None]
    """Read it, in a folder for files; see `targets`."""
    weight: int
    """How many of all inputs are of this kind, relative to the others: fewer where one takes long."""
    needs: tuple[str, ...] = ()
    """Modules without which the kind is left out."""

    @property
    def missing(self) -> list[str]:
        """The modules that are not installed."""
        return [name for name in self.needs if find_spec(name) is None]

    def make(self, name: str, seed: int, number: int) -> bytes:
        """Input `number` of this kind, which depends on these three alone; -1, -2, ... are those of `known`."""
        if number < 0:
            return KNOWN[name]()[-1 - number][1]
        rng = Random(f"{seed}/{name}/{number}")
        valid = self.seeds()
        return self.mutate(rng, valid[rng.randrange(len(valid))])


def mutate_lines(rng: Random, data: bytes) -> bytes:
    """Lines of JSON, of which some are changed; then, sometimes, the bytes."""
    lines = [json.dumps(line).encode() for line in json.loads(data)]
    place = rng.randrange(len(lines))
    lines[place] = mutate_json(rng, lines[place])
    text = b"\n".join(lines) + b"\n"
    return mutate_bytes(rng, text) if rng.random() < 0.3 else text


def mutate_content(rng: Random, data: bytes) -> bytes:
    """The bytes after the first line."""
    name, newline, content = data.partition(b"\n")
    return name + newline + mutate_bytes(rng, content)


def mutate_text(rng: Random, data: bytes) -> bytes:
    """A text in which tokens are replaced, or its bytes."""
    if rng.random() < 0.5:
        return mutate_bytes(rng, data)
    words = data.decode().replace("=", " = ").split(" ")
    words[rng.randrange(len(words))] = rng.choice(
        ("9" * 400, "nan", "-inf", "1e999", "[" * 300, '"', "", "1", "0x", "é")
    )
    return " ".join(words).encode(rng.choice(("utf-8",) * 5 + ("utf-8-sig", "utf-16", "latin-1")), "replace")


def make_array(rng: Random, _: bytes) -> bytes:
    """What an object given as a photo is made of."""
    dtypes = (
        "uint8",
        "uint16",
        "int8",
        "int32",
        "int64",
        "float16",
        "float32",
        "float64",
        "bool",
        "complex64",
        "U4",
        "O",
        "M8[s]",
    )
    return json.dumps(
        {
            "kind": rng.choice(("array",) * 6 + ("image", "image", "path", "bytes", "value")),
            "shape": [rng.choice((0, 1, 2, 3, 4, 5, 30)) for _ in range(rng.choice((0, 1, 2, 2, 3, 3, 3, 4)))]
            or [1, 1],
            "dtype": rng.choice(dtypes),
            "fill": rng.choice((0, 1, 255, 300, -1, 0.5, 1e30, float("nan"), float("inf"))),
            "mode": rng.choice(
                ("1", "L", "P", "RGB", "RGBA", "CMYK", "LAB", "HSV", "YCbCr", "I", "F", "I;16", "LA", "PA", "La")
            ),
            "value": rng.choice((*VALUES, "a\0.png", "x" * 300, "http://x", ".", "/dev/null", "~", "[a")),
        }
    ).encode()


CALLS = {
    "predict": {"points": [[3, 3]], "labels": [1], "box": [2, 2, 20, 20], "prior": None, "multimask": False},
    "predict_batch": {"points": [[3, 3], [5, 5]], "labels": [[1], [1]], "boxes": None, "multimask": False},
    "predict_points": {"points": [[3, 3]], "min_score": 0.5},
    "segment_everything": {"points": [[3, 3]], "boxes": None, "region": None, "point_grids": None},
    "settings": {"points_per_side": 4, "pred_iou_thresh": 0.5, "crop_n_layers": 0, "dense_where": "small"},
}


def prompts() -> list[bytes]:
    """Valid calls."""
    boxes = {"points": None, "labels": None, "boxes": [[2, 2, 20, 20]]}
    calls = [*CALLS.items(), ("predict_batch", boxes), ("segment_everything", {"boxes": [[2, 2, 20, 20]]})]
    return seeds.as_json(*({"call": call, "arguments": arguments} for call, arguments in calls))


def mutate_prompt(rng: Random, data: bytes) -> bytes:
    """A call in which one to three arguments are something else."""
    spec = json.loads(data)
    arguments: dict[str, Any] = spec["arguments"]
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(list(arguments))
        if rng.random() < 0.5:
            arguments[name] = rng.choice(VALUES)
        else:
            arguments[name] = json.loads(mutate_utf8(rng, arguments[name]))
    return json.dumps(spec).encode()


def mutate_utf8(rng: Random, value: Any) -> bytes:
    """A JSON value of which a part is changed."""
    from tests.fuzz.mutate import change_value

    return json.dumps(change_value(rng, value)).encode()


def journals() -> list[bytes]:
    """Results of an evaluation."""
    return seeds.as_json(seeds.journal_lines())


TORCH = ("torch", "lightning", "safetensors", "tensorboard")
KINDS: dict[str, Kind] = {
    "photos": Kind(seeds.photos, mutate_bytes, photos.photo, 280),
    "photos, other readers": Kind(seeds.photos, mutate_bytes, photos.photo_elsewhere, 160),
    "videos": Kind(seeds.videos, mutate_bytes, photos.video, 20),
    "photos as objects": Kind(lambda: [b""], make_array, photos.array, 60),
    "embeddings": Kind(library.saved_embeddings, mutate_zip, library.embedding, 50),
    "stores": Kind(seeds.stores, mutate_zip, stores.store, 80),
    "tars": Kind(seeds.tars, mutate_bytes, data.tar, 60),
    "records": Kind(seeds.records, mutate_json, data.record, 60),
    "finished photos": Kind(seeds.finished, mutate_json, settings.finished, 20),
    "YOLO labels": Kind(seeds.yolo, mutate_text, data.yolo, 20),
    "polygons and run lengths": Kind(seeds.masks_json, mutate_json, data.mask, 40),
    "COCO files": Kind(seeds.coco, mutate_json, data.coco, 30),
    "detections": Kind(seeds.detections, mutate_json, data.detections, 20),
    "recipes": Kind(seeds.recipes, mutate_text, settings.recipe, 40),
    "overrides": Kind(seeds.overrides, mutate_text, settings.override, 20),
    "reports": Kind(seeds.reports, mutate_json, settings.report, 40),
    "journals": Kind(journals, mutate_lines, settings.journal, 30),
    "histories": Kind(seeds.histories, mutate_lines, settings.history, 10, TORCH),
    "prompts and settings": Kind(prompts, mutate_prompt, library.prompt, 40),
    "checkpoints": Kind(checkpoints.checkpoints, mutate_content, checkpoints.checkpoint, 20, TORCH),
    "states of runs": Kind(checkpoints.states, mutate_bytes, checkpoints.state, 4, TORCH),
    "configurations": Kind(checkpoints.configs, mutate_json, checkpoints.config, 20, TORCH),
    "prompt files": Kind(verbs.prompt_files, mutate_json, verbs.prompt_file, 20),
    "annotation runs": Kind(verbs.plans, mutate_json, verbs.plan, 20),
    "tracking": Kind(verbs.tracked, verbs.mutate_call, verbs.tracking, 2),
    "requests": Kind(verbs.requests, verbs.mutate_call, verbs.request, 10, ("fastapi", "httpx")),
    "MCP calls": Kind(verbs.calls, verbs.mutate_call, verbs.call, 4),
    "pairs": Kind(library.pair_files, mutate_content, library.pair, 10),
}

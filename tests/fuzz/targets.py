"""What is done with each input: it is read as users' files are read, and whatever is accepted must be right.

Each function raises a `MobileSamError` where the input is refused, and a `SilentError` where a damaged one is taken for
whole.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import mobilesam
from mobilesam.errors import MobileSamError
from mobilesam.image import open_photo
from mobilesam.masks import from_rle
from mobilesam.predict.prompts import make_prompt
from tests.fuzz import seeds
from tests.fuzz.seeds import HW


class SilentError(Exception):
    """A changed file was accepted, and gave something else than the original."""


def photo(data: bytes, folder: Path) -> None:
    """Open a photo for prediction."""
    rgb = open_photo(data)
    assert rgb.dtype == np.uint8
    assert rgb.ndim == 3


def photo_elsewhere(data: bytes, folder: Path) -> None:
    """Open it as every other reader does: data sets, the survey, label pictures, only its header, reduced."""
    from mobilesam.data import shapes
    from mobilesam.data.decoded import read_photo
    from mobilesam.data.files import FileRef
    from mobilesam.data.photo import PhotoId, PhotoRef
    from mobilesam.data.survey import damage

    path = write(folder / "photo", data)
    file = FileRef(str(path))
    reference = PhotoRef(PhotoId("d", "photo"), file, None)
    readers: list[Callable[[], Any]] = [
        lambda: read_photo(reference, need_masks=False),
        reference.header,
        lambda: shapes.label_pixels(file),
        lambda: shapes.object_pixels(file, 128),
        lambda: open_photo(path, max_side=8, value_range=(0, 9)),
    ]
    damage(file)
    refusals = [error for reader in readers if (error := refusal(reader)) is not None]
    if len(refusals) == len(readers):
        raise refusals[0]


def refusal(call: Callable[[], Any]) -> MobileSamError | None:
    """The project's error that a call raises."""
    try:
        call()
    except MobileSamError as error:
        return error
    return None


def mask(data: bytes, folder: Path) -> None:
    """Read a segmentation of COCO and fill it."""
    from mobilesam.data.shapes import to_shape
    from mobilesam.text import parse_json

    shape = to_shape(parse_json(data))
    found = shape.mask(HW)
    assert found.shape == HW
    if not np.array_equal(found, from_rle(shape.rle(HW))):
        raise SilentError("the mask differs from its run lengths")


def data_set(path: Path) -> None:
    """Read a data set as training and evaluation do: each photo, its annotation, and each mask."""
    from mobilesam.data.decoded import read_photo
    from mobilesam.data.layouts import read
    from mobilesam.data.photo import PhotoRef
    from mobilesam.data.survey import survey

    photos = [item for item in read(path) if isinstance(item, PhotoRef)]
    for one in photos:
        if (error := refusal(lambda one=one: read_photo(one))) is None:  # type: ignore[misc]
            hw = one.open().shape[:2]
            for found in one.annotation().objects:
                refusal(lambda found=found, hw=hw: found.mask(hw))  # type: ignore[misc]
    survey([str(path)])
    if photos and error is not None:
        raise error


def coco(data: bytes, folder: Path) -> None:
    """A COCO file, as training, evaluation and the average precision of a detector read it."""
    from mobilesam.evaluate.detections import check_truth

    for name in ("a.jpg", "b.jpg"):
        write(folder / name, seeds.photo())
    path = write(folder / "coco.json", data)
    data_set(path)
    check_truth(path, {}, [])


def detections(data: bytes, folder: Path) -> None:
    """The boxes of a detector."""
    from mobilesam.evaluate.detections import group_boxes

    for boxes in group_boxes(write(folder / "found.json", data)).values():
        for x, y, w, h in (box["bbox"] for box in boxes):
            refusal(lambda box=(x, y, x + w, y + h): make_prompt(HW, box=box))  # type: ignore[misc]


def record(data: bytes, folder: Path) -> None:
    """A record of SA-1B or LabelMe beside its photo."""
    inside = fresh(folder / "records")
    write(inside / "a.jpg", seeds.photo())
    write(inside / "a.json", data)
    data_set(inside)


def yolo(data: bytes, folder: Path) -> None:
    """A label file of YOLO-seg."""
    inside = fresh(folder / "yolo")
    write(inside / "images" / "a.jpg", seeds.photo())
    write(inside / "labels" / "a.txt", data)
    data_set(inside)


def tar(data: bytes, folder: Path) -> None:
    """A shard."""
    data_set(write(folder / "shard.tar", data))


def store(data: bytes, folder: Path) -> None:
    """A finished store: what its checksums allow must be what was stored."""
    from mobilesam.data.store import Store

    found = Store(write(folder / "s.npz", data))
    values = {name: found.read(name) for name in sorted(found.photos)}
    if _sums(folder / "s.npz") not in (_sums_of(original) for original in seeds.stores()):
        return  # written anew with right checksums
    for name, value in values.items():
        if name in seeds.STORED and not np.allclose(value, seeds.embedding_of(name), atol=0.01):
            raise SilentError(f"record '{name}' is not what was stored")


def partial(data: bytes, folder: Path) -> None:
    """An unfinished store is continued, and what it then holds must be what was stored."""
    from mobilesam.data.store import Store, read_header
    from mobilesam.data.store_format import StoreHeader
    from mobilesam.data.store_writer import StoreWriter

    path = folder / "p.npz"
    write(folder / "p.npz.partial", data)
    read_header(folder / "p.npz.partial")
    is_int8 = b'"int8"' in data[:2000]
    with StoreWriter(path, StoreHeader("t", 64, 8, "s 00000000", dtype="int8" if is_int8 else "float16")) as writer:
        for name in seeds.STORED:
            if (name, 0) not in writer:
                writer.add(name, 0, seeds.embedding_of(name))
        writer.finish({})
    for name in seeds.STORED:
        if not np.allclose(Store(path).read(name), seeds.embedding_of(name), atol=0.01):
            raise SilentError(f"record '{name}' is not what was stored")


def _sums(path: Path) -> list[int]:
    with zipfile.ZipFile(path) as archive:
        return [member.CRC for member in archive.infolist()]


@cache
def _sums_of(data: bytes) -> list[int]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [member.CRC for member in archive.infolist()]


def recipe(data: bytes, folder: Path) -> None:
    """A recipe."""
    from mobilesam.recipe import load_recipe
    from mobilesam.train.config import TrainRecipe

    load_recipe(TrainRecipe, write(folder / "r.toml", data))


def override(data: bytes, folder: Path) -> None:
    """A value of --set, on a valid recipe."""
    from mobilesam.recipe import load_recipe
    from mobilesam.train.config import TrainRecipe

    load_recipe(TrainRecipe, write(folder / "r.toml", seeds.recipes()[0]), [data.decode("utf-8", "surrogateescape")])


def report(data: bytes, folder: Path) -> None:
    """A report, compared with itself."""
    from mobilesam.evaluate.compare import compare
    from mobilesam.evaluate.report import read_report

    rows = read_report(write(folder / "r.json", data)).rows
    compare(rows, rows)


def journal(data: bytes, folder: Path) -> None:
    """The journal of an evaluation."""
    from mobilesam.evaluate.run import read_journal
    from mobilesam.evaluate.settings import EvaluateSettings

    settings = EvaluateSettings(data=("x",), protocols=("click",))
    path = folder / "journal.jsonl"
    write(path, json.dumps({"fingerprint": settings.fingerprint}).encode() + b"\n" + data)
    found = read_journal(path, settings)
    if path.exists() and read_journal(path, settings) != found and "nan" not in repr(found):
        raise SilentError("the journal that is written back holds something else")


def history(data: bytes, folder: Path) -> None:
    """The history of a run that is resumed."""
    from mobilesam.train.log import HISTORY_FILE, read_history

    write(folder / HISTORY_FILE, data)
    read_history(folder, before=100)


@cache
def predictor() -> mobilesam.Predictor:
    """The embedded model; one thread, since there is a process per core."""
    return mobilesam.load(backend="onnx", threads=1)


@cache
def embedded() -> mobilesam.ImageEmbedding:
    """A small photo."""
    return predictor().embed(seeds.RGB)


def embedding(data: bytes, folder: Path) -> None:
    """A saved embedding: what its checksums allow must be what was saved."""
    path = write(folder / "e.npz", data)
    loaded = predictor().load_embedding(path)
    found = loaded.predict(points=[(3, 3)], multimask=False)
    assert found.masks.shape[1:] == loaded.original_hw
    if _sums(path) == _sums_of(saved_embeddings()[0]) and not np.array_equal(loaded.array, embedded().array):
        raise SilentError("another embedding")


@cache
def saved_embeddings() -> list[bytes]:
    """The file of an embedding."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        embedded().save(Path(folder) / "e")
        return [(Path(folder) / "e").read_bytes()]


def pair_files() -> list[bytes]:
    """Each file of the embedded pair, after a line with its name."""
    folder = Path(mobilesam.__file__).parent / "builtin"
    return [path.name.encode() + b"\n" + path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]


def pair(data: bytes, folder: Path) -> None:
    """A pair of which one file has changed; where it loads, it must compute the same."""
    name, _, content = data.partition(b"\n")
    inside = fresh(folder / "pair")
    for path in (Path(mobilesam.__file__).parent / "builtin").iterdir():
        if path.is_file() and path.name != name.decode():
            shutil.copy(path, inside)
    write(inside / name.decode(), content)
    loaded = mobilesam.load(inside, backend="onnx", threads=1, quick_start=True)
    found = loaded.embed(seeds.RGB).predict(points=[(3, 3)], multimask=False)
    if not np.array_equal(found.low_res, embedded().predict(points=[(3, 3)], multimask=False).low_res):
        raise SilentError("other numbers")


@cache
def checkpoints() -> list[bytes]:
    """The smallest network as .safetensors and as .pt; each after a line with its suffix."""
    from tempfile import TemporaryDirectory

    import torch

    from mobilesam.model import checkpoint

    with TemporaryDirectory() as folder:
        path = Path(folder) / "t.safetensors"
        checkpoint.save(network(), path)
        torch.save(network().state_dict(), path.with_suffix(".pt"))
        return [suffix + b"\n" + path.with_suffix(suffix.decode()).read_bytes() for suffix in (b".safetensors", b".pt")]


def network() -> Any:
    """The smallest network, with random weights."""
    import torch

    from mobilesam.model.config import CONFIGS
    from mobilesam.model.sam import Sam

    torch.set_num_threads(1)
    torch.manual_seed(0)
    return Sam(CONFIGS["tiny"])


def checkpoint(data: bytes, folder: Path) -> None:
    """A checkpoint; where it loads, it must hold the same weights."""
    from mobilesam.model import checkpoint as files
    from mobilesam.model.state_dict import digest

    suffix, _, content = data.partition(b"\n")
    loaded = files.load(write(folder / f"c{suffix.decode()}", content))
    if digest(loaded.state_dict()) != original_weights():
        raise SilentError("other weights")


@cache
def original_weights() -> str:
    """Checksum of the weights of `network`."""
    from mobilesam.model.state_dict import digest

    return digest(network().state_dict())


@cache
def states() -> list[bytes]:
    """The state of a training run."""
    from tempfile import TemporaryDirectory

    from mobilesam.train import state

    with TemporaryDirectory() as folder:
        state.save(Path(folder), *trained(), 3)
        return [(Path(folder) / state.STATE_FILE).read_bytes()]


def trained() -> tuple[Any, Any]:
    """A network with its optimizer, and the recipe."""
    from mobilesam.recipe import from_dict
    from mobilesam.train.config import TrainRecipe
    from mobilesam.train.optim import Ema, build_optimizer
    from mobilesam.train.schedule import Stopwatch
    from mobilesam.train.state import Trained

    made = from_dict(TrainRecipe, {"model": "tiny", "data": {"shards": ["a.tar"]}, "run": {"steps": 1}})
    model = network()
    return Trained(model, build_optimizer(model, made.optim), Ema(model, 0.9), Stopwatch()), made


def state(data: bytes, folder: Path) -> None:
    """A run is resumed; where its state is accepted, the weights must be those that were saved."""
    from mobilesam.model.state_dict import digest
    from mobilesam.train import state as states_of_runs

    write(folder / states_of_runs.STATE_FILE, data)
    run = trained()[0]
    states_of_runs.restore(folder, run)
    if digest(run.model.state_dict()) != original_weights():
        raise SilentError("other weights")


def array(data: bytes, folder: Path) -> None:
    """An array, a PIL image or any other Python object as a photo."""
    from PIL import Image

    spec = json.loads(data)
    kind, value = spec["kind"], spec["value"]
    if kind == "array":
        with np.errstate(all="ignore"):
            value = np.full(spec["shape"], spec["fill"]).astype(spec["dtype"])
    elif kind == "image":
        value = Image.new(spec["mode"], [*spec["shape"], 3, 3][:2])
    elif kind == "path":
        value = Path(str(value))
    elif kind == "bytes":
        value = str(value).encode()
    open_photo(value)


def prompt(data: bytes, folder: Path) -> None:
    """A call of the library with arguments of any kind."""
    spec = json.loads(data)
    call, arguments = spec["call"], spec["arguments"]
    if call == "settings":
        mobilesam.EverythingSettings(**arguments)
    elif call == "segment_everything":
        settings = mobilesam.EverythingSettings(points_per_side=1)
        mobilesam.segment_everything(predictor(), embedded(), settings=settings, **arguments)
    else:
        getattr(embedded(), call)(**arguments)


def write(path: Path, data: bytes) -> Path:
    """A file, in a folder that is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder

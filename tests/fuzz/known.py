"""Inputs that once ended in a traceback, in a crash or in a wrong answer, and what becomes of them now.

Every run of `scripts/fuzz` begins with them.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tests.fuzz import seeds
from tests.fuzz.targets import checkpoints as networks
from tests.fuzz.targets import library, verbs
from tests.helpers.run_lengths import wrapping

CASES = Path(__file__).parents[1] / "cases"
Known = tuple[str, bytes, str]
"""A name, the input, and the verdict: accepted, refused, either of them, or a part of the message that refuses it."""


def text(value: Any) -> bytes:
    """A value as JSON, NaN and infinity included."""
    return json.dumps(value).encode()


def case(name: str) -> bytes:
    """A file of `tests/cases`."""
    return (CASES / name).read_bytes()


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size, and holds a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def dds(fourcc: bytes) -> bytes:
    """A DDS of 4 x 4 pixels in a compressed format."""
    size, flags, height, width, pitch, depth, mipmaps = 124, 0x1007, 4, 4, 16, 0, 0
    head = struct.pack("<7I44x", size, flags, height, width, pitch, depth, mipmaps)
    return b"DDS " + head + struct.pack("<II4s20x", 32, 4, fourcc) + struct.pack("<I16x", 0x1000) + bytes(16)


def yolo() -> list[Known]:
    """Label files of YOLO-seg."""
    return [
        ("infinity", b"0 0 0 inf 0 0.5 0.5\n", "not a finite number"),
        ("NaN", b"0 nan 0 0.1 0 0.5 0.5\n", "not a finite number"),
    ]


def photos() -> list[Known]:
    """Files of `tests/cases`, sizes that are only claimed, and formats that are not opened."""
    return [
        ("900 megapixels claimed", case("claim30000.png"), "too many pixels"),
        ("a profile that unfolds to 400 MB", case("bomb_iccp.png"), "refused"),
        ("a PPM with a letter for a number", case("bad.ppm"), "refused"),
        ("a PPM of 15 bytes", case("short.ppm"), "refused"),
        ("a damaged AVIF", case("bad.avif"), "refused"),
        ("170 million pixels in one row", png_of(170_000_000, 1), "refused"),
        ("a size of 0", png_of(0, 5), "refused"),
        ("a DDS of a pixel format that nobody knows", dds(b"\xff\xfe\x00Z"), "not a photo in a known format"),
        ("a DDS", b"DDS |\0\0\0" + bytes(120), "not a photo in a known format"),
        ("an EPS that would start another program", b"%!PS-Adobe-3.0 EPSF-3.0\n", "an EPS drawing"),
        ("a Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("nothing", b"", "refused"),
    ]


def masks() -> list[Known]:
    """Numbers that end pycocotools' process, or give memory that nobody wrote as a mask."""
    far, size = [[0, 0, 1e9, 0, 1e9, 1e9]], list(seeds.HW)
    return [
        ("a polygon of 1e9, cut at the photo's border", text(far), "accepted"),
        ("a polygon of infinity", text([[float("inf"), 0, 1, 0, 1, 1]]), "not a finite number"),
        ("a polygon of NaN", text([[float("nan")] * 6]), "not a finite number"),
        ("a polygon of null", text([[None, 1, 2, 3, 4, 5]]), "not a number"),
        ("a polygon of two points", text([[1, 2, 3, 4]]), "three"),
        ("an outline of a billion pixels", text([[0, 0, 30, 20] * 200_000]), "pixels long"),
        ("run lengths of a million squared", text({"size": [10**6, 10**6], "counts": "11"}), "more than"),
        ("no runs", text({"size": size, "counts": ""}), "add up to 0"),
        ("runs that end early", text({"size": size, "counts": "5"}), "add up to 5"),
        ("runs whose sum wraps to the photo's size", text(wrapping(seeds.HW)), "a run length is"),
        ("one run of 2^32", text({"size": size, "counts": [2**32 - 1, 1]}), "a run length is"),
        ("runs of other characters", text({"size": size, "counts": "zzzzz~~~~"}), "not COCO's"),
        ("a mask of another size", text({"size": [100, 100], "counts": [10_000]}), "the mask is 100x100"),
        ("null", b"null", "no segmentation"),
        ("no polygons", b"[]", "no segmentation"),
    ]


def coco() -> list[Known]:
    """COCO files whose parts are missing, of other types, or written on Windows."""
    whole: dict[str, Any] = json.loads(seeds.coco()[0])
    images, objects = whole["images"], whole["annotations"]
    huge = [{**image, "width": 2**31} for image in images]
    named = [{**image, "file_name": f"photos\\{image['file_name']}"} for image in images]
    nan = {**objects[1], "segmentation": [[float("nan"), 1, 2, 3, 4, 5]]}
    return [
        ("a size of 2^31", text({**whole, "images": huge}), "accepted"),
        ("images that are numbers", text({**whole, "images": [3]}), "no photo can be used"),
        ("an annotation without its image", text({**whole, "annotations": [{}, *objects]}), "accepted"),
        ("images without sizes", text({**whole, "images": [{"id": 0, "file_name": "a.jpg"}]}), "accepted"),
        ("one object of NaN", text({**whole, "annotations": [objects[0], nan]}), "accepted"),
        ("brackets", b"[" * 200_000, "nested too deep"),
        ("a byte-order mark", seeds.coco()[0].decode().encode("utf-8-sig"), "accepted"),
        ("UTF-16 and backslashes", text({**whole, "images": named}).decode().encode("utf-16"), "accepted"),
    ]


def records() -> list[Known]:
    """Records of SA-1B and LabelMe."""
    return [
        ("brackets", b"[" * 200_000, "nested too deep"),
        ("annotations that are numbers", b'{"annotations": [3]}', "no usable mask"),
        ("shapes that are numbers", b'{"shapes": 3}', "LabelMe's shapes are a list"),
        ("neither", b"{}", "refused"),
    ]


def tars() -> list[Known]:
    """Sizes in a tar's header that no disk holds."""

    def with_header(change: Callable[[bytearray], None]) -> bytes:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            member = tarfile.TarInfo("a.jpg")
            member.size = 10
            tar.addfile(member, io.BytesIO(b"x" * 10))
        data = bytearray(file.getvalue())
        change(data)
        data[148:156] = b" " * 8
        data[148:156] = b"%06o\0 " % sum(data[:512])
        return bytes(data)

    def huge(data: bytearray) -> None:
        data[124:136] = b"\x80" + b"\x7f" * 11

    def long_name(data: bytearray) -> None:
        data[156:157], data[124:136] = b"x", b"\x80" + bytes(6) + b"\x01\0\0\0\0"

    return [
        ("names that are not UTF-8", shard_of("\udcc3"), "accepted"),
        ("a name of 70,000 bytes", shard_of("x" * 70_000), "its name is longer"),
        ("a member of 2^94 bytes", with_header(huge), "refused"),
        ("a name of 4 GiB", with_header(long_name), "refused"),
    ]


def shard_of(stem: str) -> bytes:
    """A shard of one photo."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in ((f"{stem}.jpg", seeds.photo()), (f"{stem}.json", seeds.records()[0])):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def recipes() -> list[Known]:
    """Recipes as Windows editors save them, and numbers of any length."""
    recipe = seeds.RECIPES[0]
    return [
        ("a byte-order mark", recipe.encode("utf-8-sig"), "accepted"),
        ("UTF-16", recipe.encode("utf-16"), "accepted"),
        ("Latin-1", f"# é\n{recipe}".encode("latin-1"), "not text in UTF-8"),
        ("a number of 400 digits", b"[optim]\nlr = " + b"9" * 400, "refused"),
        ("a number of 10,000 digits", b"[optim]\nlr = " + b"9" * 10_000, "refused"),
        ("brackets", b"x = " + b"[" * 100_000, "not valid TOML"),
    ]


def zipped(data: bytes, **members: bytes) -> bytes:
    """A zip with other members, and right checksums; `x_json` stands for x.json."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (found | {name.replace("_", "."): content for name, content in members.items()}).items():
            archive.writestr(name, content)
    return file.getvalue()


def stores() -> list[Known]:
    """Stores whose checksums are right and whose contents are not."""
    store = seeds.stores()[0]
    header = {**json.loads(zipfile.ZipFile(io.BytesIO(store)).read("header.json"))}
    no_array = b"\x93NUMPY\x01\x00v\x00{" + b" " * 200
    renamed = store.replace(b"a.0.npy", b"b.0.npy")
    return [
        ("a record that is no array", zipped(store, a_0_npy=no_array), "not a .npy array"),
        ("brackets", zipped(store, skipped_json=b"[" * 200_000), "nested too deep"),
        ("reasons that are no texts", zipped(store, skipped_json=b'{"a": 1}'), "damaged, or no store"),
        ("a header with a number for a text", zipped(store, header_json=text({**header, "shard": 3})), "shard is 3"),
        ("a header without a teacher", zipped(store, header_json=text({"image_size": 64})), "no header of a store"),
        ("another name for a record", renamed, "two records have one name"),
        ("a name in one of its two places", store.replace(b"a.0.npy", b"x.0.npy", 1), "its name differs"),
    ]


@cache
def embeddings() -> list[Known]:
    """Files of embeddings with right checksums."""
    whole = library.saved_embeddings()[0]

    def array(header: bytes, content: bytes = b"") -> bytes:
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content

    numbers = array(b"{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }\n", b"[1]")
    large = array(b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }\n", bytes(8))
    return [
        ("a header that is a list", zipped(whole, header_npy=numbers), "its format is"),
        ("an array of 400 GB in 8 bytes", zipped(whole, embedding_npy=large), "whose values take 8 bytes"),
        ("one bit of the embedding", flipped(whole, len(whole) // 2), "damaged"),
    ]


def flipped(data: bytes, place: int) -> bytes:
    """The same with one bit changed."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def prompts() -> list[Known]:
    """Arguments of other types and shapes."""

    def call(name: str, **arguments: Any) -> bytes:
        return text({"call": name, "arguments": arguments})

    nan = [[float("nan")] * 4] * 4
    return [
        ("a prior of NaN", call("predict", points=[[3, 3]], prior=nan), "prior must be finite"),
        ("a prior of texts", call("predict", prior=[["x"] * 4] * 4), "prior must be numbers"),
        ("no points", call("predict_points", points=[], min_score=0.5), "no points"),
        ("a score that is NaN", call("predict_points", points=[[3, 3]], min_score=float("nan")), "min_score"),
        ("a score that is a text", call("predict_points", points=[[3, 3]], min_score="x"), "min_score"),
        ("boxes of three numbers", call("segment_everything", boxes=[[1, 2, 3]]), "boxes must be"),
        ("grids that are a number", call("segment_everything", point_grids=1), "point_grids needs"),
        ("a region that is a list", call("segment_everything", region=[1]), "region must be"),
        ("a setting that is a text", call("settings", points_per_side="x"), "points_per_side"),
        ("a setting that is a fraction", call("settings", points_per_side=2.5), "points_per_side"),
        ("a threshold that is NaN", call("settings", pred_iou_thresh=float("nan")), "pred_iou_thresh"),
        ("a label between two", call("predict", points=[[1, 2]], labels=[0.5]), "labels must be"),
    ]


@cache
def checkpoints() -> list[Known]:
    """Checkpoints of which a bit has changed, and files of other kinds."""
    tensors, pickled = networks.checkpoints()
    return [
        ("a bit of a weight, safetensors", flipped(tensors, len(tensors) - 9), "damaged"),
        ("a bit of a weight, pt", flipped(pickled, len(pickled) // 2), "damaged"),
        ("a Git LFS pointer", b".pt\nversion https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("a web page", b".safetensors\n<!DOCTYPE html>", "a web page"),
    ]


@cache
def states() -> list[Known]:
    """States of a run that hold something else."""
    import torch

    def saved(value: Any) -> bytes:
        file = io.BytesIO()
        torch.save(value, file)
        return file.getvalue()

    whole = networks.states()[0]
    return [
        ("a function", saved(print), "refused"),
        ("a list", saved([1]), "not a checkpoint of this recipe"),
        ("no checkpoint", b"x" * 99, "refused"),
        ("a bit of a weight", flipped(whole, len(whole) // 2), "damaged"),
    ]


def journals() -> list[Known]:
    """Journals as a kill or a power cut leaves them."""
    line = json.dumps(seeds.journal_lines()[0]).encode() + b"\n"
    return [
        ("zeros", bytes(4096), "accepted"),
        ("zeros between lines", line + bytes(99) + b"\n" + line, "accepted"),
        ("a line that is cut off", line + line[:50], "accepted"),
        ("not UTF-8", line + b"\xff\xfe\n", "accepted"),
    ]


def histories() -> list[Known]:
    """Histories likewise."""
    return [
        ("not UTF-8", b'{"step": 1}\n\xff\xfe\n', "accepted"),
        ("a step that is a text", b'{"step": "x"}\n{"loss": 1}\n[]\n', "accepted"),
    ]


def reports() -> list[Known]:
    """Reports with parts missing."""
    whole: dict[str, Any] = json.loads(seeds.reports()[0])
    rows = [{**whole["rows"][0], "iou": "x"}]
    return [
        ("no rows", text({key: value for key, value in whole.items() if key != "rows"}), "not a report"),
        ("a text for a number", text({**whole, "rows": rows}), "Row.iou"),
        ("brackets", b"[" * 200_000, "nested too deep"),
    ]


def detections() -> list[Known]:
    """Boxes that are none."""
    box = {"image_id": 0, "category_id": 1, "score": 0.5}
    return [
        ("a box of text", text([{**box, "bbox": "abcd"}]), "a detection cannot be"),
        ("a box of five numbers", text([{**box, "bbox": [1, 2, 3, 4, 5]}]), "a detection cannot be"),
        ("numbers", b"[3]", "refused"),
    ]


def overrides() -> list[Known]:
    """Values of --set."""
    return [
        ("a table inside a text", b"model.x=1", "not a table"),
        ("brackets", b"model=" + b"[" * 100_000, "refused"),
        ("no value", b"x", "takes key.path=value"),
    ]


def configurations() -> list[Known]:
    """Configurations of folders of the Hub's form."""
    return [("a part without a name", b'{"weight_map": {"a": "", "b": []}}', "no file of its folder")]


def prompt_files() -> list[Known]:
    """Prompt files of annotate."""
    return [("no list", b'{"annotations": 5, "images": []}', "must be a list"), ("a number", b"[1]", "malformed")]


def runs() -> list[Known]:
    """Plans and records of runs of annotate."""
    (valid,) = (json.loads(data) for data in verbs.plans())
    offsets, far = ({**valid["job"], "offsets": [offset]} for offset in ("x", 2**70))
    settings, long = {**valid["job"]["asked"], "settings": "x"}, {**valid["job"], "names": ["a" * 300]}
    suffix = {**valid["job"], "suffix": "x" * 300}
    return [
        ("as it was written", text(valid), "accepted"),
        ("a record of zeros", text({**valid, "done": "\0"}), "delete it"),
        ("offsets of text", text({**valid, "job": offsets}), "damaged"),
        ("a name of 300 letters", text({**valid, "job": long}), "damaged"),
        ("a suffix of 300 letters", text({**valid, "job": suffix}), "damaged"),
        ("an offset behind the end", text({**valid, "job": far}), "damaged"),
        ("settings of text", text({**valid, "job": {**valid["job"], "asked": settings}}), "damaged"),
        ("brackets", b"[" * 200_000, "damaged"),
    ]


def calls() -> list[Known]:
    """Calls of the MCP server's tools."""
    far = {"points": None, "labels": None, "box": [6, 4, 26, 2**63]}
    call = {"tool": "segment", "asked": far, "options": {}}
    return [
        ("a box that ends far outside", text({**call, "photo": "a.png"}), "accepted"),
        ("a name that is too long", text({**call, "photo": "x" * 5000}), "no path here"),
        ("a list as name", text({**call, "photo": ["a.png"]}), "a name is a text"),
    ]


KNOWN: dict[str, Callable[[], list[Known]]] = {
    "photos": photos,
    "photos, other readers": lambda: [(name, data, "either") for name, data, _ in photos()],
    "embeddings": embeddings,
    "stores": stores,
    "tars": tars,
    "records": records,
    "polygons and run lengths": masks,
    "YOLO labels": yolo,
    "COCO files": coco,
    "detections": detections,
    "recipes": recipes,
    "overrides": overrides,
    "reports": reports,
    "journals": journals,
    "histories": histories,
    "prompts and settings": prompts,
    "checkpoints": checkpoints,
    "states of runs": states,
    "configurations": configurations,
    "prompt files": prompt_files,
    "annotation runs": runs,
    "MCP calls": calls,
}

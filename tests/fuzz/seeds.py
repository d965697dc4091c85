"""Valid files to start from, one function per kind of file; all are made here, and small."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilesam import masks

HW = (24, 32)
RGB = (np.random.default_rng(0).integers(0, 256, (*HW, 3)) // 4 + np.arange(32)[None, :, None] * 4).astype(np.uint8)
MASK = np.zeros(HW, bool)
MASK[4:20, 6:26] = True
POLYGON = [6.0, 4.0, 26.0, 4.0, 26.0, 20.0, 6.0, 20.0]
EXIF = Image.Exif()
EXIF[0x0112] = 6

PHOTOS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    *(("RGB", "JPEG", {}), ("L", "JPEG", {}), ("CMYK", "JPEG", {}), ("RGB", "JPEG", {"progressive": True})),
    *(("RGB", "JPEG", {"exif": EXIF}), ("RGB", "MPO", {}), ("RGB", "PNG", {"exif": EXIF})),
    *((mode, "PNG", {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(("P", "PNG", {"transparency": 3}), ("L", "PNG", {"transparency": 3})),
    *(("RGB", "WEBP", {}), ("RGBA", "WEBP", {"lossless": True}), ("RGB", "BMP", {}), ("P", "BMP", {})),
    *(("P", "GIF", {}), ("RGB", "PPM", {}), ("L", "PPM", {}), ("1", "PPM", {}), ("I;16", "PPM", {})),
    *((mode, "TIFF", {}) for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "LAB")),
    *(("RGB", "TIFF", {"compression": how}) for how in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")),
    *(("1", "TIFF", {"compression": "group4"}), ("F", "TIFF", {"compression": "tiff_deflate"})),
    *(("RGB", "JPEG2000", {}), ("L", "JPEG2000", {}), ("RGB", "AVIF", {}), ("RGBA", "AVIF", {})),
    *(("RGB", other, {}) for other in ("EPS", "DDS", "ICO", "TGA", "PCX", "SGI", "PDF")),  # refused as they are
)


@cache
def photos() -> list[bytes]:
    """A small photo in every mode and format that Pillow writes here; the last few are of formats that are refused."""
    found = []
    for mode, kind, options in PHOTOS:
        file = io.BytesIO()
        try:
            _in_mode(mode).save(file, kind, **options)
        except (OSError, KeyError, ValueError):  # this Pillow lacks the encoder
            continue
        found.append(file.getvalue())
    return found


def _in_mode(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(RGB[..., 0].astype(np.uint16) * 257)
    if mode == "I":
        return Image.fromarray(RGB[..., 0].astype(np.int32) * 100_000)
    return Image.fromarray(RGB).convert(mode)


@cache
def videos() -> list[bytes]:
    """Three frames, as mp4."""
    from mobilesam.tracking.video import VideoWriter

    with TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with VideoWriter(path, 10.0) as video:
            for shift in (0, 20, 40):
                video.write(np.roll(RGB, shift, axis=1))
        return [path.read_bytes()]


def photo() -> bytes:
    """A plain JPEG."""
    return photos()[0]


def segmentations() -> list[Any]:
    """A mask in every spelling of COCO."""
    return [masks.to_rle(MASK), masks.to_uncompressed_rle(MASK), [POLYGON], [POLYGON, [1, 1, 5, 1, 5, 5]]]


def as_json(*values: Any) -> list[bytes]:
    """Each value as the bytes of a JSON file."""
    return [json.dumps(value).encode() for value in values]


def masks_json() -> list[bytes]:
    """A segmentation per file."""
    return as_json(*segmentations())


def coco() -> list[bytes]:
    """A COCO file of two photos, `a.jpg` and `b.jpg`."""
    images = [{"id": i, "file_name": f"{'ab'[i]}.jpg", "width": HW[1], "height": HW[0]} for i in range(2)]
    common = {"category_id": 1, "iscrowd": 0, "area": 320, "bbox": [6, 4, 20, 16]}
    objects = [{"id": i, "image_id": i % 2, **common, "segmentation": s} for i, s in enumerate(segmentations())]
    return as_json({"images": images, "annotations": objects, "categories": [{"id": 1, "name": "x"}]})


def detections() -> list[bytes]:
    """Boxes of a detector for the photos of `coco`."""
    return as_json([{"image_id": i, "category_id": 1, "bbox": [6, 4, 20, 16], "score": 0.5} for i in range(2)])


def records() -> list[bytes]:
    """Records of SA-1B, of `mobilesam everything`, and of LabelMe."""
    objects = [{"id": i, "segmentation": s, "area": 320} for i, s in enumerate(segmentations())]
    size = {"width": HW[1], "height": HW[0]}
    points = np.reshape(POLYGON, (-1, 2)).tolist()
    shapes = [
        {"label": "x", "points": points, "shape_type": "polygon", "group_id": None},
        {"label": "x", "points": points[::2], "shape_type": "rectangle", "group_id": 1},
        {"label": "x", "points": [[12, 12], [20, 12]], "shape_type": "circle", "group_id": 1},
    ]
    labelme = {"version": "5.4.1", "shapes": shapes, "imagePath": "a.jpg", "imageHeight": HW[0], "imageWidth": HW[1]}
    return as_json({"annotations": objects}, {"image": {"file_name": "a.jpg", **size}, "annotations": objects}, labelme)


def finished() -> list[bytes]:
    """A record that `mobilesam everything` wrote."""
    image = {"file_name": "a.jpg", "width": HW[1], "height": HW[0]}
    numbers = {"predicted_iou": 0.9, "point_coords": [[3, 4]], "stability_score": 0.9, "crop_box": [0, 0, 8, 9]}
    objects = [{"segmentation": s, **numbers} for s in segmentations() if isinstance(s, dict)]
    made = {"photo": {"path": "../a.jpg", "size": 9, "mtime_ns": 9}, "made_by": "0123456789abcdef"}
    return as_json({"software": "written by mobilesam", "image": image, "annotations": objects, **made})


def yolo() -> list[bytes]:
    """Label files of YOLO-seg."""
    unit = " ".join(f"{value:.6f}" for value in np.divide(POLYGON, (HW[1], HW[0]) * 4))
    return [f"0 {unit}\n1 {unit}\n".encode(), b"0 0.5 0.5 0.1 0.1\n"]


def tars() -> list[bytes]:
    """A shard of two photos in the SA-1B schema, in three dialects of tar."""
    found = []
    for dialect in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=dialect) as tar:
            for stem in "ab":
                for name, data in ((f"{stem}.jpg", photo()), (f"{stem}.json", records()[0])):
                    member = tarfile.TarInfo(name if dialect == tarfile.USTAR_FORMAT else f"{'é' * 60}/{name}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        found.append(file.getvalue())
    return found


STORED = ("a", "b", "c")


def embedding_of(name: str) -> NDArray[np.float32]:
    """What the stores hold for a photo: (8, 3, 4)"""
    return np.random.default_rng(ord(name)).normal(0, 0.3, (8, 3, 4)).astype(np.float32)


@cache
def stores() -> list[bytes]:
    """Stores of three photos."""
    return [_store(dtype) for dtype in ("float16", "int8")]


def _store(dtype: str) -> bytes:
    """A store."""
    from mobilesam.data.checksums import photo_checksum
    from mobilesam.data.store_format import StoreHeader
    from mobilesam.data.store_writer import StoreWriter

    header = replace(StoreHeader("t", 64, 8, "s 00000000"), dtype=dtype)
    with TemporaryDirectory() as folder, StoreWriter(Path(folder) / "s.npz", header) as writer:
        for name in STORED:
            writer.add(name, 0, embedding_of(name), checksum=photo_checksum(name.encode()))
        return writer.finish({"d": "damaged"}).read_bytes()


RECIPES = (
    'model = "tiny"\n[data]\nshards = ["a.tar"]\n[run]\nsteps = 10\nbatch_size = 2\n[optim]\nlr = 1e-3\n',
    'start_from = "x.pt"\nmodel = "tiny"\n[data]\npaths = ["a", "b"]\nunclear_frame = "stored"\n[run]\nminutes = 1.5\n',
)


def recipes() -> list[bytes]:
    """Recipes of training."""
    return [text.encode() for text in RECIPES]


def overrides() -> list[bytes]:
    """Values of --set."""
    texts = ("optim.lr=1e-3", "run.steps=10", 'data.shards=["a.tar"]', "model=tiny", "run.minutes=0", "loss.scale=2")
    return [text.encode() for text in texts]


def row(i: int) -> dict[str, Any]:
    """A row of a report."""
    numbers = {"iou": 0.5, "boundary_iou": 0.4, "components": 1, "area": 320, "size": "S", "score": 0.9}
    place = {"dataset": "d", "photo": f"{i}.jpg", "object": f"{i}/0", "source": "s"}
    prompt = {"points": [[1, 2]], "labels": [1], "box": [1.0, 2.0, 3.0, 4.0]}
    more = {"scores": [0.1, 0.2, 0.3], "ious": [0.1, 0.2, 0.3]} if i % 2 else {"iou_100": 0.5}
    return {"protocol": "click", **place, **numbers, **prompt, **more}


def reports() -> list[bytes]:
    """Reports of evaluation, of both formats."""
    from mobilesam.evaluate.summaries import FORMAT, FORMAT_1

    counts = {"photos": 3, "objects": 3, "left_out": 0, "problems": 1}
    run = {"date": "2026-01-01", "machine": "x", "versions": {"python": "3"}, "peak_memory_mb": 100}
    part = {"mean_iou": 0.5, "num_objects": 3}
    summary = {"click": {"num_objects": 3, "mean_iou": 0.5, "low": 0.4, "high": 0.6, "by_size": {"S": part}}}
    base = {
        "settings": {},
        "model": {},
        "counts": counts,
        "summary": summary,
        "run": run,
        "rows": [*map(row, range(3))],
    }
    return as_json(
        {"format": FORMAT, **base, "problems": [{"dataset": "d", "photo": "x.jpg", "reason": "damaged"}]},
        {"format": FORMAT_1, **base, "problems": [["x.jpg", "damaged"]]},
    )


def journal_lines() -> list[dict[str, Any]]:
    """The results of three photos, as the journal of an evaluation holds them."""
    search = {"num_objects": 1, "num_masks": 2, "num_prompts": 3, "seconds": 0.1, "recalled": {"10": 1, "100": 2}}
    more = {"is_read": True, "problems": [{"dataset": "d", "photo": "x.jpg", "reason": "damaged"}], "left_out": 0}
    more |= {"content": "c", "state": "s"}
    return [
        {"dataset": "d", "photo": f"{i}.jpg", **more, "rows": [row(i)], "search": search if i else None}
        for i in range(3)
    ]


def histories() -> list[bytes]:
    """Histories of a training run, as lists of lines."""
    return as_json([{"step": i, "photos": 2 * i, "seconds": 0.5 * i, "loss": 1 / i} for i in (1, 2, 3)])

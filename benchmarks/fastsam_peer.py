"""FastSAM's side of `benchmarks.fastsam`: runs in the environment of `ultralytics`, without this package.

Arguments: "s" or "x", a photo, its long side, x, y, threads, repeats, and the number of objects kept. FastSAM is a
YOLOv8-seg with one class; the weights are random, since none can be downloaded here and speed depends on shapes alone.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

folder = tempfile.TemporaryDirectory()
os.environ |= {"YOLO_CONFIG_DIR": folder.name, "YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false"}

import cv2  # noqa: E402
import torch  # noqa: E402
import ultralytics  # type: ignore[import-not-found] # noqa: E402
from ultralytics.nn.tasks import SegmentationModel  # type: ignore[import-not-found] # noqa: E402
from ultralytics.utils.nms import TorchNMS  # type: ignore[import-not-found] # noqa: E402

kind, photo = sys.argv[1:3]
size, x, y, threads, repeats, kept = map(int, sys.argv[3:])
torch.set_num_threads(threads)
torch.manual_seed(0)
weights = Path(folder.name) / f"FastSAM-{kind}.pt"
network = ultralytics.YOLO(f"yolov8{kind}-seg.yaml")
network.model = SegmentationModel(f"yolov8{kind}-seg.yaml", nc=1, verbose=False)
network.model.task = "segment"
for coefficients in network.model.model[
    -1
].cv4:  # of the masks: left random, all masks would be empty, and so be dropped
    torch.nn.init.constant_(coefficients[-1].bias, 10.0)
parameters = sum(p.numel() for p in network.model.parameters())
network.save(weights)
fast_sam = ultralytics.FastSAM(str(weights))


def replace_broken_torchvision() -> None:
    """Where torchvision is built for GPUs and there is none, its operators are missing; ultralytics brings its own."""
    try:
        import torchvision  # type: ignore[import-not-found] # noqa: F401
    except RuntimeError:
        stand_in = types.ModuleType("torchvision")
        stand_in.ops = types.SimpleNamespace(nms=TorchNMS.nms)  # type: ignore[attr-defined]
        sys.modules["torchvision"] = stand_in


def confidence(options: dict[str, Any], candidates: int = 300) -> float:
    """What so many cells exceed: random weights are confident of all cells or of none, trained ones of hundreds."""
    fast_sam.predict(photo, conf=1.0, **options)
    predictor = fast_sam.predictor
    with torch.inference_mode():
        outputs = predictor.model(predictor.preprocess([cv2.imread(photo)]))
    while not isinstance(outputs, torch.Tensor):
        outputs = outputs[0]  # (1, 4 + 1 + 32, cells)
    return 0.999 * float(outputs[0, 4].sort(descending=True).values[candidates])  # many cells are equal


replace_broken_torchvision()
options: dict[str, Any] = {"imgsz": size, "iou": 0.9, "max_det": kept, "retina_masks": True}
options |= {"device": "cpu", "verbose": False}
options["conf"] = confidence(options)


def seconds(**prompt: Any) -> list[float]:
    """Of each run after a first one, from the photo's file to masks of the photo's size."""
    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        fast_sam.predict(photo, **options, **prompt)
        taken.append(time.perf_counter() - start)
    return taken[1:]


found = fast_sam.predict(photo, **options)[0]
result = {
    "parameters": parameters,
    "mb": weights.stat().st_size / 1e6,
    "click": seconds(points=[[x, y]], labels=[1]),
    "all": seconds(),
    "masks": 0 if found.masks is None else len(found.masks),
    "versions": f"ultralytics {ultralytics.__version__}, torch {torch.__version__}",
}
print(json.dumps(result))
folder.cleanup()

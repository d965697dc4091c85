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
from pathlib import Path
from typing import Any

folder = tempfile.TemporaryDirectory()
os.environ |= {"YOLO_CONFIG_DIR": folder.name, "YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false"}

import torch  # noqa: E402
import ultralytics  # type: ignore[import-not-found] # noqa: E402
from ultralytics.nn.tasks import SegmentationModel  # type: ignore[import-not-found] # noqa: E402

kind, photo = sys.argv[1:3]
size, x, y, threads, repeats, kept = map(int, sys.argv[3:])
torch.set_num_threads(threads)
torch.manual_seed(0)
weights = Path(folder.name) / f"FastSAM-{kind}.pt"
network = ultralytics.YOLO(f"yolov8{kind}-seg.yaml")
network.model = SegmentationModel(f"yolov8{kind}-seg.yaml", nc=1, verbose=False)
network.model.task = "segment"
parameters = sum(p.numel() for p in network.model.parameters())
network.save(weights)
fast_sam = ultralytics.FastSAM(str(weights))
# No confidence is too low for random weights: as many objects are found as are kept.
options: dict[str, Any] = {"imgsz": size, "conf": 0.0, "iou": 0.9, "max_det": kept, "retina_masks": True}
options |= {"device": "cpu", "verbose": False}


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
    "click": seconds(points=[[x, y]], labels=[1]),
    "all": seconds(),
    "masks": 0 if found.masks is None else len(found.masks),
    "versions": f"ultralytics {ultralytics.__version__}, torch {torch.__version__}",
}
print(json.dumps(result))
folder.cleanup()

"""How well the masks of a model match annotated ones: python examples/evaluate.py data.json [images/]

Data is in any layout of docs/evaluate.md; each object is asked for by its box, and by one click inside it.
"""

import sys
import tempfile
from pathlib import Path

from mobilesam.evaluate import report
from mobilesam.evaluate.photo import load_models
from mobilesam.evaluate.run import run
from mobilesam.evaluate.settings import EvaluateSettings

data, images = [*sys.argv[1:], ""][:2]
settings = EvaluateSettings(data=(data,), images=images, protocols=("box", "click"), model="embedded")
models = load_models(settings)
with tempfile.TemporaryDirectory() as folder:
    results, memory_mb = run(settings, Path(folder, "journal"), models=models)

built = report.build(settings, models.student, results, memory_mb)
for protocol, summary in built.summary.items():
    interval = f"{summary.low:.3f}-{summary.high:.3f}"
    print(f"{protocol}: mean IoU {summary.mean_iou:.3f} ({interval}), {summary.num_objects} objects")

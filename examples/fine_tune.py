"""The embedded model fine-tuned on your masks: python examples/fine_tune.py runs/mine data.json [images/] [steps]

Data is in any layout of docs/training.md: COCO with its folder of photos, YOLO-seg, a folder of masks, SA-1B.
This needs `pip install ".[train]"`; a real run takes some hundred steps.
"""

import sys
from functools import partial

import mobilesam
from mobilesam.recipe import from_dict
from mobilesam.train.config import TrainRecipe
from mobilesam.train.loop import fit
from mobilesam.train.supervised import supervised_job

output, data, photos, steps = [*sys.argv[1:], "", "150"][:4] if len(sys.argv) == 3 else sys.argv[1:5]
recipe = from_dict(
    TrainRecipe,
    {
        "start_from": "embedded",
        "freeze": ["image_encoder"],  # the decoder alone is trained, so the embeddings stay those of the model
        "data": {"paths": [data], "photos": photos},
        "optim": {"lr": 2e-4, "warmup_steps": min(20, int(steps) // 2), "freeze_batch_norm": True},
        "run": {"output": output, "steps": int(steps), "batch_size": 2, "workers": 0, "accelerator": "cpu"},
    },
)
print("wrote", fit(recipe, partial(supervised_job, recipe)))
print(mobilesam.load(output, backend="torch").info.name)  # to use it without torch: mobilesam export runs/mine -o pair/

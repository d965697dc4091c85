"""A folder for the Hugging Face Hub: weights, the pair, `config.json`, and a model card to be completed.

Upload it with `hf upload OWNER/NAME FOLDER`; then `mobilesam.load("hf://OWNER/NAME")` loads it anywhere.
"""

from __future__ import annotations

import json

import torch

from mobilesam import contract
from mobilesam.errors import ExportError
from mobilesam.export.draft import README, Draft
from mobilesam.export.onnx import PAIR_FILES, write_pair
from mobilesam.model import checkpoint
from mobilesam.model.backend import weights_sha256
from mobilesam.model.config import SamConfig, ViTConfig
from mobilesam.model_folder import CONFIG, HUB_WEIGHTS, OUR_CONFIG, OURS
from mobilesam.outputs import ALL, MARK, marked

LICENCES = {
    "apache-2.0": "apache-2.0",
    "mit": "mit",
    "bsd-3-clause": "bsd-3-clause",
    "bsd-2-clause": "bsd-2-clause",
    "cc0-1.0": "cc0-1.0",
    "cc-by-4.0": "cc-by-4.0",
    "cc-by-sa-4.0": "cc-by-sa-4.0",
    "cc-by-nc-4.0": "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0": "cc-by-nc-sa-4.0",
    "gpl-3.0": "gpl-3.0",
    "agpl-3.0": "agpl-3.0",
    "unknown": "unknown",
}
"""Licences that the Hub has a word for, by how they are written in lower case."""


FILES = (*PAIR_FILES, HUB_WEIGHTS, CONFIG, README)


def write_files(draft: Draft) -> None:
    """Write weights, pair, `config.json` and a model card, as the Hub expects them, into a draft.

    Raises:
        ExportError: onnxruntime and torch disagree, or the weights do not load back.
    """
    write_pair(draft)
    write_weights(draft)
    config = draft.sam.config
    record = {"model_type": OURS, "library_name": OURS, "image_size": config.image_size, OUR_CONFIG: config.to_dict()}
    (draft.folder / CONFIG).write_text(json.dumps(marked(record), indent=2) + "\n", encoding="utf-8")
    (draft.folder / README).write_text(model_card(draft), encoding="utf-8")


def write_weights(draft: Draft) -> None:
    """Write model.safetensors into a draft, and load it back.

    Raises:
        ExportError: what is read differs from what was written.
    """
    path = draft.folder / HUB_WEIGHTS
    dtype = torch.float16 if draft.precision == "float16" else torch.float32
    checkpoint.save(draft.sam, path, dtype=dtype, outputs=ALL)
    found = checkpoint.load(path)
    if weights_sha256(found) != weights_sha256(draft.sam) or found.config != draft.sam.config:
        raise ExportError(f"{HUB_WEIGHTS} does not load back as it was written; is the disk full or failing?")


def model_card(draft: Draft) -> str:
    """The model card: the Hub's front matter, and what is known of the model, in Markdown."""
    config, licence = draft.sam.config, draft.licence
    num_weights = sum(parameter.numel() for parameter in draft.sam.parameters())
    return f"""---
{front_matter(licence)}---

<!-- {MARK}: the comment keeps it replaceable by the next export -->

# {config.name}

A promptable segmentation model of the Segment Anything family, exported by the Python package `mobilesam`.
A point or a box in a photo gives the mask of the object there.

| | |
|---|---|
| encoder | {encoder_name(config)} |
| parameters | {num_weights / 1e6:.1f} M |
| input | {sides(config)} |
| stored as | {draft.precision} |
| licence of the weights | {licence} |
| sha256 of the weights | `{draft.card["weights_sha256"]}` |

## How to load it

```python
import mobilesam

sam = mobilesam.load("hf://OWNER/NAME")  # pip install "mobilesam[hub]"; a downloaded folder's path works too
found = sam.embed("photo.jpg").predict(points=[(520, 375)])
found.best.cutout().save("object.png")
```

`hf://OWNER/NAME@COMMIT` always loads the same files.
ONNX Runtime or OpenVINO run the pair `{contract.ENCODER_FILE}` and `{contract.DECODER_FILE}`.
With `backend="torch"` the weights of `{HUB_WEIGHTS}` are loaded.

{transformers_note(config)}

## Data, training, limits

To be completed by who uploads it:

- the photos and masks that it was trained on, and their licences;
- its accuracy, and on which photos;
- what it must not be used for.
"""


def front_matter(licence: str) -> str:
    """The lines of YAML at the head of a model card that the Hub reads."""
    word = next((LICENCES[one] for one in (licence.lower(), licence.lower().split(" ")[0]) if one in LICENCES), "other")
    named = f"license_name: {json.dumps(licence)}\n" if word == "other" else ""
    return (
        f"license: {word}\n{named}library_name: mobilesam\npipeline_tag: mask-generation\n"
        "tags:\n- segment-anything\n- image-segmentation\n- onnx\n"
    )


def encoder_name(config: SamConfig) -> str:
    """What the image encoder is, in words."""
    kind = str(config.to_dict()["encoder"]["kind"])
    return {"vit": "ViT", "tiny_vit": "TinyViT", "efficientnet_lite": "EfficientNet-Lite"}[kind]


def sides(config: SamConfig) -> str:
    """The image sizes that the model takes, in words."""
    free = config.sides
    if not free:
        return f"{config.image_size} px on the long side"
    return f"{config.image_size} px on the long side; {free.start} to {free.stop - 1} px in steps of {free.step} too"


def transformers_note(config: SamConfig) -> str:
    """What transformers can do with the model."""
    if isinstance(config.encoder, ViTConfig):
        return (
            "It has the network of transformers' `SamModel`, but other names of weights: transformers does not load it."
        )
    return (
        f"Its encoder is of the kind {encoder_name(config)}, so it is no `SamModel` of transformers, which knows "
        "ViT-B, L and H only, and transformers cannot load it."
    )

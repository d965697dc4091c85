"""SAM's original Python API on top of this package: code for SAM runs with only its import replaced.

    from mobilesam.compat import SamPredictor, sam_model_registry

    predictor = SamPredictor(sam_model_registry["embedded"]())  # or ["vit_t"](checkpoint="mobile_sam.pt")
    predictor.set_image(image)
    masks, scores, logits = predictor.predict(point_coords=..., point_labels=...)

Covered:

- `SamPredictor`, with `predict`, `predict_torch`, `set_torch_image`, `get_image_embedding` and `transform`;
- `SamAutomaticMaskGenerator`, with `generate`;
- `SAM2ImagePredictor`, SAM 2's predictor for images, with `set_image_batch` and `predict_batch`, on models of this
  package;
- the registry and the `build_sam` functions, `ResizeLongestSide`;
- of the model: `sam(batched_input, multimask_output)`, `preprocess`, `postprocess_masks`, `image_encoder(...)` and its
  `img_size`, sizes of the `prompt_encoder`, `device`, `mask_threshold`, `image_format`, `pixel_mean`, `pixel_std`,
  `to`, `cuda`, `cpu`, `eval`.

Whatever needs SAM's torch modules is not covered, such as `mask_decoder(...)`, `prompt_encoder(...)` and
`parameters()`; it raises `NotCoveredError`. Use `mobilesam train` to train, and `mobilesam.model.checkpoint.load` for
the torch network itself.

Signatures and return values follow https://github.com/facebookresearch/segment-anything.
"""

from __future__ import annotations

from mobilesam.compat.generator import SamAutomaticMaskGenerator
from mobilesam.compat.model import NotCoveredError, SamModel, sam_model_registry
from mobilesam.compat.predictor import SamPredictor
from mobilesam.compat.sam2 import SAM2ImagePredictor
from mobilesam.compat.transforms import ResizeLongestSide

build_sam = build_sam_vit_h = sam_model_registry["vit_h"]
build_sam_vit_l = sam_model_registry["vit_l"]
build_sam_vit_b = sam_model_registry["vit_b"]
build_sam_vit_t = sam_model_registry["vit_t"]

__all__ = [
    "NotCoveredError",
    "ResizeLongestSide",
    "SAM2ImagePredictor",
    "SamAutomaticMaskGenerator",
    "SamModel",
    "SamPredictor",
    "build_sam",
    "build_sam_vit_b",
    "build_sam_vit_h",
    "build_sam_vit_l",
    "build_sam_vit_t",
    "sam_model_registry",
]

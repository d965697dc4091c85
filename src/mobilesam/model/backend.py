"""The torch backend: the same interface as the exported ONNX pair, for GPUs and for comparing the two."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mobilesam.contract import write_sides
from mobilesam.errors import ModelError, first_line
from mobilesam.model.bfloat16 import has_bfloat16, to_bfloat16
from mobilesam.model.cuda_graph import GraphRunner
from mobilesam.model.sam import Sam
from mobilesam.model.state_dict import digest
from mobilesam.predict.backend import Floats, ModelInfo, Precision, check_image, check_prompts, computed_precision


class TorchBackend:
    """Runs a `Sam` on one device; on a CUDA device, by recorded graphs (`mobilesam.model.cuda_graph`).

    Args:
        model: the network; moved to the device and put in eval mode.
        device: as torch names it.
        image_size: side of the picture in pixels; the model's own when None.
        precision: number format in which the image encoder computes; the mask decoder computes in float32, and on a CPU
            without bfloat16 the encoder too.

    Raises:
        SettingsError: the model cannot take that side.
        ModelError: torch has no such device.
    """

    def __init__(
        self,
        model: Sam,
        *,
        device: str = "cpu",
        licence: str = "unknown",
        image_size: int | None = None,
        precision: Precision = "float32",
        threads: int | None = None,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        try:
            self._device = torch.device(device)
            self._model = model.eval().to(self._device)
        except (RuntimeError, AssertionError) as error:
            raise ModelError(f"torch cannot run on '{device}' here: {first_line(error)}") from error
        self._info = describe(model, licence).at(image_size)
        self.precision = precision
        if self._device.type == "cpu":
            self.precision = computed_precision(precision, "torch", has_bfloat16)
        encoder = self._model.image_encoder
        self._encoder = encoder if self.precision == "float32" else to_bfloat16(encoder)
        self._run_encoder = GraphRunner(self._encode_square, self._device)
        self._run_decoder = GraphRunner(self._model.decode, self._device)

    @property
    def info(self) -> ModelInfo:
        """Description of the model that it runs."""
        return self._info

    @torch.inference_mode()
    def encode(self, image: Floats) -> Floats:
        """Run the image encoder: (B, 3, H, W) RGB 0-255 → (B, C, g, g)."""
        check_image(image, self._info)
        return self._to_numpy(self.encode_tensor(self._to_torch(image)))

    @torch.inference_mode()
    def decode(
        self,
        embedding: Floats,
        point_coords: Floats,
        point_labels: Floats,
        mask_input: Floats,
        has_mask_input: Floats,
        min_score: float = -np.inf,
    ) -> tuple[Floats, Floats]:
        """Decode N prompts on (1 or N, C, g, g): low_res_masks (S, 4, 4g, 4g), iou_predictions (N, 4)."""
        inputs = (embedding, point_coords, point_labels, mask_input, has_mask_input)
        check_prompts(self._info, *inputs)
        low_res, scores = self.decode_tensors(*(self._to_torch(array) for array in inputs))
        return self._to_numpy(low_res[scores.amax(dim=1) > min_score]), self._to_numpy(scores)

    @torch.inference_mode()
    def encode_tensor(self, image: Tensor) -> Tensor:
        """`encode` without leaving the device."""
        # Padded outside of the recorded part, so that photos of all shapes share one recording.
        return self._run_encoder(self._model.preprocess(image, self._info.image_size))[0]

    @torch.inference_mode()
    def decode_tensors(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """`Sam.decode` without leaving the device."""
        low_res, scores = self._run_decoder(*inputs)
        return low_res, scores

    def _encode_square(self, square: Tensor) -> tuple[Tensor]:
        """Normalised and padded (B, 3, S, S) → (B, C, g, g) float32."""
        dtype = torch.float32 if self.precision == "float32" else torch.bfloat16
        return (self._encoder(square.to(dtype)).float(),)

    def _to_torch(self, array: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    @staticmethod
    def _to_numpy(tensor: torch.Tensor) -> Floats:
        return np.asarray(tensor.cpu().numpy(), dtype=np.float32)


def describe(model: Sam, licence: str) -> ModelInfo:
    """Describe a network as the metadata of its exported pair does."""
    config = model.config
    return ModelInfo(
        name=config.name,
        image_size=config.image_size,
        embed_dim=config.embed_dim,
        licence=licence,
        weights_sha256=weights_sha256(model),
        image_sizes=write_sides(config.sides),
        zoom_below=config.zoom_below,
        click_zoom_below=config.click_zoom_below,
        outside_box=config.outside_box,
    )


def weights_sha256(model: Sam) -> str:
    """Checksum of a network's weights, which its exported pair carries too."""
    return digest(model.state_dict())

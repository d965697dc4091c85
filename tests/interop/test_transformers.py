"""The networks of transformers' `SamModel`, loaded here, give what transformers itself gives.

Run in an environment that has transformers: `python -m pytest -m interop -s tests/interop`. The weights are random, and
of a size at which every layer counts; docs/weights.md has the numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam
from mobilesam.image import resize_long_side, scale_points

pytestmark = [pytest.mark.interop, pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

EXAMPLES = Path(__file__).parents[2] / "examples"
SIZES: dict[str, dict[str, Any]] = {
    "vit_b": {},
    "vit_l": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "global_attn_indexes": [5, 11, 17, 23],
    },
    "vit_h": {
        "hidden_size": 1280,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "global_attn_indexes": [7, 15, 23, 31],
    },
}
PROMPTS: dict[str, dict[str, Any]] = {
    "a point": {"points": [(300, 180)]},
    "two points": {"points": [(300, 180), (60, 280)], "labels": [1, 0]},
    "a box": {"box": (120, 60, 440, 290)},
    "a box and a point": {"box": (120, 60, 440, 290), "points": [(150, 100)], "labels": [0]},
}
CASES = [("vit_b", "coffee"), ("vit_b", "chelsea"), ("vit_l", "coffee"), ("vit_h", "coffee")]


def filled(model: Any) -> Any:
    """Random weights whose activations neither vanish nor explode; its own are nearly zero in the vision encoder."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "layer_norm" in name and name.endswith("weight"):
                value.copy_(1 + 0.1 * torch.randn_like(value))
            elif value.dim() >= 2 and "embed" not in name and "token" not in name and "rel_pos" not in name:
                value.copy_(torch.randn_like(value) / value[0].numel() ** 0.5)
            else:
                value.copy_(0.1 * torch.randn_like(value))
        model.shared_image_embedding.positional_embedding.copy_(
            torch.randn_like(model.shared_image_embedding.positional_embedding)
        )
    model.tie_weights()
    return model.eval()


def inputs_of(prompt: dict[str, Any], hw: tuple[int, int], input_hw: tuple[int, int]) -> dict[str, Any]:
    """A prompt in pixels of the photo as the arguments of `SamModel`, in pixels of its input."""
    import torch

    made: dict[str, Any] = {}
    if "points" in prompt:
        points = scale_points(np.array(prompt["points"], np.float32), hw, input_hw)
        made["input_points"] = torch.from_numpy(points)[None, None]  # (1, 1, P, 2)
        made["input_labels"] = torch.tensor(prompt.get("labels", [1] * len(points)))[None, None]
    if "box" in prompt:
        box = scale_points(np.array(prompt["box"], np.float32).reshape(2, 2), hw, input_hw)
        made["input_boxes"] = torch.from_numpy(box.reshape(1, 1, 4))
    return made


@pytest.mark.parametrize(("size", "photo"), CASES)
def test_embedding_masks_and_scores_are_those_of_transformers(
    size: str, photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    transformers = pytest.importorskip("transformers")
    config = transformers.SamConfig(vision_config=transformers.SamVisionConfig(**SIZES[size]).to_dict())
    theirs = filled(transformers.SamModel(config))
    theirs.save_pretrained(tmp_path)  # config.json and model.safetensors
    ours = mobilesam.load(tmp_path, backend="torch")
    assert ours.info.name == f"sam_{size}"

    embedding = ours.embed(EXAMPLES / f"{photo}.png")
    rgb = embedding.photo
    assert rgb is not None
    resized = torch.from_numpy(resize_long_side(rgb, 1024)).permute(2, 0, 1).float()[None]  # (1, 3, H, W)
    backend: Any = ours.backend
    with torch.no_grad():
        pixels = backend._model.preprocess(resized)  # (1, 3, 1024, 1024)
        features = theirs.get_image_embeddings(pixels)
    lines = [f"{size} {photo}: embedding {difference(embedding.array, features)}"]
    worst = np.abs(embedding.array - features.numpy()).max()
    for name, prompt in PROMPTS.items():
        for multimask in (True, False):
            made = inputs_of(prompt, rgb.shape[:2], tuple(resized.shape[2:]))
            with torch.no_grad():
                answer = theirs(image_embeddings=features, multimask_output=multimask, **made)
            found = embedding.predict(**prompt, multimask=multimask, zoom=False)
            masks, scores = answer.pred_masks[0, 0].numpy(), answer.iou_scores[0, 0].numpy()
            lines.append(
                f"  {name}, {len(masks)}: logits {difference(found.low_res, masks)}, "
                f"scores {difference(found.scores, scores)}"
            )
            worst = max(worst, np.abs(found.low_res - masks).max(), np.abs(found.scores - scores).max())
            assert masks.std() > 0.1, "the weights are too small to tell anything"
    with capsys.disabled():
        print("\n" + "\n".join(lines) + f"\n  largest difference {worst:.1e}")
    assert worst <= 1e-3


def difference(ours: Any, theirs: Any) -> str:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    return f"{np.abs(ours - theirs).max():.1e} (spread {theirs.std():.2f})"


def test_the_older_file_of_torch_gives_the_same(tmp_path: Path) -> None:
    import torch

    from mobilesam.model import checkpoint
    from mobilesam.model.backend import weights_sha256

    transformers = pytest.importorskip("transformers")
    theirs = filled(transformers.SamModel(transformers.SamConfig()))
    theirs.save_pretrained(tmp_path / "new")
    theirs.config.save_pretrained(tmp_path / "old")
    torch.save(theirs.state_dict(), tmp_path / "old" / "pytorch_model.bin")
    found = checkpoint.load(tmp_path / "old")
    assert weights_sha256(found) == weights_sha256(checkpoint.load(tmp_path / "new"))
    assert found.config.name == "sam_vit_b"


def test_a_mask_as_prompt_counts_as_it_does_in_transformers(tmp_path: Path) -> None:
    import torch

    from mobilesam.model import checkpoint

    transformers = pytest.importorskip("transformers")
    theirs = filled(transformers.SamModel(transformers.SamConfig()))
    theirs.save_pretrained(tmp_path)
    ours = checkpoint.load(tmp_path)
    features, mask = torch.randn(1, 256, 64, 64), 5 * torch.randn(1, 1, 256, 256)
    point = torch.tensor([[[500.0, 400.0]]])
    with torch.no_grad():
        answer = theirs(
            image_embeddings=features,
            input_points=point[None],
            input_labels=torch.ones(1, 1, 1, dtype=torch.int64),
            input_masks=mask,
        )
        coords = torch.cat([point, torch.zeros(1, 1, 2)], dim=1)
        low_res, scores = ours.decode(features, coords, torch.tensor([[1.0, -1.0]]), mask, torch.ones(1))
    torch.testing.assert_close(low_res[:, 1:], answer.pred_masks[0], atol=1e-3, rtol=0)
    torch.testing.assert_close(scores[:, 1:], answer.iou_scores[0], atol=1e-3, rtol=0)

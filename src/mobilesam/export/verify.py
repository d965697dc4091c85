"""Checking exported graphs: comparing the outputs of onnxruntime with torch before an export is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mobilesam import contract
from mobilesam.errors import ExportError
from mobilesam.export.graphs import SamDecoderGraph
from mobilesam.model.sam import Sam
from mobilesam.quiet import without_telemetry

with without_telemetry():
    import onnxruntime as ort

# N prompts, P points, g grid

Feed = dict[str, NDArray[np.float32]]

EVERYONE: Feed = {contract.DECODER_MIN_SCORE: np.array(-np.inf, np.float32)}  # masks for all prompts
TOLERANCE = 1e-3  # of the largest magnitude of the output


def verify_pair(sam: Sam, folder: Path) -> dict[str, float]:
    """Run all graphs of a folder in onnxruntime and torch on fixed inputs of several shapes.

    Returns:
        The largest error of each output, relative to the output's largest magnitude.

    Raises:
        ExportError: an error exceeds `TOLERANCE`.
    """
    report = verify_encoder(sam, folder / contract.ENCODER_FILE)
    report |= verify_decoder(sam, folder / contract.DECODER_FILE)
    many = verify_many(sam, folder / contract.MANY_FILE)
    return report | {name: max(report[name], error) for name, error in many.items()}


def open_session(path: Path) -> ort.InferenceSession:
    """Open an ONNX file in onnxruntime, with all dynamic axes left dynamic."""
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def verify_encoder(sam: Sam, path: Path) -> dict[str, float]:
    """Compare the encoder on a landscape, a portrait and a square photo, and at the smallest side it allows."""
    rng = np.random.default_rng(0)
    size = sam.config.image_size
    session = open_session(path)
    worst = 0.0
    shapes = [(size * 3 // 4, size), (size, size // 2 + 1), (size, size)]
    shapes += [(side // 2, side) for side in sam.config.sides[:1]]
    for hw in shapes:
        image = rng.uniform(0, 255, (1, 3, *hw)).astype(np.float32)
        (found,) = session.run(None, {"image": image})
        with torch.inference_mode():
            expected = sam.encode(torch.from_numpy(image), max(hw)).numpy()
        worst = max(worst, compare("embedding", np.asarray(found), expected))
    return {"embedding": worst}


def verify_decoder(sam: Sam, path: Path) -> dict[str, float]:
    """Compare the decoder on several shapes of prompts, with and without mask inputs.

    There are one and several prompts, of one and several points; mask inputs per prompt, none, and one empty mask
    input for all prompts, the latter also with a photo per prompt and at the smallest side that the model allows.
    """
    feeds = [decoder_feed(sam, 1, 2, 0.0), decoder_feed(sam, 3, 5, 1.0), decoder_feed(sam, 3, 2, 0.0)]
    feeds += [
        decoder_feed(sam, 2, 2, 0.0, side, num_photos=2) for side in (sam.config.image_size, *sam.config.sides[:1])
    ]
    for feed in feeds[2:]:
        feed |= {name: feed[name][:1] for name in ("mask_input", "has_mask_input")}
    return compare_decoders(sam, path, [(feed | EVERYONE, feed) for feed in feeds])


def verify_many(sam: Sam, path: Path) -> dict[str, float]:
    """Compare the decoder for many prompts, with one point per prompt and with several."""
    feeds = [decoder_feed(sam, contract.MANY_PROMPTS, num_points, 0.0) for num_points in (2, 5)]
    feeds += [decoder_feed(sam, contract.MANY_PROMPTS, 2, 0.0, side) for side in sam.config.sides[:1]]
    known = [{name: (feed | EVERYONE)[name] for name in contract.MANY_INPUTS} for feed in feeds]
    return compare_decoders(sam, path, list(zip(known, feeds, strict=True)))


def compare_decoders(sam: Sam, path: Path, feeds: list[tuple[Feed, Feed]]) -> dict[str, float]:
    """Largest error of each output, over pairs of inputs for the graph and for torch."""
    session = open_session(path)
    worst = dict.fromkeys(contract.DECODER_OUTPUTS, 0.0)
    for given, feed in feeds:
        found = session.run(list(worst), given)
        with torch.inference_mode():
            expected = sam.decode(*(torch.from_numpy(array) for array in feed.values()))
        for name, left, right in zip(worst, found, expected, strict=True):
            worst[name] = max(worst[name], compare(name, np.asarray(left), right.numpy()))
    return worst


def verify_sam_decoder(sam: Sam, path: Path) -> None:
    """Compare SAM's official decoder layout with torch, on masks at the sizes of two photos.

    Raises:
        ExportError: an output differs.
    """
    session = open_session(path)
    graph = SamDecoderGraph(sam).eval()
    for hw in ((120, 200), (301, 97)):
        feed = decoder_feed(sam, 1, 4, 1.0)
        feed = {("image_embeddings" if k == "embedding" else k): v for k, v in feed.items()}
        feed["orig_im_size"] = np.array(hw, np.float32)
        found = session.run(None, feed)
        with torch.inference_mode():
            expected = graph(*(torch.from_numpy(array) for array in feed.values()))
        names = ("masks", "iou_predictions", "low_res_masks")
        for name, left, right in zip(names, found, expected, strict=True):
            compare(name, np.asarray(left), right.numpy())


def decoder_feed(
    sam: Sam, num_prompts: int, num_points: int, has_prior: float, side: int | None = None, num_photos: int = 1
) -> Feed:
    """Make reproducible random decoder inputs in the contract's order, for an input side in pixels."""
    rng = np.random.default_rng(num_prompts)
    size = side or sam.config.image_size
    grid = size // contract.PATCH_SIZE
    arrays = {
        "embedding": rng.standard_normal((num_photos, sam.config.embed_dim, grid, grid)),
        "point_coords": rng.uniform(0, size, (num_prompts, num_points, 2)),
        "point_labels": rng.integers(-1, 4, (num_prompts, num_points)),
        "mask_input": rng.standard_normal((num_prompts, 1, 4 * grid, 4 * grid)),
        "has_mask_input": np.full(num_prompts, has_prior),
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def compare(name: str, found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Compute the largest error relative to the largest expected magnitude.

    Raises:
        ExportError: the shapes differ, or the error exceeds `TOLERANCE`.
    """
    if found.shape != expected.shape:
        raise ExportError(f"{name}: onnxruntime gives {found.shape}, torch {expected.shape}")
    error = float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-6))
    if not error <= TOLERANCE:  # also refuses NaN
        raise ExportError(f"{name}: onnxruntime and torch differ by {error:.2e} of the largest value")
    return error

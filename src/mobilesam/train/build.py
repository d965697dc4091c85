"""The network a recipe asks for, and which of its parts learn."""

from __future__ import annotations

import torch
from torch import nn

from mobilesam.errors import SettingsError, first_line
from mobilesam.model import checkpoint
from mobilesam.model.config import CONFIGS
from mobilesam.model.sam import Sam
from mobilesam.weights import find_checkpoint

PARTS = ("image_encoder", "prompt_encoder", "mask_decoder")


def build_model(name: str, start_from: str) -> Sam:
    """A fresh network of a known size, or the checkpoint to go on from.

    Raises:
        SettingsError: the size has no such name.
        ModelError: the checkpoint does not load.
    """
    if start_from:
        return load_model(start_from)
    if name not in CONFIGS:
        raise SettingsError(f"unknown model '{name}'; known: {', '.join(CONFIGS)}")
    return Sam(CONFIGS[name])


def load_model(model: str) -> Sam:
    """A checkpoint, a run's folder, an exported pair, or a model's name → the network, in eval mode.

    Raises:
        ModelError: there is no such file, or it does not load.
    """
    return checkpoint.load(find_checkpoint(model))


def pick_device(name: str) -> torch.device:
    """A device by torch's name; "auto" is a GPU where there is one.

    Raises:
        SettingsError: torch knows no such device, or has none here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"torch cannot run on '{name}' here: {first_line(error)}") from error


def freeze(model: Sam, parts: tuple[str, ...]) -> None:
    """Take parts of the network out of training.

    Raises:
        SettingsError: there is no such part, or nothing is left to train.
    """
    for part in parts:
        if part not in PARTS:
            raise SettingsError(f"freeze names '{part}'; the parts are {', '.join(PARTS)}")
        model.get_submodule(part).requires_grad_(False)
    if set(parts) == set(PARTS):
        raise SettingsError("freeze names every part, so nothing would learn")


def to_training_mode(model: Sam, *, freeze_batch_norm: bool) -> None:
    """Training mode where something learns; what is frozen behaves as at inference.

    A frozen encoder whose batch statistics went on drifting would feed the decoder something else at every step.
    """
    model.train()
    for part in PARTS:
        module = model.get_submodule(part)
        if not any(p.requires_grad for p in module.parameters()):
            module.eval()
    if freeze_batch_norm:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

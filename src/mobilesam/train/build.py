"""Building the network of a recipe, and freezing the parts that are not trained."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import torch
from torch import nn

from mobilesam.errors import ModelError, SettingsError, first_line
from mobilesam.model import checkpoint, imagenet
from mobilesam.model.config import CONFIGS, EfficientNetLiteConfig
from mobilesam.model.efficientnet_lite import EfficientNetLite
from mobilesam.model.sam import Sam
from mobilesam.text import unknown
from mobilesam.train.config import IMAGENET, check_start
from mobilesam.weights import find_checkpoint

PARTS = ("image_encoder", "prompt_encoder", "mask_decoder")


def build_model(name: str, start_from: str | dict[str, str], image_size: int = 0) -> Sam:
    """Build the network to train: new, from a checkpoint, or with parts from several checkpoints.

    Args:
        name: the size; unused where `start_from` is one model.
        start_from: a model, or a model for each of some parts.
        image_size: side in pixels; 0 for the network's own.

    Raises:
        SettingsError: there is no such size or part, ImageNet weights are named for all parts, or the network
            cannot take that side.
        ModelError: a checkpoint does not load, or a part of it does not fit.
    """
    check_start(start_from)
    if isinstance(start_from, str) and start_from:
        model = load_model(start_from)
    elif name in CONFIGS:
        model = Sam(CONFIGS[name])
    else:
        raise SettingsError(unknown("model", name, CONFIGS))
    if isinstance(start_from, dict):
        for part, source in start_from.items():
            load_part(model, part, source)
    if image_size:
        model.config = model.config.at(image_size)
    return model


def load_part(model: Sam, part: str, source: str) -> None:
    """Copy the weights of one part of a network from another model.

    Raises:
        SettingsError: there is no such part.
        ModelError: the source does not load, or its part has other shapes.
    """
    if part not in PARTS:
        raise SettingsError(f"start_from names '{part}'; the parts are {', '.join(PARTS)}")
    if source == IMAGENET:
        load_imagenet(model, part)
        return
    own, theirs = model.get_submodule(part).state_dict(), load_model(source).get_submodule(part).state_dict()
    differs = [
        k for k in own.keys() | theirs.keys() if k not in own or k not in theirs or own[k].shape != theirs[k].shape
    ]
    if differs:
        raise ModelError(
            f"start_from: the {part} of {source} does not fit {model.config.name}: {min(differs)} differs; "
            f"leave {part} out of start_from, or choose a model that has the same"
        )
    model.get_submodule(part).load_state_dict(theirs)


def load_imagenet(model: Sam, part: str) -> None:
    """Load ImageNet weights into the body of an EfficientNet-Lite encoder.

    Raises:
        SettingsError: the part is no such encoder.
        MissingExtraError: the package with the weights is not installed.
    """
    encoder, config = model.get_submodule(part), model.config.encoder
    if not isinstance(encoder, EfficientNetLite) or not isinstance(config, EfficientNetLiteConfig):
        raise SettingsError(
            f'start_from: "imagenet" fills an EfficientNet-Lite image_encoder, not the {part} of {model.config.name}'
        )
    imagenet.load(encoder, config)


def load_model(model: str) -> Sam:
    """Load a network, in eval mode, from a checkpoint, a run's folder, an exported pair, or by a model's name.

    Raises:
        ModelError: there is no such file, or it does not load.
    """
    return checkpoint.load(find_checkpoint(model))


def pick_device(name: str) -> torch.device:
    """Choose a torch device by its name; "auto" is a GPU where there is one.

    Raises:
        SettingsError: torch knows no such device, or has none here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"torch cannot run on '{name}' here: {first_line(error)}") from error


def longest_prefix(name: str, prefixes: Iterable[str]) -> str | None:
    """The longest prefix of a dotted name among `prefixes`, or None: "a.b" is a prefix of "a.b.c", not of "a.bc"."""
    return max((p for p in prefixes if name == p or name.startswith(p + ".")), key=len, default=None)


def check_prefixes(model: nn.Module, prefixes: tuple[str, ...], setting: str) -> None:
    """Refuse prefixes that match no parameter name.

    Raises:
        SettingsError: names the setting, and what was perhaps meant.
    """
    names = [name for name, _ in model.named_parameters()]
    for prefix in prefixes:
        if any(longest_prefix(name, [prefix]) for name in names):
            continue
        known = {".".join(name.split(".")[:i]) for name in names for i in range(1, name.count(".") + 2)}
        near = difflib.get_close_matches(prefix, sorted(known), n=3)
        advice = f"did you mean {' or '.join(near)}? " if near else ""
        raise SettingsError(f"{setting} names '{prefix}', which begins no parameter's name; {advice}"
                            f"the parts are {', '.join(PARTS)}")  # fmt: skip


def freeze(model: Sam, prefixes: tuple[str, ...]) -> None:
    """Freeze the parameters whose names begin with one of the prefixes.

    Raises:
        SettingsError: no name begins so, or nothing is left to train.
    """
    check_prefixes(model, prefixes, "freeze")
    for name, parameter in model.named_parameters():
        if longest_prefix(name, prefixes):
            parameter.requires_grad_(False)
    if not any(p.requires_grad for p in model.parameters()):
        raise SettingsError("freeze names every part, so nothing would learn")


def to_training_mode(model: Sam, *, freeze_batch_norm: bool) -> None:
    """Put trained modules in training mode and frozen ones in eval mode.

    If the batch statistics of a frozen encoder kept changing, the decoder would get other inputs at every step.
    """
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()
    if freeze_batch_norm:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

"""Average the weights of several models of one size, such as the ends of several runs.

python scripts/average_weights.py runs/a runs/b embedded -o mean.safetensors

The embedded model is such a mean. The method: Wortsman et al., "Model soups", arXiv 2203.05482.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from mobilesam.errors import ModelError
from mobilesam.model import checkpoint
from mobilesam.model.sam import Sam
from mobilesam.weights import find_checkpoint


def average(models: Sequence[Sam]) -> Sam:
    """Put the mean of the models' weights and batch statistics into the first of them; each counts the same.

    Raises:
        ModelError: they are not networks of one size.
    """
    first, *others = models
    for other in others:
        if other.config != first.config:
            raise ModelError(f"only models of one size have a mean: {first.config.name} and {other.config.name} differ")
    states = [model.state_dict() for model in models]
    for key, value in states[0].items():
        if value.is_floating_point():
            value.copy_(torch.stack([state[key].double() for state in states]).mean(0))  # `value` is the network's own
    return first


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="checkpoints, folders of runs, exported pairs or names")
    parser.add_argument("-o", "--output", required=True, help="the checkpoint to write, .safetensors")
    options = parser.parse_args(arguments)
    models = [checkpoint.load(find_checkpoint(model)) for model in options.models]
    with torch.no_grad():
        checkpoint.save(average(models), options.output)
    print(f"wrote {options.output}, the mean of {len(models)} models")


if __name__ == "__main__":
    main()

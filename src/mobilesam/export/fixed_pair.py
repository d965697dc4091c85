"""Writing of a model for a runtime with fixed shapes: both files and model.json, kept only if the masks are torch's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from mobilesam import contract
from mobilesam.choices import StoredPrecision
from mobilesam.export.constants import fold_constants
from mobilesam.export.draft import Draft
from mobilesam.export.fixed import FixedDecoder, FixedEncoder
from mobilesam.model.sam import Sam
from mobilesam.predict.backend import Backend

GRAPHS = "graphs"
"""Entry of model.json: what `Runtime.inspect` found, by the graph's name."""


@dataclass(frozen=True)
class FixedGraph:
    """A graph to convert."""

    name: str
    """"encoder" or "decoder"."""
    module: fx.GraphModule
    """With all constants computed."""
    inputs: dict[str, Tensor]
    """An example of each."""
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Runtime:
    """How a runtime's files are made and checked."""

    title: str
    """As its makers write it."""
    suffix: str
    convert: Callable[[FixedGraph, Path, dict[str, str], StoredPrecision], None]
    """Graph, file, metadata, precision: write the file."""
    open: Callable[[Path], Backend | None]
    """A backend for a folder; None where the runtime cannot run on this machine."""
    inspect: Callable[[FixedGraph, Path], dict[str, Any]] | None = None
    """A check of one file, for runtimes that cannot run on every machine; raises ExportError, and returns what it found
    for model.json."""
    halves: bool = False
    """Whether float16 is a matter of the network that is converted, and not of the converter."""

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the two files, or folders."""
        return tuple(f"{graph}{self.suffix}" for graph in ("encoder", "decoder"))


def write_fixed(draft: Draft, runtime: Runtime) -> None:
    """Convert a network for a runtime with fixed shapes into a draft, and compare it with torch in that runtime.

    The files take photos at the image size of the network's configuration.

    Args:
        draft: where to; of a precision that the runtime has.
        runtime: which one.

    Raises:
        ExportError: the runtime and torch disagree.
    """
    describe_inputs(draft)
    dtype = torch.float16 if runtime.halves and draft.precision == "float16" else torch.float32
    for graph, name in zip(graphs(draft.sam, dtype), runtime.files, strict=True):
        with quietly():
            runtime.convert(graph, draft.folder / name, draft.metadata, draft.precision)
        if runtime.inspect is not None:
            draft.card.setdefault(GRAPHS, {})[graph.name] = runtime.inspect(graph, draft.folder / name)
    draft.seal()
    if (backend := runtime.open(draft.folder)) is not None:
        draft.check_numbers(backend, runtime.title)
        draft.check_masks(backend)


def graphs(sam: Sam, dtype: torch.dtype = torch.float32) -> Iterator[FixedGraph]:
    """The two graphs of a network, one after the other, so that only one needs memory."""
    builds: tuple[tuple[str, Any, tuple[str, ...], tuple[str, ...]], ...] = (
        ("encoder", FixedEncoder, contract.FIXED_ENCODER_INPUTS, (contract.ENCODER_OUTPUT,)),
        ("decoder", FixedDecoder, contract.DECODER_INPUTS, contract.DECODER_OUTPUTS),
    )
    for name, build, inputs, outputs in builds:
        module = build(sam, dtype).eval()
        example = module.example()
        yield FixedGraph(name, fold_constants(module, example), dict(zip(inputs, example, strict=True)), outputs)


def describe_inputs(draft: Draft) -> None:
    """Say in model.json and in the files' metadata what fixed shapes take, where the network takes more."""
    only = {
        contract.IMAGE_SIZES: "",  # whatever the network takes, the files take one
        contract.NUM_POINTS: contract.FIXED_POINTS,
    }
    draft.card |= only
    draft.metadata |= {key: str(value) for key, value in only.items()}


@contextmanager
def quietly() -> Iterator[None]:
    """Keep what converters print apart from what the command prints."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        yield

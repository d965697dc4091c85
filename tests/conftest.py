"""Shared fixtures. Tests that need torch import it inside, so that the others run without it."""

from __future__ import annotations

import logging
import os
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import mobilesam
from mobilesam.predict import backend, load
from mobilesam.predict.backend import Backend
from tests.helpers.scenes import write_shard

# The networks of the tests are so small that a second thread only waits for the first; for children too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

OPEN = load._openvino_backend
BUILTIN = Path(mobilesam.__file__).parent / "builtin"
EXAMPLES = Path(__file__).parents[1] / "examples"


TORCH_FOLDERS = ("model", "train", "distill", "export")
HAS_TORCH = find_spec("torch") is not None
HAS_SERVICE = all(find_spec(name) for name in ("fastapi", "uvicorn", "python_multipart", "httpx"))


def pytest_report_header() -> str | None:
    """Say what is left out, since files that cannot be imported cannot be listed as skipped."""
    said = [] if HAS_TORCH else [f"torch is not installed: without tests/{{{','.join(TORCH_FOLDERS)}}}"]
    said += [] if HAS_SERVICE else ["the extra serve, or httpx, is not installed: without tests/serve"]
    return "; ".join(said) or None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the folders whose tests import torch, or the service's packages, where they are absent."""
    left_out = (() if HAS_TORCH else TORCH_FOLDERS) + (() if HAS_SERVICE else ("serve",))
    return True if collection_path.name in left_out and collection_path.is_dir() else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs torch, and skip it where torch is absent; skip what has to be asked for."""
    for item in items:
        if item.get_closest_marker("full_size") and "full_size" not in config.option.markexpr:
            item.add_marker(pytest.mark.skip(reason="takes minutes; pytest -m full_size runs it"))
        if item.get_closest_marker("interop") and "interop" not in config.option.markexpr:
            reason = "compares with another library, where it is installed; pytest -m interop runs it"
            item.add_marker(pytest.mark.skip(reason=reason))
        if item.path.parent.name in TORCH_FOLDERS:
            item.add_marker("torch")
        if item.get_closest_marker("torch") and not HAS_TORCH:
            item.add_marker(pytest.mark.skip(reason="torch is not installed"))


@pytest.fixture
def coffee() -> Path:
    """600x400, a cup on a table."""
    return EXAMPLES / "coffee.png"


@pytest.fixture
def chelsea() -> Path:
    """451x300, a cat's face."""
    return EXAMPLES / "chelsea.png"


@pytest.fixture(scope="session")
def embedded() -> mobilesam.Predictor:
    """The embedded model on onnxruntime."""
    return mobilesam.load(backend="onnx")


@pytest.fixture(scope="session")
def coffee_embedding(embedded: mobilesam.Predictor) -> mobilesam.ImageEmbedding:
    """coffee.png, encoded once."""
    return embedded.embed(EXAMPLES / "coffee.png")


@cache
def opened(*arguments: Any) -> Backend:
    """The embedded model in OpenVINO, whose opening takes longer than most commands with it."""
    return OPEN(BUILTIN, *arguments)


def open_once(folder: Path, *arguments: Any) -> Backend:
    """What `load` calls for OpenVINO, but the embedded model is opened once in a session."""
    return opened(*arguments) if folder == BUILTIN else OPEN(folder, *arguments)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Call the command line in an empty folder: (exit code, stdout, stderr)."""
    from mobilesam.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load, "_openvino_backend", open_once)
    # What the command line does to the library's logger ends with the test: others read its messages through `caplog`.
    log = logging.getLogger("mobilesam")
    for name in ("handlers", "level", "propagate"):
        monkeypatch.setattr(log, name, getattr(log, name))

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mobilesam", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


@pytest.fixture(scope="session")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve synthetic photos in the SA-1B schema, of two sources."""
    return write_shard(tmp_path_factory.mktemp("shards") / "synthetic.tar", 12)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised network of the smallest size."""
    return random_checkpoint("tiny", tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_lite_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a convolutional encoder, which takes pictures of any side."""
    return random_checkpoint("tiny_lite", tmp_path_factory.mktemp("tiny_lite"))


def random_checkpoint(name: str, folder: Path) -> Path:
    import torch

    from mobilesam.model import checkpoint
    from mobilesam.model.config import CONFIGS
    from mobilesam.model.sam import Sam

    torch.manual_seed(0)
    path = folder / f"{name}.safetensors"
    checkpoint.save(Sam(CONFIGS[name]), path)
    return path


@pytest.fixture(scope="session")
def tiny_pair(tiny_checkpoint: Path) -> Path:
    """The smallest network, exported."""
    return export(tiny_checkpoint)


@pytest.fixture(scope="session")
def tiny_lite_pair(tiny_lite_checkpoint: Path) -> Path:
    """The smallest network with a convolutional encoder, exported."""
    return export(tiny_lite_checkpoint)


def export(path: Path) -> Path:
    from mobilesam.export.onnx import export_pair
    from mobilesam.model import checkpoint

    folder = path.parent / "pair"
    export_pair(checkpoint.load(path), folder, licence="Apache-2.0")
    return folder


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the library warns of, also what it has already warned of in this process."""
    monkeypatch.setattr(backend, "_warned", set())
    monkeypatch.setattr(logging.getLogger("mobilesam"), "propagate", True)
    return caplog

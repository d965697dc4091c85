from __future__ import annotations

from pathlib import Path

import pytest

from mobilesam.evaluate.settings import EvaluateSettings
from tests.helpers.scenes import write_shard


@pytest.fixture
def settings(shard: Path) -> EvaluateSettings:
    return EvaluateSettings(
        data=(str(shard),), protocols=("box", "click", "noc"), backend="onnx", image_size=256, zoom=False
    )


@pytest.fixture(scope="session")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two data sets of other photos under the same names."""
    folder = tmp_path_factory.mktemp("twins")
    for name in ("one", "two"):
        (folder / name).mkdir()
    return write_shard(folder / "one" / "s.tar", 3, seed=1), write_shard(folder / "two" / "s.tar", 3, seed=2)

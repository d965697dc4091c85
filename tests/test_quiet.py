"""Nothing is sent home, and nothing is written there: whole processes with a fresh home, watched from outside."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mobilesam.quiet import OPENVINO_REPORTER, hidden, without_telemetry

ROOT = Path(__file__).parents[1]
BACKENDS = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}


def child(tmp_path: Path, *arguments: str, before: list[str] | None = None, **extra: str) -> Path:
    """Run Python in a fresh home without what would silence the runtimes anyway (CI's variables); returns the home."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    environment = kept | {"HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(home)}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1", **extra}
    command = [*(before or []), sys.executable, *arguments]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return home


def segment(backend: str) -> list[str]:
    photo = str(ROOT / "examples" / "coffee.png")
    return ["-m", "mobilesam", "segment", photo, "--point", "290,120", "--backend", backend, "-o", "mask.png"]


def files(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    if not find_spec(BACKENDS[request.param]):
        pytest.skip(f"{BACKENDS[request.param]} is not installed")
    return request.param


def test_segmenting_leaves_nothing_in_the_home_folder(backend: str, tmp_path: Path) -> None:
    assert files(child(tmp_path, *segment(backend))) == []


LINGER = """
import sys, time
import mobilesam
image = mobilesam.load(backend=sys.argv[1], quick_start=True).embed(sys.argv[2])
assert image.predict(points=[(290, 120)]).masks.shape == (3, 400, 600)
time.sleep(3)  # what waits for its turn to be sent has one
"""


def test_no_host_is_looked_up_or_called(backend: str, tmp_path: Path) -> None:
    strace = shutil.which("strace")
    watched = [strace or "", "-f", "-qq", "-e", "trace=network,openat", "-o", str(tmp_path / "calls")]
    if not strace or subprocess.run([*watched, "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace, which sees what native code does, is not there or may not watch")
    child(tmp_path, "-c", LINGER, backend, str(ROOT / "examples" / "coffee.png"), before=watched)
    calls = (tmp_path / "calls").read_text(errors="replace").splitlines()
    assert any("mobilesam" in call for call in calls), "nothing was watched"
    # A look-up of a host reads one of these files; the local socket of the name cache also serves names of users.
    wrong = [call for call in calls if re.search(r"AF_INET|/etc/resolv\.conf|/etc/hosts", call)]
    assert wrong == []


def test_a_user_who_asks_for_telemetry_has_it(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("where the runtimes write differs")
    code = "import mobilesam; mobilesam.load(backend='onnx')"
    left = files(child(tmp_path, "-c", code, MOBILESAM_TELEMETRY="1"))
    import onnxruntime

    if not hasattr(onnxruntime, "disable_telemetry_events") or not left:
        pytest.skip("this onnxruntime has no telemetry: the tests above prove nothing of it")
    assert any("onnxruntime" in path for path in left)


def test_the_users_own_word_on_onnxruntime_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, expected in ((None, "1"), ("", "1"), ("0", "0"), ("1", "1")):
        monkeypatch.delenv("MOBILESAM_TELEMETRY", raising=False)
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
        if given is not None:
            monkeypatch.setenv("ORT_DISABLE_TELEMETRY", given)
        with without_telemetry():
            assert os.environ["ORT_DISABLE_TELEMETRY"] == expected
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    monkeypatch.setenv("MOBILESAM_TELEMETRY", "1")
    with without_telemetry():
        assert "ORT_DISABLE_TELEMETRY" not in os.environ
        assert sys.modules.get(OPENVINO_REPORTER, sys) is not None


def test_a_hidden_module_is_back_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    with hidden("json.tool"), pytest.raises(ImportError):
        import json.tool
    import json.tool  # was never imported: nothing of the hiding is left

    with hidden("json.tool"):
        assert sys.modules.get("json.tool", "missing") is None
    assert sys.modules["json.tool"] is json.tool


def test_on_windows_onnxruntime_is_told_by_its_own_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    class Runtime:
        disable_telemetry_events = staticmethod(lambda: told.append("off"))

    monkeypatch.delenv("MOBILESAM_TELEMETRY", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", Runtime)
    for platform in ("linux", "win32"):
        monkeypatch.setattr(sys, "platform", platform)
        with without_telemetry():
            pass
    assert told == ["off"]

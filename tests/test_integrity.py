"""Models are what they say: pairs whose files were changed, replaced or came from elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import mobilesam
from mobilesam import contract
from mobilesam.errors import ModelError
from mobilesam.extras import is_installed
from mobilesam.integrity import HASHES, check_files, described, file_sha256, read_card
from mobilesam.weights import MODELS, pair_folder

BUILTIN = pair_folder(MODELS["embedded"])
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A copy of the embedded model."""
    return Path(shutil.copytree(BUILTIN, tmp_path / "pair"))


@pytest.fixture(params=["onnx", "openvino", "torch"])
def backend(request: pytest.FixtureRequest) -> str:
    if not is_installed(request.param.replace("onnx", "onnxruntime")):
        pytest.skip(f"{request.param} is not installed")
    return request.param


def flip(path: Path) -> None:
    """Change one bit in the middle of a file: of a weight."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def without_hashes(pair: Path) -> None:
    card = read_card(pair)
    del card[HASHES]
    (pair / contract.CARD_FILE).write_text(json.dumps(card))


def test_the_embedded_pair_lists_all_its_files() -> None:
    assert check_files(BUILTIN) == sorted(p.name for p in BUILTIN.glob("*.onnx"))


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx"])
def test_a_changed_bit_is_found_at_load(pair: Path, name: str, backend: str) -> None:
    flip(pair / name)
    with pytest.raises(ModelError, match=rf"{name} is damaged or replaced: .*export the model again.*download"):
        mobilesam.load(pair, backend=backend)  # type: ignore[arg-type]


def test_a_changed_second_decoder_is_found_when_it_is_opened(pair: Path) -> None:
    flip(pair / "decoder_many.onnx")
    image = mobilesam.load(pair, backend="onnx").embed(BUILTIN.parents[2] / "examples" / "coffee.png")
    image.predict(points=[(290, 120)])
    with pytest.raises(ModelError, match=r"decoder_many\.onnx is damaged or replaced"):
        image.predict_points([(i, 50) for i in range(20)], min_score=0.5)  # type: ignore[arg-type]


def test_a_pair_without_hashes_loads_and_cannot_be_verified(pair: Path, run: Run) -> None:
    without_hashes(pair)
    assert mobilesam.load(pair, backend="onnx").info.name == "embedded"
    code, out, _ = run("models", "verify", pair)
    assert code == 1
    assert "gives no sha256; export the model again" in out


@pytest.mark.parametrize(
    "card", ["{", "[" * 100_000, "[1]", '{"sha256": [1]}', '{"sha256": {"encoder.onnx": 3}}', "\x80"]
)
def test_a_damaged_card_is_named(pair: Path, card: str) -> None:
    (pair / contract.CARD_FILE).write_bytes(card.encode("latin-1"))
    with pytest.raises(ModelError, match=r"model\.json is damaged"):
        mobilesam.load(pair, backend="onnx")


def test_a_card_leads_out_of_no_folder(pair: Path) -> None:
    card = read_card(pair)
    card[HASHES]["../other"] = "0" * 64
    (pair.parent / "other").write_bytes(b"")
    (pair / contract.CARD_FILE).write_text(json.dumps(card))
    with pytest.raises(ModelError, match="is missing"):
        check_files(pair)


def test_verify_looks_at_the_files_that_run(run: Run, pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run("models", "verify", "embedded", "--json")
    found = json.loads(out)
    assert (code, found["verified"]) == (0, True)
    assert "encoder.onnx" in found["files"][0]
    monkeypatch.setattr("mobilesam.predict.load.pair_folder", lambda spec: pair)
    for name in ("encoder.onnx", "decoder.onnx", "decoder_many.onnx"):
        original = (pair / name).read_bytes()
        flip(pair / name)
        code, out, _ = run("models", "verify", "embedded", "--json")
        assert (code, json.loads(out)["verified"]) == (1, False)
        assert name in json.loads(out)["reason"]
        (pair / name).write_bytes(original)


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another model's pair, in the cache under the name of mobile_sam."""
    monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path / "cache"))
    return Path(shutil.copytree(BUILTIN, pair_folder(MODELS["mobile_sam"])))


@pytest.mark.parametrize("has_hashes", [True, False])
def test_a_foreign_pair_under_a_published_name_is_refused(cached: Path, run: Run, has_hashes: bool) -> None:
    if not has_hashes:
        without_hashes(cached)
    with pytest.raises(ModelError, match=r"holds no 'mobile_sam'.*delete the folder, and it is made again"):
        mobilesam.load("mobile_sam", backend="onnx")
    code, out, _ = run("models", "verify", "mobile_sam")
    assert code == 1
    assert "NO" in out


def test_a_model_that_is_not_here_cannot_be_verified(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path))
    code, out, _ = run("models", "verify", "sam_vit_b")
    assert code == 1
    assert "mobilesam models download sam_vit_b" in out


@pytest.mark.torch
def test_an_export_writes_the_sha256_of_each_file(tiny_pair: Path) -> None:
    hashes = read_card(tiny_pair)[HASHES]
    assert hashes == {p.name: file_sha256(p) for p in tiny_pair.glob("*.onnx")}
    assert len(check_files(tiny_pair)) == 3


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"\n <!DOCTYPE html><html>", "web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "web page"),
        (b"fatal: not a git repository\n", "a message of Git, 'fatal: not a git repository'"),
        (b'{"error": "Not Found"}', "a text, '{"),
        (b"", "empty"),
    ],
)
def test_what_a_file_is_instead_of_a_model_is_said(content: bytes, what: str, tmp_path: Path, backend: str) -> None:
    for name in ("encoder.onnx", "decoder.onnx"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=what):
        mobilesam.load(tmp_path, backend=backend)  # type: ignore[arg-type]


def test_a_model_is_not_described() -> None:
    assert described(BUILTIN / "encoder.onnx") == ""
    assert described(BUILTIN / "none.onnx") == ""

"""Models of the Hugging Face Hub, from a server on this machine that speaks the few calls needed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mobilesam
from mobilesam import hub
from mobilesam.errors import DownloadError, MissingExtraError, ModelError
from mobilesam.weights import MODELS, pair_folder
from tests.helpers.hub_server import Hub, hub_server

pytest.importorskip("huggingface_hub")

BUILTIN = pair_folder(MODELS["embedded"])
NAME = "somebody/small-sam"
PAIR = ["encoder.onnx", "decoder.onnx", "decoder_many.onnx", "model.json"]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.address)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path / "home"))
        yield found


@pytest.fixture
def pair() -> dict[str, bytes]:
    return {"README.md": b"---\nlicense: apache-2.0\n---\n", **{name: (BUILTIN / name).read_bytes() for name in PAIR}}


def load(address: str, **options: object) -> mobilesam.Predictor:
    return mobilesam.load(address, quick_start=True, **options)  # type: ignore[arg-type]


def test_a_pair_is_fetched_and_its_commit_is_said(
    server: Hub, pair: dict[str, bytes], caplog: pytest.LogCaptureFixture, embedded: mobilesam.Predictor
) -> None:
    commit = server.publish(NAME, pair)
    assert load(f"hf://{NAME}").info == embedded.info
    assert f"hf://{NAME} is commit {commit} now; to get the same files always: hf://{NAME}@{commit}" in caplog.text
    fetched = {line.split("/resolve/")[1] for line in server.asked if line.startswith("GET") and "/resolve/" in line}
    assert fetched == {f"{commit}/{name}" for name in PAIR}  # of that commit, and no README


def test_a_pinned_commit_loads_again_without_asking_anybody(server: Hub, pair: dict[str, bytes]) -> None:
    commit = server.publish(NAME, pair)
    address = f"hf://{NAME}@{commit}"
    load(address)
    server.asked.clear()
    server.commits.clear()
    load(address)
    assert server.asked == []


@pytest.mark.torch
def test_a_branch_that_moved_gives_the_new_files_and_a_pin_the_old_ones(
    server: Hub, tmp_path: Path, tiny_pair: Path, embedded: mobilesam.Predictor, pair: dict[str, bytes]
) -> None:
    old = server.publish(NAME, pair)
    server.publish(NAME, pair, "v1")
    load(f"hf://{NAME}")
    server.publish(NAME, {path.name: path.read_bytes() for path in tiny_pair.iterdir() if path.is_file()})
    assert load(f"hf://{NAME}").info.name == "tiny"
    assert load(f"hf://{NAME}@{old}").info == load(f"hf://{NAME}@v1").info == embedded.info


def test_without_a_network_a_branch_is_what_it_was_and_that_is_said(
    server: Hub, pair: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.publish(NAME, pair)
    load(f"hf://{NAME}")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert load(f"hf://{NAME}").info.name == "embedded"
    assert "the Hub cannot be reached" in caplog.text
    with pytest.raises(DownloadError, match=r"could not get 'hf://other/model' at main"):
        load("hf://other/model")


@pytest.mark.parametrize("name", ["model.json", "encoder.onnx"])  # Git's sha1, and a sha256
def test_a_file_that_is_not_what_the_hub_lists_is_refused(server: Hub, pair: dict[str, bytes], name: str) -> None:
    server.publish(NAME, pair)
    data = bytearray(pair[name])
    data[len(data) // 2] ^= 1
    server.sent[name] = bytes(data)
    with pytest.raises(DownloadError, match=rf"{name} is not the file that the Hub lists"):
        load(f"hf://{NAME}")


def test_a_copy_that_was_damaged_in_the_cache_is_fetched_again(
    server: Hub, pair: dict[str, bytes], tmp_path: Path
) -> None:
    commit = server.publish(NAME, pair)
    load(f"hf://{NAME}")
    folder = Path(hub.located(f"hf://{NAME}", lambda: tmp_path, wants_weights=False))
    assert folder.name == commit
    encoder = (folder / "encoder.onnx").resolve()
    encoder.write_bytes(encoder.read_bytes()[:-1] + b"x")
    load(f"hf://{NAME}")
    assert encoder.read_bytes() == pair["encoder.onnx"]


@pytest.mark.torch
def test_weights_alone_run_in_torch_and_a_pair_beside_them_is_left_where_torch_is_asked_for(
    server: Hub, tiny_checkpoint: Path, pair: dict[str, bytes]
) -> None:
    weights = {"model.safetensors": tiny_checkpoint.read_bytes()}
    server.publish(NAME, weights)
    assert type(load(f"hf://{NAME}").backend).__name__ == "TorchBackend"
    server.publish("somebody/both", {**pair, **weights})
    assert load("hf://somebody/both").info.name == "embedded"
    assert load("hf://somebody/both", backend="torch").info.name == "tiny"


@pytest.mark.torch
def test_weights_in_parts_are_joined(server: Hub, tiny_checkpoint: Path) -> None:
    from safetensors.torch import load_file, save

    from mobilesam.model import checkpoint
    from mobilesam.model.backend import weights_sha256

    state = load_file(tiny_checkpoint)
    halves = [dict(list(state.items())[half::2]) for half in (0, 1)]
    files = {f"model-0000{i}-of-00002.safetensors": save(half) for i, half in enumerate(halves, 1)}
    table = {key: name for name, half in zip(files, halves, strict=True) for key in half}
    network = checkpoint.load(tiny_checkpoint)
    config = {"model_type": "mobilesam", "mobilesam_config": network.config.to_dict()}
    index = {"model.safetensors.index.json": json.dumps({"weight_map": table}).encode()}
    server.publish(NAME, {**files, **index, "config.json": json.dumps(config).encode()})
    assert load(f"hf://{NAME}").info.weights_sha256 == weights_sha256(network)


@pytest.mark.torch
def test_a_recipe_and_a_command_take_a_model_of_the_hub(server: Hub, tiny_checkpoint: Path, run, coffee: Path) -> None:
    from mobilesam.train.build import load_model

    server.publish(NAME, {"tiny.safetensors": tiny_checkpoint.read_bytes(), "notes.txt": b"no model"})
    assert load_model(f"hf://{NAME}").config.name == "tiny"
    code, _, err = run("segment", coffee, "--point", "300,180", "--model", f"hf://{NAME}@main")
    assert code == 0, err
    assert f"note: hf://{NAME}@main is commit" in err


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"README.md": b"hello"}, r"holds no model\.safetensors.*it has README\.md"),
        ({"a.pt": b"1", "b.pt": b"2"}, r"several checkpoints, a\.pt, b\.pt"),
        ({"config.json": b'{"model_type": "sam2"}', "model.safetensors": b"1" * 5000}, r"'sam2'.*SAM 2, SAM-HQ"),
        ({"config.json": b"{", "model.safetensors": b"1" * 5000}, r"config\.json cannot be read"),
        ({"model.safetensors.index.json": b'{"weight_map": {"a": "../b"}}'}, r"no file of its folder"),
        ({"model.safetensors.index.json": b'{"weight_map": {"a": "b.bin"}}'}, r"has no b\.bin"),
    ],
)
def test_a_repository_without_a_model_says_what_it_has(server: Hub, files: dict[str, bytes], message: str) -> None:
    server.publish(NAME, files)
    with pytest.raises((ModelError, DownloadError), match=message):
        load(f"hf://{NAME}")
    assert not any(line.startswith("GET") and "model.safetensors" in line.split("/")[-1:] for line in server.asked)


@pytest.mark.parametrize("text", ["hf://a", "hf://a/b/c", "hf://a/b@", "hf://../b", "hf://a/b@x y", "hf://"])
def test_an_address_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="the form is hf://OWNER/NAME or hf://OWNER/NAME@REVISION"):
        mobilesam.load(text)


def test_a_repository_that_is_not_there_is_named(server: Hub) -> None:
    with pytest.raises(DownloadError, match=r"could not get 'hf://nobody/nothing' at main.*HF_TOKEN"):
        load("hf://nobody/nothing")


def test_without_the_library_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilesam.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"\[hub\]"):
        mobilesam.load(f"hf://{NAME}")


def test_the_library_tells_the_server_nothing_of_other_packages(server: Hub, pair: dict[str, bytes]) -> None:
    server.publish(NAME, pair)
    code = f"import mobilesam; mobilesam.load('hf://{NAME}', quick_start=True)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"hf://{NAME} is commit" in done.stderr
    agents = " ".join(server.agents)
    assert "mobilesam" in agents
    assert not any(name in agents for name in ("torch/", "agent/", "tensorflow/"))


def test_a_damaged_note_of_what_was_checked_is_made_again(server: Hub, pair: dict[str, bytes], tmp_path: Path) -> None:
    commit = server.publish(NAME, pair)
    load(f"hf://{NAME}")
    note = tmp_path / "home" / "hub" / "somebody--small-sam.json"
    whole = json.loads(note.read_text())
    for damaged in ("[1", "[]", f'{{"revisions": [], "commits": {{"{commit}": [1]}}}}', '{"revisions": {"main": [1]}}'):
        note.write_text(damaged)
        load(f"hf://{NAME}@{commit}")
        load(f"hf://{NAME}")
        found = json.loads(note.read_text())
        assert found["commits"] == whole["commits"]
        assert found["revisions"]["main"] == commit

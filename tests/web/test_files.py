"""The page's files: what is shipped is what was pinned, and what is listed exists. No browser is needed."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from mobilesam.errors import ModelError, SettingsError
from mobilesam.web import MODEL_FILES, static_folder, write_page
from mobilesam.weights import EMBEDDED, get_spec, pair_folder

ROOT = Path(__file__).parents[2]
STATIC = static_folder()


def test_the_runtime_is_the_pinned_one() -> None:
    card = json.loads((STATIC / "vendor" / "vendor.json").read_text(encoding="utf-8"))
    package = json.loads((ROOT / "web" / "package.json").read_text(encoding="utf-8"))
    lock = json.loads((ROOT / "web" / "package-lock.json").read_text(encoding="utf-8"))
    assert package["devDependencies"][card["package"]] == card["version"]
    assert lock["packages"][f"node_modules/{card['package']}"]["version"] == card["version"]
    runtime = (STATIC / "engine" / "runtime.js").read_text(encoding="utf-8")
    assert f'VERSION = "v={card["version"]}"' in runtime, "browsers keep the file under this address"
    assert "MIT" in (STATIC / "vendor" / "LICENSE").read_text(encoding="utf-8")
    for name, sha256 in card["sha256"].items():
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == sha256, name


def test_the_lock_names_no_registry() -> None:
    assert "resolved" not in (ROOT / "web" / "package-lock.json").read_text(encoding="utf-8")


def test_the_service_worker_keeps_every_file_that_the_page_needs() -> None:
    text = (STATIC / "sw.js").read_text(encoding="utf-8")
    listed = set(re.findall(r'"([\w./-]+\.\w+)"', text.split("const PAGE = [")[1].split("];")[0]))
    there = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()}
    kept_when_fetched = {"vendor/ort-wasm-simd-threaded.wasm.gz"}
    not_needed = {"sw.js", "index.html", "vendor/LICENSE", "vendor/vendor.json", "vendor/ort.wasm.min.d.mts"}
    assert there - listed == kept_when_fetched | not_needed
    assert not listed - there


def test_the_page_has_no_inline_script_or_style_and_names_no_other_host() -> None:
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html)
    for path in STATIC.rglob("*"):
        if path.suffix in (".html", ".css", ".js") and "vendor" not in path.parts:
            found = re.findall(r"https?://[\w.]+", path.read_text(encoding="utf-8"))
            assert set(found) <= {"http://www.w3.org"}, path


def test_the_example_photos_are_those_of_the_repository() -> None:
    for path in (ROOT / "examples").glob("*.png"):
        assert (STATIC / "examples" / path.name).read_bytes() == path.read_bytes()


def test_the_folder_holds_the_page_and_the_model(run, tmp_path: Path) -> None:
    code, out, _ = run("page", "-o", "site", "--json")
    assert code == 0
    files = json.loads(out)["files"]
    assert files[-1].endswith("index.html")
    assert all((tmp_path / file).is_file() for file in files)
    assert {path.name for path in (tmp_path / "site" / "model").iterdir()} == {*MODEL_FILES, "decoder_many.onnx"}
    assert not [path for path in (tmp_path / "site").iterdir() if path.name.startswith(".")]
    assert run("page", "-o", "site")[0] == 0, "a second time over the first"


def test_a_model_that_the_page_cannot_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no encoder"):
        write_page(tmp_path / "site", tmp_path)
    for name in MODEL_FILES:
        (tmp_path / name).write_text('{"name": "fixed", "image_sizes": ""}')
    with pytest.raises(SettingsError, match="384 and 512 px"):
        write_page(tmp_path / "site", tmp_path)
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("name", MODEL_FILES[:2])
def test_the_embedded_graphs_have_no_input_with_a_default_which_the_browser_refuses(name: str) -> None:
    import onnxruntime

    folder = pair_folder(get_spec(EMBEDDED))
    graph = onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
    assert graph.get_overridable_initializers() == []

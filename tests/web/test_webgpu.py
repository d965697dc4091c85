"""The runtime for graphics cards: its download, its place in the page, and that its sessions open."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mobilesam.errors import DownloadError, ModelError
from mobilesam.web import static_folder, webgpu, write_page
from tests.web.conftest import CHROMIUM, serve
from tests.web.driver import FLAGS, open_page

ROOT = Path(__file__).parents[2]
NPM = ROOT / "web" / "node_modules" / "onnxruntime-web" / "dist"
SOFTWARE = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]


def packed(names: tuple[str, ...]) -> bytes:
    """An npm package with these files, each holding its own name."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as package:
        for name in names:
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            package.addfile(member, io.BytesIO(name.encode()))
    return content.getvalue()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small package that a server of this machine hands out, pinned in place of the real one."""
    content = packed((*webgpu.SCRIPTS, webgpu.WASM))
    folder = tmp_path / "registry"
    folder.mkdir()
    (folder / "package.tgz").write_bytes(content)
    monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path / "cache"))
    for server in serve(folder):
        address = f"http://127.0.0.1:{server.server_port}/package.tgz"
        sha256 = hashlib.sha256(content).hexdigest()
        spec = replace(webgpu.PACKAGE, url=address, sha256=sha256, num_bytes=len(content))
        monkeypatch.setattr(webgpu, "PACKAGE", spec)
        yield folder / "package.tgz"


def test_the_package_is_the_version_of_the_other_runtime() -> None:
    card = json.loads((static_folder() / "vendor" / "vendor.json").read_text(encoding="utf-8"))
    assert f"onnxruntime-web-{card['version']}.tgz" in webgpu.PACKAGE.url
    assert card["version"] in webgpu.PACKAGE.description


def test_the_command_downloads_the_runtime_once_and_writes_it_beside_the_other(
    run: Any, tmp_path: Path, package: Path
) -> None:
    assert run("page", "-o", "site", "--webgpu")[0] == 0
    vendor = tmp_path / "site" / "vendor"
    assert gzip.decompress((vendor / f"{webgpu.WASM}.gz").read_bytes()) == webgpu.WASM.encode()
    assert all((vendor / name).read_text() == name for name in webgpu.SCRIPTS)
    assert '<meta name="webgpu" content="yes" />' in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    package.unlink()
    assert run("page", "-o", "again", "--webgpu")[0] == 0, "from the cache"


def test_the_package_can_be_given_as_a_file_which_is_checked(run: Any, tmp_path: Path, package: Path) -> None:
    assert run("page", "-o", "site", "--webgpu-file", str(package))[0] == 0
    assert (tmp_path / "site" / "vendor" / f"{webgpu.WASM}.gz").is_file()
    package.write_bytes(packed((webgpu.WASM,)))
    with pytest.raises(ModelError, match="sha256"):
        webgpu.read_runtime(package)
    with pytest.raises(DownloadError, match="check its sha256"):
        webgpu.read_runtime()
    with pytest.raises(ModelError, match="download it again"):
        webgpu.unpack(package)


def test_without_the_option_the_page_has_no_such_runtime(tmp_path: Path) -> None:
    write_page(tmp_path / "site")
    assert '<meta name="webgpu" content="" />' in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert not list((tmp_path / "site" / "vendor").glob("*asyncify*"))


@pytest.fixture(scope="module")
def real_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page with the real runtime, taken from what `npm ci` installed, or from the cache."""
    if (NPM / webgpu.WASM).is_file():
        runtime = {name: (NPM / name).read_bytes() for name in webgpu.SCRIPTS}
        runtime[f"{webgpu.WASM}.gz"] = gzip.compress((NPM / webgpu.WASM).read_bytes(), 1)
    elif webgpu.cached_package().is_file():
        runtime = webgpu.read_runtime(webgpu.cached_package())
    else:
        pytest.skip("onnxruntime-web is not installed: run scripts/check_web first")
    folder = tmp_path_factory.mktemp("webgpu")
    write_page(folder, webgpu=runtime)
    for server in serve(folder):
        yield f"http://127.0.0.1:{server.server_port}/"


def test_where_there_is_no_graphics_card_webassembly_runs(browser: Any, real_site: str) -> None:
    opened = open_page(browser, real_site)
    assert opened.page.evaluate("document.body.dataset.runtime") == "wasm"
    opened.example("coffee")
    opened.click(290, 120)
    assert opened.objects == ["object 1"]
    assert opened.complaints == []
    opened.close()


def test_sessions_open_on_an_imitated_graphics_card_which_is_not_chosen_by_itself(browser: Any, real_site: str) -> None:
    flags = [flag for flag in FLAGS if flag != "--disable-gpu"] + SOFTWARE
    with_card = browser.browser_type.launch(executable_path=CHROMIUM, args=flags)
    opened = open_page(with_card, real_site)
    if not opened.page.evaluate("navigator.gpu && navigator.gpu.requestAdapter().then(Boolean)"):
        with_card.close()
        pytest.skip("this Chromium has no SwiftShader")
    assert opened.page.evaluate("document.body.dataset.runtime") == "wasm", "it would be far slower"
    opened.page.evaluate("localStorage.setItem('gpu', 'any')")
    opened.page.reload()
    opened.page.wait_for_selector("body[data-runtime=webgpu]")
    assert (
        opened.page.evaluate(
            """async () => {
            const { fetchBytes, openGraph, startRuntime } = await import("/engine/runtime.js");
            await startRuntime(location.origin + "/", () => {}, 1, "webgpu");
            const bytes = await fetchBytes(location.origin + "/model/decoder.onnx");
            return (await openGraph(bytes, 24)).inputNames.length;
        }"""
        )
        == 6
    )
    assert opened.complaints == []
    with_card.close()

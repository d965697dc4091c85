"""The page in Chromium: time to the first mask from a cold load, bytes over the wire, model times, frames of hovering.

    python -m benchmarks.page [--rounds 5] [--seconds 10]

It needs `playwright` and an installed Chromium. The page is served by http.server on this machine, so bytes are counted
as a browser without a cache asks for them, and the network takes no time.
"""

from __future__ import annotations

import functools
import http.server
import shutil
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.common import machine, make_parser, parse
from mobilesam.extras import is_installed
from mobilesam.web import write_page

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
TIMES = """async ([threads, rounds]) => {
    const worker = new Worker("/engine/worker.js", { type: "module" });
    const waiting = new Map();
    worker.onmessage = ({ data }) => !data.stage && waiting.get(data.id)(data);
    let last = 0;
    const call = (task, wish) => new Promise((resolve, reject) => {
        waiting.set(++last, (data) => (data.error ? reject(Error(data.error)) : resolve(data.result)));
        worker.postMessage({ id: last, task, wish });
    });
    await call("load", { base: location.origin + "/", threads });
    const blob = await (await fetch("/examples/coffee.png")).blob();
    const prompt = { points: [[290, 120]], labels: [1], box: null };
    const times = {};
    const time = async (name, task, wish) => {
        const start = performance.now();
        await call(task, wish);
        (times[name] ||= []).push(performance.now() - start);
    };
    for (let turn = 1; turn <= rounds + 1; turn++) {
        await call("open", { blob, turn });
        await call("use", { turn, isWanted: true });
        for (const side of [384, 512]) {
            await time(`encode ${side}`, "embed", { side });
            const wish = { prompt, side, prior: null, extent: null };
            for (let k = 0; k < 4; k++) await time(`decode ${side}`, "hover", wish);
        }
    }
    worker.terminate();
    return times;
}"""

# One batch of "everything" by both decoders of the pair, in turns; decoder_many.onnx takes its weights from the other.
DECODERS = """async ([threads, rounds]) => {
    const runtime = await import("/engine/runtime.js");
    const { fetchBytes, openGraph, startRuntime } = runtime;
    await startRuntime(location.origin + "/", () => {}, threads, "wasm");
    const get = (name) => fetchBytes(`${location.origin}/model/${name}`);
    const [plain, many] = await Promise.all([get("decoder.onnx"), get("decoder_many.onnx")]);
    const grid = 24, count = 16, length = 4 * grid;
    const make = (dims, value) => new runtime.ort.Tensor("float32", Float32Array.from(
        { length: dims.reduce((a, b) => a * b, 1) }, value), dims);
    const shared = {
        embedding: make([1, 256, grid, grid], () => Math.random() - 0.5),
        point_coords: make([count, 2, 2], () => Math.random() * 384),
        point_labels: make([count, 2], (_, i) => (i % 2 ? -1 : 1)),
        min_score: make([], () => -Infinity),
    };
    const rest = { mask_input: make([1, 1, length, length], () => 0), has_mask_input: make([1], () => 0) };
    const sessions = {
        "decoder.onnx": [await openGraph(plain, grid), { ...shared, ...rest }],
        "decoder_many.onnx": [await openGraph(many, grid, [{ path: "decoder.onnx", data: plain }]), shared],
    };
    const times = {};
    for (let i = 0; i <= 2 * rounds; i++) {
        for (const [name, [session, inputs]] of Object.entries(sessions)) {
            const start = performance.now();
            await session.run(inputs);
            if (i) (times[name] ||= []).push(performance.now() - start);
        }
    }
    return times;
}"""


class Counting(http.server.SimpleHTTPRequestHandler):
    """Serves files and counts their bytes."""

    sent = 0

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file, and count it."""
        data = source.read()
        Counting.sent += len(data)
        outputfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Counting, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def open_example(browser: Any, address: str, ready: str) -> Any:
    """The page in a new profile, with an example photo, once the selector `ready` matches."""
    page = browser.new_context(viewport={"width": 1200, "height": 800}).new_page()
    page.goto(address)
    page.wait_for_selector("body[data-started]")
    page.click("[data-example*=coffee]")
    page.wait_for_selector(ready)
    return page


def first_mask(browser: Any, address: str) -> tuple[float, int]:
    """Seconds from opening the page to the mask of a click on an example photo, and bytes sent, in a new profile."""
    Counting.sent = 0
    page = open_example(browser, address, "body[data-ready=hover], body[data-ready=all]")
    page.mouse.click(440, 300)
    page.wait_for_selector("#objects li")
    # From the last load: the service worker loads the page twice, the first time without the model.
    seconds = page.evaluate("performance.getEntriesByName('mobilesam:mask')[0].startTime") / 1000
    page.context.close()
    return seconds, Counting.sent


def hover_rate(browser: Any, address: str, seconds: float) -> float:
    """Masks a second while the pointer moves all the time."""
    page = open_example(browser, address, "body[data-ready=all]")
    page.mouse.move(300, 300)
    page.wait_for_timeout(500)
    count = "performance.getEntriesByName('mobilesam:hover').length"
    before, start = page.evaluate(count), page.evaluate("performance.now()")
    x = 0
    while page.evaluate("performance.now()") - start < 1000 * seconds:
        x += 7
        page.mouse.move(200 + x % 500, 200 + x % 300)
    masks, ended = page.evaluate(count) - before, page.evaluate("performance.now()")
    page.context.close()
    return float(masks / (ended - start) * 1000)


def measure(browser: Any, address: str, rounds: int, seconds: float) -> None:
    colds = [first_mask(browser, address) for _ in range(rounds)]
    print(f"first mask from a cold load: {statistics.median(cold for cold, _ in colds):.2f} s")
    print(f"bytes over the wire: {statistics.median(sent for _, sent in colds) / 1e6:.1f} MB")
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("body[data-model=loaded]")
    for threads in (1, 2):
        times = page.evaluate(TIMES, [threads, rounds])
        for name, all_times in times.items():
            warm = all_times[1:] if name.startswith("encode") else all_times[4:]
            print(f"{name} px, {threads} thread{'s' * (threads > 1)}: {statistics.median(warm):.0f} ms")
    for threads in (1, 2):
        page.reload()  # the runtime starts once in a page
        page.wait_for_selector("body[data-model=loaded]")
        for name, all_times in page.evaluate(DECODERS, [threads, rounds]).items():
            print(f"16 points of everything, {name}, {threads} threads: {statistics.median(all_times):.0f} ms")
    context.close()
    print(f"hovering: {hover_rate(browser, address, seconds):.1f} masks/s")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="cold loads, and photos encoded at each side")
    parser.add_argument("--seconds", type=float, default=10, help="of hovering")
    arguments = parse(parser, lambda _: ("--rounds", "1", "--seconds", "0.5"))
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    print(machine(2, ["mobilesam"]))
    if chromium is None or not is_installed("playwright"):
        print("0 numbers: playwright or Chromium is not installed")
        return
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as running:
        write_page(name)
        browser = running.chromium.launch(executable_path=chromium, args=FLAGS)
        print(f"Chromium {browser.version}")
        with served(Path(name)) as address:
            measure(browser, address, arguments.rounds, arguments.seconds)
        browser.close()


if __name__ == "__main__":
    main()

"""`mobilesam page`: write the page that runs the model in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilesam.cli import options


def page(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the page's files.")],
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="Folder of an exported pair; default: the embedded model.")
    ] = None,
    webgpu: Annotated[
        bool,
        typer.Option(
            "--webgpu", help="Also write the runtime for graphics cards, 6.7 MB; downloads 33 MB from npm once."
        ),
    ] = False,
    webgpu_file: Annotated[
        Path | None, typer.Option(help="The npm package onnxruntime-web-1.30.0.tgz, instead of the download.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Write static files that cut out objects in a browser; any web host can serve them, nothing is uploaded."""
    from mobilesam.web import write_page

    runtime = None
    if webgpu or webgpu_file is not None:
        from mobilesam.web.webgpu import read_runtime

        runtime = read_runtime(webgpu_file)
    files = write_page(output, model, runtime)
    size = sum(file.stat().st_size for file in files) / 1e6
    text = f"{output}: {len(files)} files, {size:.1f} MB\ntry it: python3 -m http.server -d {output} --bind 127.0.0.1"
    options.say({"files": [str(file) for file in files]}, text, as_json)

"""`mobilesam mcp`: a server that language models call to cut objects out of the photos of one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilesam.cli import options
from mobilesam.extras import require


def mcp(
    folder: Annotated[Path, typer.Option("--folder", help="Folder of the photos; nothing outside of it is touched.")],
    model: options.Model = "embedded",
    backend: options.BackendName = "auto",
    image_size: options.ImageSize = None,
) -> None:
    """Serve the tools segment, everything and cut_out over standard input and output (Model Context Protocol).

    Programs with a language model start this command; see docs/mcp.md.
    """
    require("mcp", "mcp", "the MCP server")
    from mobilesam.mcp.folder import Folder
    from mobilesam.mcp.server import make_server
    from mobilesam.mcp.tools import Tools
    from mobilesam.predict.load import load

    place = Folder.open(folder)
    make_server(Tools(load(model, backend=backend, image_size=image_size), place)).run()

"""The MCP server: the tools with their schemas, over standard input and output."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, ImageContent, TextContent, ToolAnnotations
from pydantic import Field

import mobilesam
from mobilesam.errors import MobileSamError
from mobilesam.mcp.folder import RESULTS
from mobilesam.mcp.strict import StrictServer
from mobilesam.mcp.tools import Asked, Tools

MOST_RETURNED = 200_000
"""Bytes of a cut-out that is also sent as an image; a larger one is only written to its file."""
INSTRUCTIONS = (
    "Cuts objects out of the photos in one folder. Coordinates are pixels of the upright photo, (0, 0) at its upper "
    f"left. Pictures and masks are written into the folder '{RESULTS}' beside the photos; answers name the files."
)

Photo = Annotated[str, Field(description="The photo: its path in the folder, with slashes.")]
Points = Annotated[
    list[tuple[float, float]] | None, Field(description="[x, y] of points, in pixels of the upright photo.")
]
Labels = Annotated[
    list[int] | None,
    Field(description="For each point 1 (on the object) or 0 (not part of it); all 1 if left out."),
]
Box = Annotated[
    tuple[float, float, float, float] | None, Field(description="[x0, y0, x1, y1] around the object, in pixels.")
]
Results = Annotated[
    str | None, Field(description=f"Folder of the results, relative to the folder of the photos; default '{RESULTS}'.")
]
ALL_MASKS = "Three masks of different extent, not only the best; not sorted by size, so compare their areas."
T = TypeVar("T")
WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
"""Files are written, but none of somebody else is replaced, and nothing is reached but the folder."""


def make_server(tools: Tools) -> MCPServer:
    """The server with its three tools."""
    server = StrictServer("mobilesam", version=mobilesam.__version__, instructions=INSTRUCTIONS, log_level="WARNING")

    @server.tool(annotations=WRITES)
    def segment(
        photo: Photo,
        points: Points = None,
        labels: Labels = None,
        box: Box = None,
        all_masks: Annotated[bool, Field(description=ALL_MASKS)] = False,
        results: Results = None,
    ) -> dict[str, Any]:
        """Segment the object at some points, in a box, or both.

        Writes each mask (PNG, 255 on the object), the photo with the masks drawn on it, and a COCO file with run
        lengths and polygons. Answers with each mask's box, area in pixels and score (predicted IoU, about 0-1).
        """
        return answer(lambda: tools.segment(photo, Asked(points, labels, box), all_masks=all_masks, results=results))

    @server.tool(annotations=WRITES)
    def everything(
        photo: Photo,
        points_per_side: Annotated[
            int, Field(ge=1, le=128, description="Of the grid of points that are tried; fewer are faster.")
        ] = 32,
        results: Results = None,
    ) -> dict[str, Any]:
        """Find all objects of a photo, without a prompt; takes seconds.

        Writes a label picture (16-bit PNG: the value is the number of the mask), the photo with all masks drawn on it,
        and a record with run lengths. Answers with the number of masks and the 50 largest of them.
        """
        return answer(lambda: tools.everything(photo, points_per_side=points_per_side, results=results))

    @server.tool(annotations=WRITES)
    def cut_out(
        photo: Photo, points: Points = None, labels: Labels = None, box: Box = None, results: Results = None
    ) -> CallToolResult:
        """Cut the object at some points or in a box out of its background.

        Writes a PNG, cropped to the object and transparent around it, and returns it as an image too if it is small.
        """
        record, path = answer(lambda: tools.cut_out(photo, Asked(points, labels, box), results=results))
        content: list[TextContent | ImageContent] = [TextContent(type="text", text=json.dumps(record))]
        if path.stat().st_size <= MOST_RETURNED:
            content.append(as_image(path.read_bytes()))
        return CallToolResult(content=[*content], structured_content=record)

    return server


def as_image(png: bytes) -> ImageContent:
    """A PNG as the content of an answer."""
    from base64 import b64encode

    return ImageContent(type="image", data=b64encode(png).decode(), mime_type="image/png")


def answer(work: Callable[[], T]) -> T:
    """What some work gives; what the caller can mend becomes an error that the protocol carries to it."""
    try:
        return work()
    except (MobileSamError, OSError) as error:
        raise ToolError(str(error)) from error

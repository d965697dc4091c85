"""A server that refuses arguments it does not know, and says in the library's sentences what is wrong with others."""

from __future__ import annotations

from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, InputRequiredResult, Tool
from pydantic import ValidationError

from mobilesam.text import unknown

MOST_NAMED = 5  # mistakes in one answer


class StrictServer(MCPServer):
    """An MCP server whose tools take no argument that their schema does not name.

    The library's own drops such arguments: a misspelt `labels` would give the mask of another prompt without a word.
    """

    async def list_tools(self) -> list[Tool]:
        """The tools; each schema says that there are no other arguments."""
        tools = await super().list_tools()
        closed = {"additionalProperties": False}
        return [tool.model_copy(update={"input_schema": {**tool.input_schema, **closed}}) for tool in tools]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool.

        Raises:
            ToolError: an argument is unknown, missing or wrong, or the tool refuses what was asked.
        """
        known = await self._known(name)
        wrong = [] if known is None else [key for key in arguments if key not in known]
        if known is not None and wrong:
            raise ToolError("; ".join(unknown("argument", key, known) for key in wrong))
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if known is None or not isinstance(error.__cause__, ValidationError):
                raise
            raise ToolError("; ".join(sentences(error.__cause__, known))) from error

    async def _known(self, name: str) -> dict[str, Any] | None:
        """The schema of each argument of a tool; None if there is no such tool."""
        return next((tool.input_schema["properties"] for tool in await self.list_tools() if tool.name == name), None)


def sentences(error: ValidationError, known: dict[str, Any]) -> list[str]:
    """Say what is wrong with each of the first wrong arguments, and what it takes.

    Args:
        error: of the arguments of a tool.
        known: the schema of each of its arguments.
    """
    found = []
    for item in error.errors(include_url=False, include_context=False, include_input=False)[:MOST_NAMED]:
        name, *inside = item["loc"] or ("",)
        place = str(name) + "".join(f"[{part}]" for part in inside)
        takes = known.get(str(name), {}).get("description", "")
        message = item["msg"][:1].lower() + item["msg"][1:]
        wrong = f"'{place}' is missing" if item["type"] == "missing" else f"'{place}': {message}"
        found.append(f"{wrong}; it takes: {takes}" if takes else wrong)
    return found

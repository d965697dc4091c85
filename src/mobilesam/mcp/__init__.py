"""An MCP server: language models cut out objects of the photos in one folder, through the Model Context Protocol."""

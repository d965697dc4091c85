"""One photo, no prompt → all masks."""

"""What the library says while a verb runs: each kind of message once, on standard error."""

from __future__ import annotations

import logging

import typer


class Once(logging.Handler):
    """Prints the first message of each kind; a folder of a thousand photos does not say it a thousand times."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print it, unless its like was printed before."""
        if record.msg not in self.said:
            self.said.add(record.msg)
            typer.echo(f"note: {record.getMessage()}", err=True)


def listen() -> None:
    """Print what the library says from here on; an earlier call is forgotten."""
    log = logging.getLogger("mobilesam")
    log.handlers = [handler for handler in log.handlers if not isinstance(handler, Once)]
    log.addHandler(Once())
    log.setLevel(logging.INFO)
    log.propagate = False

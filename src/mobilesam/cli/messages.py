"""Log messages of the library on standard error, each kind once per run of the command."""

from __future__ import annotations

import logging

import typer


class Once(logging.Handler):
    """A log handler that prints only the first message of each kind, as for a folder of a thousand photos."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, unless one with the same message template was printed before."""
        # `msg` is the template before its arguments are filled in, so messages that differ in a path count as one kind.
        if record.msg not in self.said:
            self.said.add(record.msg)
            typer.echo(f"note: {record.getMessage()}", err=True)


def listen() -> None:
    """Print the library's log messages from now on; repeated calls replace each other's handler."""
    log = logging.getLogger("mobilesam")
    # Tests call the command line many times in one process; a second handler would print each message twice.
    log.handlers = [handler for handler in log.handlers if not isinstance(handler, Once)]
    log.addHandler(Once())
    log.setLevel(logging.INFO)
    log.propagate = False  # a handler of the root logger would print the message again

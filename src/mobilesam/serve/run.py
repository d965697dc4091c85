"""Starting the service: one process, or a supervisor with several workers that share a socket and a folder."""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import logging.config
import os
import signal
import tempfile
import threading
import webbrowser
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from mobilesam.errors import SettingsError, first_line
from mobilesam.predict.load import load
from mobilesam.recipe import from_dict
from mobilesam.serve.app import create_app
from mobilesam.serve.guard import Guard
from mobilesam.serve.settings import ServeSettings

SETTINGS = "MOBILESAM_SERVE"
"""Name of the environment variable that carries the settings to the workers; the token is in it, so it is not a word of
a command line, which other users can read."""
FOLDER = "MOBILESAM_SERVE_FOLDER"
EVERY_ADDRESS = ("0.0.0.0", "::")
log = logging.getLogger("mobilesam.serve")
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {
        "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "mobilesam": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
    },
}


def serve(settings: ServeSettings, opens_browser: bool = False) -> None:
    """Run the service until SIGTERM or SIGINT.

    Args:
        settings: where it listens, and its limits.
        opens_browser: show the page in the user's browser as soon as the service listens.

    Raises:
        ModelError: the model cannot be loaded.
        SettingsError: it cannot listen there, such as on a port that is taken.
    """
    logging.config.dictConfig(LOGGING)
    if settings.workers == 1:
        socket = _bind(settings.host, settings.port)  # first: loading takes long, and the port may be taken
        config = _config(create_app(settings, load_model(settings)), settings)
        _announce(settings, socket.getsockname()[1], opens_browser)
        # uvicorn raises a signal that it caught once more when it has finished; an ordered stop is no failure.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        uvicorn.Server(config).run(sockets=[socket])
        return
    with tempfile.TemporaryDirectory(prefix="mobilesam-") as folder:
        os.environ[SETTINGS] = json.dumps(dataclasses.asdict(settings))
        os.environ[FOLDER] = folder
        config = _config("mobilesam.serve.run:worker", settings)
        socket = _bind(settings.host, settings.port)
        _announce(settings, socket.getsockname()[1], opens_browser)
        Multiprocess(config, sockets=[socket]).run()


def worker() -> Guard:
    """The application of a worker process, from the settings that the supervisor put into the environment."""
    values: dict[str, Any] = json.loads(os.environ[SETTINGS])
    settings = from_dict(ServeSettings, values)
    return create_app(settings, load_model(settings), Path(os.environ[FOLDER]))


def load_model(settings: ServeSettings) -> Any:
    """The model of the settings, as a `Predictor`."""
    return load(settings.model, backend=settings.backend, threads=settings.num_threads, image_size=settings.image_size)


def _config(app: Any, settings: ServeSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        factory=isinstance(app, str),
        workers=settings.workers,
        access_log=False,  # it would log what a client wrote
        log_config=LOGGING,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        ws="none",
        http="h11",  # its limits on the head of a request are known
        h11_max_incomplete_event_size=2**14,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=int(settings.grace) + 1,
    )


def _bind(host: str, port: int) -> Any:
    """A socket that listens already, so that requests wait while the model is loaded, and a taken port is an error."""
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it. asyncio sets it only for sockets that it opens itself; without it, the body of an answer
    # waits 40 ms for the client to confirm the headers (Nagle's algorithm and delayed acknowledgements).
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        found.bind((host, port))
        found.set_inheritable(True)
        found.listen(1024)
    except OSError as error:
        found.close()
        raise SettingsError(_why_not(error, host, port)) from error
    return found


def _why_not(error: OSError, host: str, port: int) -> str:
    """Why nothing can listen at an address, and what to do."""
    import socket

    if error.errno == errno.EADDRINUSE:
        return f"'port' {port} of {host} is in use: stop what listens there, or let --port 0 choose a free one"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"'port' {port} of {host} needs rights that you do not have: choose one above 1023, or --port 0"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return (
            f"'host' {host} is no address of this machine: give one of its own, such as 127.0.0.1 (reached from this "
            "machine only) or 0.0.0.0 (from others too)"
        )
    return f"cannot listen on {host}, port {port} ({first_line(error)}); choose others with --host and --port"


def _announce(settings: ServeSettings, port: int, opens_browser: bool) -> None:
    """Print the address, and open it where that was asked for."""
    print(_address(settings.host, port), flush=True)
    if opens_browser:
        # Every address is none that a browser can go to. A thread, because browsers of a terminal end only when closed.
        name = "localhost" if settings.host in EVERY_ADDRESS else settings.host
        threading.Thread(target=_open, args=(_address(name, port),), daemon=True).start()


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _open(address: str) -> None:
    try:
        found = webbrowser.open(address)
    except (OSError, webbrowser.Error):
        found = False
    if not found:
        log.warning("no browser was found on this machine: open %s yourself", address)

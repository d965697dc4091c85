"""Starting the service: one process, or a supervisor with several workers that share a socket and a folder."""

from __future__ import annotations

import dataclasses
import json
import logging
import logging.config
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from mobilesam.predict.load import load
from mobilesam.recipe import from_dict
from mobilesam.serve.app import create_app
from mobilesam.serve.guard import Guard
from mobilesam.serve.settings import ServeSettings

SETTINGS = "MOBILESAM_SERVE"
"""Name of the environment variable that carries the settings to the workers; the token is in it, so it is not a word of
a command line, which other users can read."""
FOLDER = "MOBILESAM_SERVE_FOLDER"
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


def serve(settings: ServeSettings) -> None:
    """Run the service until SIGTERM or SIGINT.

    Raises:
        ModelError: the model cannot be loaded.
        OSError: the port is taken.
    """
    logging.config.dictConfig(LOGGING)
    if settings.workers == 1:
        config = _config(create_app(settings, load_model(settings)), settings)
        socket = _bind(config)
        _say(settings, socket.getsockname()[1])
        # uvicorn raises a signal that it caught once more when it has finished; an ordered stop is no failure.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        uvicorn.Server(config).run(sockets=[socket])
        return
    with tempfile.TemporaryDirectory(prefix="mobilesam-") as folder:
        os.environ[SETTINGS] = json.dumps(dataclasses.asdict(settings))
        os.environ[FOLDER] = folder
        config = _config("mobilesam.serve.run:worker", settings)
        socket = _bind(config)
        _say(settings, socket.getsockname()[1])
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


def _bind(config: uvicorn.Config) -> Any:
    """A socket that listens already, so that requests wait while the model is loaded, and a taken port is an error."""
    import socket

    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((config.host, config.port))
    found.set_inheritable(True)
    found.listen(1024)
    return found


def _say(settings: ServeSettings, port: int) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"http://{host}:{port}", flush=True)

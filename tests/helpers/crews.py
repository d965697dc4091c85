"""Jobs without photos, for engines: what a worker sees, and one that dies while it loads."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Dying:
    """Each worker leaves a file and is killed, as by a system that is out of memory."""

    folder: Path

    def work(self, threads: int | None) -> Iterator[None]:
        (self.folder / secrets.token_hex(4)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
        yield

    def is_over(self) -> bool:
        return False


@dataclass(frozen=True)
class Seeing:
    """A worker writes down which GPUs it sees."""

    folder: Path

    def work(self, threads: int | None) -> Iterator[None]:
        (self.folder / "seen").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
        yield

    def is_over(self) -> bool:
        return (self.folder / "seen").exists()

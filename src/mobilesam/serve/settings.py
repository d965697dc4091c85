"""Settings of the service: where it listens, who may use it, and its limits."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from typing import Annotated

from mobilesam.choices import BackendName
from mobilesam.errors import SettingsError
from mobilesam.opening.tones import check_range
from mobilesam.settings import Count, CountOrZero, LargeCount, Positive, Range, Settings, Workers

Port = Annotated[int, Range(low=0, high=65535)]
MEGABYTE = 2**20


@dataclass(frozen=True, kw_only=True)
class ServeSettings(Settings):
    """Settings of `mobilesam serve`; the limits hold for each worker process."""

    host: str = "127.0.0.1"
    """Address to listen on; any but a loopback address needs a token, or `no_auth`."""
    port: Port = 8000
    """0 chooses a free port."""
    token: str = ""
    """Secret that each request must carry; empty: none."""
    no_auth: bool = False
    """Allow an address that others can reach without a token."""
    workers: Workers = 1
    """Number of processes; with more than 1, embeddings are kept in a shared folder."""
    model: str = "embedded"
    """Name of `mobilesam models`, a checkpoint, or a folder with an exported pair."""
    backend: BackendName = "auto"
    """What runs the model."""
    image_size: int | None = None
    """Side in pixels of the network's square input; None: the model's."""
    threads: Workers | None = None
    """Threads of each operator of the runtime; None: the processors, divided among slots and workers, less one slot."""
    slots: Count | None = None
    """Requests that compute at the same time; None: the processors, divided among workers, less one that receives and
    answers."""
    queue: CountOrZero | None = None
    """Requests of a burst that wait for a slot; one more gets 503, and under lasting overload each that finds no free
    slot. None: four for each slot."""
    max_requests: Count = 256
    """Requests in progress, uploads included; one more gets 503."""
    max_bytes: LargeCount = 32 * MEGABYTE
    """Largest body of a request, in bytes."""
    max_buffered: LargeCount = 256 * MEGABYTE
    """Bytes of all bodies that are being received; a request above that gets 503."""
    max_pixels: LargeCount = 50_000_000
    """Largest photo, width times height; checked before it is decoded."""
    value_range: tuple[float, float] | None = None
    """The values that become black and white in photos of more than 8 bits; see docs/photos.md."""
    max_prompts: Count = 256
    """Prompts of one request."""
    max_points: Count = 256
    """Points of one prompt."""
    max_jobs: Count = 8
    """Jobs of "everything" that wait or run; one more gets 503."""
    kept_jobs: Count = 64
    """Finished jobs whose masks can still be fetched."""
    cache_bytes: LargeCount = 512 * MEGABYTE
    """Bytes of embeddings with their photos; the longest unused are dropped first."""
    deadline: Positive = 30.0
    """Seconds after which an unfinished request gets 504; jobs and their events have none."""
    grace: Positive = 30.0
    """Seconds that running requests and jobs get to finish after SIGTERM."""
    cors: tuple[str, ...] = ()
    """Origins of other pages that may use the service, such as "https://example.org"."""
    allow_url: tuple[str, ...] = ()
    """Hosts from which photos may be fetched by address; none by default."""
    label_studio: str = ""
    """Address of a Label Studio whose tasks' photos may be fetched, such as "http://localhost:8080"."""
    label_studio_key: str = ""
    """API key for those photos."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value_range is not None:
            check_range(self.value_range)
        if not self.is_loopback and not self.token and not self.no_auth:
            raise SettingsError(
                f"'host' {self.host} can be reached from other machines: set a token (--token), or say that anybody "
                "may use the service (--no-auth)"
            )
        if self.token and not (len(self.token) >= 16 and self.token.isascii() and self.token.isprintable()):
            raise SettingsError(
                "'token' must have at least 16 printable ASCII characters, such as those that "
                "python -c 'import secrets; print(secrets.token_urlsafe())' prints"
            )
        if self.cache_bytes < 4 * self.max_pixels:
            raise SettingsError(
                f"'cache_bytes' is {self.cache_bytes}, too few for one photo of {self.max_pixels} pixels: set at "
                f"least {4 * self.max_pixels}, or lower max_pixels"
            )
        for origin in self.cors:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise SettingsError(f"'cors' takes an origin such as https://example.org, found {origin!r}")

    @property
    def num_slots(self) -> int:
        """`slots`, or its default on this machine."""
        return self.slots or max(1, (os.cpu_count() or 1) // self.workers - 1)

    @property
    def num_waiting(self) -> int:
        """`queue`, or its default on this machine."""
        return 4 * self.num_slots if self.queue is None else self.queue

    @property
    def num_threads(self) -> int:
        """`threads`, or its default on this machine."""
        return self.threads or max(1, (os.cpu_count() or 1) // ((self.num_slots + 1) * self.workers))

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can reach the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

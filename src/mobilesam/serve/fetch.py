"""Fetching photos by address, from hosts that the operator named and from nowhere else."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from mobilesam.serve.problems import Problem

PART = 2**16  # bytes read at once


@dataclass(frozen=True)
class Fetcher:
    """Downloads photos of named hosts: no redirects, no private addresses, bounded bytes and time.

    The name is resolved once, and the connection goes to the address that was checked, so that a second answer of the
    name server cannot lead elsewhere.
    """

    hosts: Collection[str]
    """Host names whose public addresses may be fetched."""
    max_bytes: int
    timeout: float
    """Seconds for the whole download."""
    trusted: str = ""
    """An origin that may be private too, such as "http://localhost:8080"."""
    trusted_key: str = ""
    """API key of that origin, never sent elsewhere."""

    def fetch(self, address: str) -> bytes:
        """Download a photo.

        Raises:
            Problem: the address is not allowed, or the download failed.
        """
        parts = self._parse(address)
        is_trusted = bool(self.trusted) and _origin(parts) == _origin(urlsplit(self.trusted))
        name = (parts.hostname or "").lower()
        if not is_trusted and name not in self.hosts:
            raise Problem(403, "photos of this host may not be fetched; allow it with --allow-url HOST")
        target = self._resolve(name, _port(parts), is_trusted)
        try:
            return self._download(parts, target, is_trusted)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Problem(502, f"the photo could not be fetched ({type(error).__name__})") from error

    @staticmethod
    def _parse(address: str) -> SplitResult:
        try:
            parts = urlsplit(address)
            is_good = parts.scheme in ("http", "https") and parts.hostname and not parts.username
            _port(parts)
        except ValueError:
            is_good = False
        if not is_good or not address.isascii() or any(ord(sign) <= 32 or ord(sign) == 127 for sign in address):
            raise Problem(422, "the address must be http:// or https://, with a host and without a password")
        return parts

    @staticmethod
    def _resolve(name: str, port: int, may_be_private: bool) -> tuple[str, int]:
        """The address to connect to; every address of the name must be public."""
        try:
            found = {str(info[4][0]) for info in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)}
        except OSError:
            raise Problem(502, "the host of the address is unknown") from None
        if not may_be_private and not all(is_public(ip) for ip in found):
            raise Problem(403, "the host of the address is in a private network, which is not fetched from")
        return sorted(found, key=lambda ip: (":" in ip, ip))[0], port

    def _download(self, parts: SplitResult, target: tuple[str, int], is_trusted: bool) -> bytes:
        end = time.monotonic() + self.timeout
        connection = socket.create_connection(target, timeout=self.timeout)
        with connection:
            sock: socket.socket = connection
            if parts.scheme == "https":
                sock = ssl.create_default_context().wrap_socket(connection, server_hostname=parts.hostname)
            client = http.client.HTTPConnection(parts.hostname or "", _port(parts))
            client.sock = sock
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            headers = {"User-Agent": "mobilesam", "Accept": "image/*", "Accept-Encoding": "identity"}
            if is_trusted and self.trusted_key:
                headers["Authorization"] = f"Token {self.trusted_key}"
            client.request("GET", path, headers=headers)
            answer = client.getresponse()
            if answer.status != 200:  # a redirect too: it could lead anywhere
                raise Problem(502, f"the host answered {answer.status}; redirects are not followed")
            return self._read(answer, sock, end)

    def _read(self, answer: http.client.HTTPResponse, sock: socket.socket, end: float) -> bytes:
        content = bytearray()
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise Problem(504, f"the photo was not received within {self.timeout:g} s")
            sock.settimeout(left)
            part = answer.read1(PART)
            if not part:
                return bytes(content)
            content += part
            if len(content) > self.max_bytes:
                raise Problem(413, f"the photo has more than {self.max_bytes} bytes")


def is_public(ip: str) -> bool:
    """Whether an address belongs to the public internet; an IPv4 address inside an IPv6 one counts as itself."""
    address = ipaddress.ip_address(ip.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    return (mapped or address).is_global and not address.is_multicast


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, (parts.hostname or "").lower(), _port(parts)

"""Who may use the service: host names, origins, the token; and the security headers of each answer."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from mobilesam.serve.problems import Problem
from mobilesam.serve.settings import ServeSettings

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Paths that need no token: they tell a load balancer whether to send requests, and nothing else."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self'; "
        "img-src 'self' blob: data:; connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer. The second and third give the page threads: shared memory needs them."""


class Doorman:
    """Checks the host, the origin and the token of a request before anything else looks at it."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._token = settings.token.encode()

    def check(self, method: str, path: str, headers: Mapping[str, str], scheme: str) -> None:
        """Let a request in.

        Args:
            method: of the request.
            path: of the request.
            headers: by lower-case names.
            scheme: "http" or "https".

        Raises:
            Problem: 421 for a foreign host name, 403 for a foreign page, 401 for a missing or wrong token.
        """
        host = headers.get("host", "")
        # A page of a foreign name that resolves to 127.0.0.1 would otherwise be of the same origin as the service.
        if self._settings.is_loopback and _name(host) not in LOOPBACK_NAMES:
            raise Problem(421, "this service is reached as localhost or 127.0.0.1; the Host header names another")
        origin = headers.get("origin")
        is_own = origin is None or origin == f"{scheme}://{host}"
        # A browser sends simple requests of any page, with its stored password, and only hides the answer.
        if not is_own and origin not in self._settings.cors and method not in ("GET", "HEAD"):
            raise Problem(403, "pages of another origin may not use this service; name the origin with --cors")
        is_preflight = method == "OPTIONS" and origin in self._settings.cors
        if self._token and path not in OPEN_PATHS and not is_preflight and not self._knows(headers):
            advice = {"WWW-Authenticate": 'Basic realm="mobilesam", charset="UTF-8"'}
            raise Problem(401, "give the token: Authorization: Bearer TOKEN, or as the password of Basic", advice)

    def _knows(self, headers: Mapping[str, str]) -> bool:
        """Whether the request carries the token; takes the same time for any wrong one."""
        kind, _, value = headers.get("authorization", "").partition(" ")
        given = value.strip().encode("utf-8", "replace")
        if kind.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                given = b""
        elif kind.lower() not in ("bearer", "token"):
            given = b""
        return hmac.compare_digest(given, self._token)

    def headers(self, request_headers: Mapping[str, str]) -> dict[str, str]:
        """Security headers of the answer, and those of CORS where the origin is one of the named."""
        origin = request_headers.get("origin")
        if origin is None or origin not in self._settings.cors:
            return HEADERS
        return {
            **HEADERS,
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": "Location, Retry-After, X-Scores",
            "Vary": "Origin",
        }

    @staticmethod
    def preflight() -> dict[str, str]:
        """Headers that answer a browser's question whether a request of another origin is allowed."""
        return {
            "Access-Control-Allow-Methods": "GET, POST, DELETE",
            "Access-Control-Allow-Headers": "Accept, Authorization, Content-Type, Last-Event-ID",
            "Access-Control-Max-Age": "600",
        }


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def safe_name(name: str, default: str = "photo") -> str:
    """The stem of a file name that a client gave, safe for a header and for any file system; at most 80 characters."""
    base = re.split(r"[/\\]", name)[-1]
    stem = base.rpartition(".")[0] or base
    cleaned = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-")[:80]
    return cleaned or default

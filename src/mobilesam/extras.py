"""Optional dependencies: whether they are here, and what to install when they are not."""

from __future__ import annotations

from importlib.util import find_spec

from mobilesam.errors import MissingExtraError


def is_installed(module: str) -> bool:
    """Whether a module could be imported; it is not imported."""
    return find_spec(module) is not None


def require(module: str, extra: str, purpose: str) -> None:
    """Refuse early what would fail later.

    Raises:
        MissingExtraError: names the extra to install.
    """
    if not is_installed(module):
        raise MissingExtraError(extra, purpose)

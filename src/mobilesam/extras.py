"""Optional dependencies: whether they are installed, and the command that installs them."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

from mobilesam.errors import MissingExtraError


def is_installed(module: str) -> bool:
    """Whether a module can be found for import, without importing it."""
    return find_spec(module) is not None


def require(module: str, extra: str, purpose: str) -> None:
    """Check that the modules of an extra are installed before they are needed.

    Raises:
        MissingExtraError: names the extra to install.
    """
    if not is_installed(module):
        raise MissingExtraError(extra, purpose)


def install_command(extra: str) -> str:
    """The command that adds an extra to this installation, based on where pip installed the package from."""
    # Imported here: these two bring HTTP and e-mail with them, a twentieth of the start of every command.
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    source = _direct_url()
    url = str(source.get("url", ""))
    if "dir_info" in source:  # a checkout
        option = "-e " if source["dir_info"].get("editable") else ""
        return f'pip install {option}"{url2pathname(urlsplit(url).path)}[{extra}]"'
    if "vcs_info" in source:
        vcs = source["vcs_info"]
        return f'pip install "mobilesam[{extra}] @ {vcs["vcs"]}+{url}@{vcs["commit_id"]}"'
    if url:  # a wheel
        return f'pip install "mobilesam[{extra}] @ {url}"'
    return f'pip install ".[{extra}]" in a checkout of mobilesam'


def _direct_url() -> dict[str, Any]:
    """The origin that pip recorded (PEP 610); empty if the package is not installed, or came from an index."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        text = distribution("mobilesam").read_text("direct_url.json")
    except PackageNotFoundError:
        return {}
    found: dict[str, Any] = json.loads(text or "{}")
    return found

"""Telemetry off: loading the inference runtimes so that they neither send usage data nor store it on disk.

onnxruntime from 1.29 on makes a device id and a data base of events in the user's cache folder when its first session
opens, and sends them. OpenVINO's Python package sends one event when it is imported, by the package
`openvino-telemetry`, and keeps a client's number in the home folder. The Hugging Face Hub's library tells its server
about other installed packages. All are on unless someone says no, so this package says no for its own loading of them;
`MOBILESAM_TELEMETRY=1` leaves them as their makers ship them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

ASKED_FOR = "MOBILESAM_TELEMETRY"
"""Name of the environment variable that allows telemetry if the user sets it to "1"."""
ONNXRUNTIME_SWITCH = "ORT_DISABLE_TELEMETRY"  # read once, by native code, when the first session opens
HUB_SWITCH = "HF_HUB_DISABLE_TELEMETRY"  # read once, when the library is imported
OPENVINO_REPORTER = "openvino_telemetry"  # OpenVINO does without where it cannot be imported


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Disable the telemetry of a runtime that is imported inside this block.

    A value that the user gave `ORT_DISABLE_TELEMETRY` or `HF_HUB_DISABLE_TELEMETRY` stays. What was imported before is
    as it was then.
    """
    if os.environ.get(ASKED_FOR) == "1":
        yield
        return
    for switch in (ONNXRUNTIME_SWITCH, HUB_SWITCH):
        if not os.environ.get(switch):  # an empty one counts as absent there too
            os.environ[switch] = "1"
    with hidden(OPENVINO_REPORTER):
        yield
    if sys.platform == "win32":  # where the variable does not count, and the system collects the events
        _switch_off(sys.modules.get("onnxruntime"))


@contextmanager
def hidden(name: str) -> Iterator[None]:
    """Hide a module from imports inside this block; a module that was imported before is restored afterwards."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None: "not to be found"
    before = {name: modules[name]} if name in modules else {}
    modules[name] = None
    try:
        yield
    finally:
        del modules[name]
        modules.update(before)


def _switch_off(onnxruntime: ModuleType | None) -> None:
    if onnxruntime is not None:
        onnxruntime.disable_telemetry_events()

"""Ray's usage statistics are off, whether or not Ray is installed here."""

from __future__ import annotations

import os
import sys
from types import ModuleType

import pytest

from mobilesam.engines import ray as engine
from mobilesam.engines.job import Crew

SWITCH = "RAY_USAGE_STATS_ENABLED"


class StartedError(Exception):
    """Ray was asked to start."""


@pytest.mark.parametrize("given", [None, "1"])
def test_ray_is_started_with_its_usage_statistics_off_unless_the_user_asks_for_them(
    monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    seen: list[str | None] = []

    def init(**_: object) -> None:
        seen.append(os.environ.get(SWITCH))
        raise StartedError

    fake = ModuleType("ray")
    fake.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(engine, "require", lambda *_: None)
    if given is None:
        # Set first, so that what the engine sets is undone after the test.
        monkeypatch.setenv(SWITCH, "")
        monkeypatch.delenv(SWITCH)
    else:
        monkeypatch.setenv(SWITCH, given)
    with pytest.raises(StartedError):
        engine.run_ray(Crew.__new__(Crew), 1, None, lambda: None, address=None)  # type: ignore[type-abstract]
    assert seen == [given or "0"]

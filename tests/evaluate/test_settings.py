from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mobilesam.errors import SettingsError
from mobilesam.evaluate.settings import EvaluateSettings
from mobilesam.everything.settings import EverythingSettings

PLAIN = EvaluateSettings(data=("x",), protocols=("box",))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"protocols": ("boxes",)}, "unknown protocol 'boxes'; did you mean 'box'\\? known: box"),
        ({"protocols": ("bx", "boxs")}, "unknown protocol 'bx'; did you mean 'box'\\? known: box"),
        ({"protocols": ()}, "name at least one protocol .*known: box"),
        ({"protocols": ("box", "box")}, "twice: box"),
        ({"protocols": ("teacher",)}, "--teacher"),
        ({"teacher": "embedded"}, "--teacher.* does nothing"),
        ({"everything": EverythingSettings(points_per_side=2)}, "everything.* does nothing"),
        ({"protocols": ("everything",), "zoom": True}, "--zoom.* does nothing"),
    ],
)
def test_impossible_settings_and_those_that_do_nothing_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(PLAIN, **changed)


def test_settings_are_named_and_never_counted_off() -> None:
    with pytest.raises(TypeError):
        EvaluateSettings(("x",), ("box",))  # type: ignore[call-arg]


def test_other_settings_have_another_fingerprint() -> None:
    assert PLAIN.fingerprint == replace(PLAIN).fingerprint
    assert PLAIN.fingerprint != replace(PLAIN, min_area=2).fingerprint

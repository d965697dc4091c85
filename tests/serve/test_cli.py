"""The options of `mobilesam serve`."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mobilesam.serve import run as service
from mobilesam.serve.settings import ServeSettings

TOKEN = "0123456789abcdef"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[ServeSettings]:
    """The settings of the services that would have been started."""
    found: list[ServeSettings] = []

    def note(settings: ServeSettings, **_: Any) -> None:
        found.append(settings)

    monkeypatch.setattr(service, "serve", note)
    return found


def test_a_setting_with_an_option_of_its_own_can_be_set_too(run, started) -> None:
    given = "port=9000 model=x backend=onnx workers=2 cors=http://a label_studio_key=k"
    words = (*given.split(), f"token={TOKEN}")
    code, _, err = run("serve", *(word for text in words for word in ("--set", text)))
    assert code == 0, err
    (found,) = started
    expected = (9000, "x", "onnx", 2, ("http://a",), "k", TOKEN)
    names = ("port", "model", "backend", "workers", "cors", "label_studio_key", "token")
    assert tuple(getattr(found, name) for name in names) == expected


def test_without_options_the_settings_are_the_defaults(run, started) -> None:
    assert run("serve")[0] == 0
    assert started == [ServeSettings()]


def test_a_setting_that_is_given_both_ways_is_refused(run, started, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = run("serve", "--port", "8000", "--set", "port=9000")
    assert code == 2
    assert "'port' is set twice: by its own option, and by --set port=..." in err
    monkeypatch.setenv("MOBILESAM_TOKEN", TOKEN)
    assert "'token' is set twice" in run("serve", "--set", "token=t")[2]
    assert run("serve")[0] == 0
    assert [settings.token for settings in started] == [TOKEN]


def test_the_stated_default_of_max_pixels_is_the_real_one(run, started) -> None:
    (stated,) = re.findall(r"larger photos; default (\d+)", re.sub(r"[\s│]+", " ", run("serve", "--help")[1]))
    assert run("serve", "--max-pixels", stated)[0] == 0
    assert started == [ServeSettings()]

"""Who may use the service, and what its answers and logs give away."""

from __future__ import annotations

import base64
import logging

import httpx
import pytest

from mobilesam.errors import SettingsError
from mobilesam.serve.security import safe_name
from mobilesam.serve.settings import ServeSettings

TOKEN = "correct-horse-battery-staple"


def test_another_host_needs_a_token_or_the_word_that_none_is_wanted() -> None:
    with pytest.raises(SettingsError, match=r"--token.*--no-auth"):
        ServeSettings(host="0.0.0.0")
    with pytest.raises(SettingsError, match="at least 16"):
        ServeSettings(host="0.0.0.0", token="short")
    ServeSettings(host="0.0.0.0", token=TOKEN)
    ServeSettings(host="0.0.0.0", no_auth=True)
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        ServeSettings(host=host)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(SettingsError, match="cache_bytes"):
        ServeSettings(cache_bytes=1000)
    with pytest.raises(SettingsError, match="origin"):
        ServeSettings(cors=("*",))


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("evil.example", 421), ("", 421), ("[", 421)],
)
def test_a_foreign_host_name_is_refused_on_loopback(call, host: str, status: int) -> None:
    assert call("GET", "/healthz", headers={"Host": host}).status_code == status


def test_a_foreign_page_may_not_send_requests(make, coffee) -> None:
    call = make(cors=("https://good.example",))
    files = {"photo": coffee.read_bytes()}
    evil = call("POST", "/v1/embeddings", files=files, headers={"Origin": "https://evil.example"})
    assert evil.status_code == 403
    assert "access-control-allow-origin" not in evil.headers
    own = call("POST", "/v1/embeddings", files=files, headers={"Origin": "http://127.0.0.1:8000"})
    assert own.status_code == 201
    good = call("POST", "/v1/embeddings", files=files, headers={"Origin": "https://good.example"})
    assert good.headers["access-control-allow-origin"] == "https://good.example"
    asked = {"Origin": "https://good.example", "Access-Control-Request-Method": "POST"}
    assert call("OPTIONS", "/v1/segment", headers=asked).status_code == 204
    asked["Origin"] = "https://evil.example"
    refused = call("OPTIONS", "/v1/segment", headers=asked)
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers


def test_without_the_token_nothing_is_answered_but_health(make) -> None:
    call = make(token=TOKEN)
    basic = base64.b64encode(f"me:{TOKEN}".encode()).decode()
    wrong = base64.b64encode(b"me:" + b"x" * 28).decode()
    for value, status in (
        (None, 401),
        ("Bearer wrong", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Digest {TOKEN}", 401),
        (f"Basic {wrong}", 401),
        ("Basic ###", 401),
        (b"Bearer \xff\xfe", 401),
        (f"Bearer {TOKEN}", 200),
        (f"Basic {basic}", 200),
    ):
        headers = {} if value is None else {"Authorization": value}
        answer = call("GET", "/v1/models", headers=headers)
        assert answer.status_code == status, value
        assert (status == 401) == ("www-authenticate" in answer.headers)
    assert call("GET", "/healthz").status_code == call("GET", "/readyz").status_code == 200
    assert call("GET", "/metrics").status_code == call("GET", "/").status_code == 401


def test_every_answer_has_the_security_headers(call) -> None:
    for path in ("/healthz", "/v1/nothing", "/nothing", "/"):
        headers = call("GET", path).headers
        policy = headers["content-security-policy"]
        assert "'unsafe-inline'" not in policy
        assert "default-src 'none'" in policy
        assert "script-src 'self' 'wasm-unsafe-eval'" in policy
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-embedder-policy"] == "require-corp"
        assert headers["x-content-type-options"] == "nosniff"


def test_logs_hold_no_token_no_path_and_no_photo(make, coffee, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("mobilesam").propagate = True
    caplog.set_level(logging.DEBUG, "mobilesam")
    call = make(token=TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    words = {"files": {"photo": ("secret-name.png", coffee.read_bytes())}, "headers": headers}
    key = call("POST", "/v1/embeddings", **words).json()["id"]
    call("GET", f"/v1/embeddings/{key}?token={TOKEN}", headers=headers)
    call("GET", "/what-was-asked", headers=headers)
    assert "POST /v1/embeddings 201" in caplog.text
    for secret in (TOKEN, "secret-name", key, "what-was-asked", "PNG"):
        assert secret not in caplog.text


def test_an_unexpected_failure_tells_the_log_and_not_the_client(call, monkeypatch, caplog) -> None:
    logging.getLogger("mobilesam").propagate = True

    def broken() -> dict[str, float]:
        raise RuntimeError("the password is 1234")

    monkeypatch.setattr(call.service, "gauges", broken)
    answer = call.loop.run_until_complete(
        httpx.AsyncClient(
            transport=httpx.ASGITransport(call.app, raise_app_exceptions=False), base_url="http://localhost"
        ).get("/metrics")
    )
    assert answer.status_code == 500
    assert "1234" not in answer.text
    assert "Traceback" not in answer.text
    assert "the password is 1234" in caplog.text


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("coffee.png", "coffee"),
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\my cat.jpeg", "my_cat"),
        ('a"; filename="b.exe', "a_filename_b"),
        ("..", "photo"),
        ("", "photo"),
        (".png", "png"),
        ("x" * 500 + ".png", "x" * 80),
        ("é\r\nSet-Cookie: a.png", "Set-Cookie_a"),
    ],
)
def test_file_names_are_made_safe(given: str, safe: str) -> None:
    assert safe_name(given) == safe


def test_no_path_of_a_request_reaches_the_file_system(call) -> None:
    served = call("GET", "/model/model.json")
    assert served.json()["name"] == "embedded"
    again = call("GET", "/model/model.json", headers={"If-None-Match": served.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for path in (
        "/model/../model.json",
        "/model/%2e%2e/%2e%2e/errors.py",
        "/model//model.json",
        "/model/model.json/",
        "/model/__init__.py",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/%00",
    ):
        assert call("GET", path).status_code == 404, path
    assert call("GET", "/v1/embeddings/..%2f..%2fetc").status_code == 404
    assert "not part of this installation" in call("GET", "/").text or call("GET", "/").status_code == 200

"""Photos are fetched from named hosts alone; a server of this machine stands for them."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from mobilesam.serve.fetch import Fetcher, is_public
from mobilesam.serve.problems import Problem


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves a photo, a redirect, and an endless body; remembers the keys it was sent."""

    keys: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        type(self).keys.append(self.headers.get("Authorization"))
        if self.path.startswith("/redirect"):
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        body = b"photo" if self.path.startswith("/photo") else b"x" * 2000
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{found.server_address[1]}"
    found.shutdown()
    found.server_close()
    thread.join()


def test_only_named_hosts_are_fetched_and_none_of_a_private_network(server: str) -> None:
    for hosts, status in (((), 403), (("127.0.0.1",), 403), (("localhost",), 403)):
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(Problem) as error:
                Fetcher(hosts, 1000, 5).fetch(f"{server.replace('127.0.0.1', host)}/photo")
            assert error.value.status == status
    for address in ("file:///etc/passwd", "ftp://a/b", "http://", "http://u:p@a/", "http://a/\r\nX: y", "http://[x"):
        with pytest.raises(Problem) as error:
            Fetcher(("a",), 1000, 5).fetch(address)
        assert error.value.status == 422, address


def test_the_named_label_studio_may_be_private_and_gets_the_key(server: str) -> None:
    fetcher = Fetcher((), 1000, 5, trusted=server, trusted_key="abc")
    assert fetcher.fetch(f"{server}/photo?d=1") == b"photo"
    assert Handler.keys[-1] == "Token abc"
    with pytest.raises(Problem, match="302; redirects"):
        fetcher.fetch(f"{server}/redirect")
    with pytest.raises(Problem, match="1000 bytes"):
        fetcher.fetch(f"{server}/large")
    with pytest.raises(Problem):
        fetcher.fetch("http://127.0.0.1:1/photo")


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("fe80::1%eth0", False),
    ],
)
def test_private_addresses_are_told_from_public_ones(ip: str, expected: bool) -> None:
    assert is_public(ip) == expected

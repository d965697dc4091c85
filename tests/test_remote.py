"""Object stores, with fsspec's store in memory; tests/annotate/test_s3.py speaks to a real server."""

from __future__ import annotations

import errno

import pytest

from mobilesam.remote import (
    StoreError,
    answering,
    filesystem,
    find,
    is_lost,
    is_object,
    is_remote,
    open_url,
    placing,
    sizes_under,
    state_of,
)

pytest.importorskip("fsspec")


@pytest.fixture
def store():
    """An empty prefix."""
    found, path = filesystem("memory://remote-test")
    yield "memory://remote-test"
    if found.exists(path):
        found.rm(path, recursive=True)


def test_an_object_appears_when_its_block_ends_and_not_before(store) -> None:
    with placing(f"{store}/a.bin") as partial:
        partial.write_bytes(b"abc")
        assert not is_object(f"{store}/a.bin")
    assert is_object(f"{store}/a.bin")
    assert not is_object(store)
    assert open_url(f"{store}/a.bin").read() == b"abc"
    assert state_of(f"{store}/a.bin")[0] == 3
    assert sizes_under(store) == {"a.bin": 3}
    assert [name.rpartition("/")[2] for name in find(store)] == ["a.bin"]


def test_nothing_appears_after_an_error(store) -> None:
    def half() -> None:
        with placing(f"{store}/a.bin") as partial:
            partial.write_bytes(b"abc")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        half()
    assert list(find(store)) == []


def test_a_missing_object_is_no_lost_store(store) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        state_of(f"{store}/missing")
    assert not is_lost(caught.value)


def test_an_unknown_protocol_is_an_oserror() -> None:
    with pytest.raises(OSError, match="cannot be opened"):
        open_url("nothing://a")


def test_an_error_of_a_stores_library_names_the_store() -> None:
    class EndpointConnectionError(Exception):
        pass

    message = r"'s3://a': the store does not answer or refuses \(no route\)"
    with pytest.raises(StoreError, match=message) as caught, answering("s3://a"):
        raise EndpointConnectionError("no route")
    assert is_lost(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionResetError("gone"), True),
        (TimeoutError(), True),
        (OSError(errno.ESTALE, "stale"), True),
        (OSError(errno.EIO, "a bad sector"), False),
        (PermissionError("no"), False),
        (ValueError("no"), False),
        (None, False),
    ],
)
def test_a_lost_store_is_told_from_a_bad_photo(error, expected) -> None:
    assert is_lost(error) is expected
    if error is not None:
        wrapped = RuntimeError("a library's own error")
        wrapped.__cause__ = error
        assert is_lost(wrapped) is expected


@pytest.mark.parametrize(("path", "expected"), [("s3://a/b", True), ("a/b.tar", False), ("C:/a", False)])
def test_an_address_is_told_from_a_path(path, expected) -> None:
    assert is_remote(path) is expected

"""Object stores, with fsspec's store in memory; tests/annotate/test_s3.py speaks to a real server."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from typing import ClassVar

import pytest

from mobilesam import remote
from mobilesam.data import files
from mobilesam.data.files import FileRef
from mobilesam.remote import (
    RefusedError,
    StoreError,
    answering,
    filesystem,
    find,
    is_lost,
    is_object,
    is_refusal,
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


class Answers:
    """A store with a bucket, or without it."""

    def __init__(self, has_bucket: bool) -> None:
        self.has_bucket = has_bucket

    def invalidate_cache(self, path: str = "") -> None:
        """There is none."""

    def exists(self, path: str) -> bool:
        assert path == "a"
        return self.has_bucket

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        raise FileNotFoundError("The specified bucket does not exist")


@pytest.mark.parametrize(
    ("error", "has_bucket", "kind"),
    [
        (FileNotFoundError("no"), True, FileNotFoundError),
        (FileNotFoundError("no"), False, StoreError),
        (PermissionError("Forbidden"), True, RefusedError),
        (OSError(errno.EINVAL, "ExpiredToken, of an answer without a body"), True, RefusedError),
        (OSError(errno.EBUSY, "SlowDown"), True, StoreError),
        (OSError(121, "InternalError"), True, StoreError),
        (ConnectionResetError("gone"), True, StoreError),
        (IsADirectoryError("no"), True, IsADirectoryError),
    ],
)
def test_answers_of_a_store_are_told_from_faults_of_an_object(error, has_bucket, kind, monkeypatch) -> None:
    monkeypatch.setattr(remote, "filesystem", lambda url: (Answers(has_bucket), url.partition("://")[2]))
    with pytest.raises(OSError, match=r".") as caught, answering("s3://a/b"):
        raise error
    assert type(caught.value) is kind
    assert is_lost(caught.value) is issubclass(kind, StoreError)
    assert is_refusal(caught.value) is (kind is RefusedError)


@pytest.mark.parametrize(("code", "kind"), [("NoSuchKey", FileNotFoundError), ("NoSuchBucket", StoreError)])
def test_who_may_not_ask_for_a_bucket_learns_from_the_object_whether_it_is_there(code, kind, monkeypatch) -> None:
    class AnswerError(Exception):
        response: ClassVar = {"Error": {"Code": code}}

    class Closed(Answers):
        def cat_file(self, path: str, start: int, end: int) -> bytes:
            raise FileNotFoundError(code) from AnswerError()

    monkeypatch.setattr(remote, "filesystem", lambda url: (Closed(False), url.partition("://")[2]))
    with pytest.raises(OSError, match=r".") as caught, answering("s3://a/b"):
        raise FileNotFoundError("404, of an answer without a body")
    assert type(caught.value) is kind


def test_only_the_bytes_that_are_read_are_fetched(store, monkeypatch) -> None:
    data = bytes(range(256)) * 4096  # 1 MiB
    with placing(f"{store}/a.bin") as partial:
        partial.write_bytes(data)
    fetched: list[tuple[int, int]] = []

    def counted(url: str, start: int, end: int) -> bytes:
        fetched.append((start, end))
        return data[start:end]

    monkeypatch.setattr(remote, "read_range", counted)
    monkeypatch.setattr(files, "read_range", counted)
    with open_url(f"{store}/a.bin") as file:
        assert file.read(512) == data[:512]
        file.seek(600_000)
        assert file.read(100_000) == data[600_000:700_000]
        file.seek(-3, 2)
        assert file.read() == data[-3:]
        assert file.read() == b""
    assert sum(end - start for start, end in fetched) < 100_000 + 4 * remote.BLOCK
    fetched.clear()
    member = FileRef(f"{store}/a.bin", (1000, 5000))
    assert member.read() == data[1000:6000]
    assert member.read_end(2) == data[5998:6000]
    assert fetched == [(1000, 6000), (5998, 6000)]
    with member.open() as file:
        assert file.read() == data[1000:6000]


def test_what_a_killed_process_staged_for_a_store_is_removed_by_the_next_one(store, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = (
        "import os, sys; from mobilesam.remote import placing\n"
        "with placing('memory://remote-test/a.bin') as partial:\n"
        "    partial.write_bytes(b'half'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with placing(f"{store}/b.bin") as partial:
        partial.write_bytes(b"abc")
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("path", "expected"), [("s3://a/b", True), ("a/b.tar", False), ("C:/a", False)])
def test_an_address_is_told_from_a_path(path, expected) -> None:
    assert is_remote(path) is expected

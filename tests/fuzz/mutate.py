"""Mutations: seeded changes to the bytes of a file, to a JSON value, and to the members of a zip archive."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

INTEGERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e9, -1e9, 1e300, 2**31, 2**32, 2**63, 10**30),
    *(float("nan"), float("inf"), float("-inf"), "", "x", "0", "NaN", "é😀", "\0", "../../x", "x" * 5000),
    *([], {}, [[]], [{}], [None], [1, 2], [0.5, "x"], {"a": 1}, {"size": [10**6, 10**6], "counts": "11"}),
)
ROUNDS = (1, 1, 1, 2, 2, 3, 5, 10)


def mutate_bytes(rng: Random, data: bytes) -> bytes:
    """Change a file in one to ten places."""
    buffer = bytearray(data)
    for _ in range(rng.choice(ROUNDS)):
        rng.choice(CHANGES)(rng, buffer)
    return bytes(buffer)


def _flip(rng: Random, data: bytearray) -> None:
    if data:
        data[_place(rng, data)] ^= 1 << rng.randrange(8)


def _replace(rng: Random, data: bytearray) -> None:
    if data:
        data[_place(rng, data)] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))


def _integer(rng: Random, data: bytearray) -> None:
    size, order = rng.choice((2, 4)), rng.choice(("little", "big"))
    start = _place(rng, data)
    number = rng.choice(INTEGERS) % 256**size
    data[start : start + size] = number.to_bytes(size, "little" if order == "little" else "big")


def _delete(rng: Random, data: bytearray) -> None:
    start = _place(rng, data)
    del data[start : start + _length(rng)]


def _repeat(rng: Random, data: bytearray) -> None:
    start = _place(rng, data)
    data[start:start] = data[start : start + _length(rng)]


def _insert(rng: Random, data: bytearray) -> None:
    start = _place(rng, data)
    data[start:start] = rng.randbytes(_length(rng))


def _clear(rng: Random, data: bytearray) -> None:
    start = _place(rng, data)
    stop = min(len(data), start + _length(rng))
    data[start:stop] = bytes(stop - start)


def _cut(rng: Random, data: bytearray) -> None:
    del data[_place(rng, data) :]


CHANGES: tuple[Callable[[Random, bytearray], None], ...] = (
    *(_flip, _flip, _replace, _replace, _integer, _integer, _delete, _repeat, _insert, _clear, _cut),
)


def _place(rng: Random, data: bytearray) -> int:
    """An index; half of the time near the beginning, where headers are."""
    if not data:
        return 0
    return rng.randrange(min(len(data), 128) if rng.random() < 0.5 else len(data))


def _length(rng: Random) -> int:
    return rng.choice((1, 2, 4, 8, 16, 64, 512))


def mutate_json(rng: Random, data: bytes) -> bytes:
    """Change values of a JSON file; sometimes its encoding, or its bytes."""
    value = json.loads(data)
    for _ in range(rng.choice(ROUNDS)):
        value = change_value(rng, value)
    text = json.dumps(value)
    if rng.random() < 0.02:  # deeper than Python could write
        place = rng.randrange(len(text))
        text = text[:place] + "[" * 200_000 + text[place:]
    encoding = rng.choice(("utf-8",) * 12 + ("utf-8-sig", "utf-16", "utf-32", "latin-1"))
    changed = text.encode(encoding, "replace")
    return mutate_bytes(rng, changed) if rng.random() < 0.1 else changed


def change_value(rng: Random, value: Any) -> Any:
    """Replace, remove or repeat one value inside nested lists and dictionaries, which are changed."""
    parents = list(_parents(value))
    if not parents:
        return rng.choice(VALUES)
    parent, key = rng.choice(parents)
    action = rng.random()
    if action < 0.15:
        del parent[key]
    elif action < 0.25 and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    elif action < 0.35 and isinstance(parent[key], (int, float)) and not isinstance(parent[key], bool):
        parent[key] = parent[key] * rng.choice((-1, 0, 2, 1000, 0.37)) + rng.choice((0, 1, -1))
    elif action < 0.38:
        parent[key] = nested(rng.choice((10, 100)))
    else:
        parent[key] = copy.deepcopy(rng.choice(VALUES))
    return value


def nested(depth: int) -> Any:
    """Lists inside each other."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def _parents(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) inside a value."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else []
        found += [(one, key) for key in keys]
        waiting += [one[key] for key in keys]
    return found


def mutate_zip(rng: Random, data: bytes) -> bytes:
    """Change the file as it is, which its checksums must show; or one member, and write the checksums anew."""
    if rng.random() < 0.5:
        return mutate_bytes(rng, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    action = rng.random()
    if action < 0.1:
        del members[name]
    elif action < 0.2:
        members[rng.choice(("x", "../x", name + "x", "a.1.npy"))] = members.pop(name)
    elif name.endswith(".json"):
        members[name] = mutate_json(rng, members[name])
    else:
        members[name] = mutate_bytes(rng, members[name])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", rng.choice((zipfile.ZIP_STORED,) * 3 + (zipfile.ZIP_DEFLATED,))) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()

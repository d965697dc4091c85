"""A TOML recipe → frozen dataclasses, strictly: an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import dataclasses
import difflib
import sys
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from mobilesam.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


def load_recipe(path: Path, cls: type[T], overrides: list[str] | None = None) -> T:
    """Read a TOML recipe of kind `cls` and apply `a.b=value` overrides (the value in TOML syntax, or bare text).

    Raises:
        SettingsError: the file is no TOML, or a key or a value does not fit.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such recipe") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from None
    for override in overrides or []:
        _apply_override(data, override)
    return from_dict(cls, data)


def _apply_override(data: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals:
        raise SettingsError(f"--set takes key.path=value, found '{override}'")
    *parents, last = path.strip().split(".")
    for parent in parents:
        inner = data.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise SettingsError(
                f"--set {override}: '{parent}' is {inner!r} in the recipe, not a table; set it as a whole"
            )
        data = inner
    try:
        data[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        data[last] = text


def from_dict(cls: type[T], data: dict[str, Any], where: str = "") -> T:
    """Build a (nested) dataclass from plain data, strictly.

    Raises:
        SettingsError: names the key, the nearest known key, or the type that was expected.
    """
    hints = get_type_hints(cls)
    for key in data:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            advice = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(hints)}"
            raise SettingsError(f"unknown key '{where}{key}'; {advice}")
    missing = [f.name for f in dataclasses.fields(cls) if _is_required(f) and f.name not in data]  # type: ignore[arg-type]
    if missing:
        raise SettingsError(f"'{where.rstrip('.') or 'the recipe'}' lacks {', '.join(missing)}")
    return cls(**{key: _convert(value, hints[key], where + key) for key, value in data.items()})


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _convert(value: Any, kind: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return from_dict(kind, value, where + ".")  # type: ignore[arg-type]
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _convert_to_one_of(value, get_args(kind), where)
    if kind is type(None) and value is None:
        return None
    if origin is tuple and isinstance(value, str):
        value = [value]  # one shard needs no brackets
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(item, get_args(kind)[0], where) for item in value)
    if origin is dict and isinstance(value, dict):
        return {str(k): _convert(v, get_args(kind)[1], f"{where}.{k}") for k, v in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is None and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    name = getattr(kind, "__name__", str(kind))
    raise SettingsError(f"'{where}' must be {name}, found {value!r}")


def _convert_to_one_of(value: Any, kinds: tuple[Any, ...], where: str) -> Any:
    """The first kind that fits; where none does, the message names all."""
    for kind in kinds:
        try:
            return _convert(value, kind, where)
        except SettingsError:
            continue
    names = " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
    raise SettingsError(f"'{where}' must be {names}, found {value!r}")

"""Reading settings from TOML files and `name=value` texts into the dataclasses of `mobilesam.settings`.

cattrs turns nested tables into nested dataclasses and finds unknown and missing keys.
It is imported only by `from_dict`.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from types import GenericAlias, NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

from mobilesam.errors import DataError, SettingsError, first_line
from mobilesam.settings import Settings, fits, kinds
from mobilesam.text import decode_text, unknown

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T", bound="Settings")


def load_recipe(cls: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """Read settings from a TOML file.

    Args:
        cls: the kind of recipe.
        path: the file.
        overrides: `table.key=value` texts that win over the file.

    Raises:
        SettingsError: there is no such file, it is no TOML, a key or a value is wrong, or a key does nothing beside the
            others.
    """
    tomllib = _toml()
    try:
        data = tomllib.loads(decode_text(path.read_bytes()))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such recipe") from None
    except OSError as error:
        raise SettingsError(f"{path}: the recipe cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, DataError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from None
    except (RecursionError, ValueError) as error:  # brackets nested too deep, a number of thousands of digits
        raise SettingsError(f"{path}: not valid TOML: {first_line(error)}") from None
    data = apply_overrides(data, overrides)
    settings = from_dict(cls, data)
    check_effects(settings, data)
    return settings


def check_effects(settings: Settings, given: dict[str, Any]) -> None:
    """Refuse keys that were given, though they have no effect beside the other values (`Settings.needs`).

    Args:
        settings: what the keys became.
        given: the nested keys that somebody wrote, without defaults.

    Raises:
        SettingsError: a line for each.
    """
    found = ((".".join(names), _needs(settings, names)) for names in _keys(settings, given))
    lines = [f"'{name}' does nothing here: only {needed} uses it" for name, needed in found if needed is not None]
    if lines:
        raise SettingsError("\n".join(lines))


def _keys(settings: Settings, given: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The path of each key in tables of settings."""
    for name, value in given.items():
        inner = getattr(settings, name)
        if isinstance(inner, Settings) and isinstance(value, dict):
            yield from ((name, *names) for names in _keys(inner, value))
        else:
            yield (name,)


def _needs(settings: Settings, names: tuple[str, ...]) -> str | None:
    """What a key lacks to have an effect: as its own table says, or one around it."""
    for i, name in enumerate(names):
        needed = settings.needs(".".join(names[i:]))
        if needed is not None:
            return needed
        settings = getattr(settings, name)
    return None


def apply_overrides(data: dict[str, Any], overrides: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """Apply `key.path=value` texts to a copy of plain settings.

    Args:
        data: nested settings.
        overrides: each value in TOML syntax; what is no TOML is taken as text.
        option: of the command line, for messages.

    Raises:
        SettingsError: a text has no "=", or its path leads through a value that is no table.
    """
    data = copy.deepcopy(data)
    for override in overrides:
        path, equals, text = (part.strip() for part in override.partition("="))
        if not equals:
            raise SettingsError(f"{option} takes key.path=value, found '{override}'")
        *parents, last = path.split(".")
        table = data
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise SettingsError(
                    f"{option} {override}: '{parent}' is {table!r} in the recipe, not a table; set it as a whole"
                )
        table[last] = _parse_value(text)
    return data


def _parse_value(text: str) -> Any:
    tomllib = _toml()
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return text


def _toml() -> Any:
    """The TOML parser: part of Python from 3.11 on."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib


def from_dict(cls: type[T], data: dict[str, Any]) -> T:
    """Build settings from plain data such as parsed TOML or JSON, with dictionaries and lists.

    One text is accepted for a list of texts, an integer for a number, and "none" where None is allowed.

    Raises:
        SettingsError: a line for each unknown key, and for the first wrong value of each table, with its path. A table
            with an unknown key is not looked at further.
    """
    from cattrs import BaseValidationError

    try:
        return _converter().structure(data, cls)
    except BaseValidationError as error:
        raise SettingsError("\n".join(_messages(error, ""))) from None


@cache
def _converter() -> Converter:
    """A cattrs converter for tables and lists; other values are passed on for `Settings.__post_init__` to check."""
    from cattrs import Converter
    from cattrs.gen import make_dict_structure_fn

    converter = Converter()

    def read_table(kind: Any) -> Callable[[Any, Any], Any]:
        read = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)
        return lambda value, _: read(value, kind) if isinstance(value, dict) else value

    def read_list(value: Any, kind: Any) -> Any:
        items: Any = GenericAlias(list, get_args(kind)[:1])
        values = [value] if isinstance(value, str) else value
        return tuple(converter.structure(values, items)) if isinstance(values, list | tuple) else value

    def read_dict(value: Any, kind: Any) -> Any:
        item = get_args(kind)[1]
        return {k: converter.structure(v, item) for k, v in value.items()} if isinstance(value, dict) else value

    def read_union(value: Any, kind: Any) -> Any:
        options = get_args(kind)
        if NoneType in options and value in ("none", "None", "null"):
            return None
        read = ((converter.structure(value, option), option) for option in options if option is not NoneType)
        return next((result for result, option in read if fits(result, option)), value)

    def keep(value: Any, _: Any) -> Any:
        return value

    for plain in (bool, int, str):
        converter.register_structure_hook(plain, keep)
    converter.register_structure_hook(float, lambda value, _: float(value) if type(value) is int else value)
    for origins, hook in (
        ((Literal,), keep),
        ((tuple,), read_list),
        ((dict,), read_dict),
        ((Union, UnionType), read_union),
    ):
        converter.register_structure_hook_func(partial(_is_of, origins), hook)
    converter.register_structure_hook_factory(dataclasses.is_dataclass, read_table)
    return converter


def _is_of(origins: tuple[Any, ...], kind: Any) -> bool:
    return get_origin(kind) in origins


def _messages(error: BaseException, path: str) -> Iterator[str]:
    """Flatten cattrs' tree of errors to one line per error; `path` is where in the settings it arose."""
    from cattrs import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

    before = f"{path}." if path else ""
    if isinstance(error, ForbiddenExtraKeysError):
        known = list(kinds(error.cl))
        for key in sorted(error.extra_fields):
            yield unknown("key", key, known, inside=before)
    elif isinstance(error, ClassValidationError):
        fields, others = error.group_exceptions()
        missing = [note.name for inner, note in fields if isinstance(inner, KeyError)]
        if missing:
            yield f"{repr(path) if path else 'the recipe'} lacks {', '.join(missing)}"
        for inner, note in fields:
            if not isinstance(inner, KeyError):
                yield from _messages(inner, before + note.name)
        for inner in others:
            yield from _messages(inner, path)
    elif isinstance(error, IterableValidationError):
        for inner, place in error.group_exceptions()[0]:
            yield from _messages(inner, f"{path}[{place.index}]")
    else:
        text = str(error)
        yield f"'{before}{text[1:]}" if text.startswith("'") else f"{path}: {text}".removeprefix(": ")

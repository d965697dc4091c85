"""Reading the bodies of requests: JSON or multipart/form-data, and the photo in them."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from mobilesam.errors import DataError
from mobilesam.serve.problems import Problem
from mobilesam.serve.schemas import Body, PhotoRequest
from mobilesam.text import parse_json

FILE_FIELDS = ("photo", "image", "file")


@dataclass(frozen=True)
class Upload:
    """A file of a form."""

    content: bytes
    name: str
    """As the client gave it: never a path to open."""


class InMemoryParser(MultiPartParser):
    """A parser that writes no part of an upload to disk; the whole body is in memory already."""

    spool_max_size = 2**62


async def read_body(request: Request, model: type[Body]) -> tuple[Body, Upload | None]:
    """Read a request's body.

    Returns:
        The checked fields, and the photo if it came as a file.

    Raises:
        Problem: the body is of another type, or is damaged.
        pydantic.ValidationError: a field is unknown or wrong.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_form(request, model)
    content = await request.body()
    if kind not in ("application/json", "") and not kind.endswith("+json"):
        raise Problem(415, "the body must be application/json or multipart/form-data")
    return model.model_validate(_object(content)), None


def _object(content: bytes) -> dict[str, Any]:
    if not content:
        raise Problem(400, "the body is empty; send JSON or multipart/form-data")
    try:
        found = parse_json(content)
    except DataError as error:
        raise Problem(400, f"the body is {error}") from None
    if not isinstance(found, dict):
        raise Problem(422, "the body must be a JSON object")
    return found


async def _read_form(request: Request, model: type[Body]) -> tuple[Body, Upload | None]:
    """Fields of a form: a file `photo`; any other field is JSON, or a text."""
    try:
        parser = InMemoryParser(request.headers, request.stream(), max_files=2, max_fields=32, max_part_size=2**20)
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError, UnicodeError) as error:
        raise Problem(400, "the multipart body is damaged, or has too many or too large fields") from error
    try:
        fields, photo = await _fields(form)
    finally:
        await form.close()
    return model.model_validate(fields), photo


async def _fields(form: FormData) -> tuple[dict[str, Any], Upload | None]:
    """The fields of a form, and its file."""
    fields: dict[str, Any] = {}
    photo: Upload | None = None
    for name, value in form.multi_items():
        if not isinstance(value, str):
            if name not in FILE_FIELDS or photo is not None:
                raise Problem(422, "one file is expected, in the field 'photo'")
            photo = Upload(await value.read(), value.filename or "")
        else:
            fields[name] = _value(value)
    return fields, photo


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def photo_bytes(body: PhotoRequest, upload: Upload | None) -> bytes | None:
    """The photo of a request, or None if it is to be fetched from `body.url`.

    Raises:
        Problem: there is none, or more than one.
    """
    given = [value for value in (upload, body.photo, body.url) if value is not None]
    if len(given) != 1:
        raise Problem(422, "give one photo: a file 'photo' by multipart, 'photo' in base64, or 'url'")
    if upload is not None:
        return upload.content
    return None if body.photo is None else from_base64(body.photo, "photo")


def from_base64(text: str, what: str) -> bytes:
    """Decode base64, with or without the head of a data: address.

    Raises:
        Problem: it is something else.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(422, f"'{what}' is not base64") from None

"""Errors of the service as `application/problem+json` (RFC 9457), with the sentences of the library."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from mobilesam.errors import DataError, ImageError, MobileSamError, PromptError, SettingsError

MEDIA_TYPE = "application/problem+json"


class Problem(MobileSamError):  # noqa: N818 - RFC 9457 calls it so
    """A request that is answered with an error.

    Args:
        status: HTTP status code.
        detail: sentence that says what was found and how to mend it.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


class Busy(Problem):
    """The service has as much work as it accepts; the client should come again."""

    def __init__(self, what: str, seconds: int = 1) -> None:
        super().__init__(503, f"{what}; try again in {seconds} s", {"Retry-After": str(seconds)})


def json_response(record: Any, status: int = 200, headers: dict[str, str] | None = None, media: str = "") -> Response:
    """An answer in JSON, in ASCII, so that no text of a request can make it fail."""
    content = json.dumps(record, separators=(",", ":"))
    return Response(content, status, headers, media or "application/json")


def problem_response(problem: Problem) -> Response:
    """The answer for an error."""
    record = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    return json_response(record, problem.status, problem.headers, MEDIA_TYPE)


def as_problem(error: Exception) -> Problem:
    """The problem that an exception stands for; 500 without its text where it was not raised on purpose."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ValidationError):
        return Problem(422, "; ".join(_sentences(error)))
    if isinstance(error, ImageError) and "too many pixels" in str(error):
        return Problem(413, str(error))
    if isinstance(error, DataError):
        return Problem(400, str(error))
    if isinstance(error, ImageError | PromptError | SettingsError):
        return Problem(422, str(error))
    return Problem(500, "the service failed; its log says why")


def _sentences(error: ValidationError) -> list[str]:
    """One sentence for each of the first wrong fields, without their values."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    sentences = []
    for item in found[:5]:
        place = ".".join(str(part) for part in item["loc"])[:200]
        sentences.append(f"'{place}': {item['msg'][:200]}" if place else item["msg"][:200])
    return sentences

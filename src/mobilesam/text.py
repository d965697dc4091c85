"""Reading text and JSON in UTF-8, with or without a byte-order mark, in UTF-16 and in UTF-32."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from mobilesam.errors import DataError, first_line

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Control characters, halves of surrogate pairs, U+FFFE and U+FFFF, which no escape of XML can write either."""

MOST_LISTED = 12
"""Names that a message lists although one of them is near enough to be meant."""


def decode_text(data: bytes) -> str:
    """Decode the bytes of a text file, without the byte-order mark that Windows editors write.

    Raises:
        DataError: it is no text in UTF-8, UTF-16 or UTF-32.
    """
    try:
        # json tells the encodings apart by the first bytes, a rule that holds for any text that starts in ASCII
        return data.decode(json.detect_encoding(data)).removeprefix("\ufeff")
    except ValueError as error:
        raise DataError(f"not text in UTF-8 or UTF-16 ({first_line(error)}); save it as UTF-8") from error


def encodable(text: str) -> str:
    """The text with what UTF-8 cannot encode written out, such as "\\udcc3" for a byte of a foreign file name."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def for_xml(text: str) -> str:
    """The text with what XML 1.0 cannot hold written out, such as "\\x02"; "<" and "&" are left to be escaped."""
    return _NOT_XML.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def unknown(what: str, name: str, known: Iterable[str], inside: str = "") -> str:
    """The message about a name that does not exist, with the nearest that does: "unknown model 'x'; known: ...".

    Args:
        what: the kind of thing that has the name.
        name: the name.
        known: those that exist.
        inside: what the name is shown after, such as "run." for a key of that table.
    """
    from difflib import get_close_matches  # here, because a cold start needs it only for an error

    names = list(known)
    near = get_close_matches(name, names, n=1)
    advice = [f"did you mean '{near[0]}'?"] if near else []
    if not near or len(names) <= MOST_LISTED:
        advice.append(f"known: {', '.join(names)}")
    return f"unknown {what} '{inside}{name}'; {' '.join(advice)}"


def counted(count: int, noun: str) -> str:
    """A number of things in words: "1 mask", "2 masks"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def parse_json(data: bytes) -> Any:
    """Parse the bytes of a JSON file.

    Raises:
        DataError: it is invalid JSON, or nested too deep for any real file.
    """
    text = decode_text(data)
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"not JSON ({first_line(error)})") from error
    except RecursionError as error:
        raise DataError("not JSON that anybody means: nested too deep") from error

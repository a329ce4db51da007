"""Parsers of request bodies."""

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework import parsers
from rest_framework.exceptions import ParseError
from rest_framework.utils import json

# Deeper than any body of this API, and shallow enough for recursive code.
MAX_DEPTH = 50
TOO_DEEP = "JSON parse error - nested too deeply"


class JSONParser(parsers.JSONParser):
    """A JSON parser that refuses what other parsers would read differently."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        encoding = (parser_context or {}).get("encoding") or settings.DEFAULT_CHARSET
        try:
            body = json.loads(
                stream.read().decode(encoding),
                parse_constant=json.strict_constant,
                parse_int=whole_number,
                object_pairs_hook=without_repetitions,
            )
        except RecursionError as error:
            raise ParseError(TOO_DEEP) from error
        except ValueError as error:
            raise ParseError(f"JSON parse error - {error}") from error
        if is_deeper(body, MAX_DEPTH):
            raise ParseError(TOO_DEEP)
        return body


def is_deeper(body: Any, levels: int) -> bool:
    """Return whether arrays and objects are nested more than `levels` deep."""
    layer = [body] if isinstance(body, (dict, list)) else []
    for _ in range(levels):
        inside = (each.values() if isinstance(each, dict) else each for each in layer)
        layer = [child for each in inside for child in each if isinstance(child, (dict, list))]
    return bool(layer)


def whole_number(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as error:
        # Python's own message is for programmers.
        raise ValueError("a number has too many digits") from error


def without_repetitions(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, and refuse repeated names (RFC 8259, section 4).

    Parsers differ in which value of a repeated name they use, so a gateway could check a different
    value from the one that is booked here.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f'the name "{name:.40}" is given more than once')
        found[name] = value
    return found

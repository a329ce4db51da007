"""Reading request bodies."""

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework import parsers
from rest_framework.exceptions import ParseError
from rest_framework.utils import json


class JSONParser(parsers.JSONParser):
    """Reads JSON that all of its readers understand alike."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        encoding = (parser_context or {}).get("encoding") or settings.DEFAULT_CHARSET
        try:
            return json.loads(
                stream.read().decode(encoding),
                parse_constant=json.strict_constant,
                parse_int=whole_number,
                object_pairs_hook=without_repetitions,
            )
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deeply") from error
        except ValueError as error:
            raise ParseError(f"JSON parse error - {error}") from error


def whole_number(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as error:
        # What Python says of too many digits is for programmers in Python.
        raise ValueError("a number has too many digits") from error


def without_repetitions(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object whose names are unique (RFC 8259, section 4).

    Which value of a repeated name counts is up to each reader: what a gateway has checked might
    not be what is booked here.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f'the name "{name:.40}" is given more than once')
        found[name] = value
    return found

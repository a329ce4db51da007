"""Cursors: positions in a list as text, from which its pages start."""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode

from django.db import models
from django.db.models import Model
from rest_framework import serializers

# Example values of the columns, for the documentation.
EXAMPLES = {"id": 100, "seq": 100, "date": datetime(2026, 5, 1, 12, tzinfo=UTC)}


class Place(NamedTuple):
    """A place between two rows: after the row with this key, or before it."""

    key: Sequence[Any]
    before: bool = False


def encode(ordering: str, place: Place) -> str:
    """Return the cursor of a place in the rows by `ordering`."""
    direction = [("r", "1")] if place.before else []
    tokens = [("s", ordering), *direction, *(("p", value) for value in place.key)]
    return b64encode(urlencode(tokens).encode("ascii")).decode("ascii")


def decode(cursor: str, ordering: str, model: type[Model], columns: Sequence[str]) -> Place:
    """Return the place of a cursor. Raises ValueError unless it belongs to this ordering."""
    text = b64decode(cursor.encode("ascii"), validate=True).decode("ascii")
    tokens = parse_qs(text, keep_blank_values=True, strict_parsing=True, max_num_fields=9)
    if tokens.pop("s", None) != [ordering] or tokens.keys() - {"p", "r"}:
        raise ValueError("This cursor belongs to another list.")
    values = zip(columns, tokens.get("p", []), strict=True)
    try:
        key = [field_of(model, name).run_validation(value) for name, value in values]
    except serializers.ValidationError as error:
        raise ValueError("This cursor holds no valid key.") from error
    return Place(key, before="r" in tokens)


def example(ordering: str, columns: Sequence[str]) -> str:
    """Return an example of a cursor in a list by `ordering`."""
    return encode(ordering, Place([EXAMPLES[name] for name in columns]))


@cache
def field_of(model: type[Model], name: str) -> serializers.Field[Any, Any, Any, Any]:
    """Return the field that parses a column's value in a cursor."""
    column = model._meta.get_field(name)
    if isinstance(column, models.DateTimeField):
        return serializers.DateTimeField()
    if isinstance(column, models.CharField):
        return serializers.CharField(trim_whitespace=False)
    return serializers.IntegerField(min_value=0, max_value=models.BigIntegerField.MAX_BIGINT)

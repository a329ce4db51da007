"""How every list of the API is cut into pages."""

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode

from django.db import models
from django.db.models import Model, QuerySet
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from almaFintech.db.querysets import beyond, first_rows

# What the columns that make a key hold in a row that the documentation names.
EXAMPLES = {"id": 100, "seq": 100, "date": datetime(2026, 5, 1, 12, tzinfo=UTC)}


class Place(NamedTuple):
    """A place between two rows: after the row with this key, or before it."""

    key: Sequence[Any]
    before: bool = False


class KeysetPagination(CursorPagination):
    """Pages of a bare array, linked by the `Link` header (RFC 8288).

    A page starts after the key of the row before it, so its cost does not depend on how many
    rows precede it, and rows that appear or vanish meanwhile shift nothing.

    The view's `orderings` name the columns that make the key of each ordering, the last one such
    that no two rows have the same key; its `ordering` is the one taken unless `?ordering=` says
    otherwise. `?limit=` is 1 or more and cut to 1000; `?cursor=` is to be taken from a `Link`
    header, and belongs to its ordering.
    """

    page_size = 100
    max_page_size = 1000
    page_size_query_param = "limit"
    ordering_query_param = "ordering"
    ordering = "id"
    orderings: Mapping[str, Sequence[str]] = {"id": ("id",)}

    base_url: str
    page: list[Any]
    place: Place | None
    has_next: bool
    has_previous: bool

    def paginate_queryset(  # type: ignore[override]
        self, queryset: QuerySet[Any], request: Request, view: APIView | None = None
    ) -> list[Any]:
        limit = self.get_page_size(request)
        self.base_url = request.build_absolute_uri()
        [self.ordering] = self.get_ordering(request, queryset, view)  # type: ignore[arg-type]
        self.key = self._orderings(view)[self.ordering.lstrip("-")]
        self.place = self.get_place(request, queryset.model)
        backward = self.place is not None and self.place.before

        descending = self.ordering.startswith("-") != backward
        after = self.place and beyond(self.key, self.place.key, descending=descending)
        columns = [f"-{name}" if descending else name for name in self.key]
        # One row more than the page tells whether there is another page.
        rows = first_rows(queryset, columns, limit + 1, after=after)
        more, rows = len(rows) > limit, rows[:limit]
        self.page = rows[::-1] if backward else rows
        self.has_next = backward or more
        self.has_previous = more if backward else self.place is not None
        self.display_page_controls = self.has_next or self.has_previous
        return self.page

    def get_page_size(self, request: Request) -> int:
        limit = request.query_params.get(self.page_size_query_param)
        if limit is None:
            return self.page_size
        if not re.fullmatch(r"0*[1-9][0-9]{0,17}", limit):
            raise ValidationError(
                {self.page_size_query_param: ["A whole number from 1 is required."]}
            )
        return min(int(limit), self.max_page_size)

    def get_ordering(
        self, request: Request, queryset: QuerySet[Model], view: APIView
    ) -> tuple[str, ...]:
        asked = request.query_params.get(self.ordering_query_param)
        if asked is None:
            return (getattr(view, "ordering", self.ordering),)
        known = self._known_orderings(view)
        if asked not in known:
            message = f"One of these is required: {', '.join(known)}."
            raise ValidationError({self.ordering_query_param: [message]})
        return (asked,)

    def _orderings(self, view: APIView | None) -> Mapping[str, Sequence[str]]:
        return getattr(view, "orderings", self.orderings)

    def _known_orderings(self, view: APIView) -> list[str]:
        return [f"{sign}{name}" for name in self._orderings(view) for sign in ("", "-")]

    def get_place(self, request: Request, model: type[Model]) -> Place | None:
        """Read the cursor; one that no link of this ordering gave is refused."""
        encoded = request.query_params.get(self.cursor_query_param)
        if encoded is None:
            return None
        try:
            text = b64decode(encoded.encode("ascii"), validate=True).decode("ascii")
            tokens = parse_qs(text, keep_blank_values=True, strict_parsing=True, max_num_fields=9)
            if tokens.pop("s") != [self.ordering] or tokens.keys() - {"p", "r"}:
                raise ValueError("This cursor belongs to another list.")
            key = [
                field_of(model, name).run_validation(value)
                for name, value in zip(self.key, tokens["p"], strict=True)
            ]
        except (KeyError, ValueError, ValidationError) as error:
            raise ValidationError(
                {self.cursor_query_param: [self.invalid_cursor_message]}
            ) from error
        return Place(key, before="r" in tokens)

    def get_next_link(self) -> str | None:
        return self._link(-1, before=False) if self.has_next else None

    def get_previous_link(self) -> str | None:
        return self._link(0, before=True) if self.has_previous else None

    def _link(self, index: int, *, before: bool) -> str:
        # The page may be empty when its rows have gone; then the way leads back from its start.
        key = self._key_of(self.page[index]) if self.page else self.place.key  # type: ignore[union-attr]
        cursor = cursor_of(self.ordering, key, before=before)
        return replace_query_param(self.base_url, self.cursor_query_param, cursor)

    def _key_of(self, row: Any) -> list[Any]:
        return [row[name] if isinstance(row, dict) else getattr(row, name) for name in self.key]

    def get_paginated_response_schema(self, schema: Any) -> Any:
        return schema

    def example_cursor(self, view: APIView) -> str:
        """A cursor of the usual ordering, such as the view's own links have."""
        ordering = getattr(view, "ordering", self.ordering)
        key = self._orderings(view)[ordering.lstrip("-")]
        return cursor_of(ordering, [EXAMPLES[name] for name in key])

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        limit = {
            "name": self.page_size_query_param,
            "in": "query",
            "description": f"Rows of a page; more than {self.max_page_size} are "
            f"{self.max_page_size}. For example `10`.",
            "schema": {
                "type": "integer",
                "format": "int64",
                "minimum": 1,
                "maximum": 10**18 - 1,
                "default": self.page_size,
            },
        }
        cursor = {
            "name": self.cursor_query_param,
            "in": "query",
            "description": "Where a page starts, to be taken from a `Link` header. For example "
            f"`{self.example_cursor(view)}`.",
            "schema": {"type": "string"},
        }
        ordering = {
            "name": self.ordering_query_param,
            "in": "query",
            "description": "By what the rows are ordered; a minus turns it round. For example "
            # The one that the example of a cursor belongs to.
            f"`{getattr(view, 'ordering', self.ordering)}`.",
            "schema": {
                "type": "string",
                "enum": self._known_orderings(view),
                "default": getattr(view, "ordering", self.ordering),
            },
        }
        return [cursor, limit, ordering]

    def get_paginated_response(self, data: Any) -> Response:
        links = [("next", self.get_next_link()), ("prev", self.get_previous_link())]
        header = ", ".join(f'<{url}>; rel="{rel}"' for rel, url in links if url)
        return Response(data, headers={"Link": header} if header else None)


def cursor_of(ordering: str, key: Sequence[Any], *, before: bool = False) -> str:
    """Write down the place after the row with this key, or before it, as `get_place` reads it."""
    tokens = [("s", ordering), *([("r", "1")] if before else []), *(("p", value) for value in key)]
    return b64encode(urlencode(tokens).encode("ascii")).decode("ascii")


def field_of(model: type[Model], name: str) -> serializers.Field[Any, Any, Any, Any]:
    """The field that reads a value of a column back from a cursor."""
    column = model._meta.get_field(name)
    if isinstance(column, models.DateTimeField):
        return serializers.DateTimeField()
    if isinstance(column, models.CharField):
        return serializers.CharField(trim_whitespace=False)
    return serializers.IntegerField(min_value=0, max_value=models.BigIntegerField.MAX_BIGINT)

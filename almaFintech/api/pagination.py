"""Pagination of lists by key."""

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from almaFintech.api import cursors
from almaFintech.api.cursors import Place
from almaFintech.api.queries import PageQuery, QueryMixin
from almaFintech.db.querysets import beyond, first_rows


class KeysetPagination(BasePagination):
    """Pages of a bare array, linked by the `Link` header (RFC 8288).

    A page starts after the key of the row before it, so its cost does not depend on how many
    rows precede it, and new or deleted rows do not shift it. The view's PageQuery selects the page.

    link_parameters: parameters to add to the links, besides the cursor and those of the request.
    """

    def __init__(self, **link_parameters: str) -> None:
        self.link_parameters = link_parameters

    def paginate_queryset(  # type: ignore[override]  # every list is a queryset
        self, queryset: QuerySet[Any], request: Request, view: APIView | None = None
    ) -> list[Any]:
        assert isinstance(view, QueryMixin)  # noqa: S101
        query = view.query
        assert isinstance(query, PageQuery), "A page needs a PageQuery."  # noqa: S101
        self.ordering = query.ordering
        self.columns = query.columns_of(self.ordering)
        self.url = request.build_absolute_uri()
        self.place = self._place(query.validated_data.get("cursor"), queryset)
        backward = self.place is not None and self.place.before

        descending = self.ordering.startswith("-") != backward
        after = self.place and beyond(self.columns, self.place.key, descending=descending)
        columns = [f"-{name}" if descending else name for name in self.columns]
        # One more row than the page holds shows whether there is another page.
        limit: int = query.validated_data["limit"]
        rows: list[Any] = first_rows(queryset, columns, limit + 1, after=after)
        more, rows = len(rows) > limit, rows[:limit]
        self.page = rows[::-1] if backward else rows
        self.has_next = backward or more
        self.has_previous = more if backward else self.place is not None
        return self.page

    def get_paginated_response(self, data: Any) -> Response:
        links = []
        if self.has_next:
            links.append(f'<{self._link(-1)}>; rel="next"')
        if self.has_previous:
            links.append(f'<{self._link(0, before=True)}>; rel="prev"')
        return Response(data, headers={"Link": ", ".join(links)} if links else None)

    def _place(self, cursor: str | None, rows: QuerySet[Any]) -> Place | None:
        """Decode the cursor, or refuse it unless it belongs to this ordering."""
        if cursor is None:
            return None
        try:
            return cursors.decode(cursor, self.ordering, rows.model, self.columns)
        except ValueError as error:
            raise ValidationError({"cursor": ["Invalid cursor"]}) from error

    def _link(self, index: int, *, before: bool = False) -> str:
        place = Place(self._key_at(index), before)
        parameters = {**self.link_parameters, "cursor": cursors.encode(self.ordering, place)}
        url = self.url
        for name, value in parameters.items():
            url = replace_query_param(url, name, value)
        return url

    def _key_at(self, index: int) -> Sequence[Any]:
        if not self.page:
            # Its rows were deleted: link back from where the page would start.
            assert self.place is not None  # noqa: S101
            return self.place.key
        row = self.page[index]
        return [row[name] if isinstance(row, dict) else getattr(row, name) for name in self.columns]

"""What the query of a request may say. What it may not is refused: no typo means everything."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from django import forms
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from django_filters.filterset import BaseFilterSet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from almaFintech.api.pagination import KeysetPagination
from almaFintech.api.renderers import FORMAT

READS = ("GET", "HEAD")
PAGE = (
    KeysetPagination.page_size_query_param,
    KeysetPagination.cursor_query_param,
    KeysetPagination.ordering_query_param,
)


class ApiFormField(forms.Field):
    """A form field that takes what a field of a serializer takes, and says what that says."""

    def __init__(
        self, *args: Any, read_by: serializers.Field[Any, Any, Any, Any], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.read_by = read_by

    def clean(self, value: Any) -> Any:
        if value is None:
            return None
        try:
            return self.read_by.run_validation(value)
        except serializers.ValidationError as error:
            raise forms.ValidationError([str(message) for message in error.detail]) from error


class ApiFilter(filters.Filter):
    """A filter whose value is read as the body of a request is: `read_by` names the field.

    `example` is what the documentation shows.
    """

    field_class = ApiFormField

    def __init__(self, *args: Any, example: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.example = example


def text(max_length: int, **options: Any) -> serializers.CharField:
    """Reads a text as it stands: it is compared as a whole."""
    return serializers.CharField(max_length=max_length, trim_whitespace=False, **options)


class FilterBackend(filters.DjangoFilterBackend):
    """Filters the list that a view gives, and nothing else that the view looks up on the way."""

    def get_filterset_class(
        self, view: APIView, queryset: QuerySet[Any] | None = None
    ) -> type[BaseFilterSet] | None:
        filterset = getattr(view, "filterset_class", None)
        if filterset and queryset is not None and queryset.model is not filterset._meta.model:
            return None
        return filterset

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        if request.method not in READS or not request.query_params:
            return queryset
        return super().filter_queryset(request, queryset, view)


class QueryMixin:
    """A view that refuses a read whose query it does not understand.

    A list takes a page, an ordering and the filters of its `filterset_class`; `parameters` tells
    of the other actions what they read from the query.
    """

    parameters: Mapping[str, Sequence[str]] = {"retrieve": ()}
    filterset_class: type[BaseFilterSet] | None = None
    ordering = KeysetPagination.ordering
    orderings = KeysetPagination.orderings

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        if request.method in READS:
            errors = {
                name: [message]
                for name, message in (
                    *paging_a_stream(request),
                    *malformed(request.META.get("QUERY_STRING", "")),
                    *misunderstood(request, self.known_parameters()),
                )
            }
            if errors:
                raise serializers.ValidationError(errors)

    def known_parameters(self) -> set[str]:
        named = self.parameters.get(getattr(self, "action", ""))
        if named is None:
            filterset = self.filterset_class
            named = (*PAGE, *(filterset.base_filters if filterset else ()))
        return {*named, FORMAT}


def paging_a_stream(request: Request) -> list[tuple[str, str]]:
    """The parameters of a page, where a client has asked for all rows at once."""
    if request.accepted_renderer.format != "csv":
        return []
    return [(name, "CSV comes without pages.") for name in request.query_params if name in PAGE]


def malformed(query: str) -> list[tuple[str, str]]:
    """The parameters of a raw query that are not percent-encoded UTF-8, which Django lets pass."""
    found = []
    for pair in query.split("&"):
        # WSGI hands bytes over as text, one character for each (PEP 3333).
        raw = pair.encode("latin-1", "replace")
        name = unquote_to_bytes(raw.partition(b"=")[0]).decode("utf-8", "replace")
        try:
            unquote_to_bytes(raw).decode("utf-8")
        except UnicodeDecodeError:
            found.append((name, "This is not UTF-8."))
        if re.search(rb"%(?![0-9A-Fa-f]{2})", raw):
            found.append((name, "A percent sign is written %25."))
    return found


def misunderstood(request: Request, known: set[str]) -> list[tuple[str, str]]:
    found = []
    for name, values in request.query_params.lists():
        if name not in known:
            found.append((name, "This parameter is not known here."))
        elif len(values) > 1:
            found.append((name, "This parameter is given more than once."))
    return found

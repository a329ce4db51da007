"""Query parameters, which each read declares as the fields of a serializer.

Other parameters are refused, so that a misspelt filter does not return every row.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from almaFintech.api import cursors
from almaFintech.api.renderers import FORMAT
from almaFintech.api.serializers import SharedFields

READS = ("GET", "HEAD")
PAGE = ("limit", "cursor", "ordering")
DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
UNKNOWN = "Unknown parameter."

Q = TypeVar("Q", bound=QuerySet[Any])


class Query(SharedFields):
    """The parameters of a read besides `format`, as optional fields."""

    def narrow(self, rows: Q) -> Q:
        """Return the rows among `rows` that match the query."""
        return rows


class LimitField(serializers.IntegerField):
    """The number of rows of a page, cut to MAX_LIMIT."""

    default_error_messages = {"invalid": "Must be a whole number, 1 or more."}

    def __init__(self) -> None:
        super().__init__(
            default=DEFAULT_LIMIT,
            min_value=1,
            max_value=10**18 - 1,
            help_text=f"Rows of a page, cut to {MAX_LIMIT}. For example `10`.",
        )

    def to_internal_value(self, data: Any) -> int:
        # int() is slow for very long numbers.
        if not re.fullmatch(r"0*[1-9][0-9]{0,17}", data):
            self.fail("invalid")
        return min(int(data), MAX_LIMIT)


class OrderingField(serializers.ChoiceField):
    """One of the orderings of a PageQuery; a minus before its name reverses it."""

    default_error_messages = {"invalid_choice": "Must be one of: {choices}."}

    def __init__(self, orderings: Sequence[str], default: str) -> None:
        super().__init__(
            [f"{sign}{name}" for name in orderings for sign in ("", "-")],
            default=default,
            # The example of a cursor has the same ordering.
            help_text=f"Order of the rows; a minus reverses it. For example `{default}`.",
        )

    def fail(self, key: str, **kwargs: Any) -> Any:
        super().fail(key, choices=", ".join(self.choices), **kwargs)


class PageQuery(Query):
    """The parameters of a page.

    Attributes:
        orderings: the columns of each ordering; together they are unique.
        default_ordering: the name of one of them, with a minus if it is reversed.
    """

    orderings: Mapping[str, Sequence[str]] = {"id": ("id",)}
    default_ordering = "id"

    limit = LimitField()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        cursor = serializers.CharField(
            required=False,
            trim_whitespace=False,
            help_text="Where a page starts: taken from a `Link` header. For example "
            f"`{self.example_cursor()}`.",
        )
        return {**super().get_fields(), "cursor": cursor}

    @classmethod
    def columns_of(cls, ordering: str) -> Sequence[str]:
        return cls.orderings[ordering.removeprefix("-")]

    @classmethod
    def example_cursor(cls) -> str:
        ordering = cls.default_ordering
        return cursors.example(ordering, cls.columns_of(ordering))

    @property
    def ordering(self) -> str:
        return self.validated_data.get("ordering", self.default_ordering)


class ListQuery(PageQuery):
    """The parameters of a list: its page and its ordering, and in a subclass its filters.

    Each filter is named after a look-up of the rows, or has one as its `source`.
    """

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        ordering = OrderingField([*self.orderings], self.default_ordering)
        return {**super().get_fields(), "ordering": ordering}

    @property
    def conditions(self) -> dict[str, Any]:
        """The filters in the query, as keyword arguments of `filter()`."""
        return {name: value for name, value in self.validated_data.items() if name not in PAGE}

    def narrow(self, rows: Q) -> Q:
        return rows.filter(**self.conditions)


class QueryMixin(APIView):
    """A view that refuses reads with unknown or invalid query parameters.

    Attributes:
        queries: the parameters of each action that has any besides `format`.
    """

    queries: Mapping[str, type[Query]] = {}

    def query_class(self) -> type[Query]:
        return self.queries.get(getattr(self, "action", None) or "", Query)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method in READS and request.META.get("QUERY_STRING"):
            self.refuse_unknown_parameters(request)

    def refuse_unknown_parameters(self, request: Request) -> None:
        errors = {
            name: [message]
            for name, message in (
                *paged_stream(request),
                *malformed(request.META.get("QUERY_STRING", "")),
                *misunderstood(request, {*self.query_class()().fields, FORMAT}),
            )
        }
        if errors:
            raise serializers.ValidationError(errors)

    @cached_property
    def query(self) -> Query:
        """The parameters of this request. Raises ValidationError with all invalid values."""
        # DRF would read the QueryDict as a form, in which a blank field counts as missing.
        query = self.query_class()(data=self.request.query_params.dict())
        query.is_valid(raise_exception=True)
        return query

    def filter_queryset(self, rows: Q) -> Q:
        """Narrow the rows of a list. The look-up of a single row ignores the query."""
        return self.query.narrow(rows) if getattr(self, "action", None) == "list" else rows


def exact_text(max_length: int, help_text: str) -> serializers.CharField:
    """Return a field for text that must match exactly."""
    return serializers.CharField(
        max_length=max_length, trim_whitespace=False, required=False, help_text=help_text
    )


def paged_stream(request: Request) -> list[tuple[str, str]]:
    """Find page parameters in a request for CSV, which returns all rows."""
    if request.accepted_renderer.format != "csv":
        return []
    return [(name, "CSV is not paginated.") for name in request.query_params if name in PAGE]


def malformed(query: str) -> list[tuple[str, str]]:
    """Find the parts of a raw query that are not percent-encoded UTF-8; Django ignores them."""
    found = []
    for pair in query.split("&"):
        # WSGI passes bytes as text, one character for each byte (PEP 3333).
        raw = pair.encode("latin-1", "replace")
        name = unquote_to_bytes(raw.partition(b"=")[0]).decode("utf-8", "replace")
        try:
            unquote_to_bytes(raw).decode("utf-8")
        except UnicodeDecodeError:
            found.append((name, "Must be UTF-8."))
        if re.search(rb"%(?![0-9A-Fa-f]{2})", raw):
            found.append((name, "A percent sign must be written as %25."))
    return found


def misunderstood(request: Request, known: set[str]) -> list[tuple[str, str]]:
    """Find unknown parameters and repeated ones."""
    found = []
    for name, values in request.query_params.lists():
        if name not in known:
            found.append((name, UNKNOWN))
        elif len(values) > 1:
            found.append((name, "Must be given only once."))
    return found

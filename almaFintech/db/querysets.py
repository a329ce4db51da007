"""Queries for the first rows of a list that read no others, and queries that lock rows."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar

from django.db import connection
from django.db.models import F, Model, Q, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan

M = TypeVar("M", bound=Model)


class Parts(NamedTuple):
    """The index ranges that contain the rows of a queryset.

    Attributes:
        base: the queryset before it was limited to the ranges.
        ranges: arguments of `filter()`, one mapping for each range; a row may be in several.
        conditions: further conditions on the rows.
    """

    base: Any
    ranges: Sequence[Mapping[str, Any]]
    conditions: tuple[Q, ...] = ()

    def querysets(self) -> list[Any]:
        rows = self.base
        for condition in self.conditions:
            rows = rows.filter(condition)
        return [rows.filter(**range) for range in self.ranges]


class BranchedQuerySet(QuerySet[M]):
    """Rows in several ranges of an index, each of which is sorted.

    `WHERE origin = 1 OR destination = 1 ORDER BY date` is no single range of any index: the
    database would sort all rows of the account, or search the whole table by date. Each branch
    alone is one range, and at most one page of it is read.
    """

    # `filter()` and `exclude()` narrow the parts too, `all()` and `values()` keep them. All other
    # methods drop them; one ordinary statement then reads the rows.
    parts: Parts | None = None

    def in_ranges(self, condition: Q, ranges: Sequence[Mapping[str, Any]]) -> Self:
        """Return the rows that meet `condition`, which must limit them to `ranges`."""
        rows, known = self.filter(condition), self.parts
        if known is None:
            rows.parts = Parts(self, ranges)
        elif all(range in ranges for range in known.ranges):
            # The condition adds nothing, and would mislead the query planner.
            rows.parts = known
        elif all(range in known.ranges for range in ranges):
            rows.parts = known._replace(ranges=ranges)
        return rows

    def all(self) -> Self:
        rows = super().all()
        rows.parts = self.parts
        return rows

    def values(self, *fields: Any, **expressions: Any) -> Any:
        rows: Any = super().values(*fields, **expressions)
        if self.parts:
            base = self.parts.base.values(*fields, **expressions)
            rows.parts = self.parts._replace(base=base)
        return rows

    def filter(self, *args: Any, **kwargs: Any) -> Self:
        return self._narrowed(super().filter(*args, **kwargs), Q(*args, **kwargs))

    def exclude(self, *args: Any, **kwargs: Any) -> Self:
        return self._narrowed(super().exclude(*args, **kwargs), ~Q(*args, **kwargs))

    def _narrowed(self, rows: Self, condition: Q) -> Self:
        if self.parts:
            conditions = (*self.parts.conditions, condition)
            rows.parts = self.parts._replace(conditions=conditions)
        return rows

    def branches(self, ordering: Sequence[str]) -> Sequence[Self]:
        """Return querysets that together contain these rows, each in the order of an index."""
        return self.parts.querysets() if self.parts else [self]

    def first_rows(self, ordering: Sequence[str], limit: int, *, after: Any = None) -> list[M]:
        """Return the first `limit` rows by `ordering` that meet the condition `after`."""
        can_merge = connection.features.supports_slicing_ordering_in_compound
        branches = self.branches(ordering) if can_merge else [self]
        first, *others = [_first(branch, ordering, limit, after) for branch in branches or [self]]
        if not others:
            return list(first)
        # UNION, not UNION ALL, because a row may be in several branches.
        return list(first.union(*others).order_by(*ordering)[:limit])


def locked(rows: QuerySet[M], *, no_key: bool = True) -> QuerySet[M]:
    """Return these rows in their latest state, locked in key order until the commit."""
    # NO KEY does not block inserts that refer to a row; they only check that it exists.
    no_key = no_key and connection.features.has_select_for_no_key_update
    return rows.order_by("pk").select_for_update(no_key=no_key)


def locked_single(model: type[M]) -> M:
    """Return the only row of a table, locked until the commit."""
    every: QuerySet[M] = QuerySet(model)
    rows = locked(every)
    if not rows:
        # Only after somebody deleted it. Concurrent calls create a single row, unsigned.
        every.bulk_create([model()], ignore_conflicts=True)
        rows = locked(every)
    return rows[0]


def first_rows(
    rows: QuerySet[Any], ordering: Sequence[str], limit: int, *, after: Any = None
) -> Any:
    """Return the first `limit` of `rows` by `ordering` that meet the condition `after`."""
    if isinstance(rows, BranchedQuerySet):
        return rows.first_rows(ordering, limit, after=after)
    return list(_first(rows, ordering, limit, after))


def _first(rows: QuerySet[Any], ordering: Sequence[str], limit: int, after: Any) -> QuerySet[Any]:
    if after is not None:
        rows = rows.filter(after)
    return rows.order_by(*ordering)[:limit]


def beyond(key: Sequence[str], values: Sequence[Any], *, descending: bool) -> Any:
    """Return the condition for rows that come after the row whose `key` has these values."""
    if connection.vendor == "mysql":
        # MariaDB uses no index for row comparisons, but it does for each of these alternatives.
        found, equal = Q(), Q()
        for name, value in zip(key, values, strict=True):
            found |= equal & Q(**{f"{name}__{'lt' if descending else 'gt'}": value})
            equal &= Q(**{name: value})
        return found
    compare = TupleLessThan if descending else TupleGreaterThan
    return compare(Tuple(*map(F, key)), tuple(values))

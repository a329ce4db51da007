"""Reading the first rows of a list without reading the others, and reading under a lock."""

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

from django.db import connection
from django.db.models import F, Model, Q, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan

M = TypeVar("M", bound=Model)


class BranchedQuerySet(QuerySet[M]):
    """Rows that lie in several ranges of an index, each of which holds them in order.

    `WHERE origin = 1 OR destination = 1 ORDER BY date` is no single range of any index: the
    database would sort all rows of the account, or search the whole table by date. Each branch
    alone is one range, of which at most one page is read.
    """

    # Each row meets at least one of these conditions, given as arguments of `filter()`. That stays
    # true under further conditions, so clones keep it; a union with other rows drops it.
    alternatives: Sequence[Mapping[str, Any]] = ()

    def branches(self, ordering: Sequence[str]) -> Sequence[Self]:
        """Return querysets that have these rows between them, each in the order of an index.

        A row may be in several of them. Without any, the rows are read by one statement as usual.
        """
        return [self.filter(**condition) for condition in self.alternatives]

    def first_rows(self, ordering: Sequence[str], limit: int, *, after: Any = None) -> list[M]:
        """Return the first `limit` rows by `ordering` that meet the condition `after`."""
        branches = self.branches(ordering)
        can_merge = connection.features.supports_slicing_ordering_in_compound
        if len(branches) < 2 or not can_merge:
            return list(_first(self, ordering, limit, after))
        parts = [_first(branch, ordering, limit, after) for branch in branches]
        # UNION, and not UNION ALL, because a row may be in several branches.
        return list(parts[0].union(*parts[1:]).order_by(*ordering)[:limit])

    def union(self, *others: Any, **options: Any) -> Self:
        return _without_alternatives(super().union(*others, **options))

    def __or__(self, other: Any) -> Self:
        return _without_alternatives(super().__or__(other))

    def __xor__(self, other: Any) -> Self:
        return _without_alternatives(super().__xor__(other))

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone.alternatives = self.alternatives
        return clone


B = TypeVar("B", bound=BranchedQuerySet[Any])


def _without_alternatives(rows: B) -> B:
    # A copy, because the union with an empty queryset is the other queryset itself.
    rows = rows.all()
    rows.alternatives = ()
    return rows


def locked(rows: QuerySet[M], *, no_key: bool = True) -> QuerySet[M]:
    """Return these rows as they are now, locked in the order of their keys until the commit."""
    # NO KEY does not block inserts that refer to a row, which only check that it exists.
    no_key = no_key and connection.features.has_select_for_no_key_update
    return rows.order_by("pk").select_for_update(no_key=no_key)


def locked_single(model: type[M]) -> M:
    """Return the only row of a table, locked until the commit."""
    every: QuerySet[M] = QuerySet(model)
    rows = locked(every)
    if not rows:
        # Only after somebody deleted it. Two that come here at once make one row, unsigned.
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
    """Return the condition that a row comes after the row whose `key` has these values."""
    if connection.vendor == "mysql":
        # MariaDB uses no index to compare rows, but it does for each of these alternatives.
        found, equal = Q(), Q()
        for name, value in zip(key, values, strict=True):
            found |= equal & Q(**{f"{name}__{'lt' if descending else 'gt'}": value})
            equal &= Q(**{name: value})
        return found
    compare = TupleLessThan if descending else TupleGreaterThan
    return compare(Tuple(*map(F, key)), tuple(values))

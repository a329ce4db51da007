"""Reading the first rows of a list without reading the others, and reading under a lock."""

from collections.abc import Sequence
from typing import Any, Self, TypeVar

from django.db import connection
from django.db.models import F, Model, Q, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan

M = TypeVar("M", bound=Model)


class BranchedQuerySet(QuerySet[M]):
    """Rows that are found in several places of an index, each of which holds them in order.

    `WHERE origin = 1 OR destination = 1 ORDER BY date` is no range of any index: the database
    would sort all rows of the account, or look for them through the whole table by date. Each
    branch alone is a range, of which no more than one page is read.
    """

    # Querysets that make up this one; a row may be in several. A method that knows them sets
    # them on what it returns. They are forgotten by whatever is asked of that, since a further
    # condition would be missing from them.
    branches: Sequence[Self] = ()

    def branches_by(self, ordering: Sequence[str]) -> Sequence[Self]:
        """The branches, each of which an index holds in this order; none when there is no need."""
        return self.branches

    def head(self, ordering: Sequence[str], limit: int, *, after: Any = None) -> list[M]:
        """The first `limit` rows by `ordering`, of those that fulfill the condition `after`."""
        branches = self.branches_by(ordering)
        can_merge = connection.features.supports_slicing_ordering_in_compound
        if len(branches) < 2 or not can_merge:
            return list(_first(self, ordering, limit, after))
        heads = [_first(branch, ordering, limit, after) for branch in branches]
        # UNION, and not UNION ALL, because a row may be in several branches.
        return list(heads[0].union(*heads[1:]).order_by(*ordering)[:limit])


def locked(rows: QuerySet[M], *, no_key: bool = True) -> QuerySet[M]:
    """These rows as they are now, locked in the order of their keys until the transaction ends."""
    # NO KEY leaves those alone who only check that a row is there: inserts that refer to it.
    no_key = no_key and connection.features.has_select_for_no_key_update
    return rows.order_by("pk").select_for_update(no_key=no_key)


def locked_single(model: type[M]) -> M:
    """The one row of a table that has one, locked until the transaction ends."""
    every: QuerySet[M] = QuerySet(model)
    rows = locked(every)
    if not rows:
        # Only where it was deleted; two who come here at once make one row, which nobody signs.
        every.bulk_create([model()], ignore_conflicts=True)
        rows = locked(every)
    return rows[0]


def head(rows: QuerySet[Any], ordering: Sequence[str], limit: int, *, after: Any = None) -> Any:
    """The first `limit` of `rows` by `ordering`, of those that fulfill the condition `after`."""
    if isinstance(rows, BranchedQuerySet):
        return rows.head(ordering, limit, after=after)
    return list(_first(rows, ordering, limit, after))


def _first(rows: QuerySet[Any], ordering: Sequence[str], limit: int, after: Any) -> QuerySet[Any]:
    if after is not None:
        rows = rows.filter(after)
    return rows.order_by(*ordering)[:limit]


def beyond(key: Sequence[str], values: Sequence[Any], *, descending: bool) -> Any:
    """The condition that a row comes after the row whose `key` has these values."""
    if connection.vendor == "mysql":
        # MariaDB finds a comparison of rows in no index, but each of these alternatives.
        found, equal = Q(), Q()
        for name, value in zip(key, values, strict=True):
            found |= equal & Q(**{f"{name}__{'lt' if descending else 'gt'}": value})
            equal &= Q(**{name: value})
        return found
    compare = TupleLessThan if descending else TupleGreaterThan
    return compare(Tuple(*map(F, key)), tuple(values))

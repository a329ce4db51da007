"""Queries for the first rows of a list that read no others, and queries that lock rows."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar

from django.db import connection
from django.db.models import DateTimeField, F, Model, Q, QuerySet, Subquery
from django.db.models.expressions import RawSQL
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan

from almaFintech.db.scripts import array

M = TypeVar("M", bound=Model)


# The first keys in all ranges of one column, for PostgreSQL. Only the ranges that begin first can
# contain one of them, so most ranges cost one look-up in the index. Nothing beyond the last of
# these beginnings is read, if there are as many of them as keys wanted.
FIRST_KEYS = """
SELECT key.* FROM (
    SELECT range.value, coalesce(
        nth_value({column}, {limit}) OVER (
            ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        ), {infinity}
    ) AS last
    FROM {unnest} AS range (value) CROSS JOIN LATERAL ({beginning}) AS beginning
    ORDER BY {order} LIMIT {limit}
) AS range CROSS JOIN LATERAL ({keys}) AS key
"""


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

    def rows(self) -> Any:
        rows = self.base
        for condition in self.conditions:
            rows = rows.filter(condition)
        return rows

    def querysets(self) -> list[Any]:
        rows = self.rows()
        return [rows.filter(**range) for range in self.ranges]

    def columns(self) -> Mapping[str, list[Any]]:
        """Return the values of each column, where every range is a value of one column."""
        columns = defaultdict(list)
        for range in self.ranges:
            for column, value in range.items():
                columns[column].append(value)
        return columns

    def unbranched(self) -> Any:
        """Return the rows of the ranges by one condition, with a list of values for each column."""
        lists = ((f"{column}__in", values) for column, values in self.columns().items())
        # Without ranges there are no rows.
        return self.rows().filter(Q(("pk__in", ()), *lists, _connector=Q.OR))

    def are_sorted(self, ordering: Sequence[str]) -> bool:
        """Return whether each range is one value of a column, and its rows are in order of date."""
        names = [name.lstrip("-") for name in ordering]
        return (
            isinstance(self.base.model._meta.get_field(names[0]), DateTimeField)
            and {len(range) for range in self.ranges} == {1}
            and not self.base.query.where
            and set(names).issuperset(columns_of(*self.conditions))
        )

    def first_rows(self, ordering: Sequence[str], limit: int, after: Any) -> list[Any]:
        """Return the first rows of all ranges, which `are_sorted`, on PostgreSQL."""
        # To read the next row takes a fraction of the time of a look-up in a range. Before the
        # look-ups it is therefore worth reading as many rows as there are ranges.
        if limit < len(self.ranges):
            rows = self.near(ordering, len(self.ranges), after)
            found = list(_first(rows, ordering, limit, after))
            if len(found) == limit:
                return found
        return list(_first(self.merged(ordering, limit, after), ordering, limit, None))

    def near(self, ordering: Sequence[str], number: int, after: Any) -> Any:
        """Return those rows of the ranges that are among the first `number` rows of the table.

        If the table has fewer rows, it returns none.
        """
        first = _first(self.rows(), ordering, number, after).values(ordering[0].lstrip("-"))
        rows = self.rows().filter(**until(ordering, Subquery(first[number - 1 :])))
        # PostgreSQL cannot look up such lists in an index, so it reads the rows in order.
        lists = (
            (f"{column}__in", RawSQL(f"SELECT {self.unnest(column)}", [array(values)]))  # noqa: S611
            for column, values in self.columns().items()
        )
        return rows.filter(Q(*lists, _connector=Q.OR))

    def merged(self, ordering: Sequence[str], limit: int, after: Any) -> Any:
        """Return the first rows of all ranges, whose keys PostgreSQL finds in one statement.

        It is as long for many ranges as for few.
        """
        table, names = self.base.model._meta, [name.lstrip("-") for name in ordering]
        descending = ordering[0].startswith("-")
        columns = [table.get_field(name).column for name in names]
        order = ", ".join(f"{column} {'DESC' if descending else 'ASC'}" for column in columns)
        bound = until(ordering, RawSQL("range.last", ()))
        branches, parameters = [], []
        for column, values in self.columns().items():
            rows = self.rows().filter(**{column: RawSQL("range.value", ())}).values(*names)
            beginning, of_beginning = _first(rows, ordering, 1, after).query.sql_with_params()
            keys, of_keys = _first(
                rows.filter(**bound), ordering, limit, after
            ).query.sql_with_params()
            branches.append(
                FIRST_KEYS.format(
                    column=columns[0],
                    order=order,
                    limit=limit,
                    infinity="'-infinity'" if descending else "'infinity'",
                    unnest=self.unnest(column),
                    beginning=beginning,
                    keys=keys,
                )
            )
            parameters += [array(values), *of_beginning, *of_keys]
        # UNION, not UNION ALL, because a row may be in several ranges.
        every = " UNION ".join(branches)
        first = f"SELECT {table.pk.column} FROM ({every}) AS key ORDER BY {order} LIMIT {limit}"  # noqa: S608
        return self.base.filter(pk__in=RawSQL(first, parameters))  # noqa: S611

    def unnest(self, column: str) -> str:
        """Return the SQL for the values of an array as rows."""
        return f"unnest(%s::{self.base.model._meta.get_field(column).db_type(connection)}[])"


def until(ordering: Sequence[str], last: Any) -> dict[str, Any]:
    """Return the arguments of `filter()` for the rows up to the value `last` of the first key."""
    return {f"{ordering[0].lstrip('-')}__{'gte' if ordering[0].startswith('-') else 'lte'}": last}


def columns_of(*conditions: Any) -> Iterator[str]:
    """Yield the columns that conditions compare; an empty text for one that is unknown."""
    for condition in conditions:
        if isinstance(condition, Q):
            yield from columns_of(*condition.children)
        else:
            yield condition[0].partition("__")[0] if isinstance(condition, tuple) else ""


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

    def unbranched(self) -> Any:
        """Return these rows for a database that cannot merge the branches."""
        return self

    def first_rows(self, ordering: Sequence[str], limit: int, *, after: Any = None) -> list[M]:
        """Return the first `limit` rows by `ordering` that meet the condition `after`."""
        if not connection.features.supports_slicing_ordering_in_compound:
            branches: Sequence[Any] = [self.unbranched()]
        elif self.parts and connection.vendor == "postgresql" and self.parts.are_sorted(ordering):
            return self.parts.first_rows(ordering, limit, after)
        else:
            branches = self.branches(ordering)
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

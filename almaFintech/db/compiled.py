"""Queries that Django compiles once and then runs with different values.

For a look-up of a few rows, Django's compiler takes several times as long as the database. On
PostgreSQL they are also prepared, see `almaFintech.db.prepared`.
"""

from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import Any, Generic, TypeVar, TypeVarTuple, cast

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression, QuerySet
from django.db.models.query import ModelIterable, ValuesListIterable
from django.db.models.sql.compiler import SQLCompiler

from almaFintech.db.postgresql.base import DatabaseWrapper
from almaFintech.db.prepared import Prepared

Values = TypeVarTuple("Values")
Row = TypeVar("Row")

# The numbers of the largest column.
NUMBERS = range(-(2**63), 2**63)


def compiled(build: Callable[[*Values], QuerySet[Any, Row]]) -> Callable[[*Values], list[Row]]:
    """Turn a function that builds a queryset into one that returns its rows.

    Django compiles the queryset at the first call of each process. `build` gets an expression in
    place of each argument, which it may only compare with a column for equality, in `filter()`:

        @compiled
        def accounts_of(user: int, currency: str) -> QuerySet[Account]:
            return Account.objects.filter(profile__user=user, currency=currency)

        accounts_of(7, "USD")

    The rows are model instances, or tuples after `values_list()`. The values are integers and
    strings of the column's type. They are not None, for which SQL has another comparison.
    """

    @cache
    def statement() -> Statement[Row]:
        places = range(build.__code__.co_argcount)
        return Statement(build.__name__, build(*map(Parameter, places)))  # type: ignore[arg-type]

    @wraps(build)
    def rows(*values: *Values) -> list[Row]:
        return statement().run(values)

    return rows


class Parameter(Expression):
    """The place of a value in a statement; `index` counts the arguments from 0."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        return "%s", [self]


class Statement(Generic[Row]):
    """The SQL of a queryset, and the way from a row of the database to one of the queryset."""

    def __init__(self, name: str, rows: QuerySet[Any, Row]) -> None:
        self.name = name
        self.prepared: Prepared | None = None
        compiler = rows.query.get_compiler(connection.alias)
        self.sql, self.parameters = compiler.as_sql()
        columns = [column for column, *_ in compiler.select]
        self.converters = list(compiler.get_converters(columns).items())
        self.make = maker_of(rows, compiler)

    def run(self, values: Sequence[Any]) -> list[Row]:
        if any(isinstance(value, int) and value not in NUMBERS for value in values):
            # Not every database can compare a column with a number that does not fit into any.
            return []
        parameters = [
            values[parameter.index] if isinstance(parameter, Parameter) else parameter
            for parameter in self.parameters
        ]
        sql = self.sql
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                self.prepared = self.prepared or Prepared(self.name, sql, types_of(parameters))
                sql = cast(DatabaseWrapper, connection).call_of(self.prepared, cursor)
            cursor.execute(sql, parameters)
            rows = cursor.fetchall()
        return [self.make(self.converted(row)) for row in rows]

    def converted(self, row: Sequence[Any]) -> Sequence[Any]:
        """Return a row with Python's types: MariaDB and SQLite have no boolean, for example."""
        if not self.converters:
            return row
        values = list(row)
        for place, (converters, column) in self.converters:
            for convert in converters:
                values[place] = convert(values[place], column, connection)
        return values


def types_of(values: Sequence[Any]) -> tuple[str, ...]:
    """Return the SQL types of values: bigint also for a column of int, which it may not fit."""
    return tuple("bigint" if isinstance(value, int) else "text" for value in values)


def maker_of(rows: QuerySet[Any, Row], compiler: SQLCompiler) -> Callable[[Sequence[Any]], Any]:
    """Return a function that makes a row of the queryset from a row of the database."""
    kind = rows._iterable_class  # type: ignore[attr-defined]
    if kind is ValuesListIterable:
        return tuple
    info = compiler.klass_info
    if kind is not ModelIterable or info is None or info.get("related_klass_infos"):
        raise TypeError("Only model instances without related ones, or values_list(), are known.")
    first, last = info["select_fields"][0], info["select_fields"][-1]
    names = [compiler.select[place][0].target.attname for place in info["select_fields"]]
    annotations = list((compiler.annotation_col_map or {}).items())

    def instance(row: Sequence[Any]) -> Any:
        made = rows.model.from_db(connection.alias, names, row[first : last + 1])
        for name, place in annotations:
            setattr(made, name, row[place])
        return made

    return instance

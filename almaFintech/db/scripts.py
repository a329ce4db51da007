"""Several SQL statements that PostgreSQL gets in one message, and answers in one.

A round trip costs a client more than most statements cost the server: the thread sleeps, and wakes
up when the interpreter is free again.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, cast

from django.db import connection

from almaFintech.db.postgresql.base import DatabaseWrapper
from almaFintech.db.prepared import Prepared

Rows = list[tuple[Any, ...]]


class Script:
    """Statements to run in the order in which they were added, in the current transaction.

    An error ends the script, and the transaction can then only be rolled back.

    Attributes:
        has_committed: whether COMMIT was sent, so that a connection that is lost leaves open
            whether the transaction took place.
    """

    def __init__(self) -> None:
        self.has_committed = False
        self._clear()

    def _clear(self) -> None:
        self._statements: list[Prepared] = []
        self._parameters: list[Any] = []
        self._results: list[Rows] = []

    def add(self, statement: Prepared, *parameters: Any) -> Rows:
        """Add a statement; return a list that `run` fills with the rows of its result."""
        rows: Rows = []
        self._statements.append(statement)
        self._parameters.extend(parameters)
        self._results.append(rows)
        return rows

    def run(self, *, last: bool = False) -> None:
        """Send the statements, wait for all of them, and be empty again.

        The message also begins the transaction, if nothing has begun it.

        last: nothing follows in the caller's `atomic()` block. Unless that is part of another one,
            the message also commits, and Django finds nothing left to commit at its end.
        """
        if not self._statements:
            return
        database = cast(DatabaseWrapper, connection)
        results = self._results
        with database.cursor() as cursor:
            calls = [database.call_of(each, cursor) for each in self._statements]
            if database.is_to_begin():
                calls, results = ["BEGIN", *calls], [[], *results]
            if last and database.in_atomic_block and not database.savepoint_ids:
                calls.append("COMMIT")
                self.has_committed = True
            cursor.execute(";".join(calls), self._parameters)
            for rows in results:
                if cursor.description:
                    rows.extend(cursor.fetchall())
                cursor.nextset()
        self._clear()


def columns(rows: Sequence[Sequence[Any]], number: int) -> list[str]:
    """Return `number` columns of rows as arrays, for `unnest(%s::bigint[], %s::text[] ...)`."""
    return [array(column) for column in zip(*rows, strict=True)] if rows else ["{}"] * number


def array(values: Iterable[int | str | bytes | datetime | None]) -> str:
    """Return the text of an array (PostgreSQL's documentation, section 8.15.2).

    The driver takes ten times as long, because it compares the types of the values.
    """
    return f"{{{','.join(map(element, values))}}}"


def element(value: int | str | bytes | datetime | None) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        return rf'"\\x{value.hex()}"'
    text = value.isoformat() if isinstance(value, datetime) else value
    escaped = text.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'

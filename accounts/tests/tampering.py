"""Direct changes of the database, bypassing the ledger, the triggers and the foreign keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

from django.db import connection
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import CursorWrapper
from django.db.models import Field, Model

from almaFintech.tests.triggers import entries as triggers

UNCHECKED = {
    "postgresql": "SET session_replication_role = {}".format,
    "mysql": "SET foreign_key_checks = {}".format,
    "sqlite": "PRAGMA foreign_keys = {}".format,
}[connection.vendor]
OFF, ON = {"postgresql": ("replica", "DEFAULT")}.get(connection.vendor, ("0", "1"))


@contextmanager
def unguarded_cursor() -> Iterator[CursorWrapper]:
    """Yield a cursor that bypasses triggers and foreign keys."""
    # Not a real schema editor: SQLite's checks the foreign keys when it is done.
    editor = cast(BaseDatabaseSchemaEditor, SimpleNamespace(connection=connection))
    triggers.remove(None, editor)
    with connection.cursor() as cursor:
        cursor.execute(UNCHECKED(OFF))
        try:
            yield cursor
        finally:
            cursor.execute(UNCHECKED(ON))
            triggers.install(None, editor)


def update(cursor: CursorWrapper, row: Model, field: "Field[Any, Any]", value: object) -> None:
    """Overwrite one column of one row; the object keeps its old value."""
    table, key = row._meta.db_table, row._meta.pk
    assert key is not None
    cursor.execute(
        f"UPDATE {table} SET {field.column} = %s WHERE {key.column} = %s",
        [field.get_db_prep_value(value, connection), row.pk],
    )


def delete(cursor: CursorWrapper, row: Model) -> None:
    cursor.execute(f"DELETE FROM {row._meta.db_table} WHERE id = %s", [row.pk])


def insert(cursor: CursorWrapper, row: Model, **changes: object) -> None:
    """Insert a row with the values of the object, some of them changed."""
    values = {
        connection.ops.quote_name(str(field.column)): field.get_db_prep_value(
            changes.get(field.attname, getattr(row, field.attname)), connection
        )
        for field in row._meta.concrete_fields
    }
    cursor.execute(
        f"INSERT INTO {row._meta.db_table} ({', '.join(values)}) "
        f"VALUES ({', '.join(['%s'] * len(values))})",
        list(values.values()),
    )

"""Values as PostgreSQL reads them from the text of an array."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import DataError, connection

from almaFintech.db.scripts import array, columns
from conftest import only_on_postgresql

MOMENT = datetime(2026, 5, 1, 12, 30, 0, 123456, tzinfo=UTC)


@only_on_postgresql
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("bigint", [0, -1, 2**63 - 1, None, -(2**63)]),
        ("text", ["", "NULL", "null", None, " a ", "a,b", "{a}", "é\u2028😀"]),
        ("text", ['"', "\\", '\\"', "\\\\", "'", "';--", "%s", "\n\t\r", "\\x00", "$1"]),
        ("bytea", [b"", b"\0", b"\\x", bytes(range(256)), None]),
        ("timestamptz", [MOMENT, None, MOMENT.astimezone(timezone(timedelta(hours=-3)))]),
        ("jsonb", ['{"a": "\\"\\\\"}']),
        ("text", []),
    ],
)
def test_an_array_arrives_as_it_was(kind, values):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM unnest(%s::{kind}[])", [array(values)])
        found = [value for (value,) in cursor.fetchall()]

    if kind == "jsonb":
        assert found == [{"a": '"\\'}] or found == ['{"a": "\\"\\\\"}']
    else:
        assert found == values


@only_on_postgresql
@pytest.mark.django_db
def test_a_character_that_postgresql_cannot_store_is_refused():
    with pytest.raises((DataError, ValueError)), connection.cursor() as cursor:
        cursor.execute("SELECT %s::text[]", [array(["a\0b"])])


def test_rows_become_columns():
    assert columns([(1, "a"), (2, None)], 2) == ["{1,2}", '{"a",NULL}']
    assert columns([], 3) == ["{}"] * 3

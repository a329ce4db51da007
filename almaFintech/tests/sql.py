"""The SQL that requests send, with prepared statements spelled out."""

import re
from collections.abc import Callable

from django.db import connection
from django.test.utils import CaptureQueriesContext


def statements_of(work: Callable[[], object]) -> list[str]:
    """Return what `work` executes on a connection that has prepared its statements."""
    with CaptureQueriesContext(connection) as captured:
        work()
    texts = [query["sql"] for query in captured.captured_queries]
    return [spelled_out(text) for text in texts if not text.startswith("PREPARE ")]


def spelled_out(sql: str) -> str:
    """Return SQL in which the name of a prepared statement is replaced by the statement."""
    return re.sub(r"EXECUTE (\w+)", lambda found: statement(found[1]), sql)


def statement(key: str) -> str:
    # Past Django, which would count this query too.
    with connection.connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements WHERE name = %s", [key])
        [(definition,)] = cursor.fetchall()
    _, _, text = definition.partition(" AS ")
    return str(text).strip()

"""The ledger's clock: that of the database, which all servers share."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from django.db import connection
from django.utils import timezone

# The moment at which the statement runs; NOW() is the start of the transaction.
NOW = {
    "postgresql": "SELECT clock_timestamp()",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
}

_past: ContextVar[datetime | None] = ContextVar("past", default=None)


@contextmanager
def set_to(moment: datetime) -> Iterator[None]:
    """Let the clock show a moment of the past. For `seed_demo` alone."""
    token = _past.set(moment)
    try:
        yield
    finally:
        _past.reset(token)


def now() -> datetime:
    """Return the database's time, in UTC.

    SQLite runs in this process and uses this machine's clock.
    """
    if past := _past.get():
        return past
    if connection.vendor not in NOW:
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(NOW[connection.vendor])
        [moment] = cursor.fetchone()
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)

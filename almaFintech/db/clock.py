"""The ledger's clock: the clock of the database, which all servers share."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from django.db import connection
from django.utils import timezone

# The current time of the statement; NOW() would be the start of the transaction.
NOW = {
    "postgresql": "SELECT clock_timestamp()",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
}

_past: ContextVar[datetime | None] = ContextVar("past", default=None)


@contextmanager
def set_to(moment: datetime) -> Iterator[None]:
    """Set the clock to a moment, for demo data and for tests."""
    token = _past.set(moment)
    try:
        yield
    finally:
        _past.reset(token)


def now() -> datetime:
    """Return the database's time, in UTC.

    SQLite runs in this process and uses this machine's clock.
    """
    if connection.vendor not in NOW:
        return moment(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(NOW[connection.vendor])
        [read] = cursor.fetchone()
    return moment(read)


def moment(read: datetime) -> datetime:
    """Return the time that `NOW` has read, in UTC, or the one that the clock is set to."""
    if past := _past.get():
        return past
    return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)

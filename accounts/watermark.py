"""The moment up to which the list of transfers by date is complete.

A transfer gets its date under the locks of its accounts, and becomes visible with its commit. A
transfer with an earlier date can therefore become visible later, behind the cursor of a client
that reads the list by date. Such a list ends before the first transaction that may still commit.
"""

import logging
from datetime import UTC, datetime, timedelta

from django.db import OperationalError, connection

from accounts.models import TransferQuerySet

logger = logging.getLogger(__name__)

# The start of this statement, and not a clock that is read at its end: a transfer that gets its
# locks while the sessions are read has a date after that start. Background processes such as
# VACUUM write no transfers.
POSTGRESQL = """
SELECT least(statement_timestamp(), min(xact_start)) FROM pg_stat_activity
WHERE datname = current_database() AND backend_xid IS NOT NULL
AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
# InnoDB reads the list of its transactions at most ten times a second, hence the lag.
MARIADB = """
SELECT timestampdiff(MICROSECOND, min(trx_started), now(6)), utc_timestamp(6)
FROM information_schema.innodb_trx WHERE trx_mysql_thread_id <> connection_id()
"""
MARIADB_LAG = timedelta(seconds=5)
# For a database user without the privilege PROCESS: InnoDB hides the transactions from it.
BLIND_LAG = timedelta(seconds=60)
ACCESS_DENIED = 1227


def settled(transfers: TransferQuerySet) -> TransferQuerySet:
    """Return the transfers before which no other transfer can still appear."""
    mark = watermark()
    return transfers if mark is None else transfers.filter(date__lt=mark)


def watermark() -> datetime | None:
    """Return the moment up to which lists by date are complete; None when they always are.

    SQLite has one writer at a time, which takes the lock before it takes a date. Transfers
    therefore appear in the order of their dates.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(POSTGRESQL)
            [mark] = cursor.fetchone()
        return mark
    if connection.vendor == "mysql":
        return watermark_of_mariadb()
    return None


def watermark_of_mariadb() -> datetime:
    with connection.cursor() as cursor:
        try:
            cursor.execute(MARIADB)
            age, now = cursor.fetchone()
        except OperationalError as error:
            if error.args[0] != ACCESS_DENIED:
                raise
            cursor.execute("SELECT utc_timestamp(6)")
            [now] = cursor.fetchone()
            return now.replace(tzinfo=UTC) - BLIND_LAG
    lag = max(MARIADB_LAG, timedelta(microseconds=age or 0))
    return now.replace(tzinfo=UTC) - lag

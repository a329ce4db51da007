"""Django's backend for PostgreSQL, with a pause after a connection that failed.

A host that drops packets costs each attempt CONNECT_SECONDS. Without the pause, every request
would hold a thread for so long while the database is unreachable, and the others would queue.
"""

import time
from typing import Any, ClassVar

import psycopg
from django.db.backends.postgresql import base

# So long after a failure, all threads of this process fail at once instead of connecting.
PAUSE_SECONDS = 2


class DatabaseWrapper(base.DatabaseWrapper):
    paused_until: ClassVar[float] = 0.0
    failure: ClassVar[str] = ""

    def get_new_connection(self, conn_params: dict[str, Any]) -> psycopg.Connection:
        if time.monotonic() < DatabaseWrapper.paused_until:
            raise psycopg.OperationalError(DatabaseWrapper.failure)
        try:
            return super().get_new_connection(conn_params)
        except psycopg.OperationalError as error:
            DatabaseWrapper.failure = str(error)
            DatabaseWrapper.paused_until = time.monotonic() + PAUSE_SECONDS
            raise

"""Django's backend for PostgreSQL, with a pause after a failed connection.

An attempt to reach a host that drops packets takes CONNECT_SECONDS. Without the pause, every
request would hold a thread for that time while the database is unreachable, and others would queue.
"""

import time
from typing import Any, ClassVar

import psycopg
from django.db.backends.postgresql import base

# The time after a failure during which all threads of this process fail at once.
PAUSE_SECONDS = 2


class DatabaseWrapper(base.DatabaseWrapper):
    # For each alias: the time until which nobody connects, and the failure that is raised instead.
    pauses: ClassVar[dict[str, tuple[float, str]]] = {}

    def get_new_connection(self, conn_params: dict[str, Any]) -> psycopg.Connection:
        until, failure = self.pauses.get(self.alias, (0.0, ""))
        if time.monotonic() < until:
            raise psycopg.OperationalError(failure)
        try:
            return super().get_new_connection(conn_params)
        except psycopg.OperationalError as error:
            self.pauses[self.alias] = time.monotonic() + PAUSE_SECONDS, str(error)
            raise

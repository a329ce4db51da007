"""Django's backend for PostgreSQL, with a pause after a failed connection.

It also prepares statements, and lets BEGIN travel with the first one of a transaction, see
`almaFintech.db.prepared` and `almaFintech.db.scripts`.

An attempt to reach a host that drops packets takes CONNECT_SECONDS. Without the pause, every
request would hold a thread for that time while the database is unreachable, and others would queue.
"""

import select
import time
from typing import Any, ClassVar

import psycopg
from django.db.backends.postgresql import base
from django.db.backends.utils import CursorWrapper
from psycopg.pq import Format, TransactionStatus

from almaFintech.db.prepared import Prepared

# The time after a failure during which all threads of this process fail at once.
PAUSE_SECONDS = 2


# It reads a moment in the time zone of the session, and is compiled, unlike that of Django.
MomentLoader: Any = psycopg.adapters.get_loader(base.TIMESTAMPTZ_OID, Format.TEXT)


class DatabaseWrapper(base.DatabaseWrapper):
    # For each alias: the time until which nobody connects, and the failure that is raised instead.
    pauses: ClassVar[dict[str, tuple[float, str]]] = {}

    # Whether the connection was checked since the request began.
    health_check_done: bool

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # The keys of what the current connection has prepared.
        self.known: set[str] = set()

    def get_new_connection(self, conn_params: dict[str, Any]) -> psycopg.Connection:
        until, failure = self.pauses.get(self.alias, (0.0, ""))
        if time.monotonic() < until:
            raise psycopg.OperationalError(failure)
        self.known.clear()
        try:
            made: psycopg.Connection = super().get_new_connection(conn_params)
        except psycopg.OperationalError as error:
            self.pauses[self.alias] = time.monotonic() + PAUSE_SECONDS, str(error)
            raise
        made.adapters.register_loader(base.TIMESTAMPTZ_OID, MomentLoader)
        return made

    def create_cursor(self, name: str | None = None) -> Any:
        """Open a cursor, without looking for Django's way to read moments."""
        if name:
            # Django's `autocommit`, since the driver's may differ, see `is_to_begin`.
            return base.ServerSideCursor(  # type: ignore[call-arg]
                self.connection, name=name, scrollable=False, withhold=self.autocommit
            )
        return self.connection.cursor()

    def call_of(self, statement: Prepared, cursor: CursorWrapper) -> str:
        """Return the SQL that executes a statement, which is prepared when it is first used.

        cursor: where it will be executed; opening one may open another connection.
        """
        if statement.key not in self.known:
            cursor.execute(statement.definition)
            # Also after a rollback: a prepared statement is no part of a transaction.
            self.known.add(statement.key)
        return statement.call

    def is_to_begin(self) -> bool:
        """Return whether the caller has to begin the transaction of an `atomic()` block.

        The driver would send BEGIN in a message of its own, and wait for the answer. From this call
        on it leaves that to the caller, until Django sets `autocommit` again at the end.
        """
        driver = self.connection
        # Without a block that ends the transaction, Django would not set it again.
        ends = self.in_atomic_block and self.commit_on_exit
        begun = driver.pgconn.transaction_status != TransactionStatus.IDLE
        # The driver's BEGIN names an isolation level that is configured.
        if not ends or begun or driver.isolation_level is not None:
            return False
        driver.autocommit = True
        return True

    def close_if_health_check_failed(self) -> None:
        """Check the connection by a statement only if the server may have closed it."""
        if not self.health_check_done and self.connection and is_silent(self.connection):
            self.health_check_done = True
        super().close_if_health_check_failed()


def is_silent(connection: psycopg.Connection) -> bool:
    """Return whether an idle connection is open, and the server has sent nothing on it.

    A server that closes a connection sends at least the end of the stream, and an aborted
    connection is reported as an error of its socket.
    """
    if connection.closed:
        return False
    socket = select.poll()
    socket.register(connection.fileno(), select.POLLIN)
    return not socket.poll(0)

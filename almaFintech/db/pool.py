"""What PostgreSQL's pool does while the database is away: it says so at once.

The pool connects in threads of its own, and those who ask it wait out DATABASE_TIMEOUT whatever
becomes of that. With the database away, soon every thread of a worker would wait, and none would
answer even the probes. So whoever waits is told that connecting has failed, unless connections are
in use that may come back: a pool that is used up is not a database that is away.
"""

import time
from typing import Any, Self

import psycopg
from psycopg_pool import ConnectionPool

# A database that is there answers sooner; the rest are hosts that drop what is sent to them.
CONNECT_SECONDS = 3
# For so long a database that could not be reached is left alone, and each request fails at once.
# Otherwise every few requests would wait for a host that does not answer.
PAUSE_SECONDS = 2


class Connection(psycopg.Connection[Any]):
    """A connection that is not tried again right after it has failed."""

    _left_alone_until = 0.0
    _failure = ""

    @classmethod
    def connect(cls, *args: Any, **options: Any) -> Self:
        if time.monotonic() < Connection._left_alone_until:
            raise psycopg.OperationalError(Connection._failure)
        try:
            return super().connect(*args, **options)
        except psycopg.Error as error:
            Connection._left_alone_until = time.monotonic() + PAUSE_SECONDS
            Connection._failure = str(error)
            raise


def tell_those_who_wait(pool: ConnectionPool[Connection]) -> None:
    """Fail the requests that wait for a connection, when there is none that could be given back.

    The pool calls it when it has given up connecting, and has no way of its own to say so.
    """
    with pool._lock:
        if pool.get_stats()["pool_size"]:
            return
        waiting = list(pool._waiting)
        pool._waiting.clear()
    for client in waiting:
        client.fail(psycopg.OperationalError(Connection._failure))


def options(size: int, timeout: int) -> dict[str, Any]:
    """The settings of a pool of `size` connections; `timeout` is in seconds."""
    return {
        # It opens with the first query, so each worker of a forking server gets its own.
        "min_size": 0,
        "max_size": size,
        "timeout": timeout,
        "connection_class": Connection,
        # Not again and again in the background, with pauses that grow up to minutes and in which
        # nobody would notice that the database is back.
        "reconnect_timeout": 0,
        "reconnect_failed": tell_those_who_wait,
    }

"""Session settings of the database connections, and how long they wait for locks.

A process that serves HTTP waits a moment only: each waiting request holds a thread, and a single
account that somebody keeps locked must not hold all of them. `transactions.retried` lets some
wait longer. Commands and migrations wait as long as DATABASE_TIMEOUT says.
"""

from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

# wsgi.py and asgi.py say so before the settings are read.
serves_http = False
# Seconds for which a thread keeps its connection to PostgreSQL; None means as long as it lives.
# asgi.py says 0, since there each request gets a thread of its own.
max_age: int | None = None

# A database that can be reached takes a connection sooner.
CONNECT_SECONDS = 3
MOMENT_MILLISECONDS = 250
# A request leaves no transaction open without a statement for so long, unless its process or its
# host is frozen.
IDLE_SECONDS = 10
# When the other end of a TCP connection is gone: probes after so many seconds of silence, so many
# seconds apart, so often; and for what was sent and not acknowledged.
KEEPALIVE = {"idle": 10, "interval": 5, "count": 3}
UNACKNOWLEDGED_MILLISECONDS = 25_000


def postgresql(timeout: int) -> dict[str, Any]:
    """Parameters of a connection to PostgreSQL; `timeout` is DATABASE_TIMEOUT in seconds."""
    server = {
        "lock_timeout": f"{MOMENT_MILLISECONDS}ms" if serves_http else f"{timeout}s",
        **({"idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s"} if serves_http else {}),
        **{f"tcp_keepalives_{name}": value for name, value in KEEPALIVE.items()},
        "tcp_user_timeout": UNACKNOWLEDGED_MILLISECONDS,
    }
    return {
        "options": " ".join(f"-c {name}={value}" for name, value in server.items()),
        **{f"keepalives_{name}": value for name, value in KEEPALIVE.items()},
        "tcp_user_timeout": UNACKNOWLEDGED_MILLISECONDS,
    }


def mariadb(timeout: int) -> str:
    """The first statement of a connection to MariaDB, which waits in whole seconds."""
    variables = {
        "sql_mode": "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
        "innodb_lock_wait_timeout": 1 if serves_http else timeout,
        **({"idle_transaction_timeout": IDLE_SECONDS} if serves_http else {}),
    }
    return "SET SESSION " + ", ".join(f"{name}={value}" for name, value in variables.items())


def wait_longer(connection: BaseDatabaseWrapper) -> None:
    """Let the statements of this transaction wait LOCK_TIMEOUT seconds for locks."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL lock_timeout = %s", [f"{settings.LOCK_TIMEOUT}s"])
        elif connection.vendor == "mysql":
            # Until the connection ends, which is with the request.
            cursor.execute("SET SESSION innodb_lock_wait_timeout = %s", [settings.LOCK_TIMEOUT])

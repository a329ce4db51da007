"""Session settings of the database connections, such as lock timeouts.

A process that serves HTTP waits for a lock only briefly: each waiting request holds a thread, and
one account that stays locked must not occupy all of them. `transactions.retried` lets some wait
longer. Commands and migrations wait for DATABASE_TIMEOUT.
"""

from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

# wsgi.py and asgi.py set this before the settings are read.
serves_http = False
# Seconds for which a thread keeps its connection to PostgreSQL; None means as long as it lives.
# asgi.py sets 0, since ASGI gives each request a new thread.
max_age: int | None = None

# A reachable database accepts a connection sooner.
CONNECT_SECONDS = 3
MOMENT_MILLISECONDS = 250
# Only a frozen process or host leaves a transaction idle for longer.
IDLE_SECONDS = 10
# Detects that the other end of a TCP connection is gone: after `idle` seconds of silence, `count`
# probes are sent, one every `interval` seconds; and sent data must be acknowledged in time.
KEEPALIVE = {"idle": 10, "interval": 5, "count": 3}
UNACKNOWLEDGED_MILLISECONDS = 25_000


def postgresql(timeout: int) -> dict[str, Any]:
    """Return the parameters of a connection to PostgreSQL; `timeout` is DATABASE_TIMEOUT."""
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
    """Return the first statement of a connection to MariaDB, which waits in whole seconds."""
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
            # It holds until the connection is closed, at the end of the request.
            cursor.execute("SET SESSION innodb_lock_wait_timeout = %s", [settings.LOCK_TIMEOUT])

"""Classification of database errors."""

import sqlite3

from django.db import Error, OperationalError

# SQLSTATE 40001 serialization_failure and 40P01 deadlock_detected (PostgreSQL, appendix A).
RETRYABLE_SQLSTATES = {"40001", "40P01"}
# MariaDB's 1213 ER_LOCK_DEADLOCK and 1020 ER_CHECKREAD, raised where snapshots are isolated.
RETRYABLE_ERRNOS = {1213, 1020}
# SQLSTATE 55P03 lock_not_available, and MariaDB's 1205 ER_LOCK_WAIT_TIMEOUT.
LOCK_TIMEOUT_SQLSTATES = {"55P03"}
LOCK_TIMEOUT_ERRNOS = {1205}
# Errors of the client library, before a statement reaches the server.
MARIADB_CLIENT_ERRORS = range(2000, 3000)


def reason_of(error: Error) -> str:
    """Return the reason for an error, without values of rows."""
    cause = error.__cause__
    sqlstate = getattr(cause, "sqlstate", None)
    if sqlstate:
        # PostgreSQL, whose message may contain values.
        constraint = cause.diag.constraint_name  # type: ignore[union-attr]
        return " ".join(filter(None, [type(cause).__name__, sqlstate, constraint]))
    number = error.args[0] if error.args else None
    if isinstance(number, int) and number not in MARIADB_CLIENT_ERRORS:
        return str(number)
    # The message of SQLite, or of a connection that failed.
    return str(error)


def is_retryable(error: OperationalError) -> bool:
    """Return whether the database asks to run the transaction again."""
    return _has_code(error, RETRYABLE_SQLSTATES, RETRYABLE_ERRNOS)


def is_lock_timeout(error: OperationalError) -> bool:
    """Return whether the database gave up waiting for another transaction."""
    code = getattr(error.__cause__, "sqlite_errorcode", 0)
    # The lowest byte is the error; the others are details of it.
    return code & 0xFF == sqlite3.SQLITE_BUSY or _has_code(
        error, LOCK_TIMEOUT_SQLSTATES, LOCK_TIMEOUT_ERRNOS
    )


def waited_for(error: OperationalError, table: str) -> bool:
    """Return whether PostgreSQL gave up waiting for a row of this table."""
    if not is_lock_timeout(error):
        return False
    # Only here, in whatever language, does it name the table.
    context = error.__cause__.diag.context  # type: ignore[union-attr]
    return f'"{table}"' in (context or "")


def _has_code(error: OperationalError, sqlstates: set[str], errnos: set[int]) -> bool:
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    return sqlstate in sqlstates or (bool(error.args) and error.args[0] in errnos)

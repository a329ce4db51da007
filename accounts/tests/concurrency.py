"""Concurrent requests: in threads, each with its own database connection."""

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from django.db import connection, transaction

from almaFintech.tests.sql import statements_of

# Count the other connections that wait for a lock of this one.
WAITING = {
    "postgresql": """
        SELECT count(DISTINCT pid) FROM pg_locks
        WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))
    """,
    "mysql": """
        SELECT count(*) FROM information_schema.innodb_lock_waits AS waits
        JOIN information_schema.innodb_trx AS held ON held.trx_id = waits.blocking_trx_id
        WHERE held.trx_mysql_thread_id = connection_id()
    """,
}
LOCK = re.compile(
    r"""FROM\ [`"]?(?P<table>\w+)[`"]?.*?
    (?:\ ORDER\ BY\ (?P<order>.+?))?
    \ FOR\ (?P<strength>(?:NO\ KEY\ )?UPDATE)""",
    re.VERBOSE | re.DOTALL,
)


class Lock(NamedTuple):
    """Rows that a statement locked: their table, their order, and the strength of the lock."""

    table: str
    order: str
    strength: str


def run_concurrently(*requests: Callable[[], Any]) -> list[int]:
    """Run the requests in threads that start together; return their HTTP statuses in order."""
    start = threading.Barrier(len(requests))
    statuses = [0] * len(requests)

    def run(index: int, request: Callable[[], Any]) -> None:
        try:
            start.wait(timeout=10)
            statuses[index] = request().status_code
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(requests)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return statuses


def blocked_by(
    change: Callable[[], object],
    request: Callable[[], Any],
    *,
    while_it_waits: Callable[[], object] = lambda: None,
) -> Any:
    """Return the response to a request that arrives before the transaction of `change` commits.

    The request reads the rows as they were before, and has to wait for a lock; AssertionError if
    it ends without waiting. `while_it_waits` runs in the transaction of `change`.
    """
    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            change()
            pending = thread.submit(_with_own_connection, request)
            _wait_until_blocked(pending)
            while_it_waits()
        return pending.result(timeout=30)


def locks_of(work: Callable[[], object]) -> list[Lock]:
    """Return the row locks that the work takes, in the order of its statements."""
    statements = ";".join(statements_of(work)).split(";")
    return [
        _lock(found)
        for statement in statements
        if (found := LOCK.search(" ".join(statement.split())))
    ]


def _lock(found: re.Match[str]) -> Lock:
    table, order, strength = found.group("table", "order", "strength")
    # A statement that selects only the key orders by the position of that column.
    order = re.sub(r"^1 ", f"{table}.id ", re.sub(r"[`\"]", "", order or ""))
    order = f"{table}.id ASC" if order == "id" else order
    return Lock(table, order, strength)


def _with_own_connection(request: Callable[[], Any]) -> Any:
    try:
        return request()
    finally:
        connection.close()


def _wait_until_blocked(response: "Future[Any]") -> None:
    for _ in range(100):
        # MariaDB shows outdated waits to queries that are more frequent than this.
        time.sleep(0.11)
        with connection.cursor() as cursor:
            cursor.execute(WAITING[connection.vendor])
            [waiting] = cursor.fetchone()
        if waiting:
            return
        assert not response.done(), f"It did not wait: {response.result()!r}"
    raise AssertionError("It neither waited for a lock nor ended")

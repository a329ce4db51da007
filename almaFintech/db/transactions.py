"""Transactions that run again after a deadlock, or after a short wait for a lock."""

import logging
import random
import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import OperationalError, connection, transaction

from almaFintech.db import connections
from almaFintech.db.failures import is_lock_timeout, is_retryable, reason_of

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger(__name__)

ATTEMPTS = 5
# The number of threads of a process that may wait LOCK_TIMEOUT for a lock. The others stay free.
seats = threading.BoundedSemaphore(max(1, settings.SERVE_THREADS // 2))


def retried(work: Callable[P, R]) -> Callable[P, R]:
    """Run `work` in a transaction, and again when the database rolls it back after a deadlock.

    Apply it only at the entry points: views, admin pages, commands. `work` must not change its
    arguments before it returns. Inside a transaction it runs once, in a savepoint: a deadlock rolls
    back the outer transaction too, so only the code that opened that one can run it again.

    While HTTP is served, a statement waits only briefly for a lock. After such a timeout, the work
    runs once more and waits up to LOCK_TIMEOUT, if one of the seats for that is free.
    """

    @wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if connection.in_atomic_block:
            with transaction.atomic():
                return work(*args, **kwargs)
        deadlocks, seated = 0, False
        try:
            while True:
                try:
                    with transaction.atomic():
                        if seated:
                            connections.wait_longer(connection)
                        return work(*args, **kwargs)
                except OperationalError as error:
                    if is_retryable(error) and deadlocks < ATTEMPTS - 1:
                        deadlocks += 1
                        logger.info("%s is run again: %s", work.__name__, reason_of(error))
                        # Two victims of one deadlock must not collide again.
                        time.sleep(random.uniform(0, 0.01 * 2**deadlocks))  # noqa: S311
                    elif not seated and _takes_a_seat(error):
                        seated = True
                    else:
                        raise
        finally:
            if seated:
                seats.release()

    return run


def _takes_a_seat(error: OperationalError) -> bool:
    """Take a seat if the work timed out at a lock and a seat is free."""
    # SQLite locks the whole database, and has waited already.
    may_wait = connections.serves_http and connection.vendor != "sqlite"
    return may_wait and is_lock_timeout(error) and seats.acquire(blocking=False)

"""Transactions that survive being the victim of a deadlock, or of a lock held for a moment."""

import logging
import random
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import OperationalError, connection, transaction

from almaFintech.db import connections
from almaFintech.db.failures import is_lock_timeout, is_retryable, reason_of

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger(__name__)
_retrying: ContextVar[bool] = ContextVar("retrying", default=False)

ATTEMPTS = 5
# So many threads of a process may wait LOCK_TIMEOUT for what others hold. The others stay free.
_seats = threading.BoundedSemaphore(max(1, settings.SERVE_THREADS // 2))


def retried(work: Callable[P, R]) -> Callable[P, R]:
    """Run `work` in a transaction, and again when the database asks for that.

    `work` must leave its arguments as they were until it returns. Inside an outer transaction
    it runs once: a deadlock undoes the outer transaction too, so only who opened that one can
    run it again. There it runs in a savepoint, so that the caller may go on after an error,
    unless the caller is itself run by `retried` and lets errors pass.

    While HTTP is served, a statement waits a moment for a lock. Work that this stops is run once
    more with LOCK_TIMEOUT to wait, if one of the seats for that is free.
    """

    def attempt_often(longer: bool, *args: P.args, **kwargs: P.kwargs) -> R:
        attempts = 1 if connection.in_atomic_block else ATTEMPTS
        for attempt in range(1, attempts + 1):
            token = _retrying.set(True)
            try:
                with transaction.atomic():
                    if longer:
                        connections.wait_longer(connection)
                    return work(*args, **kwargs)
            except OperationalError as error:
                if attempt == attempts or not is_retryable(error):
                    raise
                logger.info(
                    "Attempt %d of %s is run again: %s", attempt, work.__name__, reason_of(error)
                )
                # Two victims of each other must not meet again in step.
                time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311
            finally:
                _retrying.reset(token)
        raise AssertionError("unreachable: the last attempt returns or raises")

    @wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if _retrying.get():
            with transaction.atomic(savepoint=False):
                return work(*args, **kwargs)
        try:
            return attempt_often(False, *args, **kwargs)
        except OperationalError as error:
            # SQLite locks the whole database, and has waited already.
            may_wait = connections.serves_http and connection.vendor != "sqlite"
            if not may_wait or connection.in_atomic_block or not is_lock_timeout(error):
                raise
            if not _seats.acquire(blocking=False):
                raise
        try:
            return attempt_often(True, *args, **kwargs)
        finally:
            _seats.release()

    return run

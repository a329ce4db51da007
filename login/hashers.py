"""Password hashers that leave processor time for other requests while many people log in."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher, PBKDF2PasswordHasher

from almaFintech.refusals import Busy

# A hash takes tens of milliseconds, so a longer wait means that hundreds are queued ahead.
WAIT_SECONDS = 5


def most_at_once() -> int:
    """How many hashes one process may compute at the same time, so that all have the cores."""
    return max(1, (os.cpu_count() or 1) // settings.SERVE_WORKERS)


_turns = BoundedSemaphore(most_at_once())


@contextmanager
def one_turn() -> Iterator[None]:
    """Wait for a turn to compute a hash. Raises Busy after WAIT_SECONDS."""
    if not _turns.acquire(timeout=WAIT_SECONDS):
        raise Busy()
    try:
        yield
    finally:
        _turns.release()


class Argon2Hasher(Argon2PasswordHasher):
    """Argon2id with a set of parameters that OWASP recommends.

    Django's own take 100 MiB and eight threads for each login.
    """

    time_cost = 2
    memory_cost = 19_456
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        with one_turn():
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        with one_turn():
            return super().verify(password, encoded)


class PBKDF2Hasher(PBKDF2PasswordHasher):
    """Reads the hashes of Django's default, such as those of imported users."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        # verify() comes here too.
        with one_turn():
            return super().encode(password, salt, iterations)

"""Password hashers that leave processor time for other requests while many users log in."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher, PBKDF2PasswordHasher

from almaFintech.refusals import Busy
from almaFintech.server.environment import usable_cores

# A hash takes tens of milliseconds, so a longer wait means that hundreds are queued ahead.
WAIT_SECONDS = 5


def most_at_once() -> int:
    """Return how many hashes one process may compute at once: its share of the cores."""
    return max(1, usable_cores() // settings.SERVE_WORKERS)


turns = BoundedSemaphore(most_at_once())


@contextmanager
def one_turn() -> Iterator[None]:
    """Wait for a turn to compute a hash. Raises Busy after WAIT_SECONDS."""
    if not turns.acquire(timeout=WAIT_SECONDS):
        raise Busy
    try:
        yield
    finally:
        turns.release()


class Argon2Hasher(Argon2PasswordHasher):
    """Argon2id with parameters that OWASP recommends.

    Those of Django take 100 MiB and eight threads for each login.
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
    """Reads hashes of Django's default hasher, such as those of imported users."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        # verify() calls this method too.
        with one_turn():
            return super().encode(password, salt, iterations)

"""The dates of what the ledger books: always now, except for `manage.py seed_demo`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime

from accounts import ledger

_backdating: ContextVar[bool] = ContextVar("backdating", default=False)


@contextmanager
def backdating() -> Iterator[None]:
    """Within it, the ledger takes dates. For `seed_demo` alone, whose world has a past."""
    token = _backdating.set(True)
    try:
        yield
    finally:
        _backdating.reset(token)


def require_backdating(date: datetime | None) -> None:
    """Raise SideDoor for a date that is given outside `backdating`."""
    if date is not None and not _backdating.get():
        raise ledger.SideDoor("The ledger dates what it books by itself")

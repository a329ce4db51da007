"""Work that a deadlock rolls back runs again, a bounded number of times."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError, connection, transaction
from psycopg import errors

from almaFintech.db.transactions import retried
from conftest import needs_row_locks


def caused_by(cause):
    error = OperationalError(str(cause))
    error.__cause__ = cause
    return error


DEADLOCK = caused_by(errors.DeadlockDetected("deadlock detected"))


class Work:
    """Work that adds a user, and fails the first `failures` times."""

    def __init__(self, failures, error=DEADLOCK):
        self.failures, self.error, self.runs = failures, error, 0
        self.run = retried(self.work)

    def work(self, name):
        self.runs += 1
        User.objects.create(username=f"{name}{self.runs}")
        if self.runs <= self.failures:
            raise self.error
        return self.runs


@pytest.fixture
def naps(monkeypatch):
    naps: list[float] = []
    monkeypatch.setattr("almaFintech.db.transactions.time.sleep", naps.append)
    return naps


@pytest.fixture
def names(transactional_db):
    return lambda: list(User.objects.values_list("username", flat=True))


@pytest.mark.parametrize(
    "error",
    [
        DEADLOCK,
        caused_by(errors.SerializationFailure("could not serialize access")),
        OperationalError(1213, "Deadlock found when trying to get lock"),
        OperationalError(1020, "Record has changed since last read"),
    ],
)
def test_a_deadlock_victim_runs_again_and_its_failures_leave_nothing(names, naps, error):
    work = Work(2, error)

    assert work.run("user") == 3
    assert names() == ["user3"]
    assert len(naps) == 2
    assert all(0 <= nap < 1 for nap in naps)


def test_work_gives_up_after_five_attempts(names, naps):
    work = Work(5)

    with pytest.raises(OperationalError) as caught:
        work.run("user")

    assert caught.value is DEADLOCK
    assert (work.runs, len(naps), names()) == (5, 4, [])
    assert Work(4).run("user") == 5


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("server closed the connection unexpectedly"),
        OperationalError(),
        OperationalError(1205, "Lock wait timeout exceeded"),
        caused_by(errors.LockNotAvailable("canceling statement due to lock timeout")),
        IntegrityError(1213, "not an operational error"),
        ValueError(1213),
    ],
)
def test_other_errors_are_not_run_again(names, naps, error):
    work = Work(1, error)

    with pytest.raises(type(error)) as caught:
        work.run("user")

    assert caught.value is error
    assert (work.runs, naps, names()) == (1, [], [])


def test_work_inside_a_transaction_runs_once(names, naps):
    work = Work(1)

    with transaction.atomic():
        User.objects.create(username="outer")
        with pytest.raises(OperationalError):
            work.run("user")

    # Its savepoint is rolled back; the outer transaction decides about its own changes.
    assert (work.runs, naps, names()) == (1, [], ["outer"])


@needs_row_locks
def test_two_deadlocked_transactions_both_finish(names):
    first, second = (User.objects.create(username=name) for name in ("first", "second"))
    both_hold_one = Barrier(2)

    def lock(user, other):
        runs: list[None] = []

        @retried
        def both():
            runs.append(None)
            User.objects.select_for_update().get(pk=user.pk)
            if len(runs) == 1:
                both_hold_one.wait(timeout=10)
            User.objects.select_for_update().get(pk=other.pk)
            return len(runs)

        try:
            return both()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        runs = list(threads.map(lock, (first, second), (second, first)))

    assert sorted(runs) == [1, 2]

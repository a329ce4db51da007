"""A client that reads the transfers by date misses none, even if some are committed late."""

import re
import threading
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts import watermark
from accounts.models import Account, Transfer
from conftest import needs_row_locks

PATH = "/api/transfers/?ordering=date&limit=2"


class Follower:
    """A client that keeps all rows it has read, and the address of the last page it read."""

    def __init__(self, person, path: str = PATH) -> None:
        self.person = person
        self.path = path
        self.known: dict[int, dict] = {}

    def read_on(self) -> list[int]:
        new: list[int] = []
        for _ in range(100):
            page = self.person.get(self.path)
            new += [row["id"] for row in page.json() if row["id"] not in self.known]
            self.known |= {row["id"]: row for row in page.json()}
            link = re.search('<([^>]*)>; rel="next"', page.headers.get("Link", ""))
            if link is None:
                return new
            self.path = link[1]
        raise AssertionError("The list has no end")


@contextmanager
def booked_and_held(origin: Account, destination: Account):
    """Book a transfer in a transaction that is committed at the end of the block."""
    booked, commit, ids = threading.Event(), threading.Event(), []

    def book() -> None:
        try:
            with transaction.atomic():
                transfer = Transfer(origin=origin, destination=destination, balance=1)
                transfer.save()
                ids.append(transfer.pk)
                booked.set()
                commit.wait(timeout=30)
        finally:
            connection.close()

    thread = threading.Thread(target=book)
    thread.start()
    try:
        assert booked.wait(timeout=10)
        yield ids[0]
    finally:
        commit.set()
        thread.join(timeout=30)


@pytest.fixture
def lists(boss, alice, bob, monkeypatch):
    """Return followers of both lists, as staff and as a user."""
    monkeypatch.setattr(watermark, "MARIADB_LAG", timedelta(0))
    of_account = f"/api/accounts/{alice.account.pk}/transfers/?ordering=date&limit=2"
    return [Follower(boss), Follower(alice), Follower(boss, of_account)]


@needs_row_locks
@pytest.mark.usefixtures("verified")
def test_a_late_commit_is_read_from_the_last_page_on(alice, bob, lists):
    carol = Account.objects.create(currency="USD", balance=100)
    early = [alice.send(bob.account, 1).json()["id"] for _ in range(3)]
    settle()
    assert [each.read_on() for each in lists] == [early] * 3

    with booked_and_held(alice.account, bob.account) as held:
        settle()
        # A transfer between other accounts is booked later and committed earlier.
        later = Transfer(origin=carol, destination=alice.open_account(0), balance=1)
        later.save()
        assert [each.read_on() for each in lists] == [[]] * 3

    settle()
    staff, user, of_account = (each.read_on() for each in lists)
    assert staff == user == [held, later.pk]
    assert of_account == [held]


def settle() -> None:
    """Wait until MariaDB has refreshed its transactions, whose starts are in whole seconds."""
    if connection.vendor == "mysql":
        threading.Event().wait(1.2)


@needs_row_locks
@pytest.mark.usefixtures("verified")
def test_newest_first_shows_what_is_committed(alice, bob, boss):
    with booked_and_held(alice.account, bob.account):
        sent = Transfer(origin=alice.open_account(5), destination=alice.open_account(0), balance=1)
        sent.save()

        assert [row["id"] for row in boss.get("/api/transfers/").json()] == [sent.pk]


@needs_row_locks
@pytest.mark.usefixtures("verified")
def test_a_client_reads_on_from_an_empty_first_page(alice, bob, lists):
    with booked_and_held(alice.account, bob.account) as held:
        settle()
        assert [each.read_on() for each in lists] == [[]] * 3

    settle()
    assert [each.read_on() for each in lists] == [[held]] * 3


def test_a_client_reads_on_from_a_full_last_page(alice, bob, lists):
    settled = [alice.send(bob.account, 1).json()["id"] for _ in range(4)]
    settle()
    assert [each.read_on() for each in lists] == [settled] * 3

    more = alice.send(bob.account, 1).json()["id"]
    settle()

    assert [each.read_on() for each in lists] == [[more]] * 3


@needs_row_locks
@pytest.mark.usefixtures("verified")
def test_a_transaction_that_only_reads_delays_no_list(alice, bob, boss):
    reading, leave = threading.Event(), threading.Event()

    def read() -> None:
        with transaction.atomic():
            list(Transfer.objects.all())
            reading.set()
            leave.wait(timeout=30)
        connection.close()

    if connection.vendor == "mysql":
        pytest.skip("MariaDB does not say which transactions only read")
    thread = threading.Thread(target=read)
    thread.start()
    try:
        assert reading.wait(timeout=10)
        sent = alice.send(bob.account, 1).json()["id"]
        assert [row["id"] for row in boss.get(PATH).json()] == [sent]
    finally:
        leave.set()
        thread.join(timeout=30)


@pytest.mark.skipif(connection.vendor != "mysql", reason="The lags are MariaDB's")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("zone", ["+00:00", "+05:00", "-11:00"])
def test_the_lags_of_mariadb(zone, monkeypatch):
    with connection.cursor() as cursor:
        cursor.execute("SET time_zone = %s", [zone])

    def age() -> float:
        mark: datetime | None = watermark.watermark()
        assert mark
        return (timezone.now() - mark).total_seconds()

    try:
        assert 5 <= age() < 8
        monkeypatch.setattr(watermark, "MARIADB", "SIGNAL SQLSTATE '42000' SET MYSQL_ERRNO = 1227")
        assert 60 <= age() < 63
    finally:
        connection.close()

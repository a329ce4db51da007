"""A transaction that begins with the ledger's first message is like any other for its caller."""

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from psycopg import IsolationLevel

from accounts.models import Transfer
from conftest import Person, only_on_postgresql

pytestmark = [only_on_postgresql, pytest.mark.usefixtures("verified", "prepared")]


@pytest.fixture
def prepared(settings, alice, bob):
    """Let the connection prepare its statements, which is when the driver still begins."""
    settings.PORTABLE_SQL = False
    book(alice, bob).delete()


def book(alice: Person, bob: Person) -> Transfer:
    return Transfer.objects.create(origin=alice.account, destination=bob.account, balance=5)


def test_rows_are_locked_through_a_cursor_of_the_server(alice, bob):
    with transaction.atomic():
        book(alice, bob)
        assert len(list(Transfer.objects.select_for_update().iterator())) == 2
        alice.account.delete()

    assert bob.balance == 5


def test_without_autocommit_later_statements_can_be_rolled_back(alice, bob):
    transaction.set_autocommit(False)
    try:
        book(alice, bob)
        transaction.commit()
        User.objects.update(first_name="renamed")
        transaction.rollback()
    finally:
        transaction.set_autocommit(True)

    assert bob.balance == 5
    assert not User.objects.filter(first_name="renamed").exists()


def test_the_isolation_level_is_the_one_of_the_connection(alice, bob):
    connection.connection.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            book(alice, bob)
            cursor.execute("SHOW transaction_isolation")
            assert cursor.fetchone() == ("repeatable read",)
    finally:
        connection.close()

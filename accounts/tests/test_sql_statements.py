"""The number of SQL statements of the ledger and its endpoints."""

from uuid import uuid4

import pytest
from django.db import connection

from accounts import ledger, postgresql
from accounts.models import Account, Transfer
from almaFintech.tests.round_trips import messages_to
from almaFintech.tests.sql import statements_of
from conftest import only_on_postgresql


def verbs_of(work) -> list[str]:
    return [sql.split()[0] for sql in statements_of(work)]


def book(pairs: list[tuple[Account, Account]]) -> list[Transfer]:
    return ledger.post(
        [Transfer(origin=origin, destination=end, balance=1) for origin, end in pairs]
    )


@pytest.mark.parametrize("many", [2, 100])
def test_many_transfers_take_as_many_statements_as_one(db, many):
    accounts = ledger.open_accounts([Account(currency="USD", balance=9) for _ in range(many)])
    pairs = list(zip(accounts, [*accounts[1:], accounts[0]], strict=True))
    # In a ring every balance would stay as it was, and nothing would be written.
    pairs.append((accounts[0], accounts[1]))

    one = verbs_of(lambda: book(pairs[:1]))
    all_of_them = verbs_of(lambda: book(pairs))
    transfers = list(Transfer.objects.all())
    cancel_one = verbs_of(lambda: ledger.cancel(transfers[:1]))
    cancel_rest = verbs_of(lambda: ledger.cancel(transfers[1:]))

    assert one == all_of_them
    assert cancel_one == cancel_rest
    assert Transfer.objects.filter(cancelled=True).count() == many + 2
    assert set(Account.objects.values_list("balance", flat=True)) == {9}


@pytest.mark.django_db(transaction=True)
def test_the_statements_of_a_request(alice, bob, settings):
    settings.GROUP_COMMIT = False
    # The connection prepares its statements.
    bob.cancel(alice.send(bob.account, 1).json()["id"])
    sent = verbs_of(lambda: alice.send(bob.account, 1))
    transfer = Transfer.objects.latest("pk").pk
    cancelled = verbs_of(lambda: bob.cancel(transfer))

    # SQLite has no clock of its own.
    time = [] if connection.vendor == "sqlite" else ["SELECT"]
    by_scripts = postgresql.is_used()
    # Read the user. Check the origin, lock the accounts, read the clock; write the transfer, the
    # balances, the entries. Django logs its COMMIT, which finds nothing to commit.
    booked = (
        ["BEGIN;SELECT", "INSERT"] if by_scripts else ["SELECT", "SELECT", *time, *["INSERT"] * 3]
    )
    assert sent == ["SELECT", "BEGIN", *booked, "COMMIT"]
    # Lock the transfer and its accounts, read the clock; write the transfer, the balances, the
    # entries.
    returned = (
        ["BEGIN;SELECT", "UPDATE"]
        if by_scripts
        else ["SELECT", "SELECT", *time, "UPDATE", *["INSERT"] * 2]
    )
    # Read the user; read the transfer, with whether the user received it.
    assert cancelled == ["SELECT", "SELECT", "BEGIN", *returned, "COMMIT"]


# A thread of the server sleeps and wakes up for each.
ROUND_TRIPS = {
    # The user; the account.
    "read an account": 2,
    # The user; the page.
    "read a page": 2,
    # The user; BEGIN, the origin, the key, the locks, the clock; the transfer, its entries, the
    # balances, the response, COMMIT.
    "send": 3,
    "send a batch": 3,
    # The user; the transfer; BEGIN, the locks, the clock; the cancellation, its entries, the
    # balances; COMMIT.
    "cancel": 5,
}


@only_on_postgresql
@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.django_db(transaction=True)
def test_the_round_trips_of_each_hot_request(alice, bob, boss, settings, grouped):
    settings.GROUP_COMMIT, settings.PORTABLE_SQL = grouped, False
    transfers = [alice.send(bob.account, 1).json()["id"] for _ in range(2)]
    item = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 1}
    requests = {
        "read an account": lambda: alice.get(f"/api/accounts/{alice.account.pk}/"),
        "read a page": lambda: boss.get("/api/transfers/"),
        "send": lambda: alice.post("/api/transfers/", item, idempotency_key=f"{uuid4()}"),
        "send a batch": lambda: alice.post("/api/transfers/batch/", {"transfers": [item] * 50}),
        "cancel": lambda: bob.cancel(transfers.pop()),
    }
    for request in requests.values():
        # The connection prepares its statements.
        request()

    assert {
        name: len(messages_to(connection, request)) for name, request in requests.items()
    } == ROUND_TRIPS

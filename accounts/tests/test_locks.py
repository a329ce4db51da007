"""Row locks: the locked rows, the order of the locks, and fresh reads under them."""

from functools import partial

import pytest
from django.db import OperationalError, connection, transaction

from accounts import ledger
from accounts.models import Account, Transfer
from accounts.tests.concurrency import Lock, blocked_by, locks_of
from audit.models import Record
from conftest import needs_row_locks

pytestmark = [needs_row_locks, pytest.mark.usefixtures("verified", "no_retries")]

WEAK, STRONG = (
    ("NO KEY UPDATE", "UPDATE") if connection.vendor == "postgresql" else ("UPDATE", "UPDATE")
)
TRANSFERS = Lock("accounts_transfer", "accounts_transfer.id ASC", WEAK)
ACCOUNTS = Lock("accounts_account", "accounts_account.id ASC", WEAK)
CLOSING = Lock("accounts_account", "accounts_account.id ASC", STRONG)


def path_of(person):
    return f"/api/accounts/{person.account.pk}/"


def send_in_python(origin, destination, amount):
    """Send in the transaction of the caller, which has not committed yet."""
    return lambda: ledger.post([Transfer(origin=origin, destination=destination, balance=amount)])


def is_free(model, pk):
    """Return whether this connection can lock a row without waiting."""
    try:
        # In a savepoint, since the test continues its transaction.
        with transaction.atomic():
            return model.objects.select_for_update(nowait=True).filter(pk=pk).exists()
    except OperationalError:
        return False


def test_a_transfer_locks_accounts_by_id(alice, bob):
    assert locks_of(lambda: alice.send(bob.account, 5)) == [ACCOUNTS]
    assert locks_of(lambda: bob.send(alice.account, 5)) == [ACCOUNTS]
    with_key = locks_of(
        lambda: alice.post(
            "/api/transfers/batch/",
            {
                "transfers": [
                    {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 1}
                ]
            },
            idempotency_key="k1",
        )
    )
    assert with_key == [ACCOUNTS]
    assert Transfer.objects.count() == 3


def test_a_cancellation_locks_transfers_and_then_accounts_by_id(alice, bob):
    transfer = alice.send(bob.account, 5).json()["id"]

    assert locks_of(lambda: bob.cancel(transfer)) == [TRANSFERS, ACCOUNTS]
    assert bob.balance == 0


def test_an_opened_account_locks_the_register_and_then_the_records(boss):
    boss.post("/api/accounts/", {"currency": "USD", "balance": 5})
    locks = locks_of(lambda: boss.post("/api/accounts/", {"currency": "USD", "balance": 5}))

    assert [lock.table for lock in locks] == ["accounts_register", "audit_end"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_an_edit_locks_the_account(alice, boss, method):
    body = {"currency": "USD", "balance": 7}
    boss.request(method, path_of(alice), {**body, "balance": 8})
    *locks, last = locks_of(lambda: boss.request(method, path_of(alice), body))

    # The end of the records is locked last, so that no request waits while it holds that lock.
    assert last.table == "audit_end"
    # One row needs no order.
    assert {lock._replace(order=ACCOUNTS.order) for lock in locks} == {ACCOUNTS}
    assert alice.balance == 7


def test_an_edit_in_python_locks_the_account(alice):
    alice.account.balance = 7

    [lock] = locks_of(alice.account.save)

    assert (lock.table, lock.strength) == (ACCOUNTS.table, ACCOUNTS.strength)
    assert alice.balance == 7


def test_closing_locks_transfers_and_then_accounts_against_references(alice, bob, boss):
    alice.send(bob.account, 5)
    account = Account.objects.get(pk=alice.account.pk)

    assert locks_of(account.delete) == [TRANSFERS, CLOSING]
    locks = locks_of(lambda: boss.delete(path_of(bob)))

    assert locks[:2] == [TRANSFERS, CLOSING]
    assert Account.objects.count() == 0


def test_a_request_waiting_for_the_first_account_does_not_hold_the_second(alice, bob):
    first, second = sorted([alice.account.pk, bob.account.pk])
    seen: list[bool] = []

    def look() -> None:
        seen.append(is_free(Account, second))

    for there, back in ((alice, bob), (bob, alice)):
        response = blocked_by(
            lambda: Account.objects.select_for_update().get(pk=first),
            partial(there.send, back.account, 5),
            while_it_waits=look,
        )
        assert response.status_code == 201

    assert seen == [True, True]


@pytest.mark.parametrize("work", ["cancel", "close"])
def test_a_request_waiting_for_a_transfer_does_not_hold_its_accounts(alice, bob, boss, work):
    transfer = alice.send(bob.account, 5).json()["id"]
    seen: list[bool] = []
    requests = {
        "cancel": lambda: bob.cancel(transfer),
        "close": lambda: boss.delete(path_of(bob)),
    }

    response = blocked_by(
        lambda: Transfer.objects.select_for_update().get(pk=transfer),
        requests[work],
        while_it_waits=lambda: seen.extend(
            is_free(Account, person.account.pk) for person in (alice, bob)
        ),
    )

    assert response.status_code == 204
    assert seen == [True, True]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_version_is_compared_under_the_lock(alice, bob, boss, method):
    read = boss.get(path_of(alice))
    edit = read.json() | {"balance": 1_000_005}

    late = blocked_by(
        send_in_python(alice.account, bob.account, 400_000),
        lambda: boss.request(method, path_of(alice), edit, **{"If-Match": read["ETag"]}),
    )

    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    assert (alice.balance, bob.balance) == (600_000, 400_000)
    assert Record.objects.count() == 0


def test_an_edit_of_an_account_reads_it_under_the_lock(alice, bob, boss):
    edited = blocked_by(
        send_in_python(alice.account, bob.account, 400_000),
        lambda: boss.patch(path_of(alice), {"balance": 1_000_000}),
    )

    # The edit overwrites the balance that the transfer left, and the record shows that balance.
    assert (edited.status_code, edited.json()["balance"]) == (200, 1_000_000)
    assert (alice.balance, bob.balance) == (1_000_000, 400_000)
    assert Record.objects.get().changes == {"balance": [600_000, 1_000_000]}


def test_an_edit_of_a_user_reads_it_under_the_lock(alice, boss):
    def rename():
        alice.user.last_name = "Liddell"
        alice.user.save()

    edited = blocked_by(
        rename, lambda: boss.patch(f"/api/users/{alice.user.pk}/", {"first_name": "Alice"})
    )

    assert edited.status_code == 200
    alice.user.refresh_from_db()
    assert (alice.user.first_name, alice.user.last_name) == ("Alice", "Liddell")
    assert Record.objects.get().changes == {"first_name": ["", "Alice"]}


def test_funds_are_checked_under_the_lock(alice, bob):
    sent = blocked_by(
        send_in_python(alice.account, bob.account, 700_000),
        lambda: alice.send(bob.account, 700_000),
    )

    assert (sent.status_code, sent.json()["code"]) == (400, "insufficient_funds")
    assert (alice.balance, bob.balance) == (300_000, 700_000)


def test_a_transfer_is_cancelled_once_under_the_lock(alice, bob):
    alice.send(bob.account, 300_000)
    transfer = Transfer.objects.get()

    cancelled = blocked_by(transfer.delete, lambda: bob.cancel(transfer.pk))

    assert (cancelled.status_code, cancelled.json()["code"]) == (400, "already_cancelled")
    assert (alice.balance, bob.balance) == (1_000_000, 0)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="Only PostgreSQL has NO KEY")
def test_no_row_can_refer_to_an_account_that_is_being_closed(alice, bob, boss):
    path = f"/api/profiles/{bob.user.pk}/add_account/"

    refused = blocked_by(
        lambda: ledger.lock_to_close([alice.account.pk]),
        lambda: boss.post(path, {"account_id": alice.account.pk}),
    )

    # The request waited for the closing, which did not happen here, and then succeeded.
    assert refused.status_code == 200


def test_no_request_waits_for_a_lock_forever(db):
    limit = {
        "postgresql": "SELECT setting::int / 1000 FROM pg_settings WHERE name = 'lock_timeout'",
        "mysql": "SELECT @@innodb_lock_wait_timeout",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(limit)
        [seconds] = cursor.fetchone()

    # By default PostgreSQL waits forever (0), and MariaDB 50 seconds.
    assert 0 < seconds <= 30

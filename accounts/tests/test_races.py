"""Concurrent requests, on a real database with real threads and connections."""

from collections.abc import Callable
from functools import partial

import pytest
from django.db.models import Sum

from accounts.models import Account, Transfer
from accounts.tests.concurrency import run_concurrently
from conftest import needs_row_locks

pytestmark = [needs_row_locks, pytest.mark.usefixtures("verified", "no_retries")]


def total() -> int:
    return Account.objects.aggregate(total=Sum("balance"))["total"]


def test_concurrent_transfers_cannot_overdraw_an_account(alice, bob):
    statuses = run_concurrently(*[lambda: alice.send(bob.account, 300_000)] * 10)

    assert sorted(statuses) == [201] * 3 + [400] * 7
    assert (alice.balance, bob.balance) == (100_000, 900_000)
    assert Transfer.objects.count() == 3


def test_concurrent_requests_cancel_a_transfer_once(alice, bob):
    transfer = alice.send(bob.account, 300_000).json()["id"]
    alice.send(bob.account, 700_000)

    statuses = run_concurrently(*[lambda: bob.cancel(transfer)] * 10)

    assert sorted(statuses) == [204] + [400] * 9
    assert (alice.balance, bob.balance) == (300_000, 700_000)


def test_opposing_transfers_do_not_deadlock(alice, bob):
    alice.send(bob.account, 500_000)
    there, back = lambda: alice.send(bob.account, 7), lambda: bob.send(alice.account, 7)

    for _ in range(3):
        assert run_concurrently(*[there, back] * 8) == [201] * 16

    assert (alice.balance, bob.balance) == (500_000, 500_000)


def test_rings_of_transfers_do_not_deadlock(boss):
    ring = [Account.objects.create(currency="USD", balance=100) for _ in range(4)]

    def send(origin: Account, destination: Account) -> Callable:
        body = {"origin": origin.pk, "destination": destination.pk, "balance": 10}
        return partial(boss.post, "/api/transfers/", body)

    steps = [send(ring[i], ring[(i + 1) % 4]) for i in range(4)]

    assert run_concurrently(*steps * 4) == [201] * 16
    assert list(Account.objects.values_list("balance", flat=True)) == [100] * 4


def test_a_cancellation_races_with_spending(alice, bob):
    for _ in range(5):
        transfer = alice.send(bob.account, 300_000).json()["id"]
        cancelled, spent = run_concurrently(
            partial(bob.cancel, transfer),
            lambda: bob.send(alice.account, 300_000),
        )
        assert (cancelled, spent) in [(204, 400), (400, 201)]
        assert (alice.balance, bob.balance) == (1_000_000, 0)

    assert total() == 1_000_000


def test_an_edit_races_with_transfers(alice, bob, boss):
    path = f"/api/accounts/{alice.account.pk}/"

    for _ in range(5):
        before = alice.balance
        edited, sent = run_concurrently(
            partial(boss.patch, path, {"balance": before + 50}),
            lambda: alice.send(bob.account, 10),
        )
        assert sent == 201
        # Either the edit came first and the transfer reduced its balance; or the transfer
        # came first, and the edit was refused, or else read the balance after it.
        assert (edited, alice.balance) in [
            (200, before + 40),
            (409, before - 10),
            (200, before + 50),
        ]


def test_a_change_of_currency_races_with_a_transfer(alice, bob, boss):
    for _ in range(5):
        account = boss.post("/api/accounts/", {"currency": "USD"}).json()["id"]
        body = {"origin": alice.account.pk, "destination": account, "balance": 1}
        changed, sent = run_concurrently(
            partial(boss.patch, f"/api/accounts/{account}/", {"currency": "EUR"}),
            partial(alice.post, "/api/transfers/", body),
        )
        assert (changed, sent) in [(200, 400), (400, 201)]
        currency, balance = Account.objects.values_list("currency", "balance").get(pk=account)
        assert (currency, balance) == (("EUR", 0) if changed == 200 else ("USD", 1))

    assert total() == 1_000_000


def test_a_deletion_races_with_transfers_and_cancellations(alice, bob, boss):
    for _ in range(5):
        account = boss.post("/api/accounts/", {"currency": "USD"}).json()["id"]
        body = {"origin": alice.account.pk, "destination": account, "balance": 10}
        earlier = alice.post("/api/transfers/", body).json()["id"]
        before = alice.balance

        deleted, sent, cancelled = run_concurrently(
            partial(boss.delete, f"/api/accounts/{account}/"),
            partial(alice.post, "/api/transfers/", body),
            partial(boss.cancel, earlier),
        )

        assert deleted == 204
        assert sent in (201, 400)
        assert cancelled in (204, 400)
        assert alice.balance == before - 10 * (sent == 201) + 10 * (cancelled == 204)
        assert not Transfer.objects.filter(destination=account).exists()


def test_concurrent_operations_conserve_the_total(alice, bob, boss):
    carol = Account.objects.create(currency="USD", balance=1_000_000)
    boss.account = carol
    bob.send(alice.account, 1)
    statuses: list[int] = []

    for _ in range(3):
        pending = list(Transfer.objects.filter(cancelled=False).values_list("pk", flat=True)[:4])
        statuses += run_concurrently(
            *[lambda: alice.send(bob.account, 90_000)] * 4,
            *[lambda: bob.send(carol, 70_000)] * 4,
            *[lambda: boss.send(alice.account, 50_000)] * 4,
            *[partial(boss.cancel, pk) for pk in pending * 2],
        )

    assert set(statuses) <= {201, 204, 400}
    assert total() == 2_000_000
    assert not Account.objects.filter(balance__lt=0).exists()

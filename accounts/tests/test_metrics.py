"""The ledger's metrics for Prometheus: committed movements, and refusals by code."""

import pytest
from django.db import transaction
from prometheus_client import REGISTRY

from accounts.models import Transfer
from accounts.tests.metrics import calls, refusals

NAMES = (
    "wallet_transfers_total",
    "wallet_transferred_micro_units_total",
    "wallet_cancellations_total",
    "wallet_cancelled_micro_units_total",
)


@pytest.fixture
def changes():
    """Return a function that returns the growth of the metrics since the test began."""

    def now():
        numbers = {name: REGISTRY.get_sample_value(name, {"currency": "USD"}) for name in NAMES}
        return [number or 0 for number in numbers.values()]

    before = now()
    return lambda: [new - old for new, old in zip(now(), before, strict=True)]


@pytest.mark.django_db(transaction=True)
def test_bookings_and_cancellations_are_counted(alice, bob, changes):
    before = calls("post"), calls("cancel")
    first = alice.send(bob.account, 300).json()["id"]
    alice.send(bob.account, 50)
    assert changes() == [2, 350, 0, 0]

    bob.cancel(first)
    assert changes() == [2, 350, 1, 300]
    assert (calls("post"), calls("cancel")) == (before[0] + 2, before[1] + 1)


@pytest.mark.django_db(transaction=True)
def test_a_batch_counts_for_all_its_transfers(alice, bob, changes):
    item = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 7}

    assert alice.post("/api/transfers/batch/", {"transfers": [item] * 3}).status_code == 201
    assert changes() == [3, 21, 0, 0]


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_transfer_is_not_counted(alice, bob, changes):
    with transaction.atomic():
        Transfer(origin=alice.account, destination=bob.account, balance=5).save()
        transaction.set_rollback(True)

    assert changes() == [0, 0, 0, 0]


def test_a_refusal_is_counted_by_its_code(alice, bob, boss, changes):
    funds = refusals("post", "insufficient_funds"), refusals("cancel", "already_cancelled")
    alice.send(bob.account, 2_000_000)
    transfer = alice.send(bob.account, 5).json()["id"]
    assert [boss.cancel(transfer).status_code for _ in range(2)] == [204, 400]

    assert refusals("post", "insufficient_funds") == funds[0] + 1
    assert refusals("cancel", "already_cancelled") == funds[1] + 1


@pytest.mark.django_db(transaction=True)
def test_a_metric_that_cannot_be_written_does_not_fail_a_transfer(alice, bob, monkeypatch):
    def full(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr("prometheus_client.Counter.inc", full)

    assert alice.send(bob.account, 5).status_code == 201
    assert (alice.balance, bob.balance) == (999_995, 5)

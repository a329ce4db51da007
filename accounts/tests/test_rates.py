"""Rate limit on refused transfers, which reveal facts about other accounts."""

import pytest

from accounts.models import Account, Transfer
from accounts.rules import MAX_MICRO_UNITS
from accounts.tests.concurrency import run_concurrently
from conftest import needs_row_locks

TRANSFERS = "/api/transfers/"
BATCH = "/api/transfers/batch/"


@pytest.fixture(autouse=True)
def three(settings):
    settings.REFUSED_TRANSFERS_RATE = "3/d"


@pytest.fixture
def full(db):
    return Account.objects.create(currency="USD", balance=MAX_MICRO_UNITS)


def guess(person, account: int, *, batch: bool = False):
    body = {"origin": person.account.pk, "destination": account, "balance": 1}
    return person.post(BATCH, {"transfers": [body]}) if batch else person.post(TRANSFERS, body)


@pytest.mark.parametrize("batch", [False, True])
def test_refusals_that_reveal_another_account_are_limited(alice, bob, full, batch):
    euros = Account.objects.create(currency="EUR")
    guesses = [guess(alice, account, batch=batch) for account in (10**6, euros.pk, full.pk)]

    refused = guess(alice, 10**6, batch=batch)

    codes = [each.json()["code"] for each in guesses]
    assert codes == ["account_missing", "currency_mismatch", "balance_overflow"]
    assert (refused.status_code, refused.json()["code"]) == (429, "throttled")
    assert refused.json()["detail"].startswith("Too many refused transfers. Try again in ")
    assert 0 < int(refused["Retry-After"]) <= 86_400
    # The limit is checked before the accounts, so a valid transfer reveals nothing either.
    assert guess(alice, bob.account.pk, batch=not batch).status_code == 429
    assert (alice.balance, Transfer.objects.count()) == (1_000_000, 0)


def test_other_refusals_and_booked_transfers_do_not_count(alice, bob):
    for _ in range(4):
        assert alice.send(bob.account, 1).status_code == 201
        assert alice.send(bob.account, 1_000_001).json()["code"] == "insufficient_funds"
        assert alice.send(alice.account, 1).json()["code"] == "same_account"
        assert bob.send(bob.account, 0).status_code == 400
        assert bob.post(TRANSFERS, {"origin": 1, "destination": 2}).status_code == 400

    assert guess(alice, 10**6).json()["code"] == "account_missing"


def test_each_user_has_a_limit_and_staff_has_none(alice, bob, boss, settings):
    bob.open_account(5)
    for _ in range(4):
        guess(alice, 10**6)
    boss.account = alice.account

    assert guess(alice, 10**6).status_code == 429
    bob.account = bob.open_account(5)
    assert guess(bob, 10**6).status_code == 400
    assert [guess(boss, 10**6).status_code for _ in range(5)] == [400] * 5
    settings.REFUSED_TRANSFERS_RATE = ""
    assert guess(alice, 10**6).status_code == 400


@needs_row_locks
@pytest.mark.usefixtures("verified")
def test_concurrent_guesses_do_not_exceed_the_limit(alice):
    statuses = run_concurrently(*[lambda: guess(alice, 10**6)] * 12)

    assert sorted(statuses) == [400] * 3 + [429] * 9


def test_a_throttled_request_leaves_its_key_free(alice, bob, settings):
    for _ in range(3):
        guess(alice, 10**6)
    body = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 1}
    refused = alice.post(TRANSFERS, body, idempotency_key="k1")
    settings.REFUSED_TRANSFERS_RATE = ""

    assert refused.status_code == 429
    assert alice.post(TRANSFERS, body, idempotency_key="k1").status_code == 201

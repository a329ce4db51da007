"""The database that bench.fill makes is one that the ledger could have made."""

import pytest
from django.contrib.auth.models import User

from accounts.models import Account, Transfer
from accounts.verification import Verification
from bench.fill import MERCHANT, STAFF, fill
from conftest import Person, only_on_postgresql


@only_on_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_filled_ledger_verifies_and_goes_on(monkeypatch):
    monkeypatch.setattr("bench.fill.AT_A_TIME", 400)
    monkeypatch.setattr("bench.fill.CANCELLED_SHARE", 0.1)

    fill(transfers=1000, accounts=60)

    assert Transfer.objects.count() == 1000
    assert 0 < Transfer.objects.filter(cancelled=True).count() < 1000
    assert Transfer.objects.exclude(reference="").exists()
    staff, merchant = (Person(User.objects.get(username=name)) for name in (STAFF, MERCHANT))
    accounts = merchant.user.profile.accounts.filter(currency="USD")
    assert merchant.user.profile.accounts.count() == 30
    merchant.account = accounts[0]
    assert merchant.send(accounts[1], 1).json()["id"] == 1001
    assert staff.cancel(1000).status_code == 204
    assert list(Verification().run()) == []


@pytest.mark.django_db
def test_a_database_in_use_is_left_alone(alice):
    with pytest.raises(SystemExit):
        fill(transfers=1, accounts=60)

    assert Account.objects.count() == 1

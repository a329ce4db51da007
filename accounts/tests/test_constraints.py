"""Database constraints enforce each rule of the money, independently of the Python code."""

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import Account, Transfer


def refused(statement: str, *values: int) -> bool:
    with connection.cursor() as cursor, pytest.raises(IntegrityError), transaction.atomic():
        cursor.execute(statement, values)
    return True


def test_a_balance_is_never_negative(alice):
    assert refused("UPDATE accounts_account SET balance = -1 WHERE id = %s", alice.account.pk)
    assert refused("INSERT INTO accounts_account (currency, balance) VALUES ('USD', -1)")
    assert alice.balance == 1_000_000


def test_a_transfer_moves_a_positive_amount(alice, bob):
    alice.send(bob.account, 5)

    assert refused("UPDATE accounts_transfer SET balance = 0")
    assert Transfer.objects.get().balance == 5


def test_a_transfer_needs_two_different_accounts(alice, bob):
    alice.send(bob.account, 5)

    assert refused("UPDATE accounts_transfer SET origin_id = destination_id")
    assert Transfer.objects.get().origin_id == alice.account.pk


def test_the_rules_have_names():
    names = {c.name for model in (Account, Transfer) for c in model._meta.constraints}

    assert names == {
        "account_balance_not_negative",
        "transfer_balance_positive",
        "transfer_accounts_differ",
        "transfer_cancelled_with_its_date",
    }

"""The migrations: that they match the models, and that old data arrives in the ledger whole."""

from datetime import UTC, datetime

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from accounts.models import Account, Entry, Transfer


@pytest.mark.django_db
def test_no_migration_is_missing():
    call_command("makemigrations", check=True, dry_run=True)


def migrate_to(name: str):
    executor = MigrationExecutor(connection)
    executor.migrate([("accounts", name)])
    return executor.loader.project_state([("accounts", name)]).apps


@pytest.fixture
def before_the_ledger(transactional_db):
    """The models of the first migration, on empty tables; afterwards all are migrated again."""
    yield migrate_to("0001_initial")
    migrate_to("0005_lists_by_date")


def entries_of(account: int) -> list[tuple]:
    fields = ("kind", "transfer", "counterparty", "currency", "amount", "balance_after", "reason")
    return list(Entry.objects.of(account).values_list(*fields))


def test_an_old_database_arrives_whole(before_the_ledger):
    account_model = before_the_ledger.get_model("accounts", "Account")
    transfer_model = before_the_ledger.get_model("accounts", "Transfer")
    day = datetime(2020, 5, 17, tzinfo=UTC)

    def account(balance, currency="USD"):
        return account_model.objects.create(balance=balance, currency=currency)

    def transfer(origin, destination, balance, *, cancelled=False, currency="USD"):
        row = transfer_model.objects.create(
            origin=origin,
            destination=destination,
            balance=balance,
            cancelled=cancelled,
            currency=currency,
        )
        transfer_model.objects.filter(pk=row.pk).update(date=day)
        return row.pk

    idle, payer, receiver, emptied = account(9), account(40), account(60), account(0)
    plain = transfer(payer, receiver, 50)
    undone = transfer(payer, receiver, 7, cancelled=True)
    # What came in here was later taken away by an edit of the balance.
    edited = transfer(receiver, emptied, 5)
    lost_origin = transfer(None, receiver, 11)
    lost_both = transfer(None, None, 13, currency="EUR", cancelled=True)

    migrate_to("0004_append_only_entries")

    assert entries_of(idle.pk) == [("opening", None, None, "USD", 9, 9, "")]
    assert entries_of(payer.pk) == [
        ("opening", None, None, "USD", 90, 90, ""),
        ("transfer", plain, receiver.pk, "USD", -50, 40, ""),
        ("transfer", undone, receiver.pk, "USD", -7, 33, ""),
        ("cancellation", undone, receiver.pk, "USD", 7, 40, ""),
    ]
    assert entries_of(receiver.pk) == [
        ("opening", None, None, "USD", 4, 4, ""),
        ("transfer", plain, payer.pk, "USD", 50, 54, ""),
        ("transfer", undone, payer.pk, "USD", 7, 61, ""),
        ("transfer", edited, emptied.pk, "USD", -5, 56, ""),
        ("transfer", lost_origin, -2, "USD", 11, 67, ""),
        ("cancellation", undone, payer.pk, "USD", -7, 60, ""),
    ]
    assert entries_of(emptied.pk) == [
        ("opening", None, None, "USD", 0, 0, ""),
        ("transfer", edited, receiver.pk, "USD", 5, 5, ""),
        ("adjustment", None, None, "USD", -5, 0, "Balance before the ledger"),
    ]
    assert entries_of(-1) == [
        ("opening", None, None, "EUR", 13, 13, ""),
        ("transfer", lost_both, -1, "EUR", -13, 0, ""),
        ("transfer", lost_both, -1, "EUR", 13, 13, ""),
        ("cancellation", lost_both, -1, "EUR", 13, 26, ""),
        ("cancellation", lost_both, -1, "EUR", -13, 13, ""),
        ("closing", None, None, "EUR", -13, 0, "Balance before the ledger"),
    ]
    assert entries_of(-2) == [
        ("opening", None, None, "USD", 11, 11, ""),
        ("transfer", lost_origin, receiver.pk, "USD", -11, 0, ""),
        ("closing", None, None, "USD", 0, 0, "Balance before the ledger"),
    ]
    assert Entry.objects.of(payer.pk).values_list("date", flat=True)[1] == day
    call_command("verify_ledger")
    # And the money goes on from there.
    Transfer.objects.get(pk=plain).delete()
    assert list(Account.objects.values_list("balance", flat=True)) == [9, 90, 10, 0]
    call_command("verify_ledger")


def test_an_empty_database_arrives_empty(before_the_ledger):
    migrate_to("0004_append_only_entries")

    assert Entry.objects.count() == 0

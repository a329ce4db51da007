"""Django's ways around save() and delete() go through the ledger, or are refused."""

import re

import pytest
from django.core.management import call_command
from django.core.serializers import serialize
from django.db import IntegrityError, connection
from django.db.models import F
from django.db.transaction import TransactionManagementError, atomic

from accounts import ledger
from accounts.models import Account, Entry, Register, Transfer
from accounts.rules import (
    AlreadyCancelled,
    BalanceChanged,
    InsufficientFunds,
    InvalidAmount,
    TransferMissing,
)
from almaFintech.db.guards import SideDoor
from almaFintech.tests.sql import spelled_out


@pytest.fixture
def transfer(alice, bob) -> Transfer:
    return Transfer.objects.create(origin=alice.account, destination=bob.account, balance=300_000)


def test_create_moves_the_balances(alice, bob, transfer):
    assert (alice.balance, bob.balance) == (700_000, 300_000)
    assert (transfer.currency, transfer.cancelled) == ("USD", False)
    assert Transfer.objects.get() == transfer


def test_delete_moves_the_balances_back_and_keeps_the_row(alice, bob, transfer):
    assert transfer.delete() == (0, {})

    assert (alice.balance, bob.balance) == (1_000_000, 0)
    assert transfer.cancelled is True
    assert Transfer.objects.get().cancelled is True


def test_delete_of_a_queryset_cancels_all(alice, bob, transfer):
    Transfer.objects.create(origin=alice.account, destination=bob.account, balance=1)

    Transfer.objects.all().delete()

    assert (alice.balance, bob.balance) == (1_000_000, 0)
    assert list(Transfer.objects.values_list("cancelled", flat=True)) == [True, True]


def test_delete_of_a_queryset_cancels_none_when_one_is_refused(alice, bob, transfer):
    second = Transfer.objects.create(origin=bob.account, destination=alice.account, balance=1)

    # Oldest first, the first transfer can no longer be paid back in full.
    with pytest.raises(InsufficientFunds) as refusal, atomic():
        Transfer.objects.order_by("id").delete()

    assert refusal.value.index == 0
    assert (alice.balance, bob.balance) == (700_001, 299_999)
    assert not Transfer.objects.filter(cancelled=True).exists()
    # Newest first it can: the earlier cancellations fund the later ones.
    Transfer.objects.order_by("-id").delete()
    assert (alice.balance, bob.balance) == (1_000_000, 0)
    second.refresh_from_db()
    assert second.cancelled is True


def test_a_transfer_is_cancelled_once_however_often_it_is_named(alice, bob, transfer):
    Transfer.objects.create(origin=alice.account, destination=bob.account, balance=300_000)

    with pytest.raises(AlreadyCancelled) as refusal, atomic():
        ledger.cancel([transfer, transfer])

    assert refusal.value.index == 1
    assert (alice.balance, bob.balance) == (400_000, 600_000)
    assert not Transfer.objects.filter(cancelled=True).exists()


def test_bulk_create_moves_the_balances(alice, bob):
    transfers = [
        Transfer(origin=alice.account, destination=bob.account, balance=1_000_000),
        Transfer(origin=bob.account, destination=alice.account, balance=400_000),
    ]

    booked = Transfer.objects.bulk_create(transfers)

    assert (alice.balance, bob.balance) == (400_000, 600_000)
    assert booked == transfers
    assert list(Transfer.objects.order_by("id")) == transfers


def test_bulk_create_books_none_when_one_is_refused(alice, bob):
    with pytest.raises(InsufficientFunds) as refusal, atomic():
        Transfer.objects.bulk_create(
            [
                Transfer(origin=alice.account, destination=bob.account, balance=600_000),
                Transfer(origin=alice.account, destination=bob.account, balance=600_000),
            ]
        )

    assert refusal.value.index == 1
    assert (alice.balance, bob.balance) == (1_000_000, 0)
    assert Transfer.objects.count() == 0


def test_a_transfer_that_was_not_booked_can_be_booked_later(alice, bob):
    alice.open_account(0)
    first = Transfer(origin=alice.account, destination=bob.account, balance=600_000)
    second = Transfer(origin=alice.account, destination=bob.account, balance=600_000)
    # The ledger sets these fields, whatever the object holds.
    first.currency, first.cancelled = "EUR", True

    for work in (lambda: ledger.post([first, second]), lambda: fail_at_the_entries(first)):
        with pytest.raises((InsufficientFunds, IntegrityError)), atomic():
            work()
        assert (first.pk, first.date, first.currency, first.cancelled) == (None, None, "EUR", True)
        assert first._state.adding

    first.save()
    assert (first.currency, first.cancelled, first.cancelled_at) == ("USD", False, None)
    assert (alice.balance, bob.balance) == (400_000, 600_000)
    assert Transfer.objects.get() == first


def fail_at_the_entries(transfer):
    def refuse(execute, sql, params, many, context):
        if re.search(rf"INSERT INTO [`\"]?{Entry._meta.db_table}\b", spelled_out(sql)):
            raise IntegrityError("no entries today")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        ledger.post([transfer])


def test_an_object_is_booked_once(alice, bob):
    transfer = Transfer(origin=alice.account, destination=bob.account, balance=1)

    with pytest.raises(ValueError, match="a separate object"):
        ledger.post([transfer, transfer])

    assert (alice.balance, bob.balance, Transfer.objects.count()) == (1_000_000, 0, 0)
    Transfer.objects.create(origin=alice.account, destination=bob.account, balance=1)
    with pytest.raises(IntegrityError), atomic():
        ledger.post([Transfer.objects.get()])
    assert (alice.balance, bob.balance, Transfer.objects.count()) == (999_999, 1, 1)


@pytest.mark.django_db(transaction=True)
def test_a_refusal_in_a_transaction_undoes_it_or_its_savepoint(alice, bob):
    def overdraw():
        Transfer(origin=alice.account, destination=bob.account, balance=2_000_000).save()

    def send():
        Transfer(origin=alice.account, destination=bob.account, balance=1).save()

    with atomic():
        send()
        with pytest.raises(InsufficientFunds):
            overdraw()
        with pytest.raises(TransactionManagementError):
            send()
    assert (alice.balance, bob.balance) == (1_000_000, 0)

    with atomic():
        send()
        with pytest.raises(InsufficientFunds), atomic():
            overdraw()
        send()
    assert (alice.balance, bob.balance) == (999_998, 2)


def test_bulk_create_of_accounts_checks_their_balances(db):
    with pytest.raises(InvalidAmount), atomic():
        Account.objects.bulk_create([Account(currency="USD"), Account(currency="USD", balance=-1)])
    assert Account.objects.count() == 0

    Account.objects.bulk_create([Account(currency="USD", balance=1)])
    assert Account.objects.get().balance == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda t: Transfer.objects.update(balance=1),
        lambda t: Transfer.objects.filter(pk=t.pk).update(cancelled=True),
        lambda t: Transfer.objects.bulk_update([t], ["balance"]),
        lambda t: Transfer.objects.bulk_create([t], ignore_conflicts=True),
        lambda t: Transfer.objects.bulk_create(
            [t], update_conflicts=True, update_fields=["balance"], unique_fields=["id"]
        ),
        lambda t: Transfer.objects.update_or_create(pk=t.pk, defaults={"balance": 1}),
        lambda t: Transfer._base_manager.update(balance=1),
        lambda t: Transfer._base_manager.bulk_update([t], ["balance"]),
        lambda t: Transfer._base_manager.bulk_create([t]),
        lambda t: Transfer.cascades.bulk_create(
            [Transfer(origin=t.origin, destination=t.destination, balance=1)]
        ),
        lambda t: Transfer.cascades.filter(pk=t.pk).update(origin=None),
        lambda t: Transfer._base_manager.filter(pk=t.pk).delete(),
        lambda t: t.destination.out_transfers.add(t),
        lambda t: t.origin.out_transfers.clear(),
        lambda t: t.origin.out_transfers.remove(t),
        lambda t: t.origin.out_transfers.set([]),
        lambda t: Account.objects.update(balance=1),
        lambda t: Account.objects.update(currency="EUR"),
        lambda t: Account.objects.update(balance=F("balance") + 1),
        lambda t: Account.objects.bulk_update([t.origin], ["balance"]),
        lambda t: Account.objects.bulk_create([t.origin], ignore_conflicts=True),
        lambda t: Account._base_manager.update(balance=1),
        lambda t: Register.objects.get().save(),
        lambda t: Register.objects.get().delete(),
        lambda t: Register.objects.update(opened=1),
        lambda t: Register.objects.all().delete(),
        lambda t: Register.objects.bulk_update([Register(opened=1)], ["opened"]),
        lambda t: Register._base_manager.bulk_create([Register(id=2)]),
        lambda t: t.origin.save_base(),
        lambda t: t.save_base(),
    ],
)
def test_other_ways_to_write_are_refused(alice, bob, transfer, change):
    # Some of Django's methods open their own transaction, which a refusal breaks.
    with pytest.raises(SideDoor) as refusal, atomic():
        change(transfer)

    assert (
        "save()" in refusal.value.message
        or "delete()" in refusal.value.message
        or ("the objects alone" in refusal.value.message)
    )
    assert (alice.balance, bob.balance) == (700_000, 300_000)
    stored = Transfer.objects.get()
    assert (stored.balance, stored.cancelled, stored.origin_id) == (
        300_000,
        False,
        alice.account.pk,
    )
    assert Register.objects.get().opened == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [("balance", 1), ("cancelled", True), ("currency", "EUR"), ("origin", None)],
)
def test_save_of_an_edited_transfer_is_refused(alice, bob, transfer, field, value):
    setattr(transfer, field, value)

    with pytest.raises(SideDoor):
        transfer.save()

    stored = Transfer.objects.get()
    assert getattr(stored, field) != value
    assert (alice.balance, bob.balance) == (700_000, 300_000)


def test_save_of_an_untouched_transfer_changes_nothing(alice, bob, transfer):
    Transfer.objects.get().save()

    assert Transfer.objects.count() == 1
    assert (alice.balance, bob.balance) == (700_000, 300_000)


def test_a_transfer_that_is_not_in_the_database_cannot_be_cancelled(alice, bob, transfer):
    with pytest.raises(TransferMissing), atomic():
        Transfer(pk=transfer.pk + 1, origin=alice.account, destination=bob.account).delete()

    assert (alice.balance, bob.balance) == (700_000, 300_000)


def test_a_stale_transfer_is_read_again_before_it_is_cancelled(alice, bob, transfer):
    remembered = Transfer.objects.get()
    remembered.balance = 900_000_000
    transfer.delete()

    with pytest.raises(AlreadyCancelled), atomic():
        remembered.delete()

    assert (alice.balance, bob.balance) == (1_000_000, 0)


def test_a_stale_account_does_not_restore_its_balance(alice, bob, transfer):
    # alice.account was read before the transfer.
    alice.account.currency = "USD"
    alice.account.save()

    assert alice.account.balance == alice.balance == 700_000


def test_an_edit_of_a_stale_balance_is_refused(alice, bob, transfer):
    alice.account.balance = 999_999

    with pytest.raises(BalanceChanged), atomic():
        alice.account.save()

    assert alice.balance == 700_000
    alice.account.refresh_from_db()
    alice.account.balance += 1
    alice.account.save()
    assert alice.balance == 700_001


def test_a_balance_that_was_never_read_cannot_be_overwritten(alice):
    account = Account.objects.only("currency").get(pk=alice.account.pk)
    account.balance = 5

    with pytest.raises(BalanceChanged), atomic():
        account.save()

    assert alice.balance == 1_000_000


def test_update_fields_are_honoured(alice):
    alice.account.balance = 5
    alice.account.currency = "EUR"
    alice.account.save(update_fields=["currency"])

    stored = Account.objects.get()
    assert (stored.currency, stored.balance) == ("EUR", 1_000_000)


@pytest.mark.parametrize("balance", [F("balance") + 1, 1.0, "1", True, None, -1, 2**63])
def test_a_balance_in_python_is_an_int_in_range(alice, balance):
    alice.account.balance = balance

    with pytest.raises(InvalidAmount), atomic():
        alice.account.save()

    assert alice.balance == 1_000_000


@pytest.mark.parametrize("balance", [F("id"), 1.0, "1", True, None, 0, -1, 2**63])
def test_an_amount_in_python_is_an_int_in_range(alice, bob, balance):
    with pytest.raises(InvalidAmount), atomic():
        Transfer.objects.create(origin=alice.account, destination=bob.account, balance=balance)

    assert (alice.balance, bob.balance) == (1_000_000, 0)
    assert Transfer.objects.count() == 0


def test_deleting_accounts_in_bulk_keeps_their_transfers(alice, bob, transfer):
    Account.objects.all().delete()

    stored = Transfer.objects.get()
    assert (stored.origin, stored.destination, stored.balance) == (None, None, 300_000)


def test_deleting_a_user_keeps_the_money(alice, bob, transfer):
    alice.user.delete()

    assert (alice.balance, bob.balance) == (700_000, 300_000)
    assert Transfer.objects.get().origin_id == alice.account.pk


def test_reading_a_deferred_field_does_not_lose_an_edit(alice):
    account = Account.objects.defer("seal").get(pk=alice.account.pk)
    account.balance = 5
    assert account.seal

    account.save()

    assert alice.balance == 5


def test_a_deletion_by_the_base_manager_closes_the_account(alice):
    Account._base_manager.filter(pk=alice.account.pk).delete()

    kinds = Entry.objects.of(alice.account.pk).values_list("kind", flat=True)
    assert list(kinds) == ["opening", "closing"]


def test_a_fixture_changes_nothing(alice, bob, transfer, tmp_path):
    fixture = tmp_path / "money.json"
    for rows in Account.objects.all(), [transfer], Entry.objects.all(), Register.objects.all():
        fixture.write_text(serialize("json", rows).replace("700000", "900000"))

        with pytest.raises(SideDoor):
            call_command("loaddata", fixture)

    assert (alice.balance, bob.balance) == (700_000, 300_000)

"""Ledger entries: each operation writes its own, and nothing changes them afterwards."""

import hmac
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.chain import content_of
from accounts.models import Account, Entry, Transfer
from almaFintech.db import clock
from almaFintech.db.guards import SideDoor
from almaFintech.tests.triggers import entries as triggers


def entries_of(account: int) -> list[tuple]:
    fields = ("seq", "kind", "currency", "amount", "balance_after", "by", "reason")
    return list(Entry.objects.of(account).values_list(*fields))


def test_a_new_account_opens_its_chain(boss):
    account = boss.post("/api/accounts/", {"currency": "USD", "balance": 5}).json()["id"]

    assert entries_of(account) == [(1, "opening", "USD", 5, 5, boss.user.pk, "")]


def test_an_empty_account_opens_its_chain_too(db):
    account = Account.objects.create(currency="USD")

    assert entries_of(account.pk) == [(1, "opening", "USD", 0, 0, None, "")]


def test_a_transfer_and_its_cancellation_write_two_entries_each(alice, bob):
    transfer = alice.send(bob.account, 300_000).json()["id"]
    bob.cancel(transfer)

    assert entries_of(alice.account.pk)[1:] == [
        (2, "transfer", "USD", -300_000, 700_000, alice.user.pk, ""),
        (3, "cancellation", "USD", 300_000, 1_000_000, bob.user.pk, ""),
    ]
    assert entries_of(bob.account.pk)[1:] == [
        (2, "transfer", "USD", 300_000, 300_000, alice.user.pk, ""),
        (3, "cancellation", "USD", -300_000, 0, bob.user.pk, ""),
    ]
    sides = Entry.objects.filter(transfer=transfer).values_list("account", "counterparty")
    assert set(sides) == {
        (alice.account.pk, bob.account.pk),
        (bob.account.pk, alice.account.pk),
    }


def test_a_transfer_records_who_and_why(alice, bob):
    body = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 5}
    transfer = alice.post("/api/transfers/", {**body, "reference": "rent"}).json()
    bob.cancel(transfer["id"])

    transfer_now = alice.get(f"/api/transfers/{transfer['id']}/").json()

    assert (
        transfer_now["reference"],
        transfer_now["created_by"],
        transfer_now["cancelled_by"],
    ) == (
        "rent",
        alice.user.pk,
        bob.user.pk,
    )
    assert transfer_now["cancelled_at"] > transfer_now["date"]


@pytest.mark.parametrize("reference", ["x" * 141, "\x00", "\ud800", [], None])
def test_a_reference_is_a_short_text(alice, bob, reference):
    body = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 5}

    response = alice.post("/api/transfers/", {**body, "reference": reference})

    assert response.status_code == 400
    assert list(response.json()) == ["reference"]
    assert alice.balance == 1_000_000


def test_an_edited_balance_records_who_and_why(alice, boss):
    boss.patch(f"/api/accounts/{alice.account.pk}/", {"balance": 7, "reason": "a mistake"})

    assert entries_of(alice.account.pk)[1:] == [
        (2, "adjustment", "USD", -999_993, 7, boss.user.pk, "a mistake")
    ]


def test_an_edit_that_changes_nothing_writes_nothing(alice, boss):
    boss.patch(f"/api/accounts/{alice.account.pk}/", {"balance": 1_000_000, "currency": "USD"})

    assert len(entries_of(alice.account.pk)) == 1


def test_a_change_of_currency_closes_the_old_one_and_opens_the_new_one(alice, boss):
    boss.patch(f"/api/accounts/{alice.account.pk}/", {"balance": 7, "currency": "EUR"})

    assert entries_of(alice.account.pk)[1:] == [
        (2, "closing", "USD", -1_000_000, 0, boss.user.pk, ""),
        (3, "opening", "EUR", 7, 7, boss.user.pk, ""),
    ]


def test_the_entries_of_a_deleted_account_stay(alice, boss):
    number = alice.account.pk
    boss.delete(f"/api/accounts/{number}/")

    assert entries_of(number)[1:] == [(2, "closing", "USD", -1_000_000, 0, boss.user.pk, "")]


def test_the_number_of_a_deleted_account_is_not_reused(alice, boss):
    number = alice.account.pk
    boss.delete(f"/api/accounts/{number}/")

    with pytest.raises(IntegrityError), transaction.atomic():
        Account.objects.create(pk=number, currency="USD")

    assert not Account.objects.filter(pk=number).exists()


def test_a_refusal_writes_no_entry(alice, bob):
    alice.send(bob.account, 2_000_000)

    assert Entry.objects.count() == 2


def test_each_digest_follows_from_the_previous_one_and_the_key(alice, bob, settings):
    alice.send(bob.account, 5)
    key = settings.LEDGER_KEY.encode()
    seal = bytes(32)

    for entry in Entry.objects.of(alice.account.pk):
        digest = hmac.digest(key, b"link" + seal + entry.content(), "sha256")
        assert bytes(entry.digest) == digest
        seal = hmac.digest(key, b"seal" + digest, "sha256")

    assert bytes(Account.objects.get(pk=alice.account.pk).seal) == seal


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no clock of its own")
def test_entries_use_the_clock_of_the_database(alice, bob, monkeypatch):
    """The clock of this server is ten years ahead."""
    before = clock.now()
    monkeypatch.setattr("django.utils.timezone.now", lambda: before + timedelta(days=3650))

    transfer = Transfer.objects.create(origin=alice.account, destination=bob.account, balance=5)
    transfer.delete()

    dates = list(Entry.objects.filter(transfer=transfer).values_list("date", flat=True))
    assert len(dates) == 4
    for date in (*dates, transfer.date, transfer.cancelled_at):
        assert date
        assert before <= date < before + timedelta(minutes=1)


def test_the_content_of_an_entry_is_as_documented():
    date = datetime(2026, 1, 31, 12, tzinfo=UTC)
    text = b'[1,2,"transfer",3,4,"USD",-5,6,"2026-01-31T12:00:00.000000+00:00",null,"caf\\u00e9"]'

    assert content_of(1, 2, "transfer", 3, 4, "USD", -5, 6, date, None, "café") == text


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.save(),
        lambda entry: entry.delete(),
        lambda entry: Entry.objects.all().delete(),
        lambda entry: Entry.objects.update(amount=1),
        lambda entry: Entry.objects.bulk_update([entry], ["amount"]),
        lambda entry: Entry.objects.bulk_create([entry]),
        lambda entry: Entry.objects.create(account_id=1, seq=9, amount=1, balance_after=1),
        lambda entry: entry.account.entries.all().delete(),
        lambda entry: Transfer.objects.get().entries.clear(),
        lambda entry: Entry._base_manager.bulk_create([entry]),
        lambda entry: Entry._base_manager.update(amount=1),
    ],
)
def test_python_refuses_to_change_entries(alice, bob, change):
    alice.send(bob.account, 5)
    before = list(Entry.objects.order_by("id").values())

    with pytest.raises(SideDoor), transaction.atomic():
        change(Entry.objects.order_by("id").first())

    assert list(Entry.objects.order_by("id").values()) == before


REPLACEMENT = {
    "postgresql": "INSERT INTO accounts_entry SELECT * FROM accounts_entry "
    "ON CONFLICT (id) DO UPDATE SET amount = 1",
    "mysql": "REPLACE INTO accounts_entry SELECT * FROM accounts_entry",
    "sqlite": "REPLACE INTO accounts_entry SELECT * FROM accounts_entry",
}
# SQLite has no TRUNCATE, and MariaDB has no trigger for it.
TRUNCATION = (
    ["SET CONSTRAINTS ALL IMMEDIATE; TRUNCATE accounts_entry"]
    if connection.vendor == "postgresql"
    else []
)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts_entry SET amount = 1",
        "DELETE FROM accounts_entry",
        REPLACEMENT[connection.vendor],
        *TRUNCATION,
    ],
)
def test_the_database_refuses_to_change_entries(alice, statement):
    before = list(Entry.objects.values())

    with (
        connection.cursor() as cursor,
        pytest.raises(IntegrityError, match=triggers.MESSAGE),
        transaction.atomic(),
    ):
        cursor.execute(statement)

    assert list(Entry.objects.values()) == before

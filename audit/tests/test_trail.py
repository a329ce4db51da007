"""The records of staff are a chain that nobody can change unnoticed."""

from functools import partial
from typing import Any

import pytest
from django.core.management import call_command
from django.core.serializers import serialize
from django.db import IntegrityError, connection, transaction

from accounts.models import Account
from accounts.tests.commands import verify
from accounts.tests.concurrency import run_concurrently
from accounts.verification import Verification
from almaFintech.db import chains
from almaFintech.db.guards import SideDoor
from almaFintech.tests.triggers import records as triggers
from audit.models import End, Record
from audit.verification import Verification as RecordVerification
from conftest import needs_row_locks


@pytest.fixture
def records(boss, alice):
    for balance in 1, 2, 3:
        boss.patch(f"/api/accounts/{alice.account.pk}/", {"balance": balance})
    assert list(Record.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2, 3]


def tamper(sql: str, *values: Any) -> None:
    """Change the records, as the owner of the database can."""
    with connection.schema_editor() as editor:
        triggers.remove(None, editor)
        with connection.cursor() as cursor:
            cursor.execute(sql, values or None)
        triggers.install(None, editor)


def found() -> list[tuple]:
    return [
        (discrepancy.check, discrepancy.record)
        for discrepancy in Verification().run()
        if discrepancy.check in ("record", "record_seq", "trail")
    ]


def test_the_records_of_staff_verify(records):
    assert list(Verification().run()) == []


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_record SET number = 1", "DELETE FROM audit_record"]
)
def test_the_database_refuses_to_change_records(records, statement):
    before = list(Record.objects.values())

    with (
        connection.cursor() as cursor,
        pytest.raises(IntegrityError, match=triggers.MESSAGE),
        transaction.atomic(),
    ):
        cursor.execute(statement)

    assert list(Record.objects.values()) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.save(),
        lambda record: record.delete(),
        lambda record: Record(seq=9).save(),
        lambda record: Record.objects.create(seq=9),
        lambda record: Record.objects.update(number=1),
        lambda record: Record.objects.all().delete(),
        lambda record: Record.objects.bulk_create([Record(seq=9)]),
        lambda record: Record.objects.bulk_update([record], ["number"]),
        lambda record: Record._base_manager.update(number=1),
        lambda record: End.objects.get().save(),
        lambda record: End.objects.get().delete(),
        lambda record: End.objects.update(seq=9),
        lambda record: End.objects.all().delete(),
        lambda record: End.objects.bulk_create([End(id=2)]),
        lambda record: End._base_manager.bulk_update([End(seq=9)], ["seq"]),
    ],
)
def test_python_refuses_to_change_records(records, change):
    before = list(Record.objects.values()), list(End.objects.values())

    with pytest.raises(SideDoor, match="written by `audit"), transaction.atomic():
        change(Record.objects.first())

    assert (list(Record.objects.values()), list(End.objects.values())) == before


def test_a_fixture_changes_no_records(records, tmp_path):
    fixture = tmp_path / "records.json"
    for rows in Record.objects.all(), End.objects.all():
        fixture.write_text(serialize("json", rows))

        with pytest.raises(SideDoor):
            call_command("loaddata", fixture)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("UPDATE audit_record SET username = 'bob' WHERE seq = 2", [("record", 2)]),
        ("UPDATE audit_record SET changes = '{}' WHERE seq = 2", [("record", 2)]),
        ("UPDATE audit_record SET number = number + 1 WHERE seq = 3", [("record", 3)]),
        ("DELETE FROM audit_record WHERE seq = 2", [("record_seq", 3), ("record", 3)]),
        ("DELETE FROM audit_record WHERE seq = 3", [("trail", None)]),
        (
            "UPDATE audit_record SET seq = -3 WHERE seq = 3",
            [
                ("record_seq", -3),
                ("record", -3),
                ("record_seq", 1),
                ("record", 1),
                ("trail", None),
            ],
        ),
        ("DELETE FROM audit_record", [("trail", None)]),
        ("DELETE FROM audit_end", [("trail", None)]),
        ("UPDATE audit_end SET seq = 2", [("trail", None)]),
    ],
)
def test_a_changed_record_is_named(records, change, expected):
    tamper(change)

    assert found() == expected


@pytest.mark.django_db(transaction=True)
def test_a_chain_rewritten_without_the_key_is_found(records):
    key = chains.Key("a guess")
    seal = key.count(End.NAME, 0)
    tamper("UPDATE audit_record SET username = 'bob'")
    for record in Record.objects.order_by("seq"):
        digest = key.link(seal, record.content())
        seal = key.seal(digest)
        tamper("UPDATE audit_record SET digest = %s WHERE seq = %s", digest, record.seq)
    tamper("UPDATE audit_end SET seal = %s", seal)

    assert found() == [("record", 1), ("record", 2), ("record", 3), ("trail", None)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "change", ["DELETE FROM audit_end", "UPDATE audit_end SET seq = 0, seal = %s"]
)
def test_a_reset_trail_is_found(records, boss, alice, change):
    tamper("DELETE FROM audit_record")
    tamper(change, *[chains.GENESIS] * change.count("%s"))
    assert found() == [("trail", None)]

    boss.patch(f"/api/accounts/{alice.account.pk}/", {"balance": 4})

    assert found() == [("record", 1)]


@pytest.fixture
def heads(records, tmp_path, capsys):
    path = tmp_path / "heads"
    assert verify(capsys, "--heads", path)[0] == 0
    return path


@pytest.mark.django_db(transaction=True)
def test_the_head_of_the_records_is_recorded_and_advances(heads, boss, alice, capsys):
    def last():
        record = Record.objects.latest("seq")
        return f"records {record.seq} {bytes(record.digest).hex()}"

    assert heads.read_text().splitlines()[-1] == last()
    boss.patch(f"/api/accounts/{alice.account.pk}/", {"balance": 4})
    assert verify(capsys, "--heads", heads)[0] == 0
    assert heads.read_text().splitlines()[-1] == last()
    assert last().startswith("records 4 ")


@pytest.mark.django_db(transaction=True)
def test_records_truncated_with_an_old_seal_are_found_by_the_head(heads, capsys, settings):
    recorded = heads.read_text()
    key = chains.Key(settings.LEDGER_KEY)
    # The seal of a backup from before the last record.
    seal = key.seal(bytes(Record.objects.get(seq=2).digest))
    tamper("DELETE FROM audit_record WHERE seq = 3")
    tamper("UPDATE audit_end SET seq = 2, seal = %s", seal)
    assert list(Verification().run()) == []

    status, out = verify(capsys, "--heads", heads)

    assert status == 1
    digest = recorded.split()[-1]
    assert out.splitlines()[:-1] == [f"record 3: record_head expected {digest}, found none"]
    assert heads.read_text() == recorded


@pytest.mark.django_db(transaction=True)
def test_a_chain_rewritten_with_the_key_is_found_by_the_head(heads, capsys, settings):
    key = chains.Key(settings.LEDGER_KEY)
    last = Record.objects.get(seq=3)
    last.username = "bob"
    digest = key.link(key.seal(bytes(Record.objects.get(seq=2).digest)), last.content())
    tamper("UPDATE audit_record SET username = 'bob', digest = %s WHERE seq = 3", digest)
    tamper("UPDATE audit_end SET seal = %s", key.seal(digest))
    assert list(Verification().run()) == []

    status, out = verify(capsys, "--heads", heads)

    assert status == 1
    [found] = out.splitlines()[:-1]
    assert found.startswith("record 3: record_head expected ")
    assert found.endswith(f", found {digest.hex()}")


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_concurrent_records_form_one_chain(boss):
    accounts = [Account.objects.create(currency="USD") for _ in range(6)]
    paths = [f"/api/accounts/{account.pk}/" for account in accounts]

    run_concurrently(*[partial(boss.patch, path, {"balance": 5}) for path in paths])

    assert Record.objects.count() == len(accounts)
    assert list(RecordVerification().run()) == []

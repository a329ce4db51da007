"""Verification finds every change that bypassed the server, and nothing else."""

import errno
import io
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError, connection, connections
from django.db.models import (
    BinaryField,
    BooleanField,
    CharField,
    DateTimeField,
    Field,
    Model,
)
from django.db.transaction import TransactionManagementError, atomic
from django.db.utils import load_backend
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts import ledger
from accounts.models import Account, Entry, Register, Transfer
from accounts.rules import InsufficientFunds
from accounts.tests import tampering
from accounts.tests.commands import verify
from accounts.tests.tampering import unguarded_cursor
from accounts.verification import Verification, reading
from accounts.verification.heads import Head, read_heads
from accounts.verification.reading import side_by_side, snapshot
from almaFintech.db import chains, clock

# MariaDB commits when a trigger is dropped, so a test's transaction could not be rolled back.
pytestmark = pytest.mark.django_db(transaction=True)

LEDGER: list[type[Model]] = [Account, Transfer, Entry, Register]


@pytest.fixture
def history(alice, bob, boss) -> Iterator[SimpleNamespace]:
    """Run every kind of operation. The entries of each account, ordered by seq:

    alice  opening 1_000_000, first -300_000, second -100 and back, adjustment 5, fifth -7
    bob    opening 0, first 300_000, second 100 and back, third -50, fifth 7
    carol  opening 10, third 50, closing -60
    dan    opening 20, fourth -5, closing -15
    erin   opening 0, fourth 5, closing -5
    franc  opening 50 EUR, closing -50 EUR, opening 50 USD
    """
    carol, dan, erin = [Account.objects.create(currency="USD", balance=b) for b in (10, 20, 0)]
    franc = Account.objects.create(currency="EUR", balance=50)

    def send(origin: Account, destination: Account, amount: int) -> Transfer:
        return Transfer(
            origin=origin,
            destination=destination,
            balance=amount,
            reference="für März",
            created_by=alice.user,
        )

    first = send(alice.account, bob.account, 300_000)
    second = send(alice.account, bob.account, 100)
    third = send(bob.account, carol, 50)
    fourth = send(dan, erin, 5)
    fifth = send(alice.account, bob.account, 7)
    for transfer in (first, second):
        transfer.save()
    second.delete(by=boss.user)
    account = Account.objects.get(pk=alice.account.pk)
    account.balance += 5
    account.save(by=boss.user, reason="Zinsen für März")
    franc.currency = "USD"
    franc.save()
    refused = [send(alice.account, bob.account, 1), send(erin, bob.account, 10**6)]
    with pytest.raises(InsufficientFunds), atomic():
        ledger.post(refused)
    ledger.post([third, fourth, fifth])
    ids = {
        "alice": alice.account.pk,
        "bob": bob.account.pk,
        "carol": carol.pk,
        "dan": dan.pk,
        "erin": erin.pk,
        "franc": franc.pk,
        "stranger": franc.pk + 500,
    }
    Account.objects.filter(pk__in=[carol.pk, dan.pk, erin.pk]).delete()
    transfers = {
        "first": first.pk,
        "second": second.pk,
        "third": third.pk,
        "fourth": fourth.pk,
        "fifth": fifth.pk,
    }
    yield SimpleNamespace(**ids, **transfers, boss=boss.user.pk, accounts=ids, people=(alice, bob))
    with unguarded_cursor() as cursor:
        # Foreign keys would keep the tables from being emptied.
        cursor.execute("DELETE FROM accounts_entry")


def tamper(history: SimpleNamespace, sql: str) -> None:
    """Run SQL in which {alice} is a number and %s is 32 zero bytes."""
    with unguarded_cursor() as cursor:
        cursor.execute(sql.format(**vars(history)), [bytes(32)] * sql.count("%s") or None)


def named(history: SimpleNamespace) -> list[str]:
    """Return the discrepancies as text such as "digest alice 2"."""
    names = {pk: name for name, pk in history.accounts.items()}
    return sorted(
        " ".join(
            str(part)
            for part in (d.check, d.currency, names.get(d.account), d.seq)
            if part is not None
        )
        for d in Verification().run()
    )


def entry(account: str, seq: int, change: str) -> str:
    return f"UPDATE accounts_entry SET {change} WHERE account_id = {{{account}}} AND seq = {seq}"


def test_every_kind_of_operation_verifies(history):
    run = Verification()

    assert list(run.run()) == []

    assert (run.accounts, run.entries, run.transfers) == (3, 24, 5)
    assert run.totals == {
        "EUR": {
            "balance": 0,
            "opening": 50,
            "transfer": 0,
            "cancellation": 0,
            "adjustment": 0,
            "closing": -50,
        },
        "USD": {
            "balance": 1_000_005,
            "opening": 1_000_080,
            "transfer": 0,
            "cancellation": 0,
            "adjustment": 5,
            "closing": -80,
        },
    }


def test_an_empty_ledger_verifies(db):
    assert list(Verification().run()) == []


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        # Entries, against their chain.
        (entry("alice", 2, "amount = amount - 1"), "balance_after alice 2"),
        (entry("alice", 2, "balance_after = balance_after + 1"), "balance_after alice 2"),
        (entry("alice", 2, "amount = amount - 1, balance_after = balance_after - 1"), "sum alice"),
        (entry("carol", 3, "amount = -59, balance_after = 1"), "balance_after carol 3"),
        (entry("alice", 3, "date = '2001-01-01 00:00:00'"), "date alice 3"),
        (entry("alice", 2, "digest = %s"), "digest alice 2"),
        (entry("alice", 5, "reason = 'Zinsen'"), "digest alice 5"),
        (entry("alice", 5, "kind = 'opening'"), "kind alice 5"),
        (entry("alice", 5, "kind = 'gift'"), "kind alice 5"),
        (entry("alice", 5, "transfer_id = {first}"), "transfer alice 5"),
        (entry("alice", 5, "counterparty = {bob}"), "counterparty alice 5"),
        (entry("alice", 1, "kind = 'adjustment'"), "kind alice 1"),
        (entry("franc", 2, "kind = 'adjustment'"), "kind franc 3"),
        (entry("franc", 3, "currency = 'CHF'"), "currency franc"),
        (entry("alice", 6, "seq = 7"), "seq alice 7"),
        (entry("dan", 2, "account_id = {stranger}"), "seq dan 3"),
        ("DELETE FROM accounts_entry WHERE account_id = {alice} AND seq = 1", "kind alice 2"),
        ("DELETE FROM accounts_entry WHERE account_id = {alice} AND seq = 2", "seq alice 3"),
        ("DELETE FROM accounts_entry WHERE account_id = {alice} AND seq = 6", "last_seq alice"),
        ("DELETE FROM accounts_entry WHERE account_id = {alice}", "kind alice 1"),
        ("DELETE FROM accounts_entry WHERE account_id = {carol} AND seq = 3", "kind carol 3"),
        # Entries, against their transfer.
        (entry("alice", 4, "amount = amount + 1"), "amount alice 4"),
        (entry("bob", 2, "amount = amount + 1"), "amount bob 2"),
        (entry("alice", 2, "currency = 'EUR'"), "currency alice 2"),
        (entry("alice", 2, "by_id = {boss}"), "by alice 2"),
        (entry("alice", 2, "counterparty = {carol}"), "counterparty alice 2"),
        (entry("dan", 2, "counterparty = {bob}"), "destination"),
        (entry("erin", 2, "counterparty = {bob}"), "origin"),
        (entry("alice", 2, "transfer_id = NULL"), "transfer alice 2"),
        (entry("alice", 2, "transfer_id = {fifth}"), "entry alice"),
        (entry("alice", 2, "kind = 'cancellation'"), "entry alice 2"),
        (
            "UPDATE accounts_entry SET transfer_id = {first} WHERE transfer_id IS NOT NULL",
            "entries",
        ),
        # Accounts.
        ("UPDATE accounts_account SET balance = balance + 1 WHERE id = {alice}", "balance alice"),
        ("UPDATE accounts_account SET currency = 'EUR' WHERE id = {alice}", "currency alice"),
        ("UPDATE accounts_account SET last_seq = 5 WHERE id = {alice}", "last_seq alice"),
        ("UPDATE accounts_account SET last_date = NULL WHERE id = {alice}", "last_date alice"),
        ("UPDATE accounts_account SET seal = %s WHERE id = {alice}", "seal alice"),
        ("DELETE FROM accounts_account WHERE id = {franc}", "kind franc 4"),
        (
            "INSERT INTO accounts_account (id, currency, balance, last_seq, seal) "
            "VALUES ({carol}, 'USD', 3, 3, %s)",
            "kind carol 4",
        ),
        # Transfers.
        ("UPDATE accounts_transfer SET balance = balance + 1 WHERE id = {first}", "amount alice 2"),
        ("UPDATE accounts_transfer SET origin_id = {franc} WHERE id = {first}", "account alice 2"),
        (
            "UPDATE accounts_transfer SET destination_id = {franc} WHERE id = {second}",
            "account bob 3",
        ),
        ("UPDATE accounts_transfer SET cancelled_by_id = NULL WHERE id = {second}", "by alice 4"),
        (
            "UPDATE accounts_transfer SET reference = 'FÜR MÄRZ' WHERE id = {second}",
            "reason alice 3",
        ),
        ("UPDATE accounts_transfer SET date = '2001-01-01' WHERE id = {second}", "booked alice 3"),
        (
            "UPDATE accounts_transfer SET cancelled_at = '2001-01-01' WHERE id = {second}",
            "cancelled alice 4",
        ),
        ("UPDATE accounts_transfer SET origin_id = NULL WHERE id = {second}", "origin alice 3"),
        (
            "UPDATE accounts_transfer SET destination_id = NULL WHERE id = {first}",
            "destination bob 2",
        ),
        (
            "UPDATE accounts_transfer SET cancelled = TRUE, cancelled_at = date WHERE id = {first}",
            "entry alice",
        ),
        (
            "UPDATE accounts_transfer SET cancelled = FALSE, cancelled_at = NULL, "
            "cancelled_by_id = NULL WHERE id = {second}",
            "entry alice 4",
        ),
        ("DELETE FROM accounts_transfer WHERE id = {first}", "transfer alice 2"),
    ],
)
def test_each_change_is_named(history, sql, complaint):
    """Each case names the discrepancy that a reader expects first; there may be others."""
    tamper(history, sql)

    assert complaint in named(history)


# The columns that the verification does not cover, with the reason.
UNVERIFIED = {
    (Entry, "id"): "Nothing refers to it: the place of an entry in its chain is its seq.",
}
TEXTS = st.characters(min_codepoint=32, exclude_categories=["Cs"])


def other_values(row: Model, field: "Field[Any, Any]", accounts: list[int]) -> st.SearchStrategy:
    """Draw values of the field's type, other than the row's own."""
    own = getattr(row, field.attname)
    values: st.SearchStrategy[Any]
    if field.related_model is Account:
        # Existing accounts: a foreign key keeps a transfer from naming any other number.
        values = st.sampled_from(accounts)
    elif isinstance(field, BooleanField):
        values = st.booleans()
    elif isinstance(field, DateTimeField):
        values = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
    elif isinstance(field, BinaryField):
        values = st.binary(min_size=32, max_size=32)
    elif isinstance(field, CharField):
        # PostgreSQL cuts surplus spaces off, so that nothing would have changed.
        padded = f"{own} "[: field.max_length]
        variants = [own.upper(), own.lower(), own[:-1], padded]
        values = st.text(TEXTS, max_size=field.max_length) | st.sampled_from(variants)
    elif field.primary_key:
        # On MariaDB the largest id ever stored decides the next one, in later tests, too.
        values = st.integers(-1000, 1000)
    else:
        values = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 30)
    if field.null:
        values |= st.none()
    # MariaDB takes the id 0 for "the next one", and Django refuses it there in references, too.
    taken = {own, 0} if field.primary_key or field.is_relation else {own}
    return values.filter(lambda value: value not in taken)


def test_any_change_of_any_column_is_found(history):
    rows = [row for model in LEDGER for row in model._base_manager.order_by("pk")]
    accounts = [row.pk for row in rows if isinstance(row, Account)]
    refused: list[object] = []

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def change(data):
        # The table first, because the register is one row among dozens.
        model = data.draw(st.sampled_from(LEDGER))
        row = data.draw(st.sampled_from([row for row in rows if type(row) is model]))
        field = data.draw(
            st.sampled_from(
                [it for it in row._meta.concrete_fields if (type(row), it.name) not in UNVERIFIED]
            )
        )
        value = data.draw(other_values(row, field, accounts))
        changed = copy(row)
        if field.primary_key:
            changed.pk = value
        try:
            tampering.update(cursor, row, field, value)
        except DatabaseError:
            refused.append(value)
            return
        try:
            assert list(Verification().run())
        finally:
            tampering.update(cursor, changed, field, getattr(row, field.attname))

    with unguarded_cursor() as cursor:
        change()
    assert len(refused) < 50
    assert list(Verification().run()) == []


def test_any_deleted_row_is_found(history):
    rows = [row for model in LEDGER for row in model._base_manager.order_by("pk")]

    with unguarded_cursor() as cursor:
        for row in rows:
            tampering.delete(cursor, row)
            assert list(Verification().run()), row
            tampering.insert(cursor, row)
    assert list(Verification().run()) == []


def test_any_copied_row_is_found(history):
    with unguarded_cursor() as cursor:
        for model in Account, Transfer, Entry:
            for row in model._base_manager.order_by("pk"):
                # At the end of the chain, because two entries cannot have one number.
                end = {"seq": 100} if model is Entry else {}
                tampering.insert(cursor, row, id=history.stranger, **end)
                assert list(Verification().run()), row
                tampering.delete(cursor, model(pk=history.stranger))
    assert list(Verification().run()) == []


def test_an_entry_may_be_dated_later_to_keep_the_order(history, monkeypatch):
    """The clock of one server is ahead of the other's, for a transfer and for its cancellation."""
    alice, bob = history.alice, history.bob
    with monkeypatch.context() as ahead:
        later = timezone.now() + timedelta(minutes=2)
        ahead.setattr("almaFintech.db.clock.moment", lambda read: later)
        Transfer.objects.create(origin_id=alice, destination_id=bob, balance=1)
    Transfer.objects.create(origin_id=alice, destination_id=bob, balance=1).delete()

    assert list(Verification().run()) == []


def test_a_date_that_was_moved_far_back_is_named(history):
    """In a batch the entry before each of these has the same date, and so might explain it."""
    ends = {"origin_id": history.alice, "destination_id": history.bob, "balance": 1}
    _, history.last = [
        t.pk for t in ledger.post([Transfer(**ends, reference="1"), Transfer(**ends)])
    ]
    tamper(history, "UPDATE accounts_transfer SET date = '2001-01-01 00:00:00' WHERE id = {last}")

    assert named(history) == ["booked alice 8", "booked bob 8"]


def test_the_values_are_printed(history):
    with unguarded_cursor() as cursor:
        cursor.execute(
            entry("alice", 2, "amount = 7, digest = %s").format(alice=history.alice), [b"\xab" * 32]
        )
    found = {(d.check, d.seq): d for d in Verification().run()}

    assert str(found["balance_after", 2]) == (
        f"account {history.alice} entry 2: balance_after expected 1000007, found 700000"
    )
    assert str(found["digest", 2]) == (
        f"account {history.alice} entry 2: "
        f"digest expected one that the key gives, found {'ab' * 32}"
    )
    assert str(found["entry", None]) == (
        f"account {history.alice} transfer {history.first}: "
        "entry expected transfer of -300000, found none"
    )
    assert str(found["entry", 2]) == (
        f"account {history.alice} entry 2 transfer {history.first}: "
        "entry expected none, found transfer of 7"
    )
    assert str(found["total_transfer", None]) == (
        "currency USD: total_transfer expected 0, found 300007"
    )
    assert str(found["sum", None]) == (
        f"account {history.alice}: sum expected 1000005, found 699998"
    )


def test_a_negative_balance_is_named(history):
    off, on = {
        "postgresql": (
            "ALTER TABLE accounts_entry DROP CONSTRAINT entry_balance_not_negative",
            "ALTER TABLE accounts_entry ADD CONSTRAINT entry_balance_not_negative "
            "CHECK (balance_after >= 0) NOT VALID",
        ),
        "mysql": ("SET check_constraint_checks = 0", "SET check_constraint_checks = 1"),
        "sqlite": ("PRAGMA ignore_check_constraints = 1", "PRAGMA ignore_check_constraints = 0"),
    }[connection.vendor]
    with unguarded_cursor() as cursor:
        cursor.execute(off)
        cursor.execute(entry("dan", 2, "amount = -25, balance_after = -5").format(dan=history.dan))
        cursor.execute(on)

    found = [
        d for d in Verification().run() if (d.check, d.account) == ("balance_after", history.dan)
    ]

    assert [(d.seq, d.expected, d.found) for d in found] == [(2, "0 or more", -5), (3, -20, 0)]


@pytest.mark.parametrize("page", [1, 2, 3, 4, 7])
def test_the_page_size_changes_nothing(history, monkeypatch, page):
    tamper(history, entry("bob", 3, "amount = amount + 1"))
    tamper(history, entry("erin", 1, "reason = 'none'"))
    tamper(history, "UPDATE accounts_transfer SET created_by_id = NULL")
    whole, heads = Verification(), list[Head]()
    expected = list(whole.run())
    assert {d.check for d in expected} >= {"by", "amount", "digest", "total_transfer"}
    sizes: list[int] = []

    monkeypatch.setattr(reading, "PAGE", page)
    run = Verification(record_head=heads.append, progress=sizes.append)

    assert list(run.run()) == expected
    assert (run.accounts, run.entries, run.totals) == (whole.accounts, whole.entries, whole.totals)
    assert sum(sizes) == run.entries == Entry.objects.count()
    assert max(sizes) < 2 * page
    last = Entry.objects.order_by("account_id", "-seq").values_list("account_id", "seq", "digest")
    assert heads == list({a: Head(a, s, bytes(d)) for a, s, d in reversed(last)}.values())[::-1]


def test_streams_are_merged_by_key():
    merged = side_by_side([(1, "a"), (3, "b")], [], [(-1, "c"), (3, "d"), (4, "e")])

    assert list(merged) == [
        (-1, [None, None, "c"]),
        (1, ["a", None, None]),
        (3, ["b", None, "d"]),
        (4, [None, None, "e"]),
    ]


# Beside the server.


@pytest.fixture
def beside(tmp_path):
    """Run something in another thread, as the server would, and wait for it."""
    # In memory, SQLite has one connection; in a file, each thread has its own.
    path = tmp_path / "db.sqlite3"
    backend = load_backend(connection.settings_dict["ENGINE"])

    def connect() -> None:
        if connection.vendor == "sqlite":
            options = {**connection.settings_dict["OPTIONS"], "timeout": 1}
            connections["default"] = backend.DatabaseWrapper(
                {**connection.settings_dict, "NAME": str(path), "OPTIONS": options}, "default"
            )

    def beside(work: Callable) -> None:
        errors = []

        def run() -> None:
            connect()
            try:
                work()
            except Exception as error:
                errors.append(error)
            finally:
                connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(timeout=30)
        assert not thread.is_alive()
        assert errors == []

    own = connections["default"]
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM INTO %s", [str(path)])
    connect()
    yield beside
    if connection is not own:
        connection.close()
        connections["default"] = own


def test_concurrent_changes_are_not_reported(history, beside, monkeypatch):
    alice, bob = history.people
    monkeypatch.setattr(reading, "PAGE", 2)
    before = Entry.objects.count()

    def work() -> None:
        Transfer.objects.create(origin=alice.account, destination=bob.account, balance=7)
        Transfer.objects.get(pk=history.fifth).delete()
        Account.objects.create(currency="USD", balance=7)
        Account.objects.get(pk=history.franc).delete()

    pages: list[int] = []

    def meanwhile(entries: int) -> None:
        if not pages:
            beside(work)
        pages.append(entries)

    run = Verification(progress=meanwhile)
    with snapshot():
        assert list(run.run()) == []

    assert (run.entries, run.transfers) == (before, 5)
    assert len(pages) > 5
    # The work was not blocked, either: its rows exist.
    after = Verification()
    assert list(after.run()) == []
    assert (after.entries, after.transfers) == (before + 6, 6)


def test_the_command_takes_a_snapshot(history, beside, monkeypatch, capsys):
    alice, bob = history.people
    done: list[str] = []

    def after_the_first_page(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if "digest" in sql and not done:
            done.append(sql)
            beside(Transfer(origin=alice.account, destination=bob.account, balance=7).save)
        return result

    monkeypatch.setattr(reading, "PAGE", 2)
    with connection.execute_wrapper(after_the_first_page):
        call_command("verify_ledger")

    assert done
    assert capsys.readouterr().out.startswith("3 accounts, 24 entries, 5 transfers, 0 discrep")
    assert alice.balance == 699_991


def test_a_snapshot_is_a_transaction_of_its_own(db):
    with atomic(), pytest.raises(TransactionManagementError), snapshot():
        pass


@pytest.mark.skipif(connection.vendor == "sqlite", reason="On SQLite a read transaction may write")
def test_a_snapshot_cannot_write(alice):
    with pytest.raises(DatabaseError), snapshot(), connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_account SET balance = 7")

    assert alice.balance == 1_000_000


# The command.


def test_the_command_reports_a_verified_ledger(history, capsys):
    status, out = verify(capsys)

    assert status == 0
    assert re.fullmatch(
        r"3 accounts, 24 entries, 5 transfers, 0 discrepancies in \d+\.\d+ s\.\n", out
    )


def test_the_command_prints_a_line_for_each_discrepancy(history, capsys):
    tamper(history, "UPDATE accounts_account SET balance = 1000006 WHERE id = {franc}")

    status, out = verify(capsys)

    assert status == 1
    assert out.splitlines()[:-1] == [
        f"account {history.franc}: balance expected 50, found 1000006",
        f"account {history.franc}: sum expected 50, found 1000006",
        "currency USD: total expected 1000005, found 1999961",
    ]
    assert "3 discrepancies" in out.splitlines()[-1]


def test_the_command_prints_json(history, capsys):
    status, out = verify(capsys, "--json")

    report = json.loads(out)
    assert status == 0
    assert report.pop("seconds") >= 0
    assert report.pop("totals")["USD"]["closing"] == -80
    assert report == {
        "discrepancies": [],
        "counts": {"accounts": 3, "entries": 24, "transfers": 5, "discrepancies": 0},
    }


def test_the_command_prints_discrepancies_in_json(history, capsys):
    tamper(history, entry("alice", 3, "date = '2001-01-01 00:00:00'"))
    tamper(history, entry("alice", 5, "digest = %s"))

    status, out = verify(capsys, "--json")

    report = json.loads(out)
    assert status == 1
    assert report["counts"]["discrepancies"] == 5
    common = {"account": history.alice, "transfer": None, "currency": None, "record": None}
    date, digest, zeros, after, booked = report["discrepancies"]
    assert date["expected"].endswith("+00:00 or later")
    assert {**date, "expected": ""} == {
        "check": "date",
        "seq": 3,
        "expected": "",
        "found": "2001-01-01T00:00:00+00:00",
        **common,
    }
    assert (digest["check"], digest["seq"]) == ("digest", 3)
    # The right digest stays secret.
    assert zeros == {
        "check": "digest",
        "seq": 5,
        "expected": "one that the key gives",
        "found": "00" * 32,
        **common,
    }
    assert (after["check"], after["seq"]) == ("digest", 6)
    assert (booked["check"], booked["transfer"]) == ("booked", history.second)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_the_progress(history, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    call_command("verify_ledger", stdout=io.StringIO())

    assert f" 0/{Entry.objects.latest('id').pk} " in terminal.getvalue()


# Recorded heads.


@pytest.fixture
def heads(history, tmp_path, capsys) -> Path:
    path = tmp_path / "heads"
    assert verify(capsys, "--heads", path)[0] == 0
    return path


def test_heads_are_recorded(history, heads):
    expected = [
        f"{account} {seq} {bytes(Entry.objects.get(account=account, seq=seq).digest).hex()}\n"
        for account, seq in [
            (history.alice, 6),
            (history.bob, 6),
            (history.carol, 3),
            (history.dan, 3),
            (history.erin, 3),
            (history.franc, 3),
        ]
    ]
    assert heads.read_text() == "".join(expected)
    assert list(heads.parent.glob("heads*")) == [heads]


def test_heads_advance_with_the_entries(history, heads, capsys):
    old = heads.read_text()
    Transfer.objects.create(origin_id=history.alice, destination_id=history.franc, balance=7)
    Account.objects.get(pk=history.bob).delete()

    assert verify(capsys, "--heads", heads)[0] == 0

    was, now = ([line.split() for line in text.splitlines()] for text in (old, heads.read_text()))
    moved = {int(a[0]): (int(a[1]), int(b[1])) for a, b in zip(was, now, strict=True) if a != b}
    assert moved == {history.alice: (6, 7), history.bob: (6, 7), history.franc: (3, 4)}
    assert [head.account for head in read_heads(heads)] == sorted(history.accounts.values())[:-1]


def rewrite(account: int, secret: str) -> None:
    """Recompute the chain and the row of an account from its entries, with any key."""
    key = chains.Key(secret)
    seal = chains.GENESIS
    with unguarded_cursor() as cursor:
        for row in Entry.objects.of(account):
            digest = key.link(seal, row.content())
            seal = key.seal(digest)
            cursor.execute("UPDATE accounts_entry SET digest = %s WHERE id = %s", [digest, row.pk])
        cursor.execute(
            "UPDATE accounts_account SET last_seq = %s, seal = %s, last_date = "
            "(SELECT MAX(date) FROM accounts_entry WHERE account_id = %s) WHERE id = %s",
            [row.seq, seal, account, account],
        )


def test_a_chain_rewritten_without_the_key_is_found(history):
    """An opening is raised, with everything that follows from it except the signatures."""
    lone = Account.objects.create(currency="USD", balance=5)
    history.lone = history.accounts["lone"] = lone.pk
    tamper(history, entry("lone", 1, "amount = 14, balance_after = 14"))
    tamper(history, "UPDATE accounts_account SET balance = 14 WHERE id = {lone}")
    rewrite(lone.pk, "a guess")

    assert named(history) == ["digest lone 1", "seal lone"]


def test_a_chain_rewritten_with_the_key_is_found_by_its_head(history, heads, capsys, settings):
    recorded = heads.read_text()
    tamper(history, entry("alice", 5, "reason = 'Zinsen'"))
    rewrite(history.alice, settings.LEDGER_KEY)
    now = bytes(Entry.objects.get(account=history.alice, seq=6).digest)
    assert verify(capsys)[0] == 0

    status, out = verify(capsys, "--heads", heads)

    assert status == 1
    assert [line.split(", found ")[1] for line in out.splitlines()[:-1]] == [now.hex()]
    assert out.startswith(f"account {history.alice} entry 6: head expected ")
    assert heads.read_text() == recorded
    assert list(heads.parent.glob("heads*")) == [heads]


@pytest.fixture
def undone(history, heads):
    """Remove the latest transfer from the ends of both chains, and change nothing else."""
    transfer = Transfer.objects.create(
        origin_id=history.alice, destination_id=history.bob, balance=7
    )
    pair = [history.alice, history.bob]
    call_command("verify_ledger", "--heads", str(heads), stdout=io.StringIO())
    with unguarded_cursor() as cursor:
        cursor.execute("DELETE FROM accounts_entry WHERE transfer_id = %s", [transfer.pk])
        cursor.execute("DELETE FROM accounts_transfer WHERE id = %s", [transfer.pk])
        for account in pair:
            cursor.execute(
                "UPDATE accounts_account SET last_seq = 6, balance = "
                "(SELECT balance_after FROM accounts_entry WHERE account_id = %s AND seq = 6), "
                "last_date = (SELECT date FROM accounts_entry WHERE account_id = %s AND seq = 6) "
                "WHERE id = %s",
                [account] * 3,
            )
    return pair


def test_a_truncated_chain_is_found_by_the_seal(undone, history):
    assert named(history) == ["seal alice", "seal bob"]


def test_a_chain_truncated_with_an_old_seal_is_found_by_its_head(undone, heads, capsys, settings):
    recorded = heads.read_text()
    for account in undone:
        # The seal of a backup from before the transfer.
        rewrite(account, settings.LEDGER_KEY)
    assert verify(capsys)[0] == 0

    status, out = verify(capsys, "--heads", heads)

    assert status == 1
    lines = dict(
        zip((line.split()[0] for line in recorded.splitlines()), recorded.splitlines(), strict=True)
    )
    assert out.splitlines()[:-1] == [
        f"account {pk} entry 7: head expected {lines[str(pk)].split()[2]}, found none"
        for pk in undone
    ]
    assert heads.read_text() == recorded


def test_an_account_that_vanished_is_found_by_the_register(history, heads, capsys):
    """An account opened after the heads were recorded is deleted with its only entry."""
    history.gone = Account.objects.create(currency="USD", balance=5).pk
    tamper(history, "DELETE FROM accounts_entry WHERE account_id = {gone}")
    tamper(history, "DELETE FROM accounts_account WHERE id = {gone}")

    status, out = verify(capsys, "--heads", heads)

    assert status == 1
    assert out.splitlines()[:-1] == [": opened expected 7, found 6"]


def test_a_register_changed_without_the_key_is_found(history, settings):
    tamper(history, "UPDATE accounts_register SET opened = opened - 1")
    forged = chains.Key("a guess").count("accounts", 5)
    with unguarded_cursor() as cursor:
        cursor.execute("UPDATE accounts_register SET seal = %s", [forged])

    assert named(history) == ["opened", "register"]


def test_the_register_is_not_signed_after_a_foreign_change(history):
    history.gone = Account.objects.create(currency="USD", balance=5).pk
    tamper(history, "DELETE FROM accounts_entry WHERE account_id = {gone}")
    tamper(history, "DELETE FROM accounts_account WHERE id = {gone}")
    tamper(history, "UPDATE accounts_register SET opened = opened - 1")

    Account.objects.create(currency="USD", balance=5)

    assert named(history) == ["register"]


@pytest.mark.parametrize(
    "change",
    ["DELETE FROM accounts_register", "UPDATE accounts_register SET opened = 0, seal = %s"],
)
def test_a_reset_register_is_found(history, change):
    for table in "login_profile_accounts", "accounts_entry", "accounts_transfer":
        tamper(history, f"DELETE FROM {table}")
    tamper(history, "DELETE FROM accounts_account")
    tamper(history, change)
    assert named(history) == ["register"]

    Account.objects.create(currency="USD", balance=5)

    assert named(history) == ["register"]


def test_entries_cut_off_after_the_closing_of_a_currency_are_found(history):
    tamper(history, "DELETE FROM accounts_entry WHERE account_id = {franc} AND seq = 3")
    tamper(history, "DELETE FROM accounts_account WHERE id = {franc}")

    assert named(history) == ["closing franc 2"]


def test_entries_signed_with_an_earlier_key_verify_and_can_be_continued(history, settings):
    settings.LEDGER_KEY_FALLBACKS = [settings.LEDGER_KEY]
    settings.LEDGER_KEY = "b" * 50
    assert list(Verification().run()) == []
    Transfer.objects.create(origin_id=history.alice, destination_id=history.bob, balance=1)
    Account.objects.create(currency="USD", balance=1)

    assert list(Verification().run()) == []

    [earlier] = settings.LEDGER_KEY_FALLBACKS
    settings.LEDGER_KEY_FALLBACKS = []
    assert {"digest alice 1", "digest bob 1"} <= set(named(history))
    # A leaked earlier key signs nothing after a later one.
    settings.LEDGER_KEY_FALLBACKS = [earlier]
    last = Entry.objects.of(history.alice).latest("seq")
    key = chains.Key(settings.LEDGER_KEY)
    Transfer.objects.create(origin_id=history.alice, destination_id=history.bob, balance=1)
    after = Entry.objects.get(account=history.alice, seq=last.seq + 1)
    old = chains.Key(earlier)
    digest = old.link(key.seal(bytes(last.digest)), after.content())
    with unguarded_cursor() as cursor:
        cursor.execute("UPDATE accounts_entry SET digest = %s WHERE id = %s", [digest, after.pk])
        cursor.execute(
            "UPDATE accounts_account SET seal = %s WHERE id = %s",
            [old.seal(digest), history.alice],
        )
    assert named(history) == [f"digest alice {after.seq}", "seal alice"]


def test_entries_dated_in_the_future_are_named(history):
    with clock.set_to(timezone.now() + timedelta(days=3650)):
        Transfer.objects.create(origin_id=history.alice, destination_id=history.bob, balance=1)

    assert named(history) == ["future alice 7", "future bob 7"]


def test_an_account_whose_last_entry_is_in_the_future_books_nothing(
    alice, bob, boss, monkeypatch, settings
):
    with monkeypatch.context() as wrong:
        wrong.setattr(
            "almaFintech.db.clock.moment", lambda read: timezone.now() + timedelta(days=3650)
        )
        bob.open_account(0)
    ahead = bob.user.profile.accounts.latest("id")

    response = alice.send(ahead, 1)

    assert response.status_code == 503
    assert response.json()["code"] == "account_ahead"
    assert response["Retry-After"] == "5"
    assert (alice.balance, Transfer.objects.count()) == (1_000_000, 0)
    for edit in (
        lambda: boss.patch(f"/api/accounts/{ahead.pk}/", {"balance": 5}),
        lambda: boss.delete(f"/api/accounts/{ahead.pk}/"),
    ):
        assert edit().json()["code"] == "account_ahead"
    assert Account.objects.get(pk=ahead.pk).balance == ahead.balance
    # An operator can raise the tolerance.
    settings.CLOCK_TOLERANCE_SECONDS = 3651 * 86_400
    assert alice.send(ahead, 1).status_code == 201


UNCHECKED_RULES = {
    "sqlite": ["PRAGMA ignore_check_constraints = ON"],
    "mysql": ["SET check_constraint_checks = 0"],
    "postgresql": ["ALTER TABLE accounts_transfer DROP CONSTRAINT {name}"],
}
CHECKED_RULES = {
    "sqlite": ["PRAGMA ignore_check_constraints = OFF"],
    "mysql": ["SET check_constraint_checks = 1"],
    "postgresql": [
        "UPDATE accounts_transfer SET cancelled = FALSE, cancelled_at = NULL, "
        "cancelled_by_id = NULL",
        "ALTER TABLE accounts_transfer ADD CONSTRAINT {name} CHECK (cancelled AND cancelled_at "
        "IS NOT NULL OR NOT cancelled AND cancelled_at IS NULL AND cancelled_by_id IS NULL)",
    ],
}


@pytest.mark.parametrize(
    "change",
    [
        "cancelled_at = NULL WHERE id = {second}",
        "cancelled_by_id = 1 WHERE id = {first}",
        "cancelled_at = date WHERE id = {first}",
    ],
)
def test_half_a_cancellation_is_named(history, change):
    def execute(statements):
        with connection.cursor() as cursor:
            for statement in statements[connection.vendor]:
                cursor.execute(statement.format(name="transfer_cancelled_with_its_date"))

    execute(UNCHECKED_RULES)
    try:
        tamper(history, f"UPDATE accounts_transfer SET {change}")

        assert "cancelled" in {line.split()[0] for line in named(history)}
    finally:
        execute(CHECKED_RULES)


def test_heads_are_not_recorded_when_the_verification_fails(history, tmp_path, capsys):
    tamper(history, "UPDATE accounts_account SET last_seq = 7 WHERE id = {alice}")

    assert verify(capsys, "--heads", tmp_path / "heads")[0] == 1

    assert list(tmp_path.iterdir()) == []


DIGEST = "ab" * 32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("heads\n", "line 1 is not an account, a seq and a digest"),
        (f"1 1 {DIGEST}\n\n", "line 2 is not an account"),
        (f"1 1 {DIGEST}\n2 1 {DIGEST[1:]}\n", "line 2 is not an account"),
        (f"1 1 {DIGEST}\n2 1 {DIGEST}", "line 2 is not an account"),
        (f"1 x {DIGEST}\n", "line 1 is not an account"),
        (f"1 1 {DIGEST} 1\n", "line 1 is not an account"),
        (f"2 1 {DIGEST}\n1 1 {DIGEST}\n", "line 2 is not in the order of the accounts"),
        (f"2 1 {DIGEST}\n2 2 {DIGEST}\n", "line 2 is not in the order of the accounts"),
        (f"records 1 {DIGEST}\n1 1 {DIGEST}\n", "line 2 is not in the order of the accounts"),
        (f"records 1 {DIGEST}\nrecords 2 {DIGEST}\n", "line 2 is not in the order of the accounts"),
        ("\udcff\n", "can't decode"),
    ],
)
def test_a_malformed_file_is_refused_and_kept(history, tmp_path, capsys, text, message):
    path = tmp_path / "heads"
    path.write_text(text, errors="surrogateescape")

    with pytest.raises(CommandError, match=message) as refusal:
        call_command("verify_ledger", "--heads", str(path))

    assert refusal.value.returncode == 2
    assert capsys.readouterr().out == ""
    assert path.read_text(errors="surrogateescape") == text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("path", [".", "no/such/folder/heads", "itself"])
def test_a_file_that_cannot_be_used_is_refused(tmp_path, monkeypatch, capsys, path):
    monkeypatch.chdir(tmp_path)
    Path("itself").symlink_to("itself")

    with pytest.raises(CommandError) as refusal:
        call_command("verify_ledger", "--json", "--heads", path)

    assert refusal.value.returncode == 2
    assert capsys.readouterr().out == ""


def test_only_a_regular_file_is_replaced(history, tmp_path, capsys):
    # Other files, such as /dev/null or a pipe, are refused.
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)

    for path in pipe, link:
        with pytest.raises(CommandError, match=f"^{pipe}: not a regular file$") as refusal:
            call_command("verify_ledger", "--heads", str(path))
        assert refusal.value.returncode == 2

    assert capsys.readouterr().out == ""
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert set(tmp_path.iterdir()) == {pipe, link}


def test_a_full_disk_is_not_a_discrepancy(history, heads, monkeypatch):
    recorded = heads.read_text()

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CommandError, match="No space left on device") as refusal:
        call_command("verify_ledger", "--heads", str(heads), stdout=io.StringIO())

    assert refusal.value.returncode == 2
    assert heads.read_text() == recorded
    assert list(heads.parent.glob("heads*")) == [heads]


@pytest.mark.parametrize("option", ["--no-color", "--json"])
def test_a_database_failure_is_not_a_discrepancy(db, capsys, option):
    def fail(*args: object) -> None:
        raise OperationalError("server closed the connection\nLINE 1: SELECT")

    with connection.execute_wrapper(fail), pytest.raises(CommandError) as refusal:
        call_command("verify_ledger", option)

    assert refusal.value.returncode == 2
    reason = "The database failed: server closed the connection"
    assert str(refusal.value) == reason
    assert capsys.readouterr().out == ""

"""Every caller of the ledger retries after the database rolled back because of a deadlock."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test import Client
from psycopg.errors import DeadlockDetected, SerializationFailure

from accounts.models import Account, Entry, Transfer
from almaFintech.tests.admin import shown
from almaFintech.tests.sql import spelled_out
from conftest import Person

pytestmark = pytest.mark.usefixtures("verified", "no_sleep")

# Alone, or in a script of several statements.
ENTRIES = re.compile(rf"INSERT INTO [`\"]?{Entry._meta.db_table}\b")
NEW_TRANSFER = "/admin/accounts/transfer/add/"
TRANSFERS = "/admin/accounts/transfer/"


@pytest.fixture
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@contextmanager
def rolled_back_once(error: Exception) -> Iterator[list[str]]:
    """Roll back the first transaction that writes entries; yield the statement that failed."""
    rolled_back: list[str] = []

    def execute(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not rolled_back and ENTRIES.search(spelled_out(sql)):
            # Not after it, since its message may commit.
            rolled_back.append(sql)
            raise OperationalError(str(error)) from error
        return run(sql, params, many, context)

    with connection.execute_wrapper(execute):
        yield rolled_back
    assert rolled_back


def transfer_of(alice: Person, bob: Person) -> dict[str, object]:
    assert alice.account
    assert bob.account
    return {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 300_000}


@pytest.mark.parametrize("error", [DeadlockDetected("deadlock"), SerializationFailure("again")])
@pytest.mark.parametrize("headers", [{}, {"idempotency_key": "k1"}])
@pytest.mark.parametrize("path", ["/api/transfers/", "/api/transfers/batch/"])
def test_a_transfer_is_booked_once(
    alice: Person, bob: Person, path: str, headers: dict[str, str], error: Exception
) -> None:
    body = transfer_of(alice, bob)

    with rolled_back_once(error):
        sent = alice.post(path, {"transfers": [body]} if "batch" in path else body, **headers)

    assert sent.status_code == 201
    assert (alice.balance, bob.balance) == (700_000, 300_000)
    assert Transfer.objects.count() == 1


def test_a_transfer_is_cancelled_once(alice: Person, bob: Person) -> None:
    assert bob.account
    transfer = alice.send(bob.account, 300_000).json()["id"]

    with rolled_back_once(DeadlockDetected("deadlock")):
        cancelled = bob.cancel(transfer)

    assert cancelled.status_code == 204
    assert (alice.balance, bob.balance) == (1_000_000, 0)


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("POST", {"currency": "USD", "balance": 7}, 200),
        ("PUT", {"currency": "USD", "balance": 7}, 200),
        ("PATCH", {"balance": 7}, 200),
        ("DELETE", None, 204),
    ],
)
def test_an_account_is_edited_and_closed_once(
    alice: Person, boss: Person, method: str, body: object, status: int
) -> None:
    assert alice.account
    number = alice.account.pk

    with rolled_back_once(DeadlockDetected("deadlock")):
        response = boss.request(method, f"/api/accounts/{number}/", body)

    assert response.status_code == status
    balances = list(Account.objects.values_list("balance", flat=True))
    assert balances == ([] if method == "DELETE" else [7])
    assert Entry.objects.of(number).count() == 2


@pytest.mark.parametrize("headers", [{}, {"idempotency_key": "k1"}])
def test_an_account_is_opened_once(boss: Person, headers: dict[str, str]) -> None:
    with rolled_back_once(DeadlockDetected("deadlock")):
        opened = boss.post("/api/accounts/", {"currency": "USD", "balance": 7}, **headers)

    assert opened.status_code == 201
    assert list(Account.objects.values_list("balance", flat=True)) == [7]


def book(staff: Client, alice: Person, bob: Person) -> Any:
    return staff.post(NEW_TRANSFER, transfer_of(alice, bob))


def cancel(staff: Client, alice: Person, bob: Person) -> Any:
    selected = list(Transfer.objects.values_list("pk", flat=True))
    return staff.post(TRANSFERS, {"action": "cancel_selected", "_selected_action": selected})


@pytest.mark.parametrize(("work", "moved"), [(book, 300_010), (cancel, 0)])
def test_the_admin_books_and_cancels_once(
    staff: Client, alice: Person, bob: Person, work: Callable[..., Any], moved: int
) -> None:
    assert bob.account
    alice.send(bob.account, 10)

    with rolled_back_once(DeadlockDetected("deadlock")):
        response = work(staff, alice, bob)

    assert response.status_code == 302
    assert (alice.balance, bob.balance) == (1_000_000 - moved, moved)


@pytest.mark.parametrize("page", ["change", "delete"])
def test_the_admin_edits_and_closes_accounts_once(staff: Client, alice: Person, page: str) -> None:
    assert alice.account
    number = alice.account.pk
    form = {"currency": "USD", "balance": 7, "reason": "a mistake"}
    if page == "delete":
        form = {"post": "yes", "reason": "a mistake", "shown": shown(alice.account)}

    with rolled_back_once(DeadlockDetected("deadlock")):
        response = staff.post(f"/admin/accounts/account/{number}/{page}/", form)

    assert response.status_code == 302
    balances = list(Account.objects.values_list("balance", flat=True))
    assert balances == ([] if page == "delete" else [7])


def test_the_demo_data_is_written_once(transactional_db: None, settings: Any) -> None:
    settings.DEBUG = True

    with rolled_back_once(DeadlockDetected("deadlock")):
        call_command("seed_demo", users=2, accounts=4, transfers=3, verbosity=0)

    assert (Account.objects.count(), Transfer.objects.count()) == (4, 3)

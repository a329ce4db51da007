"""Group commit: what several requests of one process share, and what they do not."""

import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from accounts import bookings, ledger
from accounts.bookings import Committer
from accounts.models import Entry, IdempotencyKey, Transfer
from accounts.tests.metrics import refusals
from almaFintech.db.prepared import Prepared
from almaFintech.tests.sql import statements_of
from conftest import only_on_postgresql

PATH = "/api/transfers/"

pytestmark = [only_on_postgresql, pytest.mark.usefixtures("verified", "grouped")]


@pytest.fixture
def grouped(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.GROUP_COMMIT, settings.PORTABLE_SQL = True, False
    monkeypatch.setattr(bookings, "committer", Committer())


class Together:
    """Requests that form one group, since they arrive while another group is at work.

    Attributes:
        sizes: the number of requests in each group, as far as groups were formed.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self._began, self._go_on = threading.Event(), threading.Event()
        attempt = bookings.attempt

        def watched(group: Any) -> None:
            self.sizes.append(len(group))
            if len(self.sizes) == 1:
                self._began.set()
                assert self._go_on.wait(20)
            attempt(group)

        monkeypatch.setattr(bookings, "attempt", watched)

    def run(self, first: Callable[[], Any], *others: Callable[[], Any]) -> list[Any]:
        """Run `others` while `first` is at work, and return all responses."""
        with ThreadPoolExecutor(1 + len(others)) as threads:
            futures = [threads.submit(with_own_connection, first)]
            assert self._began.wait(20)
            for number, other in enumerate(others, start=1):
                futures.append(threads.submit(with_own_connection, other))
                wait_for(number, futures[-1])
            self._go_on.set()
            return [future.result(30) for future in futures]


def with_own_connection(request: Callable[[], Any]) -> Any:
    try:
        return request()
    finally:
        connection.close()


def wait_for(number: int, request: "Future[Any]") -> None:
    for _ in range(1000):
        if len(bookings.committer._waiting) == number:
            return
        assert not request.done(), request.result()
        threading.Event().wait(0.01)
    raise AssertionError("The request does not wait")


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Together:
    return Together(monkeypatch)


def test_requests_that_arrive_meanwhile_share_a_transaction(alice, bob, together):
    send = [lambda: alice.send(bob.account, 100)] * 4

    responses = together.run(*send)

    assert [response.status_code for response in responses] == [201] * 4
    assert together.sizes == [1, 3]
    assert len({response.json()["id"] for response in responses}) == 4
    assert (alice.balance, bob.balance) == (999_600, 400)
    # One clock and one transaction for the three.
    dates = [response.json()["date"] for response in responses]
    assert len(set(dates)) == 2


def test_a_request_alone_is_booked_at_once(alice, bob):
    def send() -> None:
        key = f"k{IdempotencyKey.objects.count()}"
        alice.post(PATH, body(alice, bob, 2), idempotency_key=key)

    # The connection prepares its statements.
    send()

    sent = statements_of(send)

    assert (IdempotencyKey.objects.count(), bob.balance) == (2, 4)
    # Count the keys, read the user. Begin, limit the wait, check the origin, claim the key and
    # lock. Record the response, write and commit.
    # What Django logs of its own accord, and does not send.
    messages = [sql for sql in sent if sql not in ("BEGIN", "COMMIT")]
    assert [sql.split()[0] for sql in messages] == ["SELECT", "SELECT", "BEGIN;SELECT", "UPDATE"]
    assert messages[-1].endswith(";COMMIT")


def test_a_refusal_concerns_one_request(alice, bob, together):
    responses = together.run(
        lambda: alice.send(bob.account, 1),
        lambda: alice.send(bob.account, 999_000),
        lambda: alice.post(PATH, body(alice, bob, 1000), idempotency_key="poor"),
        lambda: bob.send(alice.account, 1),
        lambda: alice.send(bob.account, 900),
    )

    assert together.sizes == [1, 4]
    assert [response.status_code for response in responses] == [201, 201, 400, 201, 201]
    assert responses[2].json()["code"] == "insufficient_funds"
    assert (alice.balance, bob.balance) == (100, 999_900)
    assert not IdempotencyKey.objects.filter(key="poor").exists()
    assert Transfer.objects.count() == 4


def test_a_batch_in_a_group_is_all_or_none(alice, bob, together):
    batch = {"transfers": [body(alice, bob, 600_000), body(alice, bob, 600_000)]}

    responses = together.run(
        lambda: alice.send(bob.account, 1),
        lambda: alice.post("/api/transfers/batch/", batch),
        lambda: alice.send(bob.account, 900_000),
    )

    assert together.sizes == [1, 2]
    assert [response.status_code for response in responses] == [201, 400, 201]
    assert responses[1].json()["index"] == 1
    assert (alice.balance, bob.balance) == (99_999, 900_001)
    assert Entry.objects.filter(transfer__isnull=False).count() == 4


def test_a_key_is_carried_out_once_in_a_group(alice, bob, together):
    def send(key: str, amount: int) -> Callable[[], Any]:
        return lambda: alice.post(PATH, body(alice, bob, amount), idempotency_key=key)

    responses = together.run(
        send("k1", 1), send("k2", 10), send("k1", 1), send("k2", 10), send("k2", 20)
    )

    assert [response.status_code for response in responses] == [201, 201, 201, 201, 422]
    assert responses[2]["Idempotent-Replayed"] == responses[3]["Idempotent-Replayed"] == "true"
    assert (responses[2].content, responses[3].content) == (
        responses[0].content,
        responses[1].content,
    )
    assert responses[4].json()["code"] == "idempotency_key_reused"
    assert bob.balance == 11
    assert Transfer.objects.count() == 2


LOCK_NOT_AVAILABLE = "55P03"


@pytest.mark.parametrize(
    "error",
    [LOCK_NOT_AVAILABLE, "40001", "23505", RuntimeError("a bug")],
    ids=["lock timeout", "serialization", "unique index", "bug"],
)
def test_a_group_that_is_rolled_back_is_booked_one_by_one(
    alice, bob, together, monkeypatch, caplog, error
):
    fail_for_groups(monkeypatch, error)

    responses = together.run(*[lambda: alice.send(bob.account, 5)] * 3)

    assert [response.status_code for response in responses] == [201] * 3
    assert (together.sizes, bob.balance) == ([1, 2], 15)
    # A lock that was not free is no news.
    assert ("A group of 2 failed" in caplog.text) == (error != LOCK_NOT_AVAILABLE)


def test_a_connection_lost_before_the_commit_concerns_no_request(alice, bob, together, monkeypatch):
    book_each = bookings.book_each

    def lose(group: Any, script: Any) -> None:
        if len(group) > 1:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        book_each(group, script)

    monkeypatch.setattr(bookings, "book_each", lose)

    responses = together.run(*[lambda: alice.send(bob.account, 5)] * 3)

    assert [response.status_code for response in responses] == [201] * 3
    assert (together.sizes, bob.balance) == ([1, 2], 15)


def test_a_group_is_not_booked_again_if_its_connection_is_lost_with_the_commit(
    alice, bob, together, monkeypatch
):
    def lose(posting: ledger.Posting) -> None:
        with connection.execute_wrapper(cut_off):
            write(posting)

    def cut_off(execute: Any, sql: str, *context: Any) -> Any:
        if sql.endswith(";COMMIT"):
            with socket.socket(fileno=os.dup(connection.connection.fileno())) as end:
                end.shutdown(socket.SHUT_RDWR)
        return execute(sql, *context)

    write = write_of_groups(monkeypatch, lose)

    responses = together.run(*[lambda: alice.send(bob.account, 5)] * 3)

    assert [response.status_code for response in responses] == [201, 503, 503]
    assert (together.sizes, bob.balance) == ([1, 2], 5)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OperationalError("lost"), 503),
        (InterfaceError("closed"), 503),
        (RuntimeError("a bug"), 500),
    ],
    ids=["lost connection", "closed connection", "bug"],
)
def test_a_group_whose_end_is_unknown_is_not_booked_again(
    alice, bob, together, monkeypatch, error, status
):
    commit, errors = BaseDatabaseWrapper.commit, [error]

    def commit_and_fail(self: BaseDatabaseWrapper) -> None:
        commit(self)
        if len(together.sizes) > 1 and errors:
            raise errors.pop()

    monkeypatch.setattr(BaseDatabaseWrapper, "commit", commit_and_fail)

    responses = together.run(*[lambda: alice.send(bob.account, 5)] * 3)

    assert [response.status_code for response in responses] == [201, status, status]
    assert (together.sizes, bob.balance) == ([1, 2], 15)


def test_nobody_is_answered_when_the_leader_is_stopped(alice, bob, together, monkeypatch):
    fail_for_groups(monkeypatch, SystemExit())

    def stopped() -> None:
        with pytest.raises(SystemExit):
            alice.send(bob.account, 5)

    responses = together.run(
        lambda: alice.send(bob.account, 1), stopped, lambda: alice.send(bob.account, 10)
    )

    assert together.sizes == [1, 2]
    assert (responses[2].status_code, bob.balance) == (201, 11)


def test_a_refusal_is_counted_once(alice, bob, together, monkeypatch):
    fail_for_groups(monkeypatch, RuntimeError())
    before = refusals("post", "insufficient_funds")

    responses = together.run(
        lambda: alice.send(bob.account, 1),
        lambda: alice.send(bob.account, 2_000_000),
        lambda: alice.send(bob.account, 10),
    )

    assert together.sizes == [1, 2]
    assert [response.status_code for response in responses] == [201, 400, 201]
    assert refusals("post", "insufficient_funds") == before + 1


def fail_for_groups(monkeypatch: pytest.MonkeyPatch, error: BaseException | str) -> None:
    """Let each group that has several requests fail before it is committed.

    error: the SQLSTATE of an error in the message that would commit, or what is raised instead.
    """

    def fail(posting: ledger.Posting) -> None:
        if isinstance(error, BaseException):
            raise error
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE OR REPLACE FUNCTION pg_temp.fail() RETURNS void LANGUAGE plpgsql"
                f" AS $$BEGIN RAISE SQLSTATE '{error}'; END$$"
            )
        failing = Prepared("fail", "SELECT pg_temp.fail()")
        posting._rows._script.add(failing)  # type: ignore[attr-defined]
        write(posting)

    write = write_of_groups(monkeypatch, fail)


def write_of_groups(
    monkeypatch: pytest.MonkeyPatch, instead: Callable[[ledger.Posting], None]
) -> Callable[[ledger.Posting], None]:
    """Replace `Posting.write` for groups that have several requests, and return the original."""
    book_each, write = bookings.book_each, ledger.Posting.write

    def book(group: Any, script: Any) -> None:
        # Meanwhile nobody else books.
        with monkeypatch.context() as patch:
            if len(group) > 1:
                patch.setattr(ledger.Posting, "write", instead)
            book_each(group, script)

    monkeypatch.setattr(bookings, "book_each", book)
    return write


def test_the_leader_hands_over_after_a_failure(alice, bob, together, monkeypatch):
    monkeypatch.setattr(bookings, "MOST_TRANSFERS", 1)
    fail_for_groups(monkeypatch, RuntimeError())

    responses = together.run(*[lambda: alice.send(bob.account, 5)] * 4)

    assert [response.status_code for response in responses] == [201] * 4
    assert together.sizes == [1, 1, 1, 1]
    assert alice.send(bob.account, 5).status_code == 201


def test_a_request_does_not_wait_for_ever(alice, bob, together, monkeypatch):
    monkeypatch.setattr(bookings, "WAIT_SECONDS", 0.2)
    responses: list[Any] = []

    def late() -> Any:
        responses.append(alice.send(bob.account, 7))
        together._go_on.set()
        return responses[0]

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(with_own_connection, lambda: alice.send(bob.account, 1))
        assert together._began.wait(20)
        second = threads.submit(with_own_connection, late).result(30)
        assert first.result(30).status_code == 201

    assert (second.status_code, second["Retry-After"]) == (503, "1")
    assert bob.balance == 1


def test_too_many_waiting_requests_are_refused(alice, bob, together, monkeypatch):
    monkeypatch.setattr(bookings, "MOST_WAITING", 0)

    assert alice.send(bob.account, 7).status_code == 503
    assert bob.balance == 0


def test_a_transaction_of_the_caller_is_not_shared(alice, bob, together):
    with transaction.atomic():
        assert alice.send(bob.account, 7).status_code == 201
        transaction.set_rollback(True)

    assert together.sizes == []
    assert bob.balance == 0


def test_staff_in_a_group_is_recorded(alice, bob, boss, together):
    from audit.models import Record

    responses = together.run(
        lambda: alice.send(bob.account, 1),
        lambda: boss.post(PATH, body(alice, bob, 2)),
        lambda: alice.send(bob.account, 3),
    )

    assert together.sizes == [1, 2]
    assert [response.status_code for response in responses] == [201] * 3
    assert Record.objects.filter(kind="transfer").count() == 1


def test_the_switch(alice, bob, settings, together):
    settings.GROUP_COMMIT = False

    assert alice.send(bob.account, 7).status_code == 201

    assert (together.sizes, bob.balance) == ([], 7)


def body(origin: Any, destination: Any, amount: int) -> dict[str, int]:
    return {
        "origin": origin.account.pk,
        "destination": destination.account.pk,
        "balance": amount,
    }

"""Rows that stay locked delay the requests that need them, and no others."""

import os
import signal
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connection

from almaFintech.api.errors import exception_handler
from almaFintech.db import connections, transactions
from almaFintech.db.failures import is_lock_timeout
from almaFintech.db.transactions import retried
from almaFintech.refusals import Busy
from almaFintech.tests.servers import (
    WAITERS,
    Server,
    children,
    evaluate,
    log_in,
    open_account,
    settles,
)
from conftest import needs_row_locks, only_on_postgresql

BUSY = {"detail": "The server is busy. Try again later.", "code": "busy"}
CLIENTS = 12


@only_on_postgresql
@pytest.mark.server
def test_one_locked_account_delays_no_other_request(tmp_path, other_database):
    settings = {"DATABASE_URL": other_database.url, "SERVE_WORKERS": "1"}
    with Server(tmp_path / "log", **settings) as server, ThreadPoolExecutor(16) as threads:
        token = log_in(server)
        held, *free = (open_account(server, token, 100) for _ in range(4))

        def send(origin: int, destination: int, **headers: str) -> tuple[float, Any]:
            start = time.monotonic()
            body = {"origin": origin, "destination": destination, "balance": 1}
            answer = server.request("POST", "/api/transfers/", body, token, **headers)
            return time.monotonic() - start, answer

        other_database.execute(
            "BEGIN", f"SELECT id FROM accounts_account WHERE id = {held} FOR UPDATE"
        )
        over = threading.Event()

        def insist(number: int) -> list[tuple[float, Any]]:
            answers = []
            while not over.is_set():
                answers.append(send(held, free[number % 3]))
                time.sleep(0.2)
            return answers

        wanting = [threads.submit(insist, number) for number in range(CLIENTS)]
        time.sleep(1)
        others, probes = [], []
        for _ in range(20):
            seconds, answer = send(free[0], free[1])
            assert answer.status == 201, answer.body
            others.append(seconds)
            start = time.monotonic()
            assert server.request("GET", "/healthz").status == 200
            probes.append(time.monotonic() - start)
            time.sleep(0.2)
        over.set()
        answers = [each for client in wanting for each in client.result()]
        other_database.execute("ROLLBACK")

        # Far above what a slow machine needs, and far below the wait for the held account.
        assert statistics.median(others) < 2
        assert max(others) < 8
        assert max(probes) < 4
        assert len(answers) > CLIENTS
        for seconds, answer in answers:
            assert (answer.status, answer.json()) == (503, BUSY)
            assert answer.headers["Retry-After"] == "1"
            assert seconds < 12
        balance = f"SELECT balance FROM accounts_account WHERE id = {held}"
        assert other_database.execute(balance) == [(100,)]
        assert send(held, free[0])[1].status == 201


@only_on_postgresql
@pytest.mark.server
def test_a_key_whose_request_waits_is_in_flight(tmp_path, other_database):
    settings = {"DATABASE_URL": other_database.url, "LOCK_TIMEOUT": "30"}
    with Server(tmp_path / "log", **settings) as server, ThreadPoolExecutor(1) as threads:
        token = log_in(server)
        accounts = [open_account(server, token, 100) for _ in range(2)]
        other_database.execute("BEGIN", "SELECT id FROM accounts_account FOR UPDATE")
        body = {"origin": accounts[0], "destination": accounts[1], "balance": 1}
        key = {"Idempotency_Key": "a"}
        sent = threads.submit(server.request, "POST", "/api/transfers/", body, token, **key)
        assert settles(lambda: other_database.execute(WAITERS), [(1,)])
        time.sleep(0.5)

        again: Any = server.request("POST", "/api/transfers/", body, token, **key)
        assert (again.status, again.json()["code"]) == (409, "idempotency_key_in_flight")
        other_database.execute("ROLLBACK")
        # The first request goes on once the lock is free.
        assert sent.result().status == 201


@only_on_postgresql
@pytest.mark.server
def test_a_frozen_worker_loses_its_locks(tmp_path, other_database):
    settings = {"DATABASE_URL": other_database.url, "LOCK_TIMEOUT": "30"}
    with Server(tmp_path / "log", **settings) as server, ThreadPoolExecutor(1) as threads:
        token = log_in(server)
        accounts = [open_account(server, token, 100) for _ in range(2)]
        body = {"origin": accounts[0], "destination": accounts[1], "balance": 1}
        # It locks the first account, and is frozen while it waits for the second one.
        other_database.execute(
            "BEGIN", f"SELECT id FROM accounts_account WHERE id = {accounts[1]} FOR UPDATE"
        )
        sent = threads.submit(server.request, "POST", "/api/transfers/", body, token)
        # The short wait is over, and the request has one of the seats.
        time.sleep(1)
        assert settles(lambda: other_database.execute(WAITERS), [(1,)])
        workers = children(server.process.pid)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        try:
            other_database.execute("ROLLBACK")
            other_database.execute(f"SET lock_timeout = '{connections.IDLE_SECONDS + 10}s'")
            start = time.monotonic()
            other_database.execute(
                f"UPDATE accounts_account SET balance = balance WHERE id = {accounts[0]}"
            )
            assert abs(time.monotonic() - start - connections.IDLE_SECONDS) < 5
        finally:
            for worker in workers:
                os.kill(worker, signal.SIGCONT)
        assert sent.result().status == 503
        balances = "SELECT balance FROM accounts_account ORDER BY id"
        assert other_database.execute(balances) == [(100,), (100,)]


# --- Lock timeouts -------------------------------------------------------------------------


@pytest.fixture
def serving(monkeypatch):
    monkeypatch.setattr(connections, "serves_http", True)
    monkeypatch.setattr(transactions, "seats", threading.BoundedSemaphore(1))


LOCKED = OperationalError(1205, "Lock wait timeout exceeded")


def work(times: int):
    """Return work that times out at a lock `times` times, and the list of its timeouts."""
    waits = []

    @retried
    def run():
        with connection.cursor() as cursor:
            cursor.execute(
                "SHOW lock_timeout"
                if connection.vendor == "postgresql"
                else "SELECT @@innodb_lock_wait_timeout"
            )
            waits.append(str(cursor.fetchone()[0]))
        if len(waits) <= times:
            raise LOCKED
        return len(waits)

    return run, waits


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_blocked_work_runs_once_more_with_a_longer_wait(serving, settings):
    settings.LOCK_TIMEOUT = 7
    run, waits = work(1)
    assert run() == 2
    assert waits[1] == ("7s" if connection.vendor == "postgresql" else "7")
    assert waits[0] != waits[1]

    run, waits = work(2)
    with pytest.raises(OperationalError) as caught:
        run()
    assert (caught.value, len(waits)) == (LOCKED, 2)


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_work_without_a_seat_does_not_wait(serving):
    assert transactions.seats.acquire(blocking=False)
    run, waits = work(1)
    with pytest.raises(OperationalError):
        run()
    assert len(waits) == 1

    transactions.seats.release()
    for _ in range(3):
        run, waits = work(1)
        assert run() == 2


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_commands_do_not_run_again_after_a_lock_timeout():
    run, waits = work(1)
    with pytest.raises(OperationalError):
        run()
    assert len(waits) == 1


def test_a_lock_timeout_returns_503_busy():
    answer = exception_handler(LOCKED, {})

    assert answer
    assert (answer.status_code, answer.data, answer["Retry-After"]) == (503, BUSY, str(Busy.wait))


@pytest.mark.skipif(connection.vendor != "sqlite", reason="It is SQLite's error")
def test_a_locked_sqlite_is_busy(tmp_path, other_database):
    holder = other_database.connection.copy("holder")
    other_database.execute("CREATE TABLE t (n int)")
    holder.settings_dict["OPTIONS"]["timeout"] = 0.1
    try:
        other_database.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError) as caught, holder.cursor() as cursor:
            cursor.execute("INSERT INTO t VALUES (1)")
        assert is_lock_timeout(caught.value)
    finally:
        other_database.execute("ROLLBACK")
        holder.close()


def test_the_settings_of_a_connection():
    server = {"DATABASE_URL": "postgres://wallet@127.0.0.1:1/wallet"}
    options = "s.DATABASES['default']['OPTIONS']"
    serving = "[setattr(s.connections, 'serves_http', True), s.connections.postgresql(10)][1]"

    command: Any = evaluate(f"{options}['options']", **server)
    assert "lock_timeout=10s" in command
    assert "idle_in_transaction" not in command
    http: Any = evaluate(serving, **server)
    assert "-c lock_timeout=250ms -c idle_in_transaction_session_timeout=10s" in http["options"]
    assert http["tcp_user_timeout"] == 25_000
    assert http["keepalives_idle"] == 10
    assert evaluate(f"{options}['tcp_user_timeout']", **server) == 25_000

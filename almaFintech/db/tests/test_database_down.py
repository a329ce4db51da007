"""Responses while the database is down or refuses statements."""

import socket
import struct
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connection
from django.db.utils import ConnectionHandler

from almaFintech.db.postgresql import base
from almaFintech.tests.round_trips import messages_to
from almaFintech.tests.servers import Server, log_in
from conftest import only_on_postgresql
from crashtest.servers import Database

# Closes a connection at once by a reset, without the end of the stream.
RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def failing(db):
    """A function that makes every statement from now on raise `error`."""
    wrappers = len(connection.execute_wrappers)

    def fail(error):
        def execute(*args):
            raise error

        connection.execute_wrappers.append(execute)

    yield fail
    del connection.execute_wrappers[wrappers:]


down = pytest.mark.parametrize(
    "error", [OperationalError("server closed the connection"), InterfaceError("is closed")]
)


@down
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/accounts/"),
        ("POST", "/api/transfers/"),
        ("POST", "/api/login/"),
        ("DELETE", "/api/users/1/"),
    ],
)
def test_the_api_returns_503(boss, failing, error, method, path):
    body = {"username": "boss", "password": "x"}
    failing(error)

    response = boss.request(method, path, body)

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response.json() == {
        "detail": "The database is not available. Try again later.",
        "code": "database_unavailable",
    }


@down
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/"),
        ("GET", "/admin/accounts/transfer/"),
        ("POST", "/admin/accounts/account/add/"),
        ("POST", "/admin/login/"),
    ],
)
def test_the_admin_returns_503(boss, client, failing, error, method, path):
    client.force_login(boss.user)
    client.raise_request_exception = False
    failing(error)

    response = client.generic(method, path)

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response.content == b"The database is not available. Try again later."


def test_the_entry_points_need_no_database(anyone, failing):
    failing(OperationalError())

    assert anyone.get("/api/").status_code == 200
    assert anyone.get("/api/accounts/").status_code == 401


def test_a_value_that_the_database_refuses_gets_400(boss, failing):
    failing(DataError("out of range"))

    response = boss.get("/api/accounts/")

    assert response.status_code == 400
    assert response.json() == {
        "detail": "A value cannot be stored in the database.",
        "code": "invalid",
    }


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (DataError("out of range"), 400, b"A value cannot be stored in the database."),
        (IntegrityError("unique"), 409, b"Another request changed the same data at the same time."),
    ],
)
def test_pages_report_a_refusal_of_the_database_as_the_api_does(
    client, boss, failing, error, status, text
):
    client.raise_request_exception = False
    failing(error)

    # Unlike the pages of the models, the login does not turn errors into messages.
    response = client.post("/admin/login/", {"username": "boss", "password": "x"})

    assert (response.status_code, response.content) == (status, text)


# A real database.


@pytest.fixture
def database():
    # The path of a socket has at most 107 bytes, and pytest's own folders are deep.
    with tempfile.TemporaryDirectory(prefix="database-") as folder:
        Path(folder).chmod(0o755)
        with Database(Path(folder)) as database:
            database.start()
            database.wait_until_ready()
            yield database


def seconds(work):
    """Return the duration of `work` in seconds, and its result."""
    start = time.monotonic()
    answer = work()
    return time.monotonic() - start, answer


@only_on_postgresql
@pytest.mark.server
def test_no_request_waits_for_a_stopped_database(tmp_path, database):
    settings = {"DATABASE_URL": database.url, "SERVE_WORKERS": "1"}
    with Server(tmp_path / "log", **settings) as server, ThreadPoolExecutor(40) as threads:
        token = log_in(server)

        def accounts(_=None):
            return server.request("GET", "/api/accounts/", token=token).status

        # Until each thread has a connection.
        assert set(threads.map(accounts, range(40))) == {200}
        database.stop()

        requests = [threads.submit(seconds, accounts) for _ in range(40)]
        alive, health = seconds(lambda: server.request("GET", "/healthz"))
        waits, statuses = zip(*(request.result() for request in requests), strict=True)
        ready, readiness = seconds(lambda: server.request("GET", "/readyz"))

        assert (health.status, set(statuses), readiness.status) == (200, {503}, 503)
        # Less than DATABASE_TIMEOUT.
        assert max(alive, ready, *waits) < 8

        # The server connects again.
        database.start()
        database.wait_until_ready()
        time.sleep(base.PAUSE_SECONDS)
        assert set(threads.map(accounts, range(8))) == {200}
        assert server.request("GET", "/readyz").status == 200


# The database backend alone.


@pytest.fixture
def connects(monkeypatch):
    """A function that connects to PostgreSQL as the settings do, and leaves no pause behind."""
    monkeypatch.setattr(base.DatabaseWrapper, "pauses", {})
    engine = "almaFintech.db.postgresql"

    def connect(alias="default", **database):
        settings = {
            "ENGINE": engine,
            "NAME": "wallet",
            "OPTIONS": {"connect_timeout": 2},
            **database,
        }
        ConnectionHandler({"default": {}, alias: settings})[alias].connect()

    return connect


def test_a_probe_that_cannot_connect_delays_no_request(connects, tmp_path):
    for alias, socket_in in ("readyz", "nowhere"), ("default", "neither"):
        with pytest.raises(psycopg.OperationalError, match=socket_in):
            connects(alias, HOST=str(tmp_path / socket_in))


@pytest.mark.server
def test_requests_wait_only_once_for_a_database_that_hangs(connects):
    # It accepts connections and never responds.
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor() as threads:
        host, port = silent.getsockname()

        def ask():
            with pytest.raises(psycopg.OperationalError) as failure:
                connects(HOST=host, PORT=port)
            return str(failure.value)

        waits = [wait for wait, _ in threads.map(seconds, [ask] * 3)]
        later, text = seconds(ask)

    # The first attempts wait, all at the same time; later ones fail at once.
    assert 1 < max(waits) < 10
    assert later < 1
    assert "timeout" in text


@pytest.mark.server
def test_the_server_connects_again_after_the_pause(connects):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
    # Nothing listens there any more.
    with pytest.raises(psycopg.OperationalError, match="refused"):
        connects(HOST=host, PORT=port)

    time.sleep(base.PAUSE_SECONDS)
    # It connects again; this time the port accepts.
    with (
        socket.create_server((host, port)),
        pytest.raises(psycopg.OperationalError, match="timeout"),
    ):
        connects(HOST=host, PORT=port)


# Connections that a thread keeps.


@pytest.fixture
def kept():
    """A connection as a thread of the server keeps it, after its first request."""
    wrapper = connection.copy()
    wrapper.settings_dict |= {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
    begin_request(wrapper)
    yield wrapper
    wrapper.close()


def begin_request(wrapper):
    """Use a connection for the first time in a request, and return its process in the database."""
    wrapper.close_if_unusable_or_obsolete()
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


@only_on_postgresql
def test_an_open_connection_is_checked_without_a_statement(db, kept):
    before = begin_request(kept)

    sent = messages_to(kept, lambda: begin_request(kept))

    assert sent == ["Query"]
    assert begin_request(kept) == before


@only_on_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_connection_with_something_to_read_is_checked_by_a_statement(kept):
    with kept.cursor() as cursor:
        cursor.execute("LISTEN news")
    before = begin_request(kept)
    with connection.cursor() as cursor:
        cursor.execute("NOTIFY news")

    sent = messages_to(kept, lambda: begin_request(kept))

    assert sent == ["Query", "Query"]
    assert begin_request(kept) == before


@only_on_postgresql
def test_a_connection_that_the_database_has_closed_is_replaced(db, kept):
    before = begin_request(kept)
    with connection.cursor() as cursor:
        # Waits until the process has ended.
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [before])
        assert cursor.fetchone() == (True,)

    assert begin_request(kept) != before


@only_on_postgresql
def test_a_connection_that_was_reset_is_replaced(db, kept):
    with Tunnel(kept.connection.info) as tunnel:
        kept.close()
        own_address = kept.settings_dict
        kept.settings_dict = {**own_address, "HOST": tunnel.host, "PORT": tunnel.port}
        begin_request(kept)
        tunnel.reset()
        kept.settings_dict = own_address

        begin_request(kept)


@only_on_postgresql
def test_a_connection_that_this_process_has_closed_is_replaced(db, kept):
    kept.connection.close()

    begin_request(kept)


class Tunnel:
    """A TCP port whose single connection is forwarded to PostgreSQL."""

    def __init__(self, server):
        if server.host.startswith("/"):
            self.inside = socket.socket(socket.AF_UNIX)
            self.inside.connect(f"{server.host}/.s.PGSQL.{server.port}")
        else:
            self.inside = socket.create_connection((server.host, server.port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self.listener.getsockname()

    def __enter__(self):
        self.thread = threading.Thread(target=self.forward, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.listener.close()
        self.inside.shutdown(socket.SHUT_RDWR)
        self.inside.close()

    def forward(self):
        self.outside, _ = self.listener.accept()
        back = threading.Thread(target=copy, args=(self.inside, self.outside), daemon=True)
        back.start()
        copy(self.outside, self.inside)

    def reset(self):
        self.outside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.outside.shutdown(socket.SHUT_RD)
        self.thread.join()
        self.outside.close()


def copy(source, target):
    while data := source.recv(65_536):
        target.sendall(data)

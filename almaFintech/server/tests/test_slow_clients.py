"""Slow clients hold neither threads nor database connections."""

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psutil
import pytest

from almaFintech.conftest import OtherDatabase
from almaFintech.server import gateway, master
from almaFintech.server.tests.scopes import scope
from almaFintech.tests.servers import CLIENTS, Server, children, log_in, open_account
from conftest import only_on_postgresql

pytestmark = [only_on_postgresql, pytest.mark.server]

# Enough to exceed the buffers of both ends of a connection.
ENTRIES = 8_000

# Less than the deadlines for slow clients, and enough for a busy machine.
PROMPT_SECONDS = 8


def connect(server: Server, request: bytes, *, buffer: int = 0) -> socket.socket:
    client = socket.socket()
    client.settimeout(60)
    if buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.connect(server.address)
    client.sendall(request)
    return client


def head(method: str, path: str, **headers: object) -> bytes:
    sent = {"Host": "wallet.example", "Content-Type": "application/json"}
    sent |= {name.replace("_", "-"): str(value) for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def seconds(server: Server, path: str, token: str = "") -> float:
    start = time.monotonic()
    answer = server.request("GET", path, token=token)
    assert answer.status == 200, (answer.status, answer.body)
    return time.monotonic() - start


def answer(client: socket.socket) -> tuple[int, dict[str, object]]:
    """Read a response, and return its status and body."""
    response = http.client.HTTPResponse(client)
    response.begin()
    return response.status, json.loads(response.read())


def is_closed(client: socket.socket) -> bool:
    """Return whether the server closes the connection without a response."""
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def fill(database: OtherDatabase, account: int) -> None:
    """Copy the only entry of an account many times, which is faster than the ledger."""
    columns = [
        str(name)
        for [name] in database.execute(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_name = 'accounts_entry' AND column_name <> 'id'"
        )
    ]
    # The largest possible entry.
    others = {"seq": "1 + n", "reason": "repeat('\U0001f404', 140)"}
    chosen = [others.get(name, name) for name in columns]
    # The statement contains only column names and numbers of this test.
    database.execute(
        "SET session_replication_role = 'replica'",
        f"INSERT INTO accounts_entry ({', '.join(columns)}) SELECT {', '.join(chosen)} "
        f"FROM accounts_entry, generate_series(1, {ENTRIES}) n WHERE account_id = {account}",
    )


def memory(server: Server) -> int:
    """Return the memory of the largest worker, in bytes."""
    return max(psutil.Process(pid).memory_info().rss for pid in children(server.process.pid))


def test_slow_clients_delay_no_other_request(tmp_path, other_database):
    settings = {"DATABASE_URL": other_database.url, "METRICS_ALLOWED": "127.0.0.0/8"}
    with Server(tmp_path / "log", **settings) as server, ExitStack() as stack:
        token = log_in(server)
        account = open_account(server, token, 5)
        fill(other_database, account)
        path = f"/api/accounts/{account}/statement/?format=csv"
        authorization = f"Bearer {token}"
        late_heads = [
            stack.enter_context(connect(server, head("GET", "/api/me/")[:-4])) for _ in range(32)
        ]
        late_bodies = [
            stack.enter_context(
                connect(server, head("POST", "/api/login/", Content_Length=100) + b'{"user')
            )
            for _ in range(32)
        ]
        for probe in "/healthz", "/readyz", "/metrics":
            assert seconds(server, probe) < PROMPT_SECONDS
        assert seconds(server, "/api/me/", token) < PROMPT_SECONDS

        # All these statements together exceed the allowed growth of a worker's memory.
        whole = server.request("GET", path, token=token)
        assert whole.body.count(b"\n") == ENTRIES + 3
        assert int(whole.headers["Content-Length"]) == len(whole.body) > 4_000_000
        before = memory(server)
        request = head("GET", path, Authorization=authorization)
        for _ in range(24):
            unread = stack.enter_context(connect(server, request, buffer=4096))
            # The response is being sent now.
            assert unread.recv(12) == b"HTTP/1.1 200"
        assert seconds(server, "/healthz") < PROMPT_SECONDS
        assert seconds(server, "/api/me/", token) < PROMPT_SECONDS
        # Only the connection of this test is active: those of the threads are idle.
        active = CLIENTS + " AND state <> 'idle'"
        assert other_database.execute(active) == [(1,)]
        assert memory(server) - before < 30_000_000

        # The deadlines of the late requests have passed; read their responses.
        for client in late_heads:
            assert is_closed(client)
        timeout = (408, "request_timeout")
        for client in late_bodies:
            status, body = answer(client)
            assert (status, body["code"]) == timeout
        page = server.request("GET", "/metrics").body.decode()
        assert 'wallet_http_rejections_total{code="request_timeout"} 32.0' in page


def test_an_unread_response_is_closed(tmp_path, other_database):
    settings = {"DATABASE_URL": other_database.url, "SERVE_WORKERS": "1"}
    with Server(tmp_path / "log", **settings) as server:
        token = log_in(server)
        account = open_account(server, token, 5)
        fill(other_database, account)
        path = f"/api/accounts/{account}/statement/?format=csv"
        request = head("GET", path, Authorization=f"Bearer {token}")
        with connect(server, request, buffer=4096) as client:
            assert client.recv(12) == b"HTTP/1.1 200"
            [worker] = map(psutil.Process, children(server.process.pid))

            def sends() -> bool:
                return any(
                    each.raddr and each.raddr.port == client.getsockname()[1]
                    for each in worker.net_connections("tcp")
                )

            assert sends()
            end = time.monotonic() + master.UNREAD_SECONDS + 20
            while sends() and time.monotonic() < end:
                time.sleep(0.5)
            assert not sends()


def test_large_bodies_share_a_bounded_memory(tmp_path, other_database):
    """All large bodies together may use only a bounded amount of memory."""
    settings = {"DATABASE_URL": other_database.url, "SERVE_WORKERS": "1"}
    with Server(tmp_path / "log", **settings) as server, ExitStack() as stack:
        token = log_in(server)
        most = gateway.LARGE_BODIES_BYTES // 2_000_000
        for _ in range(most):
            request = head("POST", "/api/login/", Content_Length=2_000_000) + b"{"
            stack.enter_context(connect(server, request))
        time.sleep(0.5)
        large = connect(server, head("POST", "/api/login/", Content_Length=2_000_000) + b"{")
        status, body = answer(stack.enter_context(large))
        assert (status, body["code"]) == (503, "busy")
        # Small bodies are still accepted.
        small = server.request("POST", "/api/accounts/", {"currency": "USD", "balance": 1}, token)
        assert small.status == 201


@pytest.mark.parametrize("name", ["X_Forwarded_For", "X_Request_Id"])
def test_a_header_with_an_underscore_is_ignored(name):
    environ = gateway.environ_of(scope([("x-forwarded-for", "10.0.0.1"), (name.lower(), "9")]))

    assert environ["HTTP_X_FORWARDED_FOR"] == "10.0.0.1"
    assert "HTTP_X_REQUEST_ID" not in environ


def test_the_environment_of_a_request():
    environ = gateway.environ_of(scope([("content-length", "5"), ("transfer-encoding", "chunked")]))

    assert (environ["SERVER_NAME"], environ["REMOTE_ADDR"]) == ("::1", "2001:db8::1")
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/ä"
    # A request that declares both is refused, and both lengths are ignored.
    assert gateway.body_length(environ) == 0
    assert "CONTENT_LENGTH" not in environ


def test_concurrent_requests_all_succeed(tmp_path, other_database):
    """Requests without a free thread wait for one."""
    settings = {"DATABASE_URL": other_database.url, "SERVE_WORKERS": "1"}
    with Server(tmp_path / "log", **settings) as server, ThreadPoolExecutor(64) as threads:
        token = log_in(server)

        def get(_: int) -> int:
            return server.request("GET", "/api/me/", token=token).status

        assert list(threads.map(get, range(100))) == [200] * 100

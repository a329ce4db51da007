"""The production server, started as an operator starts it."""

import http.client
import os
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psutil
import pytest

from almaFintech.settings import BASE_DIR
from almaFintech.tests.servers import (
    CLIENTS,
    PRODUCTION,
    WAITERS,
    Server,
    children,
    evaluate,
    log_in,
    open_account,
    python,
    settles,
)
from conftest import only_on_postgresql

pytestmark = [only_on_postgresql, pytest.mark.server]

LOCK_ACCOUNTS = ["BEGIN", "SELECT id FROM accounts_account FOR UPDATE"]


def is_running(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def metric(server: Server, line: str) -> float:
    page = server.request("GET", "/metrics").body.decode()
    [value] = re.findall(rf"^{re.escape(line)} (\S+)$", page, re.MULTILINE)
    return float(value)


def test_a_server_migrates_and_serves(tmp_path, other_database):
    with Server(tmp_path / "log", DATABASE_URL=other_database.url) as server:
        ready = server.request("GET", "/readyz")
        assert (ready.status, ready.json()["status"]) == (200, "ok")
        root = server.request("GET", "/api/")
        assert (root.status, sorted(root.json())) == (
            200,
            [
                *("accounts", "docs", "login", "logout", "me", "password", "profiles", "redoc"),
                *("refresh", "schema", "transfers", "users"),
            ],
        )
        style = server.request("GET", "/static/admin/css/base.css")
        assert (style.status, style.headers["Content-Type"]) == (200, 'text/css; charset="utf-8"')
        assert b"--primary" in style.body
        # Requests that are too long do not reach the application. The server may close the
        # connection before all of it has been sent.
        for path, headers in (f"/api/?{'x' * 100_000}", {}), ("/api/", {"X_Long": "x" * 100_000}):
            try:
                long = server.request("GET", path, **headers)
            except ConnectionError:
                continue
            assert (long.status, long.body) == (431, b"")
        # Two workers, besides the first process.
        assert len(children(server.process.pid)) == 2

        assert server.stop() == 0
        assert not list(tmp_path.glob("almafintech-metrics-*"))


@pytest.mark.parametrize(
    ("unsafe", "reason"),
    [
        ({"DEBUG": "true"}, "DEBUG set to True"),
        ({"SECRET_KEY": ""}, "SECRET_KEY must be set"),
        ({"METRICS_ALLOWED": "10.0.0.0/33"}, "METRICS_ALLOWED: '10.0.0.0/33' does not appear"),
        ({"CSRF_TRUSTED_ORIGINS": "wallet.example"}, "Origin 'wallet.example' in CSRF_TRUSTED_OR"),
        ({"CORS_ALLOWED_ORIGINS": "wallet.example"}, "Origin 'wallet.example' in CORS_ALLOWED_OR"),
        ({"REFRESH_TOKEN_DAYS": "9999999"}, "REFRESH_TOKEN_DAYS must be 36500 or less"),
        ({"SERVE_ADDRESS": "foo:bar"}, "SERVE_ADDRESS must be address:port"),
        ({"DATABASE_URL": "postgres://"}, "DATABASE_URL must be a URL such as"),
        ({"DATABASE_URL": "sqlite:////nowhere/at/all.sqlite3"}, "cannot be migrated"),
        ({"DATABASE_URL": "postgres://wallet@127.0.0.1:1/wallet"}, "cannot be migrated"),
        ({"DATABASE_URL": f"postgres://wallet@127.0.0.1:1/{'a' * 64}"}, "cannot be migrated"),
    ],
)
def test_a_server_refuses_unsafe_settings_in_one_line(unsafe, reason):
    refused = python("-m", "almaFintech.server", **PRODUCTION | unsafe)

    assert (refused.returncode, refused.stdout) == (3, "")
    assert refused.stderr.startswith("almaFintech does not start: ")
    assert reason in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_server_refuses_the_development_user(tmp_path):
    settings = PRODUCTION | {
        "DATABASE_URL": f"sqlite:///{tmp_path}/wallet.sqlite3",
        "SERVE_ADDRESS": "127.0.0.1:0",
    }
    python("manage.py", "migrate", "--verbosity=0", **settings | {"DEBUG": "true"})

    refused = python("-m", "almaFintech.server", **settings)

    assert refused.returncode == 3
    assert refused.stderr == (
        "almaFintech does not start: The user 'admin' still has the development password: "
        "`python manage.py changepassword admin` changes it.\n"
    )


def test_a_server_whose_address_is_taken_leaves_nothing_behind(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = python(
            *("-m", "almaFintech.server"),
            **PRODUCTION | {"DATABASE_URL": f"sqlite:///{tmp_path}/wallet.sqlite3"},
            SERVE_ADDRESS="{}:{}".format(*taken.getsockname()),
            TMPDIR=str(tmp_path),
        )

    assert result.returncode == 1
    assert "in use" in result.stderr
    assert not list(tmp_path.glob("almafintech-metrics-*"))


def test_servers_that_start_together_migrate_once(tmp_path, other_database):
    settings = {"DATABASE_URL": other_database.url, "SERVE_WORKERS": "1"}
    servers = [Server(tmp_path / f"log{number}", **settings) for number in range(3)]

    for server in servers:
        with server:
            assert server.request("GET", "/readyz").status == 200
    applied = "".join(server.log.read_text() for server in servers)
    assert applied.count("Applying accounts.0001_initial... OK") == 1


def test_a_stop_finishes_running_requests(tmp_path, other_database):
    started = Server(tmp_path / "log", DATABASE_URL=other_database.url)
    with started as server, ThreadPoolExecutor() as threads:
        token = log_in(server)
        origin, destination = (open_account(server, token, 5) for _ in range(2))
        body = {"origin": origin, "destination": destination, "balance": 3}

        other_database.execute(*LOCK_ACCOUNTS)
        answer = threads.submit(server.request, "POST", "/api/transfers/", body, token)
        assert settles(lambda: other_database.execute(WAITERS), [(1,)])
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert (answer.done(), server.process.poll()) == (False, None)
        other_database.execute("ROLLBACK")

        assert answer.result().status == 201
        assert server.process.wait(timeout=60) == 0
    assert other_database.execute("SELECT balance FROM accounts_account ORDER BY id") == [
        (2,),
        (8,),
    ]


def test_a_server_is_ready_while_all_its_threads_are_busy(tmp_path, other_database):
    settings = {
        "DATABASE_URL": other_database.url,
        "SERVE_WORKERS": "1",
        "SERVE_THREADS": "1",
        # The lock outlasts the test, however slow the machine is.
        "LOCK_TIMEOUT": "60",
    }
    with Server(tmp_path / "log", **settings) as server, ThreadPoolExecutor() as threads:
        token = log_in(server)
        origin, destination = (open_account(server, token, 5) for _ in range(2))
        body = {"origin": origin, "destination": destination, "balance": 3}
        other_database.execute(*LOCK_ACCOUNTS)
        holding = threads.submit(server.request, "POST", "/api/transfers/", body, token)
        assert settles(lambda: other_database.execute(WAITERS), [(1,)])

        waiting = threads.submit(server.request, "GET", "/api/me/", token=token)
        start = time.monotonic()
        assert server.request("GET", "/readyz").status == 200
        assert time.monotonic() - start < 5
        assert not waiting.done()
        other_database.execute("ROLLBACK")

        assert (holding.result().status, waiting.result().status) == (201, 200)


def kill_a_worker(server):
    """Kill the oldest of three workers, and return once another one has replaced it."""
    ended = children(server.process.pid)[0]
    os.kill(ended, signal.SIGKILL)

    def state():
        workers = children(server.process.pid)
        return len(workers), ended in workers

    assert settles(state, (3, False))


def test_the_workers_share_their_metrics_but_no_connection(tmp_path, other_database):
    settings = {
        "DATABASE_URL": other_database.url,
        "SERVE_WORKERS": "3",
        "METRICS_ALLOWED": "127.0.0.0/8",
    }
    with Server(tmp_path / "log", **settings) as server, ThreadPoolExecutor(12) as threads:
        # Only the connection of this test: each thread connects with its first query. Connections
        # of the startup checks may still be closing.
        assert settles(lambda: other_database.execute(CLIENTS), [(1,)])
        token = log_in(server)
        origin, destination = (open_account(server, token, 1000) for _ in range(2))
        body = {"origin": origin, "destination": destination, "balance": 3}

        def send(_):
            # All use one account, so on a slow machine some may have to be repeated.
            for _ in range(50):
                answer = server.request("POST", "/api/transfers/", body, token)
                if answer.status != 503:
                    break
            return answer.status

        assert list(threads.map(send, range(60))) == [201] * 60
        # Any worker reports the metrics of all workers, including killed ones.
        for _ in range(2):
            assert metric(server, 'wallet_transfers_total{currency="USD"}') == 60
            amount = metric(server, 'wallet_transferred_micro_units_total{currency="USD"}')
            assert amount == 180
            kill_a_worker(server)
            assert server.request("GET", "/healthz").status == 200
        # Their successors continue their files.
        assert list(threads.map(send, range(30))) == [201] * 30
        assert metric(server, 'wallet_transfers_total{currency="USD"}') == 90
        [folder] = tmp_path.glob("almafintech-metrics-*")
        files = {file.name for file in folder.glob("counter_*.db")}
        assert files <= {f"counter_{slot}.db" for slot in (1, 2, 3)}
    assert other_database.execute("SELECT balance FROM accounts_account ORDER BY id") == [
        (730,),
        (1270,),
    ]


def test_forwarded_https_is_trusted_only_if_configured(tmp_path, other_database):
    claim = {"X_Forwarded_Proto": "https"}
    settings = {"DATABASE_URL": other_database.url, "SECURE_SSL_REDIRECT": "true"}

    with Server(tmp_path / "log", **settings) as server:
        assert server.request("GET", "/api/", **claim).status == 301
        for probe in "/healthz", "/readyz":
            # Probes use the address and HTTP.
            assert server.request("GET", probe, Host="10.1.2.3:8000").status == 200
    with Server(tmp_path / "log", TRUST_FORWARDED_PROTO="true", **settings) as server:
        assert server.request("GET", "/api/", **claim).status == 200


def test_nothing_of_a_malformed_request_is_logged(tmp_path, other_database):
    with Server(tmp_path / "log", DATABASE_URL=other_database.url) as server:
        broken = server.request("GET", "/api/?email=eve@example.com", **{"Bad Name": "s3cret"})
        assert broken.status == 400
    log = server.log.read_text()
    assert '"event": "Started worker-1"' in log
    assert not re.search("s3cret|eve@|Bad", log)


def test_workers_that_refuse_to_start_end_the_server(tmp_path, other_database):
    with Server(tmp_path / "log", DATABASE_URL=other_database.url) as server:
        # As if somebody restored an old dump while the server was running.
        server.manage("migrate", "--verbosity=0")
        made = server.manage(
            *("shell", "--command"),
            "from django.contrib.auth.models import User;"
            "User.objects.create_superuser('admin', password='admin')",
        )
        assert made.returncode == 0, made.stderr
        server.process.send_signal(signal.SIGHUP)

        assert server.process.wait(timeout=60) == 3
    assert "still has the development password" in server.log.read_text()
    assert server.log.read_text().count("does not start") <= 2


def test_a_reload_replaces_the_workers(tmp_path, other_database):
    with Server(tmp_path / "log", DATABASE_URL=other_database.url) as server:
        before = children(server.process.pid)
        server.process.send_signal(signal.SIGHUP)
        assert settles(
            lambda: (
                len(children(server.process.pid)),
                bool(set(before) & set(children(server.process.pid))),
            ),
            (2, False),
        )
        assert server.request("GET", "/healthz").status == 200


def test_connections_are_spread_over_the_workers(tmp_path, other_database):
    with Server(tmp_path / "log", DATABASE_URL=other_database.url) as server, ExitStack() as stack:
        workers = children(server.process.pid)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        for _ in range(40):
            stack.enter_context(socket.create_connection(server.address))
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
            # From a shared socket, the first worker would take all.
            time.sleep(0.5)

        def least():
            return min(
                sum(
                    connection.laddr == server.address and connection.status == "ESTABLISHED"
                    for connection in psutil.Process(worker).net_connections()
                )
                for worker in workers
            )

        # All but one of a hundred million times.
        assert settles(lambda: least() >= 4, True)


def test_a_worker_holds_no_socket_of_another(tmp_path, other_database):
    with Server(tmp_path / "log", DATABASE_URL=other_database.url) as server:
        # A worker that stops would leave clients in a queue from which nobody accepts.
        sockets = [
            [each.status for each in psutil.Process(worker).net_connections()].count("LISTEN")
            for worker in children(server.process.pid)
        ]

    assert sockets == [1, 1]


def test_connections_that_wait_for_a_worker_outlive_it(tmp_path, other_database):
    with Server(tmp_path / "log", DATABASE_URL=other_database.url) as server:
        workers = children(server.process.pid)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        clients = [http.client.HTTPConnection(*server.address, timeout=60) for _ in range(20)]
        for client in clients:
            client.request("GET", "/healthz")
        os.kill(workers[0], signal.SIGKILL)
        os.kill(workers[1], signal.SIGCONT)

        assert [client.getresponse().status for client in clients] == [200] * 20
        for client in clients:
            client.close()


def test_a_second_server_at_an_address_is_refused(tmp_path, other_database):
    with Server(tmp_path / "log", DATABASE_URL=other_database.url) as server:
        second = python("-m", "almaFintech.server", **server.settings)

    assert second.returncode == 1
    assert "in use" in second.stderr


def test_workers_end_when_the_master_is_killed(tmp_path, other_database):
    with Server(tmp_path / "log", DATABASE_URL=other_database.url) as server:
        workers = children(server.process.pid)
        assert len(workers) == 2
        server.process.kill()
        server.process.wait()
        assert settles(lambda: [pid for pid in workers if is_running(pid)], [])


def test_a_server_listens_on_a_unix_socket(tmp_path, other_database):
    path = tmp_path / "wallet.socket"
    settings = {"DATABASE_URL": other_database.url, "SERVE_ADDRESS": f"unix:{path}"}
    # Left behind by a server that was killed.
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    server = Server(tmp_path / "log", **settings)

    def answer():
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"GET /healthz HTTP/1.0\r\nHost: x\r\n\r\n")
                return client.recv(12)
        except OSError:
            return b""

    # The server migrates and its workers start meanwhile.
    assert settles(answer, b"HTTP/1.0 200", seconds=60), server.log.read_text()
    assert server.stop() == 0


def test_make_serve_uses_the_port(tmp_path):
    """`PORT` from the environment, as platforms set it, or as an argument of make."""
    recipe = ["make", "--silent", "serve", "PORT=8123", f"BIN={tmp_path}"]
    (tmp_path / ".server").touch()
    os.utime(tmp_path / ".server", (2**33, 2**33))
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho $PORT $*\nexit 3\n")
    python.chmod(0o755)

    made = subprocess.run(
        recipe, cwd=BASE_DIR, env={"PATH": os.environ["PATH"]}, capture_output=True
    )

    assert made.stdout == b"8123 -m almaFintech.server\n"
    # The status of make itself: docs/operating.md says so.
    assert made.returncode == 2
    assert evaluate("s.SERVE_ADDRESS", PORT="8123") == "127.0.0.1:8123"
    assert evaluate("s.SERVE_ADDRESS", PORT="8123", SERVE_ADDRESS="[::]:80") == "[::]:8123"

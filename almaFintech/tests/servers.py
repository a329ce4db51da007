"""Helpers that run processes of this server with an environment given by the test."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

from django.core.management.utils import get_random_secret_key

from almaFintech.settings import BASE_DIR

# The minimal settings of a production server, with a database that needs no service.
PRODUCTION = {
    "DEBUG": "false",
    # New keys in each run: a key in a file would not be secret.
    "SECRET_KEY": get_random_secret_key(),
    "LEDGER_KEY": get_random_secret_key(),
    "ALLOWED_HOSTS": "wallet.example",
    "DATABASE_URL": "sqlite://:memory:",
}
START_SECONDS = 60
SETTLE_SECONDS = 20
PASSWORD = "a long and quiet river"

# The number of connections to the queried database.
CLIENTS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND backend_type = 'client backend'"
)
# The number of sessions that wait for a lock of the querying session.
WAITERS = (
    "SELECT count(*) FROM pg_locks "
    "WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
)


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment_of(environment),
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        timeout=60,
    )


def evaluate(expression: str, **environment: str) -> Any:
    """Evaluate an expression in a process that has read the settings, `s`, from `environment`."""
    code = f"from almaFintech import settings as s; import json; print(json.dumps({expression}))"
    done = python("-c", code, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def environment_of(settings: dict[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, **settings}


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """A production server on its own port, started as `make serve` does."""

    def __init__(self, log: Path, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address: tuple[str, int] = probe.getsockname()
        self.log = log
        self.settings = {
            **PRODUCTION,
            "SECURE_SSL_REDIRECT": "false",
            "SERVE_WORKERS": "2",
            "SERVE_THREADS": "4",
            "SERVE_ADDRESS": "{}:{}".format(*self.address),
            # Here tests look for files that the server leaves behind.
            "TMPDIR": str(log.parent),
            **settings,
        }
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "almaFintech.server"],
                env=environment_of(self.settings),
                cwd=BASE_DIR,
                stdout=output,
                stderr=output,
            )

    def __enter__(self) -> Self:
        end = time.monotonic() + START_SECONDS
        while self.process.poll() is None:
            try:
                if self.request("GET", "/healthz").status == 200 and self.all_workers_started():
                    return self
            except OSError:
                pass
            time.sleep(0.1)
            if time.monotonic() > end:
                self.process.kill()
        raise AssertionError(self.log.read_text())

    def all_workers_started(self) -> bool:
        """Return whether no worker is still loading; /healthz responds once the first one is up."""
        started = re.findall(r'"event": "Started worker-\d+"', self.log.read_text())
        return len(started) == int(self.settings["SERVE_WORKERS"])

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Shut it down gracefully, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def request(
        self, method: str, path: str, body: object = None, token: str = "", **headers: str
    ) -> Answer:
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        sent = {"Host": "wallet.example", "Content-Type": "application/json"}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, json.dumps(body) if body else None, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return python("manage.py", *arguments, **self.settings, **environment)


def log_in(server: Server) -> str:
    """Create the first member of staff, and return an access token."""
    boss = ["--noinput", "--username=boss", "--email=boss@wallet.example"]
    made = server.manage("createsuperuser", *boss, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    assert made.returncode == 0, made.stderr
    login = {"username": "boss", "password": PASSWORD}
    return server.request("POST", "/api/login/", login).json()["access"]


def open_account(server: Server, token: str, balance: int) -> int:
    """Open an account in USD, and return its id."""
    body = {"currency": "USD", "balance": balance}
    return server.request("POST", "/api/accounts/", body, token).json()["id"]


def children(process: int) -> list[int]:
    """Return the ids of the processes that a process has started, the oldest first."""
    pids = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(pid) for pid in pids.split()]


def settles(read: Callable[[], object], expected: object, seconds: float = SETTLE_SECONDS) -> bool:
    """Return whether `read` returns the expected value, now or within `seconds`."""
    end = time.monotonic() + seconds
    while read() != expected:
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True

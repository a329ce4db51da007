"""The commands of docs/operating.md that back up a database and restore it."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.core.management import CommandError
from django.db import Error, connection

from almaFintech.db import backups
from almaFintech.tests.servers import PRODUCTION, environment_of, python
from conftest import only_on_postgresql

GUIDE = (settings.BASE_DIR / "docs/operating.md").read_text()
SECTION = GUIDE.split("## Backup and restore")[1].split("\n## ")[0]
PROGRAMS = {"postgresql": "pg_dump", "mysql": "mariadb-dump"}
TABLES = (
    "accounts_account",
    "accounts_transfer",
    "accounts_entry",
    "accounts_idempotencykey",
    "accounts_register",
    "audit_end",
    "audit_record",
    "auth_user",
    "login_profile",
    "login_profile_accounts",
    "django_migrations",
)


WORLD = ("--users=5", "--accounts=12", "--transfers=40", "--force")

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(
        connection.vendor in PROGRAMS and not shutil.which(PROGRAMS[connection.vendor]),
        reason="The database's own programs are not installed",
    ),
]


@pytest.fixture
def run(tmp_path):
    """Run a command of the guide like an operator who has written DATABASE_URL into `.env`."""

    def run(command: str, url: str, **variables: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "env"
        file.write_text(f"DATABASE_URL={url}\n")
        environment = environment_of({**PRODUCTION, "ENV_FILE": str(file), **variables})
        del environment["DATABASE_URL"]
        # Let `python` in the guide be this interpreter.
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command.replace("wallet.", f"{tmp_path}/wallet.")],
            cwd=settings.BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def world(other_database):
    environment = PRODUCTION | {"DATABASE_URL": other_database.url}
    for command in ["migrate", "--verbosity=0"], ["seed_demo", *WORLD]:
        made = python("manage.py", *command, **environment)
        assert made.returncode == 0, made.stderr
    return other_database


def test_a_backup_is_restored_completely(run, tmp_path, world, third_database):
    back_up, restore = re.findall(r"```sh\n(.*?)```", SECTION.split("### ")[0], re.DOTALL)

    done = run(back_up, world.url)
    assert (done.returncode, done.stderr) == (0, "")
    # Only its owner can read it, because it holds secrets; no temporary file is left.
    assert (tmp_path / "wallet.backup").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.glob("wallet*")] == ["wallet.backup"]
    done = run(restore, third_database.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Restored.\n")
    assert " 0 discrepancies in " in done.stdout

    for table in TABLES:
        rows = f"SELECT * FROM {table} ORDER BY id"
        assert third_database.execute(rows) == world.execute(rows), table
    assert third_database.execute("SELECT count(*) FROM accounts_transfer") == [(40,)]
    # The backup includes the triggers.
    for change in "UPDATE accounts_entry SET amount = 1", "DELETE FROM accounts_entry":
        with pytest.raises(Error, match="append only"):
            third_database.execute(change)
    # New rows continue the numbers.
    restored = PRODUCTION | {"DATABASE_URL": third_database.url}
    more = python("manage.py", "seed_demo", *WORLD, "--seed=2", **restored)
    assert more.returncode == 0, more.stderr
    assert python("manage.py", "verify_ledger", **restored).returncode == 0

    # Neither command overwrites anything.
    kept = (tmp_path / "wallet.backup").read_bytes()
    again = run(back_up, world.url)
    assert again.returncode == 1
    assert "wallet.backup already exists and is not overwritten." in again.stderr
    assert (tmp_path / "wallet.backup").read_bytes() == kept
    again = run(restore, third_database.url)
    assert again.returncode == 2
    assert "The database is not empty: it has the table" in again.stderr


def test_a_restore_exits_with_the_status_of_verify_ledger(run, world, third_database):
    world.execute("UPDATE accounts_account SET balance = balance + 1 WHERE id = 1")
    assert run("python manage.py backup wallet.backup", world.url).returncode == 0

    done = run("python manage.py restore wallet.backup", third_database.url)

    assert done.returncode == 1
    assert "account 1: balance expected" in done.stdout


def test_a_database_without_a_wallet_is_not_backed_up(run, tmp_path, other_database):
    done = run("python manage.py backup wallet.backup", other_database.url)

    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: The database has no table accounts_account")
    assert list(tmp_path.glob("wallet*")) == []


@pytest.mark.parametrize("content", [b"", b"not a backup", None])
def test_a_file_that_is_not_a_backup_is_not_restored(run, tmp_path, other_database, content):
    if content is not None:
        (tmp_path / "wallet.backup").write_bytes(content)

    done = run("python manage.py restore wallet.backup", other_database.url)

    assert done.returncode == 2
    assert done.stderr.startswith("CommandError: ")
    assert done.stderr.count("\n") == 1
    assert "Restored" not in done.stdout


def test_a_missing_folder_is_named(db, tmp_path):
    with pytest.raises(CommandError, match=r"^There is no folder .*/missing\.$"):
        backups.write(tmp_path / "missing" / "wallet.backup")


def test_an_incomplete_backup_is_not_kept(db, tmp_path, monkeypatch):
    engine = backups.ENGINES[connection.vendor]
    monkeypatch.setattr(engine, "dump", lambda file: file.write_bytes(b""), raising=False)

    with pytest.raises(CommandError):
        backups.write(tmp_path / "wallet.backup")

    assert list(tmp_path.iterdir()) == []


def test_a_dump_that_lacks_a_table_is_not_kept(db, tmp_path, monkeypatch):
    engine = backups.ENGINES[connection.vendor]
    monkeypatch.setattr(engine, "dump", lambda file: None, raising=False)
    kept = set(connection.introspection.table_names()) - {"audit_record"}
    monkeypatch.setattr(engine, "tables", lambda file: kept, raising=False)

    with pytest.raises(CommandError, match="The backup lacks the table audit_record"):
        backups.write(tmp_path / "wallet.backup")

    assert list(tmp_path.iterdir()) == []


def test_a_missing_program_is_named_with_its_package(db, tmp_path, monkeypatch):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite needs none")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(CommandError, match=r"is not installed; on Debian (postgresql|mariadb)-cl"):
        backups.write(tmp_path / "wallet.backup")


def test_a_program_older_than_the_server_gets_a_warning(monkeypatch):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no server")
    engine = backups.ENGINES[connection.vendor]
    assert isinstance(engine, backups.PostgreSQL | backups.MariaDB)
    assert engine.tool(PROGRAMS[connection.vendor]).version() > (9, 0)
    monkeypatch.setattr(backups.Tool, "version", lambda self: (9, 6))
    name = "pg_version" if connection.vendor == "postgresql" else "mysql_version"
    monkeypatch.setitem(connection.__dict__, name, 170_002 if name[0] == "p" else (10, 11, 3))

    assert " is older than " in engine.outdated()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no password")
def test_no_password_is_on_a_command_line(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "PASSWORD", "a quiet river")
    engine = backups.ENGINES[connection.vendor]
    assert isinstance(engine, backups.PostgreSQL | backups.MariaDB)
    tool = engine.tool("pg_dump")

    assert "a quiet river" in tool.variables.values()
    assert not any("quiet" in argument for argument in tool.arguments)


@only_on_postgresql
def test_the_commands_for_containers(run, tmp_path, world, third_database):
    """Run them without Docker, with the variables of the container."""
    back_up, restore = (
        command.replace("docker compose exec -T database ", "")
        for command in re.findall(r"```sh\n(.*?)```", SECTION.split("### ")[1], re.DOTALL)
    )

    def variables(url: str) -> dict[str, str]:
        parts = urlsplit(url)
        [socket] = parse_qs(parts.query).get("host", [""])
        return {
            "PGHOST": parts.hostname or socket,
            "PGPORT": str(parts.port or 5432),
            "PGPASSWORD": parts.password or "",
            "POSTGRES_USER": parts.username or "",
            "POSTGRES_DB": parts.path[1:],
        }

    # Without these variables they fail, instead of using another database.
    for command in back_up, restore:
        (tmp_path / "wallet.backup").unlink(missing_ok=True)
        assert run(command, world.url).returncode != 0
        assert not (tmp_path / "wallet.backup").exists()

    done = run(back_up, world.url, **variables(world.url))
    assert done.returncode == 0, done.stderr
    done = run(restore, world.url, **variables(third_database.url))
    assert done.returncode == 0, done.stderr
    for table in TABLES:
        rows = f"SELECT * FROM {table} ORDER BY id"
        assert third_database.execute(rows) == world.execute(rows), table


def test_no_command_takes_a_variable_that_may_be_empty():
    blocks = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)

    assert len(blocks) == 4
    for block in blocks:
        assert re.findall(r"\$(?!\{\w+:\?\})", block) == []


@pytest.mark.skipif(connection.vendor != "sqlite", reason="Only SQLite copies its file")
def test_a_damaged_file_is_found(run, tmp_path, world, third_database):
    assert run("python manage.py backup wallet.backup", world.url).returncode == 0
    file = tmp_path / "wallet.backup"
    assert sqlite3.connect(file).execute("PRAGMA journal_mode").fetchone() == ("delete",)
    size = file.stat().st_size
    os.truncate(file, size // 2)

    done = run("python manage.py restore wallet.backup", third_database.url)

    assert done.returncode == 2
    assert "is damaged" in done.stderr or "is not a backup" in done.stderr

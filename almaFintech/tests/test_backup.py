"""The commands of docs/operating.md that back a database up and restore it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.core.management import get_commands
from django.db import Error, connection

from almaFintech.tests.servers import PRODUCTION, environment_of, python

GUIDE = (settings.BASE_DIR / "docs/operating.md").read_text()
HEADINGS = {"postgresql": "PostgreSQL", "mysql": "MariaDB", "sqlite": "SQLite"}
PROGRAMS = {"postgresql": "pg_dump", "mysql": "mariadb-dump"}
TABLES = (
    "accounts_account",
    "accounts_transfer",
    "accounts_entry",
    "accounts_idempotencykey",
    "auth_user",
    "login_profile",
    "login_profile_accounts",
    "django_migrations",
)


def commands() -> list[str]:
    """The command that backs up and the one that restores, for the database of this run."""
    section = GUIDE.split("## Backup and restore")[1].split(f"### {HEADINGS[connection.vendor]}")[1]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[:2]


def run(command: str, url: str, folder: Path) -> None:
    parts = urlsplit(url)
    environment = environment_of({"DATABASE_URL": url, "DATABASE": parts.path[1:]})
    # The guide's `python` is this one.
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    if connection.vendor == "mysql":
        # As the guide has it: where MariaDB's own programs look for the server.
        [socket] = parse_qs(parts.query)["unix_socket"]
        (folder / ".my.cnf").write_text(f"[client]\nuser={parts.username}\nsocket={socket}\n")
        environment["HOME"] = str(folder)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(
    connection.vendor in PROGRAMS and not shutil.which(PROGRAMS[connection.vendor]),
    reason="The programs of the database are not installed",
)
def test_what_was_backed_up_is_restored(tmp_path, other_database, third_database):
    environment = PRODUCTION | {"DATABASE_URL": other_database.url}
    world = ["--users=5", "--accounts=12", "--transfers=40", "--force"]
    for command in ["migrate", "--verbosity=0"], ["seed_demo", *world]:
        made = python("manage.py", *command, **environment)
        assert made.returncode == 0, made.stderr
    back_up, restore = commands()

    run(back_up, other_database.url, tmp_path)
    run(restore, third_database.url, tmp_path)

    for table in TABLES:
        rows = f"SELECT * FROM {table} ORDER BY id"
        assert third_database.execute(rows) == other_database.execute(rows), table
    assert third_database.execute("SELECT count(*) FROM accounts_transfer") == [(40,)]
    # The triggers came along.
    for change in "UPDATE accounts_entry SET amount = 1", "DELETE FROM accounts_entry":
        with pytest.raises(Error, match="append only"):
            third_database.execute(change)
    # And the numbers go on where they were.
    restored = environment | {"DATABASE_URL": third_database.url}
    more = python("manage.py", "seed_demo", *world, "--seed=2", **restored)
    assert more.returncode == 0, more.stderr
    if "verify_ledger" in get_commands():
        assert python("manage.py", "verify_ledger", **restored).returncode == 0

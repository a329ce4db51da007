"""The database role of the server, which cannot change history."""

import io
import os
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.utils import DatabaseError

from accounts.models import Entry
from almaFintech.tests.servers import Server
from audit.models import Record
from conftest import PASSWORD, only_on_postgresql

# Roles belong to the whole server, and each worker of the tests has a database of its own.
ROLE = f"wallet_{os.environ.get('PYTEST_XDIST_WORKER', 'server')}"


@pytest.fixture
def granted(transactional_db, monkeypatch):
    """The URL of the test database for a role that `grant` has created."""
    monkeypatch.setenv("SERVER_PASSWORD", "granted")
    try:
        # Twice, as at every upgrade.
        for _ in range(2):
            call_command("grant", ROLE, "--password-from=SERVER_PASSWORD", stdout=io.StringIO())
        url = urlsplit(os.environ["DATABASE_URL"])
        place = url.netloc.rpartition("@")[2]
        name = connection.settings_dict["NAME"]
        yield url._replace(netloc=f"{ROLE}:granted@{place}", path=f"/{name}").geturl()
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP OWNED BY {ROLE}")
            cursor.execute(f"DROP ROLE {ROLE}")


@only_on_postgresql
@pytest.mark.server
def test_the_role_can_run_the_server(granted, boss, tmp_path, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
    boss.user.set_password(PASSWORD)
    boss.user.save()
    # The key that signed the first rows of this database.
    key = {"LEDGER_KEY": settings.LEDGER_KEY}
    with Server(tmp_path / "log", DATABASE_URL=granted, **key) as server:
        login = server.request(
            "POST", "/api/login/", {"username": "boss", "password": PASSWORD}
        ).json()
        token = login["access"]

        def call(method, path, body=None):
            answer = server.request(method, f"/api/{path}", body, token)
            assert answer.status < 300, (method, path, answer)
            return answer.json() if answer.body else None

        user = call("POST", "users/", {"username": "carol", "password": PASSWORD})["id"]
        first = call("POST", "accounts/", {"currency": "USD", "balance": 9})["id"]
        second = call("POST", "accounts/", {"currency": "USD"})["id"]
        call("POST", f"profiles/{user}/add_account/", {"account_id": first})
        call("PATCH", f"accounts/{first}/", {"balance": 10})
        sent = {"origin": first, "destination": second, "balance": 4}
        transfer = call("POST", "transfers/", sent)["id"]
        call("POST", "transfers/batch/", {"transfers": [sent]})
        call("DELETE", f"transfers/{transfer}/")
        call("GET", f"accounts/{first}/statement/")
        call("DELETE", f"accounts/{second}/")
        call("DELETE", f"users/{user}/")
        call("POST", "login/refresh/", {"refresh": login["refresh"]})
        call("POST", "login/logout/", {"refresh": login["refresh"]})

        verified = server.manage("verify_ledger")
        assert verified.returncode == 0, verified.stdout + verified.stderr


@only_on_postgresql
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts_entry SET amount = 1",
        "DELETE FROM accounts_entry",
        "TRUNCATE accounts_entry",
        "DROP TRIGGER accounts_entry_append_only ON accounts_entry",
        "ALTER TABLE accounts_entry DISABLE TRIGGER ALL",
        "UPDATE audit_record SET number = 1",
        "DELETE FROM audit_record",
        "DROP TRIGGER audit_record_append_only ON audit_record",
        "ALTER TABLE accounts_account DROP CONSTRAINT account_balance_not_negative",
        "DELETE FROM django_migrations",
        "CREATE TABLE more (id int)",
    ],
)
def test_the_role_cannot_change_history(granted, boss, alice, statement):
    boss.patch(f"/api/accounts/{alice.account.pk}/", {"balance": 5})
    before = [list(model.objects.order_by("pk").values()) for model in (Entry, Record)]

    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {ROLE}")
        try:
            with pytest.raises(DatabaseError, match=r"permission denied|must be owner"):
                cursor.execute(statement)
        finally:
            cursor.execute("RESET ROLE")

    assert [list(model.objects.order_by("pk").values()) for model in (Entry, Record)] == before


@pytest.mark.skipif(connection.vendor != "mysql", reason="It checks the rights of MariaDB")
def test_a_mariadb_user_cannot_change_history(transactional_db, monkeypatch):
    monkeypatch.setenv("SERVER_PASSWORD", "it's granted")
    with connection.cursor() as cursor:
        try:
            call_command("grant", ROLE, "--password-from=SERVER_PASSWORD", stdout=io.StringIO())
            cursor.execute(f"SHOW GRANTS FOR '{ROLE}'@'%'")
            grants = "\n".join(row[0] for row in cursor.fetchall())
        finally:
            cursor.execute(f"DROP USER '{ROLE}'@'%'")

    name = connection.settings_dict["NAME"]
    for table in "accounts_entry", "audit_record":
        assert f"GRANT SELECT, INSERT ON `{name}`.`{table}` " in grants
    assert f"GRANT SELECT ON `{name}`.`django_migrations` " in grants
    assert f"GRANT SELECT, INSERT, UPDATE, DELETE ON `{name}`.`accounts_account` " in grants
    assert "DROP" not in grants
    assert "TRIGGER" not in grants


@pytest.mark.skipif(connection.vendor != "sqlite", reason="Other databases have roles")
def test_sqlite_has_no_roles(db):
    with pytest.raises(CommandError, match="SQLite has no roles"):
        call_command("grant", ROLE)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no roles")
def test_a_role_without_a_password_is_not_created(db, monkeypatch):
    monkeypatch.delenv("SERVER_PASSWORD", raising=False)

    with pytest.raises(CommandError, match="SERVER_PASSWORD is empty"):
        call_command("grant", ROLE, "--password-from=SERVER_PASSWORD")

"""What the system checks say of a database that cannot do what the ledger needs."""

import pytest
from django.db import connection

from almaFintech.checks import database_keeps_every_character, database_returns_inserted_rows
from almaFintech.tests.servers import python


def test_a_database_that_does_not_return_what_it_inserts_is_refused(monkeypatch):
    assert database_returns_inserted_rows(None, ["default"]) == []

    features = type(connection.features)
    monkeypatch.setattr(features, "can_return_rows_from_bulk_insert", False)

    [error] = database_returns_inserted_rows(None, ["default"])
    assert error.id == "almaFintech.E001"


def test_the_database_of_the_tests_keeps_every_character(db):
    assert database_keeps_every_character(None, ["default"]) == []


@pytest.mark.skipif(connection.vendor != "mysql", reason="Others keep all, or refuse the value")
def test_a_mariadb_that_does_not_keep_every_character_is_not_migrated(other_database):
    other_database.execute("ALTER DATABASE CHARACTER SET latin1")

    result = python("manage.py", "migrate", DATABASE_URL=other_database.url)

    assert result.returncode == 1
    assert "has the character set latin1 and not utf8mb4" in result.stderr
    assert other_database.execute("SHOW TABLES") == []

"""System checks of the database and the settings."""

import pytest
from django.db import connection

from almaFintech.server.checks import (
    database_keeps_every_character,
    database_returns_inserted_rows,
    trusted_origins_are_origins,
)
from almaFintech.tests.servers import PRODUCTION, python


def test_a_database_that_cannot_return_inserted_rows_is_refused(monkeypatch):
    assert database_returns_inserted_rows(None, ["default"]) == []

    features = type(connection.features)
    monkeypatch.setattr(features, "can_return_rows_from_bulk_insert", False)

    [error] = database_returns_inserted_rows(None, ["default"])
    assert error.id == "almaFintech.E001"


def test_the_test_database_stores_every_character(db):
    assert database_keeps_every_character(None, ["default"]) == []


@pytest.mark.server
@pytest.mark.skipif(connection.vendor != "mysql", reason="Other databases store every character")
def test_a_mariadb_without_utf8mb4_is_not_migrated(other_database):
    other_database.execute("ALTER DATABASE CHARACTER SET latin1")

    result = python("manage.py", "migrate", DATABASE_URL=other_database.url)

    assert result.returncode == 1
    assert "has the character set latin1 and not utf8mb4" in result.stderr
    assert other_database.execute("SHOW TABLES") == []


@pytest.mark.server
@pytest.mark.parametrize(("proxies", "warned"), [("0", True), ("1", False)])
def test_an_uncounted_proxy_gets_a_warning(proxies, warned):
    environment = {"TRUST_FORWARDED_PROTO": "true", "TRUSTED_PROXIES": proxies}

    result = python("manage.py", "check", "--deploy", **PRODUCTION | environment)

    # The server starts nevertheless: it may have a single client, such as a shop's server.
    assert result.returncode == 0
    assert ("TRUSTED_PROXIES is 0" in result.stderr) is warned


def test_origins_consist_of_a_scheme_and_a_host(settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://a.example", "http://*.b.example:8000"]
    assert trusted_origins_are_origins(None) == []

    wrong = ["wallet.example", "https://", "https://a.example/", "ftp://a.example", "https://a b"]
    settings.CSRF_TRUSTED_ORIGINS = wrong
    assert len(trusted_origins_are_origins(None)) == len(wrong)

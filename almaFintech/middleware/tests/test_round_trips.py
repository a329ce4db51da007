"""The statements of reads, and their round trips to the database."""

from unittest.mock import patch

import pytest
from django.db import connection
from django.db.models.sql.compiler import SQLCompiler

from almaFintech.tests.round_trips import messages_to
from almaFintech.tests.sql import statements_of
from conftest import only_on_postgresql
from login.sessions import user_of
from login.tokens import AccessToken


@pytest.fixture
def read(alice):
    """A function that reads alice's account, as a request after others of the same thread."""

    def get():
        assert alice.get(f"/api/accounts/{alice.account.pk}/").status_code == 200

    get()
    # Requests of the test client do not begin with a check of the connection, others do.
    connection.health_check_done = False  # type: ignore[attr-defined]
    return get


def test_reading_an_account_takes_two_statements(read):
    """The user with the session, and the account."""
    assert [sql.split()[0] for sql in statements_of(read)] == ["SELECT"] * 2


@only_on_postgresql
def test_reading_an_account_takes_two_round_trips(read):
    assert messages_to(connection, read) == ["Query"] * 2


def test_the_user_is_found_without_compiling_a_query(alice, read):
    token = AccessToken.for_user(alice.user)

    with patch.object(SQLCompiler, "as_sql", side_effect=AssertionError):
        assert user_of(token) == alice.user

"""Queries that are compiled once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.db.models import Exists, QuerySet
from django.db.models.sql.compiler import SQLCompiler

from accounts.models import Account
from almaFintech.db.compiled import compiled
from almaFintech.tests.sql import statements_of


@compiled
def users_with_name(name: str, last_name: str) -> QuerySet[Any]:
    """Return users by both names, and whether they own anything."""
    owned = Exists(Account.objects.filter(profile__user__username=name))
    return User.objects.filter(username=name, last_name=last_name).annotate(owns=owned)


@compiled
def accounts_of(user: int, currency: str) -> QuerySet[Account]:
    return Account.objects.filter(profile__user=user, currency=currency)


@compiled
def names_of(user: int) -> QuerySet[User, tuple[bool, datetime, str]]:
    return User.objects.filter(pk=user).values_list("is_staff", "date_joined", "username")


def test_the_rows_are_those_of_the_queryset(alice, bob):
    euros = alice.open_account(7, "EUR")

    assert accounts_of(alice.user.pk, "USD") == [alice.account]
    assert accounts_of(alice.user.pk, "EUR") == [euros]
    assert accounts_of(bob.user.pk, "EUR") == []


def test_instances_are_as_if_read_by_the_orm(alice, boss):
    [found] = users_with_name("alice", "")
    [account] = accounts_of(alice.user.pk, "USD")
    expected = User.objects.get(username="alice")

    fields = [field.attname for field in User._meta.fields]
    values = [getattr(found, name) for name in fields]
    assert values == [getattr(expected, name) for name in fields]
    # SQLite and MariaDB store a boolean as a number.
    assert (found.owns, found.is_active, found._state.adding) == (True, True, False)
    assert [user.owns for user in users_with_name("boss", "")] == [False]
    # A model's own way to make its instances is kept.
    assert account.balance_as_read == account.balance == 1_000_000
    found.last_name = "Liddell"
    found.save()
    assert users_with_name("alice", "Liddell") == [alice.user]


def test_tuples_have_the_types_of_their_columns(boss):
    [row] = names_of(boss.user.pk)

    assert row == (True, boss.user.date_joined, "boss")
    assert row[0] is True


def test_a_query_is_compiled_once(alice):
    names_of(1)

    with patch.object(SQLCompiler, "as_sql", side_effect=AssertionError):
        assert len(names_of(alice.user.pk)) == 1


def test_values_are_never_part_of_the_statement(alice):
    for name in "alice' OR '1'='1", "%s", "alice'; --", 'alice"':
        assert users_with_name(name, "") == []
    assert len(users_with_name("alice", "")) == 1


@pytest.mark.parametrize("number", [2**31, 2**63 - 1, 2**63, -(2**63), 10**40])
def test_a_number_that_no_column_holds_finds_nothing(alice, number):
    assert names_of(number) == []
    assert accounts_of(number, "USD") == []


def test_each_run_is_one_statement_of_the_connection(alice):
    [statement] = statements_of(lambda: names_of(alice.user.pk))

    assert statement.startswith("SELECT ")


def test_a_run_is_part_of_the_transaction(alice):
    with transaction.atomic():
        User.objects.filter(pk=alice.user.pk).update(username="alicia")
        assert names_of(alice.user.pk)[0][2] == "alicia"
        transaction.set_rollback(True)
    assert names_of(alice.user.pk)[0][2] == "alice"


def test_errors_of_the_database_are_those_of_django(alice):
    names_of(1)

    def fail(*args):
        raise DatabaseError("down")

    with connection.execute_wrapper(fail), pytest.raises(DatabaseError, match="down"):
        names_of(alice.user.pk)


@pytest.mark.django_db(transaction=True)
def test_threads_share_the_statement(alice, bob):
    def name(user):
        try:
            return names_of(user)[0][2]
        finally:
            connection.close()

    users = [alice.user.pk, bob.user.pk] * 20
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(name, users)) == ["alice", "bob"] * 20


def test_other_kinds_of_rows_are_refused(db):
    flat = compiled(lambda user: User.objects.filter(pk=user).values_list("pk", flat=True))
    joined = compiled(lambda user: User.objects.filter(pk=user).select_related("profile"))

    for query in flat, joined:
        with pytest.raises(TypeError):
            query(1)

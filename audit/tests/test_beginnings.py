"""A migration signs "none yet" in a new database, and never again."""

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import QuerySet

from accounts.models import Account, Entry, Register
from accounts.verification import Verification
from almaFintech.tests.triggers import entries, records
from audit.models import End, Record


def empty(*models):
    """Empty tables, as the owner of the database can."""
    with connection.schema_editor() as editor:
        entries.remove(None, editor)
        records.remove(None, editor)
        for model in models:
            editor.execute(f"DELETE FROM {model._meta.db_table}")
        entries.install(None, editor)
        records.install(None, editor)


def migrate():
    call_command("migrate", verbosity=0)


@pytest.fixture
def deleted_account(boss, alice):
    """Leave rows in every table but that of the accounts."""
    assert boss.delete(f"/api/accounts/{alice.account.pk}/").status_code == 204
    assert Entry.objects.exists()
    assert Record.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_both_counts_are_signed_in_an_empty_database():
    empty(Register, End)

    migrate()

    assert (Register.objects.get().opened, End.objects.get().seq) == (0, 0)
    assert list(Verification().run()) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "emptied",
    [
        (Register, End),
        (Register, End, Record),
        (Register, End, Entry),
    ],
)
def test_no_count_is_signed_in_a_database_with_history(deleted_account, emptied):
    empty(*emptied)

    migrate()

    assert not Register.objects.exists()
    assert not End.objects.exists()
    assert {"register", "trail"} <= {found.check for found in Verification().run()}


@pytest.mark.django_db(transaction=True)
def test_a_single_account_keeps_the_counts_unsigned(alice):
    empty(Register, End, Record, Entry)

    migrate()

    assert QuerySet(Account).exists()
    assert not Register.objects.exists()
    assert not End.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_existing_count_stays():
    before = list(Register.objects.values()), list(End.objects.values())
    assert all(before)

    migrate()

    assert (list(Register.objects.values()), list(End.objects.values())) == before

"""Databases of earlier releases are migrated, verified and used."""

import json
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from accounts.models import Account, Transfer

RELEASES = sorted((Path(__file__).parent / "releases").glob("*.json"))


@pytest.fixture
def migrated(transactional_db, request, settings):
    """Load the database of a release, and run the later migrations."""
    release = json.loads(request.param.read_text())
    own_key = settings.LEDGER_KEY
    settings.LEDGER_KEY = release["ledger_key"]
    everything = MigrationExecutor(connection).loader.graph.leaf_nodes()
    executor = MigrationExecutor(connection)
    targets = list(release["migrations"].items())
    executor.migrate(targets)
    apps = MigrationExecutor(connection).loader.project_state(targets).apps
    models = {model._meta.db_table: model for model in apps.get_models(include_auto_created=True)}
    for table in "accounts_register", "audit_end":
        # The release has its own rows in these tables.
        models[table]._base_manager.all().delete()
    for table, rows in release["tables"].items():
        model = models[table]
        fields = {field.attname: field for field in model._meta.concrete_fields}
        model._base_manager.bulk_create(
            model(**{name: read(fields[name], value) for name, value in row.items()})
            for row in rows
        )
    # The rows came with their ids, so the sequences of the database have to catch up.
    with connection.cursor() as cursor:
        for sql in connection.ops.sequence_reset_sql(no_style(), list(models.values())):
            cursor.execute(sql)
    MigrationExecutor(connection).migrate(everything)
    yield
    # The flush after the test signs the initial counts for the next one.
    settings.LEDGER_KEY = own_key


def read(field, value):
    return None if value is None else field.to_python(value)


@pytest.mark.parametrize("migrated", RELEASES, indirect=True, ids=lambda path: path.stem)
def test_the_database_of_a_release_verifies_and_works(migrated, capsys):
    call_command("verify_ledger")

    booked = Transfer.objects.filter(cancelled=False, destination__isnull=False).first()
    assert booked
    payer, payee = booked.destination, booked.origin
    Transfer.objects.create(origin=payer, destination=payee, balance=1)
    booked.delete()
    Account.objects.create(currency="USD", balance=1)
    call_command("verify_ledger")
    capsys.readouterr()


def test_there_is_a_database_of_every_release():
    assert [path.stem for path in RELEASES] == ["1.0.0"]

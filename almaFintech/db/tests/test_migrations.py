"""Migrations must not break the previous release, which still serves while they run."""

import pytest
from django.conf import settings
from django_migration_linter import MigrationLinter
from django_migration_linter.sql_analyser import PostgresqlAnalyser, analyse_sql_statements

from conftest import only_on_postgresql

OUR_APPS = ["accounts", "audit", "login"]
# Statements that block writers for longer, the larger the table is.
LOCKING = ["CREATE_INDEX", "CREATE_INDEX_EXCLUSIVE", "DROP_INDEX", "REINDEX"]


@only_on_postgresql
def test_no_migration_breaks_the_release_before_it(db):
    """As docs/operating.md requires: none removes, renames, or locks a large table for long."""
    linter = MigrationLinter(
        str(settings.BASE_DIR),
        include_apps=OUR_APPS,
        no_cache=True,
        warnings_as_errors_tests=LOCKING,
    )

    linter.lint_all_migrations()

    assert linter.nb_total > len(OUR_APPS)
    assert not linter.has_errors


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE accounts_account DROP COLUMN balance",
        "ALTER TABLE accounts_account RENAME TO accounts",
        "ALTER TABLE accounts_account ADD COLUMN owner bigint NOT NULL",
        "CREATE INDEX more ON accounts_entry (date)",
    ],
)
def test_breaking_statements_are_noticed(statement):
    errors, _, warnings = analyse_sql_statements(PostgresqlAnalyser, [statement + ";"])

    assert [*errors, *(warning for warning in warnings if warning.code in LOCKING)]

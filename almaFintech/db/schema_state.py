"""Check for missing migrations."""

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader


def unapplied_migrations(of: BaseDatabaseWrapper | None = None) -> list[tuple[str, str]]:
    """Return the migrations of this code that the database lacks, as (app, name)."""
    loader = MigrationLoader(of or connection)
    return sorted(set(loader.graph.nodes) - set(loader.applied_migrations))

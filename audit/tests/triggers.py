"""Triggers that forbid changes of the records of staff, imported from their migration."""

from importlib import import_module

_migration = import_module("audit.migrations.0002_append_only_records")
MESSAGE = _migration.MESSAGE
install = _migration.install
remove = _migration.remove

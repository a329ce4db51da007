"""Triggers that forbid changes of ledger entries, imported from their migration."""

from importlib import import_module

_migration = import_module("accounts.migrations.0002_append_only_entries")
MESSAGE = _migration.MESSAGE
install = _migration.install
remove = _migration.remove

"""The migrations whose triggers keep entries and records of staff as they were written."""

from importlib import import_module

entries = import_module("accounts.migrations.0002_append_only_entries")
records = import_module("audit.migrations.0002_append_only_records")

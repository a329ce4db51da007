import sqlite3
from typing import Any

from django.apps import AppConfig
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created


class AlmaFintechConfig(AppConfig):
    name = "almaFintech"
    verbose_name = "almaFintech"

    def ready(self) -> None:
        from almaFintech.server import checks  # noqa: F401  # registers the system checks

        connection_created.connect(use_all_variables_of_sqlite)


def use_all_variables_of_sqlite(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Allow as many variables in a statement as this SQLite does, so that none has to be split.

    Django 5.2 splits statements at 999, the limit of SQLite before 3.32.
    """
    if connection.vendor == "sqlite":
        limit = connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        connection.features.max_query_params = limit

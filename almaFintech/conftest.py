"""Fixtures of empty databases that other processes can fill."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass
class OtherDatabase:
    """A database: its URL for other processes, and a connection for the test."""

    url: str
    connection: BaseDatabaseWrapper

    def execute(self, *statements: str) -> list[tuple[object, ...]]:
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []


@pytest.fixture
def other_database(tmp_path, django_db_blocker) -> Iterator[OtherDatabase]:
    with django_db_blocker.unblock(), empty_database(tmp_path / "other.sqlite3") as database:
        yield database


@pytest.fixture
def third_database(tmp_path, django_db_blocker) -> Iterator[OtherDatabase]:
    with django_db_blocker.unblock(), empty_database(tmp_path / "third.sqlite3") as database:
        yield database


@contextmanager
def empty_database(file: Path) -> Iterator[OtherDatabase]:
    other = connection.copy(alias="other")
    if connection.vendor == "sqlite":
        other.settings_dict["NAME"] = str(file)
        yield OtherDatabase(f"sqlite:///{file}", other)
        other.close()
        return
    name = f"other_{uuid.uuid4().hex}"
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    other.settings_dict["NAME"] = name
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
    yield OtherDatabase(url, other)
    other.close()
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name}")

"""Servers that the crash test has killed can start again."""

import tempfile
from pathlib import Path

import pytest

from conftest import only_on_postgresql
from crashtest.servers import LOCKS, Database

pytestmark = [only_on_postgresql, pytest.mark.server]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_database_killed_while_starting_starts_again(lock):
    # The path of a socket has at most 107 bytes, and pytest's own folders are deep.
    with (
        tempfile.TemporaryDirectory(prefix="lock-", ignore_cleanup_errors=True) as folder,
        Database(Path(folder)) as database,
    ):
        Path(database.socket_folder, lock).touch()

        database.start()

        database.wait_until_ready()
        assert database.is_ready()

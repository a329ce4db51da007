"""Servers killed by the crash test come back."""

import tempfile
from pathlib import Path

import pytest

from conftest import once
from crashtest.servers import LOCKS, Database

pytestmark = [once, pytest.mark.server]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_database_that_was_killed_at_its_start_can_be_started(lock):
    # The path of a socket may have 107 bytes; pytest's own folders are deeper.
    with (
        tempfile.TemporaryDirectory(prefix="lock-", ignore_cleanup_errors=True) as folder,
        Database(Path(folder)) as database,
    ):
        Path(database.socket_folder, lock).touch()

        database.start()

        database.wait_until_ready()
        assert database.is_ready()

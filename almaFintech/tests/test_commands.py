"""What the commands say when something keeps them from their work."""

import pytest

from almaFintech.tests.servers import python
from conftest import once

pytestmark = once

NOT_MIGRATED = "CommandError: The database is away or not migrated: "
# What verify_ledger exits with tells whether it found something, or could not look.
STATUS = {"verify_ledger": 2}


def assert_one_sentence(result, status, text):
    assert (result.returncode, result.stdout) == (status, "")
    assert result.stderr.startswith(text)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:////nowhere/at/all.sqlite3", "unable to open"),
        ("postgres://wallet@127.0.0.1:1/wallet", "connection failed: "),
    ],
)
@pytest.mark.parametrize(
    "command", ["verify_ledger", "expire_idempotency_keys", "seed_demo", "start"]
)
def test_a_database_that_is_away(command, url, reason):
    result = python("manage.py", command, DATABASE_URL=url)

    assert_one_sentence(result, STATUS.get(command, 1), NOT_MIGRATED + reason)


@pytest.mark.parametrize("command", ["verify_ledger", "expire_idempotency_keys", "seed_demo"])
def test_a_database_without_tables(command, other_database):
    result = python("manage.py", command, DATABASE_URL=other_database.url)

    assert_one_sentence(result, STATUS.get(command, 1), NOT_MIGRATED + 'relation "')


def test_settings_that_are_refused_are_no_discrepancy():
    result = python("manage.py", "verify_ledger", DEBUG="flase")
    assert_one_sentence(result, 2, "DEBUG must be true or false, and not 'flase'.")

    checked = python("manage.py", "verify_ledger", METRICS_ALLOWED="10.0.0.0/33")
    assert (checked.returncode, checked.stdout) == (2, "")
    assert "METRICS_ALLOWED: '10.0.0.0/33' does not appear" in checked.stderr

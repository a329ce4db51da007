"""The crash test, for a quarter of a minute; run it longer by hand."""

import subprocess
import sys

import pytest

from almaFintech.settings import BASE_DIR
from conftest import once

# It starts its own PostgreSQL, so one run suffices for all databases.
pytestmark = [once, pytest.mark.server]


def test_nothing_is_lost_and_nothing_doubled_however_often_all_is_killed():
    options = ["--seconds", "15", "--kills", "8", "--clients", "4", "--seed", "11"]
    bank = subprocess.run(
        [sys.executable, "-m", "crashtest.bank", *options],
        cwd=BASE_DIR,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert bank.returncode == 0, bank.stdout

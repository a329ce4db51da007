"""A short run of the crash test; run it longer by hand."""

import subprocess
import sys

import pytest

from almaFintech.settings import BASE_DIR
from conftest import only_on_postgresql

# It starts its own PostgreSQL, so one run suffices for all databases.
pytestmark = [only_on_postgresql, pytest.mark.server]


def test_kills_neither_lose_nor_double_anything():
    options = ["--seconds", "15", "--kills", "8", "--clients", "4", "--seed", "11"]
    bank = subprocess.run(
        [sys.executable, "-m", "crashtest.bank", *options],
        cwd=BASE_DIR,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert bank.returncode == 0, bank.stdout

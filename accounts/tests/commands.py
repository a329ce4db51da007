"""Commands of the ledger, as an operator runs them."""

import pytest
from django.core.management import call_command


def verify(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str]:
    """Run `verify_ledger`; return its exit status and its output."""
    status = 0
    try:
        call_command("verify_ledger", *map(str, args))
    except SystemExit as stop:
        status = int(stop.code or 0)
    out, err = capsys.readouterr()
    assert err == ""
    return status, out

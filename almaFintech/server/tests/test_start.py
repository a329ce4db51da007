"""`manage.py start`, the command behind `make run`."""

import os
import socket
import subprocess
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from whitenoise.runserver_nostatic.management.commands.runserver import Command as Runserver

from almaFintech.settings import BASE_DIR


@pytest.fixture(autouse=True)
def development(settings):
    settings.DEBUG = True


@pytest.fixture
def served(monkeypatch):
    """The ports on which the server would listen; it is not started."""
    calls = []
    monkeypatch.setattr(Runserver, "run", lambda self, **options: calls.append(self.port))
    return calls


def start(address="127.0.0.1:8123") -> str:
    out = StringIO()
    call_command("start", address, stdout=out)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_a_new_database_is_migrated_and_the_addresses_are_printed(served):
    assert start() == (
        "API    http://127.0.0.1:8123/api/\n"
        "Docs   http://127.0.0.1:8123/api/docs/\n"
        "Admin  http://127.0.0.1:8123/admin/\n"
        "Login  POST http://127.0.0.1:8123/api/login/ (development user: admin / admin)\n"
    )
    assert User.objects.get().username == "admin"
    assert served == ["8123"]


@pytest.mark.django_db(transaction=True)
def test_a_database_with_users_gets_no_development_user(served, boss):
    assert start().endswith("Login  POST http://127.0.0.1:8123/api/login/\n")
    assert User.objects.get() == boss.user


def test_the_child_of_the_autoreloader_only_serves(served, monkeypatch):
    monkeypatch.setenv("RUN_MAIN", "true")

    assert start() == ""
    assert served == ["8123"]


# These need no database, because they are refused before it is used.


@pytest.mark.parametrize("address", ["99999", "127.0.0.1:65536"])
def test_an_invalid_port_is_refused(served, address):
    with pytest.raises(CommandError, match="must be 65535 or less, and not"):
        start(address)
    assert served == []


def test_a_port_in_use_is_refused_with_a_suggestion(served):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(CommandError) as refusal:
            start(f"127.0.0.1:{port}")
    other = port + 1 if port < 65_535 else 8000
    assert str(refusal.value) == f"127.0.0.1:{port} is in use: PORT={other} make run"
    assert served == []


@pytest.mark.parametrize("port", [None, ""])
def test_make_run_without_a_port_uses_8000(port):
    """An empty `PORT` means no port, as in `.env`."""
    environment = {"PATH": os.environ["PATH"]} | ({} if port is None else {"PORT": port})

    made = subprocess.run(
        ["make", "--dry-run", "run"], cwd=BASE_DIR, env=environment, capture_output=True, text=True
    )

    assert made.stdout.endswith("manage.py start 127.0.0.1:8000\n")


def test_an_address_of_another_machine_is_refused(served):
    with pytest.raises(CommandError, match=r"^Nothing can listen at 192\.0\.2\.1:8123: "):
        start("192.0.2.1:8123")
    assert served == []


def test_production_is_not_served_with_development_tools(served, settings):
    settings.DEBUG = False

    with pytest.raises(CommandError, match="make serve"):
        start()
    assert served == []

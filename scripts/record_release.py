"""Print a small database of this release, for accounts/tests/releases/VERSION.json.

Run it once for each release, without uncommitted changes. A test then migrates that database with
the current code, and verifies it. It has every kind of entry, key and record.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

LEDGER_KEY = "the key of a database that is public"

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "almaFintech.settings",
    "ENV_FILE": os.devnull,
    "ALLOWED_HOSTS": "testserver",
    "DATABASE_URL": "sqlite://:memory:",
    "LEDGER_KEY": LEDGER_KEY,
}

import django  # noqa: E402

django.setup()

from django.apps import apps  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.db.migrations.recorder import MigrationRecorder  # noqa: E402
from django.db.models import Model  # noqa: E402
from rest_framework.test import APIClient  # noqa: E402

__version__ = "1.0.0"

APPS = ("auth", "accounts", "audit", "login")


def main() -> None:
    call_command("migrate", verbosity=0)
    User.objects.all().delete()
    fill()
    call_command("verify_ledger", stdout=sys.stderr)
    recorder = MigrationRecorder(connection)
    applied = sorted(recorder.applied_migrations())
    json.dump(
        {
            "version": __version__,
            "ledger_key": LEDGER_KEY,
            "migrations": {app: name for app, name in applied if app in APPS},
            "tables": {model._meta.db_table: rows_of(model) for model in models()},
        },
        sys.stdout,
        indent=1,
    )


def models() -> list[type[Model]]:
    """Return the recorded models; those that others refer to come first."""
    found: list[type[Model]] = [
        User,
        *(
            model
            for app in APPS[1:]
            for model in apps.get_app_config(app).get_models(include_auto_created=True)
        ),
    ]
    return sorted(found, key=lambda model: bool(model._meta.auto_created))


def rows_of(model: type[Model]) -> list[dict[str, Any]]:
    """Return rows as text, in the form that each field's `to_python` reads."""
    return [
        {
            field.attname: None
            if getattr(row, field.attname) is None
            else field.value_to_string(row)
            for field in model._meta.concrete_fields
        }
        for row in model._base_manager.order_by("pk")
    ]


def fill() -> None:
    """Do everything that leaves rows behind."""
    boss = User.objects.create_user("boss", is_staff=True)
    alice = User.objects.create_user("alice", first_name="Ali\u010d\u00e9")
    clients = {}
    for user in boss, alice:
        clients[user.username] = APIClient()
        clients[user.username].force_authenticate(user)

    def call(name: str, method: str, path: str, body: object = None, key: str = "") -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        response = clients[name].generic(
            method, f"/api/{path}", json.dumps(body), "application/json", headers=headers
        )
        if response.status_code >= 300:
            raise SystemExit(f"{method} {path}: {response.status_code} {response.content[:300]!r}")
        return response.json() if response.content else None

    in_dollars = {"currency": "USD", "reason": "Zinsen f\u00fcr M\u00e4rz"}
    first = call("boss", "POST", "accounts/", {"currency": "USD", "balance": 5_000_000})["id"]
    second = call("boss", "POST", "accounts/", {"currency": "EUR", "balance": 7})["id"]
    # An opening, a closing and an opening.
    call(
        "boss",
        "PATCH",
        f"accounts/{second}/",
        in_dollars,
    )
    call("boss", "POST", f"profiles/{alice.pk}/add_account/", {"account_id": first})
    sent = {
        "origin": first,
        "destination": second,
        "balance": 1_250_000,
        "reference": "alquiler \u00f1",
    }
    call("alice", "POST", "transfers/", sent, key="rent-may")
    back = call("alice", "POST", "transfers/", sent)["id"]
    call("boss", "DELETE", f"transfers/{back}/")
    call(
        "alice", "POST", "transfers/batch/", {"transfers": [sent, {**sent, "balance": 1}]}, key="b"
    )
    call("boss", "PATCH", f"accounts/{first}/", {"balance": 3, "reason": "a correction"})
    third = call("boss", "POST", "accounts/", {"currency": "USD"})["id"]
    call("boss", "POST", "transfers/", {"origin": second, "destination": third, "balance": 2})
    call("boss", "DELETE", f"accounts/{third}/")
    # The last account stays open, so that a database that continues from the highest number does
    # not reuse the number of a closed account.
    call("boss", "POST", "accounts/", {"currency": "ARS", "balance": 1})
    call("boss", "PATCH", f"profiles/{alice.pk}/", {"cuit": "20-12345678-9", "company": "R\u00edo"})
    gone = call("boss", "POST", "users/", {"username": "carol", "password": "a quiet river"})["id"]
    call("boss", "DELETE", f"users/{gone}/")


if __name__ == "__main__":
    main()

"""The log of a production server contains no tokens, passwords or personal data."""

import io
import logging
import logging.config
from unittest.mock import patch

import pytest
from django.db import IntegrityError, OperationalError
from rest_framework.test import APIClient

from accounts import ledger
from almaFintech.server.logs import logging_config
from conftest import Person

PERSONAL = {
    "username": "eve.walker",
    "first_name": "Evelina",
    "last_name": "Wanderer",
    "email": "eve@wanderer.example",
}
PROFILE = {"cuit": "27-30111222-3", "phone": "+54 11 5555 0123", "company": "Quiet Rivers"}
PASSWORDS = ["a-known-password", "a-wrong-password", "a-changed-password"]
KEY = "rent-of-evelina"
REFERENCE = "for-the-dentist"


@pytest.fixture
def log():
    """The output of the production log handler, at level INFO."""
    config = logging_config(debug=False)
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    configurator = logging.config.DictConfigurator(config)
    handler.setFormatter(configurator.configure_formatter(config["formatters"]["lines"]))
    handler.addFilter(configurator.configure_filter(config["filters"]["discreet"]))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield output
    root.removeHandler(handler)
    root.setLevel(level)


def act(boss: Person) -> list[str]:
    """Send valid and invalid requests of all kinds, and return the tokens that the client got."""
    anyone = APIClient(raise_request_exception=False)
    password, wrong, changed = PASSWORDS

    assert boss.post("/api/users/", PERSONAL | {"password": password}).status_code == 201
    twice = boss.post("/api/users/", PERSONAL | {"password": password})
    assert twice.status_code == 400
    eve = Person(boss.user.__class__.objects.get(username=PERSONAL["username"]))
    account = eve.open_account(1000)
    other = boss.open_account(1000)
    path = f"/api/profiles/{eve.user.pk}/"
    assert boss.patch(path, PROFILE).status_code == 200
    assert boss.patch(path, PROFILE | {"phone": [PROFILE["phone"]]}).status_code == 400

    login = {"username": PERSONAL["username"], "password": password}
    for door in "/api/login/", "/admin/login/":
        assert anyone.post(door, login | {"password": wrong}).status_code in (200, 401)
    answer = anyone.post("/api/login/", login)
    tokens = [answer.json()["access"], answer.json()["refresh"]]
    assert anyone.post("/api/login/refresh/", {"refresh": tokens[1]}).status_code == 200
    anyone.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens[0]}x")
    assert anyone.get("/api/accounts/").status_code == 401
    anyone.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens[0]}")
    assert anyone.get(f"/api/accounts/?email={PERSONAL['email']}").status_code < 500
    assert anyone.get(f"/api/{PERSONAL['email']}/").status_code == 404
    assert anyone.get(f"/{tokens[0]}").status_code == 404

    transfer = {"origin": account.pk, "destination": other.pk, "reference": REFERENCE}
    key = {"Idempotency-Key": KEY}
    for amount, status in (400, 201), (400, 201), (401, 422):
        sent = anyone.post("/api/transfers/", transfer | {"balance": amount}, headers=key)
        assert sent.status_code == status
    assert anyone.post("/api/transfers/", transfer | {"balance": 9999}).status_code == 400

    body = f"{PERSONAL['email']} {tokens[0]} {password} {PROFILE['cuit']} {REFERENCE}"
    for error, status in (
        (RuntimeError(body), 500),
        (IntegrityError(1062, body), 409),
        (OperationalError(1366, body), 503),
        (OperationalError(1213, body), 503),
    ):
        with patch.object(ledger.Posting, "write", side_effect=error):
            # With a key the view itself runs the request again.
            unused = {"Idempotency-Key": "another"}
            failed = anyone.post("/api/transfers/", transfer | {"balance": 1}, headers=unused)
        assert failed.status_code == status
    # The database's own message for a refused row, which repeats the row.
    with patch("rest_framework.validators.qs_exists", return_value=False):
        taken = boss.patch(f"/api/users/{boss.user.pk}/", {"username": PERSONAL["username"]})
    assert taken.status_code == 409

    edit = {"password": changed}
    assert boss.patch(f"/api/users/{eve.user.pk}/", edit).status_code == 200
    assert anyone.get("/api/accounts/").status_code == 401
    hostile = {"Host": PERSONAL["email"], "X-Request-ID": f"{tokens[1]} {password}"}
    anyone.get("/api/", headers=hostile)
    return tokens


@pytest.mark.django_db(transaction=True)
def test_the_log_repeats_nothing_that_clients_sent(boss, log):
    tokens = act(boss)

    written = log.getvalue()
    # The events themselves are logged: requests, the failure with its place, the refused row.
    assert written.count('"event": "request"') >= 20
    assert "builtins.RuntimeError" in written
    assert "The database refused a row" in written
    assert "The database is not available: 1366" in written
    assert "is run again: 1213" in written
    secrets = [*PERSONAL.values(), *PROFILE.values(), *PASSWORDS, *tokens, KEY, REFERENCE]
    assert [secret for secret in secrets if secret in written] == []
    # Nor the last of the three parts of a token, its signature.
    assert [token for token in tokens if token.split(".")[2] in written] == []
    assert "Bearer" not in written

"""The id of a request, its line in the log and its metrics."""

import json
import logging
import re

import pytest
from prometheus_client import REGISTRY

from almaFintech.tests.servers import PRODUCTION, python


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.INFO)

    def requests():
        return [
            record for record in caplog.records if record.name == "almaFintech.middleware.requests"
        ]

    return requests


@pytest.mark.parametrize("sent", ["7", "trace-1/2:3", "x" * 64])
def test_the_response_repeats_the_id_of_the_client(anyone, sent):
    assert anyone.get("/api/", headers={"X-Request-ID": sent})["X-Request-ID"] == sent


@pytest.mark.parametrize("sent", [None, "", "x" * 65, "a b", "é", "a\tb", "\x7f"])
def test_an_invalid_id_is_replaced(anyone, sent):
    headers = {} if sent is None else {"X-Request-ID": sent}
    ids = [anyone.get("/api/", headers=headers)["X-Request-ID"] for _ in range(2)]

    assert all(re.fullmatch(r"[0-9a-f]{32}", request_id) for request_id in ids)
    assert ids[0] != ids[1]


def test_refusals_and_redirects_have_an_id_too(anyone, settings):
    settings.ALLOWED_HOSTS = ["wallet.example"]
    assert anyone.get("/api/", headers={"X-Request-ID": "7"})["X-Request-ID"] == "7"


def test_every_request_is_logged_in_one_line(alice, logged):
    path = f"/api/accounts/{alice.account.pk}/transfers/"
    assert alice.get(f"{path}?limit=5").status_code == 200

    [line] = logged()
    assert (line.method, line.view, line.status) == ("GET", "account-transfers", 200)
    assert (line.ids, line.user) == ({"id": str(alice.account.pk)}, alice.user.pk)
    assert line.milliseconds > 0


def test_the_line_of_a_request_to_the_admin_names_its_user(boss, client, logged):
    client.force_login(boss.user)
    client.get("/admin/")

    assert [line.user for line in logged()] == [boss.user.pk]


def test_only_the_ids_of_a_path_are_logged(boss, client, logged):
    client.force_login(boss.user)
    client.get("/admin/accounts/account/alice@wallet/change/")
    client.get("/api/accounts/alice@wallet/")

    views = [(line.view, line.ids) for line in logged()]
    assert views == [
        ("admin:accounts_account_change", {}),
        ("almaFintech.api.views.no_such_path", {}),
    ]


def test_an_unknown_method_adds_no_time_series(alice, logged):
    for method in "BREW", "WHEN":
        alice.request(method, "/api/accounts/")

    assert [line.method for line in logged()] == ["other", "other"]
    labels = {"view": "account-list", "method": "other", "status": "403"}
    count = REGISTRY.get_sample_value("wallet_http_request_seconds_count", labels)
    assert count is not None
    assert count >= 2


SCRIPT = """
import logging, structlog
from django.core.wsgi import get_wsgi_application
get_wsgi_application()
with structlog.contextvars.bound_contextvars(request_id="7"):
    logging.getLogger("some.where").warning("Hello %s", "world")
    try:
        raise ValueError("s3cret")
    except ValueError:
        logging.getLogger("some.where").exception("Failed")
"""


@pytest.mark.server
def test_production_logs_a_line_of_json_for_each_event():
    done = python("-c", SCRIPT, **MINIMAL)

    assert done.returncode == 0, done.stderr
    hello, failed = map(json.loads, done.stderr.splitlines())
    assert hello.pop("timestamp").endswith("Z")
    assert hello == {
        "event": "Hello world",
        "level": "warning",
        "logger": "some.where",
        "request_id": "7",
    }
    assert failed["exception"] == [
        {"type": "builtins.ValueError", "frames": ["<string>:8 <module>"]}
    ]


@pytest.mark.server
def test_development_logs_readable_lines():
    shown = python("-c", SCRIPT, **MINIMAL | {"DEBUG": "true"}).stderr

    assert "Hello world" in shown
    assert "ValueError: s3cret" in shown
    assert '"event"' not in shown


MINIMAL = PRODUCTION | {"DJANGO_SETTINGS_MODULE": "almaFintech.settings"}

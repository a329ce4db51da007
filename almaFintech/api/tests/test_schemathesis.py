"""Schemathesis sends requests that the OpenAPI document allows, and others that it forbids.

Every request, or chain of requests, is rolled back, so each sees the same data: the run is the
same every time, and a failure says how to repeat it.
"""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, connection, transaction
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import run_state_machine_as_test
from rest_framework.fields import BooleanField
from rest_framework_simplejwt.tokens import AccessToken
from schemathesis.checks import CheckContext
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from accounts.models import Account, Transfer
from almaFintech.api.pages import document
from almaFintech.refusals import Refusal
from conftest import Person

pytestmark = [
    pytest.mark.server,
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="It runs on PostgreSQL only."),
]

CONFIG: dict[str, Any] = {
    "base-url": "http://localhost",
    # In-process, schemathesis asks for compressed responses and does not decompress them.
    "headers": {"Accept-Encoding": "identity"},
    "seed": 1,
    "generation": {"max-examples": 12, "deterministic": True, "database": "none"},
    "operations": [
        {
            # DELETE cancels a transfer and keeps it.
            "include-path": "/api/transfers/{id}/",
            "checks": {"use_after_free": {"enabled": False}},
        }
    ],
}

# Messages of rules and fields that depend on the data, which no document can know.
STATE = re.compile(
    r"already exists|object does not exist|^Invalid cursor$|^This is before"
    r"|^Not an ISO 4217 currency code|^CSV is not paginated|^This is not your password"
)

HYPOTHESIS = hypothesis_settings(suppress_health_check=list(HealthCheck), deadline=None)


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Keep three currencies: schemathesis would try each one with each operation."""
    raw_schema["components"]["schemas"]["Currency"]["enum"] = ["ARS", "EUR", "USD"]


def read(config: dict[str, Any]) -> Any:
    return schemathesis.openapi.from_wsgi(
        "/api/schema/?format=json",
        get_wsgi_application(),
        config=schemathesis.Config.from_dict(config),
        base_url=config["base-url"],
    )


as_staff = read(CONFIG)
# All subclasses exist now that the server is loaded.
RULES = {kind.default_code for kind in Refusal.kinds()}
RULES -= {"invalid", "invalid_amount", "idempotency_key_malformed"}

# Operations that always return 403 to users are not tried with every variation.
uncovered: list[dict[str, Any]] = [
    {"include-path-regex": "^/api/(users|profiles|login)/"},
    {"include-path-regex": "^/api/accounts/", "include-method": ["POST", "PUT", "PATCH"]},
]
phases: dict[str, Any] = {"phases": {"coverage": {"enabled": False}}}
as_user = read(
    CONFIG | {"operations": [*CONFIG["operations"], *({**each, **phases} for each in uncovered)]}
)


@schemathesis.check
def acceptance(ctx: CheckContext, response: Any, case: schemathesis.Case) -> None:
    """Check that valid requests succeed, or are refused by a rule that depends on the data."""
    if response.status_code in (400, 412) and refused_by_state(response.json()):
        return
    positive_data_acceptance(ctx, response, case)


def refused_by_state(body: dict[str, Any]) -> bool:
    if "code" in body:
        return body["code"] in RULES
    return all(STATE.search(text) for texts in body.values() for text in texts)


@schemathesis.check
def rejection(ctx: CheckContext, response: Any, case: schemathesis.Case) -> None:
    """Check that invalid requests are refused, unless they are another notation of valid ones.

    Clients of the first almaFintech may write JSON as they would fill in a form: `"5"` for 5,
    `"true"` for true, a telephone number without quotes.
    """
    if response.status_code == 412:
        # Conditions are evaluated before the body (RFC 9110, section 13.2.1).
        return
    sent = case.operation.definition.raw.get("requestBody")
    if sent and response.status_code < 300 and isinstance(case.body, dict):
        body = {**sent["content"]["application/json"]["schema"], **COMPONENTS}
        if jsonschema_rs.is_valid(body, as_in_a_form(case.body, body)):
            return
    negative_data_rejection(ctx, response, case)


COMPONENTS = {"components": document()["components"]}


def as_in_a_form(value: Any, described: dict[str, Any]) -> Any:
    """Return `value` as the server reads it for a field with the schema `described`."""
    if "$ref" in described:
        described = COMPONENTS["components"]["schemas"][described["$ref"].rpartition("/")[2]]
    kinds = described.get("type", ())
    if isinstance(value, dict):
        known = described.get("properties", {})
        return {name: as_in_a_form(each, known.get(name, {})) for name, each in value.items()}
    if isinstance(value, list):
        return [as_in_a_form(each, described.get("items", {})) for each in value]
    if "boolean" in kinds and isinstance(value, (str, int)):
        spellings: dict[Any, bool] = {
            **dict.fromkeys(BooleanField.TRUE_VALUES, True),
            **dict.fromkeys(BooleanField.FALSE_VALUES, False),
        }
        return spellings.get(value, value)
    if "integer" in kinds and isinstance(value, str) and re.fullmatch("-?[0-9]+", value):
        return int(value)
    if ("string" in kinds or "anyOf" in described) and not isinstance(value, bool):
        return str(value).strip() if isinstance(value, (str, int, float)) else value
    return value


OUR_CHECKS: dict[str, Any] = {
    "additional_checks": [acceptance, rejection],
    "excluded_checks": [positive_data_acceptance, negative_data_rejection],
}


@pytest.fixture
def tokens(db, settings) -> Iterator[dict[str, str]]:
    """Tokens of both roles, with data whose ids are small numbers, which generators try."""
    count_from(1, User, Account, Transfer)
    bob = Person.join("bob")
    count_from(10**6, User)
    people = {"staff": Person.join("boss", is_staff=True), "user": Person.join("alice")}
    alice = people["user"]
    first, second = alice.open_account(1_000_000), bob.open_account(1_000_000)
    alice.open_account(5, "EUR")
    alice.send(second, 5)
    bob.send(first, 7)
    # A deleted account, and its transfer.
    gone = alice.open_account(9)
    Transfer(origin=gone, destination=second, balance=9).save()
    gone.delete()

    settings.ALLOWED_HOSTS = ["localhost"]
    # The run tries dozens of wrong passwords.
    settings.LOGIN_RATE_PER_ADDRESS = settings.LOGIN_RATE_PER_USERNAME = ""
    settings.REFUSED_TRANSFERS_RATE = ""
    # As in Django's test client: the end of a request must not end the test's transaction.
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    yield {role: str(AccessToken.for_user(person.user)) for role, person in people.items()}
    request_started.connect(close_old_connections)
    request_finished.connect(close_old_connections)


def count_from(number: int, *models: Any) -> None:
    with connection.cursor() as cursor:
        for model in models:
            cursor.execute(
                "SELECT setval(pg_get_serial_sequence(%s, 'id'), %s, false)",
                [model._meta.db_table, number],
            )


@as_staff.parametrize()
@HYPOTHESIS
def test_every_operation_as_staff(case, tokens):
    send(case, tokens["staff"])


@as_user.parametrize()
@HYPOTHESIS
def test_every_operation_as_a_user(case, tokens):
    send(case, tokens["user"])


def send(case: schemathesis.Case, token: str) -> None:
    with transaction.atomic():
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, **OUR_CHECKS)
        transaction.set_rollback(True)


@pytest.mark.parametrize("role", ["staff", "user"])
def test_chains_of_operations(tokens, role):
    headers = {"Authorization": f"Bearer {tokens[role]}"}

    class Chain(as_staff.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            self.world = transaction.atomic()
            self.world.__enter__()

        def teardown(self) -> None:
            transaction.set_rollback(True)
            self.world.__exit__(None, None, None)

        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
            return {"headers": headers}

        def validate_response(self, response: Any, case: schemathesis.Case, **kwargs: Any) -> None:
            case.validate_response(
                response,
                headers=headers,
                transport_kwargs={"headers": headers},
                recorder=self.recorder,
                **OUR_CHECKS,
            )

    settings = hypothesis_settings(
        HYPOTHESIS, max_examples=40, stateful_step_count=8, derandomize=True, database=None
    )
    run_state_machine_as_test(Chain, settings=settings)

"""One form of accounts and transfers in all responses, and the work that no request repeats."""

import itertools
import re

import pytest
from django.db.models.sql.compiler import SQLCompiler
from rest_framework import fields, serializers

from accounts.serializers import ACCOUNT_COLUMNS, TRANSFER_COLUMNS
from almaFintech.api.serializers import SharedFields
from conftest import Person

BATCH = "/api/transfers/batch/"
KEYS = map("key-{}".format, itertools.count())


def body(origin: Person, end: Person) -> dict:
    return {"origin": origin.account.pk, "destination": end.account.pk, "balance": 1}


def test_a_transfer_has_one_form(alice, bob, boss):
    sent = alice.send(bob.account, 5).json()
    path = f"/api/transfers/{sent['id']}/"

    def responses() -> list[dict]:
        [listed] = boss.get("/api/transfers/").json()
        [seen] = alice.get("/api/transfers/").json()
        [touching] = alice.get(f"/api/accounts/{alice.account.pk}/transfers/").json()
        return [listed, seen, touching, alice.get(path).json(), boss.get(path).json()]

    assert responses() == [sent] * 5
    assert (*sent,) == TRANSFER_COLUMNS
    assert bob.cancel(sent["id"]).status_code == 204
    cancelled = alice.get(path).json()
    assert responses() == [cancelled] * 5
    assert (*cancelled,) == TRANSFER_COLUMNS
    at = cancelled["cancelled_at"]
    assert sent["date"][-1] == at[-1] == "Z"
    assert cancelled == {
        **sent,
        "cancelled": True,
        "cancelled_by": bob.user.pk,
        "cancelled_at": at,
    }


def test_an_account_has_one_form(boss):
    opened = boss.post("/api/accounts/", {"currency": "USD", "balance": 5}).json()
    path = f"/api/accounts/{opened['id']}/"
    boss.user.profile.accounts.add(opened["id"])

    [listed] = boss.get("/api/accounts/").json()
    [biggest] = boss.get("/api/accounts/biggest/").json()
    [mine] = boss.get("/api/me/").json()["accounts"]
    answers = [listed, biggest, mine, boss.get(path).json(), boss.patch(path, {}).json()]
    assert answers == [opened] * 5
    assert (*opened,) == ACCOUNT_COLUMNS
    then = boss.get(f"{path}?at=2200-01-01").json()
    assert then == {**opened, "at": "2200-01-01T00:00:00Z"}


@pytest.fixture
def built(monkeypatch) -> list[str]:
    """Return the names of what is built for serializers from now on: fields and choices."""
    found: list[str] = []

    def noted(kind, name):
        original = getattr(kind, name)

        def call(*args, **options):
            found.append(f"{kind.__name__}.{name}")
            return original(*args, **options)

        monkeypatch.setattr(kind, name, call)

    noted(serializers.Serializer, "get_fields")
    noted(serializers.ModelSerializer, "get_fields")
    noted(serializers.ModelSerializer, "get_validators")
    noted(fields.ChoiceField, "__init__")
    noted(fields.IntegerField, "__init__")
    noted(fields.CharField, "__init__")
    noted(fields.DateTimeField, "__init__")
    return found


def following(page) -> str:
    """Return the path of the next page."""
    [path] = re.findall(r'<http://testserver([^>]*)>; rel="next"', page["Link"])
    return path


def requests(alice: Person, bob: Person) -> list:
    account, path = f"/api/accounts/{alice.account.pk}/", "/api/transfers/"
    alice.send(bob.account, 1)
    transfer = alice.send(bob.account, 1).json()["id"]
    return [
        lambda: alice.get(account),
        lambda: alice.get(f"{account}?at=2200-01-01"),
        lambda: alice.get("/api/accounts/?ordering=-balance"),
        lambda: alice.get("/api/accounts/biggest/"),
        lambda: alice.get(f"{path}?limit=1&cancelled=false&account={alice.account.pk}"),
        lambda: alice.get(following(alice.get(f"{path}?limit=1"))),
        lambda: alice.get(f"{path}{transfer}/"),
        lambda: alice.get(f"{account}transfers/"),
        lambda: alice.get(f"{account}statement/?from=2020-01-01"),
        lambda: alice.get("/api/me/"),
        lambda: alice.post(path, body(alice, bob)),
        lambda: alice.request("POST", path, body(alice, bob), **{"Idempotency-Key": next(KEYS)}),
        lambda: alice.post(BATCH, {"transfers": [body(alice, bob)] * 2}),
        lambda: bob.cancel(transfer),
    ]


def test_no_request_builds_fields_again(alice, bob, built):
    for request in requests(alice, bob):
        request()
    built.clear()

    for request in requests(alice, bob):
        response = request()
        assert response.status_code < 300, response.content
        assert built == [], response.request["PATH_INFO"]


def test_no_request_for_an_account_compiles_a_statement(alice, boss, monkeypatch):
    path = f"/api/accounts/{alice.account.pk}/"
    answers = [reader.get(path).content for reader in (alice, boss)]
    monkeypatch.setattr(SQLCompiler, "as_sql", None)

    assert [reader.get(path).content for reader in (alice, boss)] == answers


def test_instances_share_the_fields_of_their_class():
    class Kind(SharedFields):
        number = fields.IntegerField(min_value=1)

    class Other(Kind):
        text = fields.CharField()

    assert Kind().fields is Kind(data={}).fields
    assert list(Other().fields) == ["number", "text"]
    assert Kind().fields["number"] is not Other().fields["number"]
    # Fields read from their root whether they may be left out.
    assert Kind(data={}).is_valid() is False
    assert Kind(data={}, partial=True).is_valid() is True
    first, second = Kind(data={"number": 0}), Kind(data={"number": 2})
    assert (first.is_valid(), second.is_valid()) == (False, True)
    assert (first.validated_data, second.validated_data) == ({}, {"number": 2})
    assert (list(first.errors), list(second.errors)) == (["number"], [])

"""Users read their own user, profile and accounts, and edit their own names."""

import pytest
from django.contrib.auth.models import User

from audit.models import Record
from conftest import Person
from login.models import Profile


@pytest.mark.parametrize("who", ["alice", "boss"])
def test_me(request, alice, bob, boss, who):
    person = request.getfixturevalue(who)
    other = person.open_account(7, "EUR")
    Profile.objects.filter(user=person.user).update(company="Acme")
    accounts = [
        account
        for account in (alice.account, other)
        if account.profile_set.filter(user=person.user)
    ]

    response = person.get("/api/me/")

    assert response.status_code == 200
    assert response.json() == {
        "user": {
            "id": person.user.pk,
            "username": who,
            "first_name": "",
            "last_name": "",
            "email": "",
            "is_staff": who == "boss",
            "is_active": True,
        },
        "profile": {
            "user_id": person.user.pk,
            "cuit": None,
            "phone": None,
            "company": "Acme",
            "accounts": [account.pk for account in accounts],
        },
        "accounts": [
            {"id": account.pk, "currency": account.currency, "balance": account.balance}
            for account in accounts
        ],
    }


def test_a_user_without_a_profile_gets_one(db):
    # bulk_create() sends no signal.
    [carol] = User.objects.bulk_create([User(username="carol")])

    response = Person(carol).get("/api/me/")

    assert response.json()["profile"]["user_id"] == carol.pk
    assert response.json()["profile"]["accounts"] == response.json()["accounts"] == []


def test_a_request_without_a_token_returns_401(anyone):
    assert anyone.get("/api/me/").status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_are_not_allowed(alice, method):
    assert alice.request(method, "/api/me/", {"first_name": "Al"}).status_code == 405


def test_your_own_names_and_email_are_edited(alice):
    before = User.objects.values().get(pk=alice.user.pk)
    changes = {"first_name": "Alice", "email": "alice@wallet.example"}
    others = {"username": "boss", "password": "x", "is_staff": True, "is_active": False, "id": 1}

    response = alice.patch("/api/me/", others | changes)

    assert response.status_code == 200
    assert response.json() == alice.get("/api/me/").json()
    assert response.json()["user"]["first_name"] == "Alice"
    assert User.objects.values().get(pk=alice.user.pk) == before | changes
    assert not Record.objects.exists()


@pytest.mark.parametrize(
    "change", [{"email": "nowhere"}, {"first_name": "x" * 151}, {"last_name": "\0"}, {"email": 1}]
)
def test_an_invalid_edit_names_the_field_and_changes_nothing(alice, change):
    before = User.objects.values().get(pk=alice.user.pk)

    response = alice.patch("/api/me/", {"first_name": "Al"} | change)

    assert (response.status_code, list(response.json())) == (400, list(change))
    assert User.objects.values().get(pk=alice.user.pk) == before


def test_an_edit_by_staff_of_their_own_names_is_recorded(boss):
    assert boss.patch("/api/me/", {"first_name": "Bo"}).status_code == 200

    record = Record.objects.get()
    assert (record.by, record.number) == (boss.user.pk, boss.user.pk)
    assert record.changes == {"first_name": ["", "Bo"]}


def test_the_root_links_to_me(anyone):
    assert anyone.get("/api/").json()["me"] == "http://testserver/api/me/"

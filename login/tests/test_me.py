"""Everybody may see who they are."""

import pytest
from django.contrib.auth.models import User

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

    answer = person.get("/api/me/")

    assert answer.status_code == 200
    assert answer.json() == {
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


def test_a_user_that_came_without_a_profile(db):
    # bulk_create() sends no signal.
    [carol] = User.objects.bulk_create([User(username="carol")])

    answer = Person(carol).get("/api/me/")

    assert answer.json()["profile"]["user_id"] == carol.pk
    assert answer.json()["profile"]["accounts"] == answer.json()["accounts"] == []


def test_nobody_is_nobody(anyone):
    assert anyone.get("/api/me/").status_code == 401


def test_it_is_read_alone(alice):
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert alice.request(method, "/api/me/", {"is_staff": True}).status_code == 405
    alice.user.refresh_from_db()
    assert not alice.user.is_staff


def test_the_root_leads_there(anyone):
    assert anyone.get("/api/").json()["me"] == "http://testserver/api/me/"

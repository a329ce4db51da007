"""Profiles, by the id of their user."""

from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from conftest import Person
from login.models import Profile
from login.views import ProfileViewSet

FIELDS = {"cuit": "20-12345678-9", "phone": "+54 11 5555", "company": "Alma"}
EMPTY: dict[str, object] = {"cuit": None, "phone": None, "company": None, "accounts": []}


def path(person, action=""):
    return f"/api/profiles/{person.user.pk}/{action}"


def shown(person, **fields):
    accounts = [person.account.pk] if hasattr(person, "account") else []
    return {"user_id": person.user.pk, **EMPTY, "accounts": accounts, **fields}


def stored():
    links = Profile.accounts.through.objects.order_by("pk").values("profile", "account")
    return list(Profile.objects.order_by("pk").values()), list(links)


@pytest.fixture
def spare(db):
    """Open an account in no profile, so that ids of profiles, users and accounts differ."""
    return Account.objects.create(currency="EUR")


@pytest.fixture
def bare(db):
    """Create a user without a profile: bulk_create() sends no signal."""
    User.objects.bulk_create([User(username="bare")])
    return User.objects.get(username="bare")


def test_profiles_are_listed_by_user(boss, alice, bob):
    response = boss.get("/api/profiles/")

    assert response.status_code == 200
    assert response.json() == [shown(person) for person in (boss, alice, bob)]


def test_a_profile_is_found_by_its_user(boss, bare, alice):
    # `bare` used up an id of the users and none of the profiles.
    assert alice.user.pk != alice.user.profile.pk

    response = boss.get(path(alice))

    assert (response.status_code, response.json()) == (200, shown(alice))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_an_edit_changes_the_profile(boss, alice, bob, spare, method):
    edit = FIELDS | {"accounts": [alice.account.pk, spare.pk], "user_id": bob.user.pk}

    response = boss.request(method, path(alice), edit)

    assert response.status_code == 200
    assert response.json() == edit | {"user_id": alice.user.pk}
    assert boss.get(path(alice)).json() == edit | {"user_id": alice.user.pk}
    assert boss.get(path(bob)).json() == shown(bob)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_an_edit_keeps_omitted_fields(boss, alice, method):
    boss.patch(path(alice), FIELDS)

    response = boss.request(method, path(alice), {"company": None})

    assert response.status_code == 200
    assert response.json() == shown(alice, **FIELDS | {"company": None})


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("fields", [{}, {"company": "ACME"}])
def test_a_form_keeps_omitted_fields(boss, alice, method, fields):
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    response = boss.request(method, path(alice), urlencode(fields), **form)

    assert response.status_code == 200
    assert response.json() == shown(alice, **fields)
    assert boss.get(path(alice)).json() == shown(alice, **fields)


def test_a_form_names_every_account(boss, alice, spare):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    accounts = [alice.account.pk, spare.pk]

    response = boss.post(path(alice), urlencode({"accounts": accounts}, doseq=True), **form)

    assert response.json() == shown(alice, accounts=accounts)


def test_accounts_can_be_emptied_and_repeated(boss, alice, spare):
    repeated = boss.patch(path(alice), {"accounts": [spare.pk, spare.pk]})
    emptied = boss.patch(path(alice), {"accounts": []})

    assert repeated.json()["accounts"] == [spare.pk]
    assert emptied.json()["accounts"] == []


def test_the_accounts_are_looked_up_together(boss, alice):
    accounts = Account.objects.bulk_create([Account(currency="USD") for _ in range(20)])

    def cost(ids):
        with CaptureQueriesContext(connection) as queries:
            response = boss.patch(path(alice), {"accounts": ids})
        assert response.json()["accounts"] == sorted(set(ids))
        return len(queries)

    ids = [account.pk for account in accounts]
    boss.patch(path(alice), {"accounts": []})
    few = cost(ids[:2])
    boss.patch(path(alice), {"accounts": []})

    assert cost(ids * 50) == few


def test_unknown_accounts_are_named(boss, alice):
    before = stored()
    known, unknown = alice.account.pk, [alice.account.pk + 1000, alice.account.pk + 1001]

    response = boss.patch(path(alice), {"accounts": [*reversed(unknown), known, *unknown]})

    assert response.status_code == 400
    assert response.json() == {
        "accounts": [f'Invalid pk "{id}" - object does not exist.' for id in unknown]
    }
    assert stored() == before


@pytest.mark.parametrize("ids", [[1] * 1001, [None], [True], [-1], ["a"], [10**30], [[1]], {}, 1])
def test_an_invalid_list_of_accounts_is_refused(boss, alice, ids):
    before = stored()

    response = boss.patch(path(alice), {"accounts": ids})

    assert (response.status_code, list(response.json())) == (400, ["accounts"])
    assert stored() == before


@pytest.mark.parametrize(("method", "where"), [("POST", "/api/profiles/"), ("DELETE", None)])
def test_profiles_are_created_and_deleted_only_with_their_user(boss, alice, method, where):
    before = stored()

    response = boss.request(method, where or path(alice), FIELDS)

    assert response.status_code == 405
    assert stored() == before


@pytest.mark.parametrize(
    "fields",
    [
        {"cuit": "1" * 15},
        {"phone": "1" * 33},
        {"company": "x" * 33},
        {"company": ["x"]},
        {"phone": True},
        {"accounts": None},
        {"accounts": 1},
        {"accounts": "1"},
        {"accounts": {}},
        {"accounts": {"1": 1}},
        {"accounts": [1.5]},
        {"accounts": [[]]},
        {"accounts": [10**30]},
    ],
)
def test_a_refused_edit_changes_nothing(boss, alice, fields):
    before = stored()

    response = boss.patch(path(alice), {"cuit": "new"} | fields)

    assert (response.status_code, list(response.json())) == (400, list(fields))
    assert stored() == before


@pytest.mark.parametrize("times", [1, 2])
def test_adding_an_account_twice_is_harmless(boss, alice, spare, times):
    for _ in range(times):
        response = boss.post(path(alice, "add_account/"), {"account_id": spare.pk})

    accounts = [alice.account.pk, spare.pk]
    assert (response.status_code, response.json()) == (200, shown(alice, accounts=accounts))
    assert [row["id"] for row in alice.get("/api/accounts/").json()] == accounts


@pytest.mark.parametrize("times", [1, 2])
def test_removing_an_account_twice_is_harmless(boss, alice, times):
    for _ in range(times):
        response = boss.post(path(alice, "remove_account/"), {"account_id": alice.account.pk})

    assert (response.status_code, response.json()) == (200, shown(alice, accounts=[]))
    assert alice.get("/api/accounts/").json() == []
    assert alice.balance == 1_000_000


@pytest.mark.parametrize("action", ["add_account/", "remove_account/"])
@pytest.mark.parametrize(
    "account", [1.5, True, None, "abc", "", -1, 0, 10**30, "9" * 5000, [], {}, "1\0", "unknown"]
)
def test_a_bad_account_is_refused(boss, alice, action, account):
    before = stored()
    if account == "unknown":
        account = alice.account.pk + 1000

    response = boss.post(path(alice, action), {"account_id": account})

    assert (response.status_code, list(response.json())) == (400, ["account_id"])
    assert stored() == before


@pytest.mark.parametrize("action", ["add_account/", "remove_account/"])
def test_the_actions_are_posts_that_name_an_account(boss, alice, action):
    before = stored()

    assert boss.post(path(alice, action), {}).json() == {"account_id": ["This field is required."]}
    assert boss.get(path(alice, action)).status_code == 405
    assert stored() == before


@pytest.mark.parametrize("id", ["0", "77777", "abc", "-1", str(10**30), "9" * 5000])
def test_the_profile_of_an_unknown_user_is_not_found(boss, alice, id):
    before = stored()
    account = {"account_id": alice.account.pk}

    responses = [
        boss.get(f"/api/profiles/{id}/"),
        boss.patch(f"/api/profiles/{id}/", FIELDS),
        boss.post(f"/api/profiles/{id}/add_account/", account),
        boss.post(f"/api/profiles/{id}/remove_account/", account),
    ]

    assert [response.status_code for response in responses] == [404] * 4
    assert stored() == before


@pytest.mark.parametrize(
    ("method", "action"),
    [
        ("GET", ""),
        ("POST", ""),
        ("PUT", ""),
        ("PATCH", ""),
        ("POST", "add_account/"),
        ("POST", "remove_account/"),
    ],
)
def test_users_and_strangers_have_no_access(alice, bob, anyone, method, action):
    before = stored()
    body = FIELDS | {"account_id": bob.account.pk}

    assert alice.request(method, path(alice, action), body).status_code == 403
    assert anyone.generic(method, path(alice, action)).status_code == 401
    assert stored() == before


def test_the_list_is_closed_to_users_and_strangers(alice, anyone):
    assert alice.get("/api/profiles/").status_code == 403
    assert anyone.get("/api/profiles/").status_code == 401


def test_a_missing_profile_is_created_when_it_is_read(boss, bare):
    response = boss.get(f"/api/profiles/{bare.pk}/")

    assert (response.status_code, response.json()) == (200, {"user_id": bare.pk, **EMPTY})
    assert Profile.objects.filter(user=bare).count() == 1


def test_an_account_can_be_added_to_a_missing_profile(boss, bare, spare):
    response = boss.post(f"/api/profiles/{bare.pk}/add_account/", {"account_id": spare.pk})

    assert response.status_code == 200
    assert response.json() == {"user_id": bare.pk, **EMPTY, "accounts": [spare.pk]}


def test_the_list_shows_the_profile_of_every_user(boss, bare):
    response = boss.get("/api/profiles/")

    assert [row["user_id"] for row in response.json()] == [boss.user.pk, bare.pk]


def test_a_user_without_a_profile_has_no_accounts(bare, alice):
    person = Person(bare)

    assert person.get("/api/accounts/").json() == []
    assert person.get("/api/accounts/biggest/").json() == []
    assert person.get("/api/transfers/").json() == []
    assert person.get(f"/api/accounts/{alice.account.pk}/").status_code == 404
    assert alice.balance == 1_000_000


def test_a_fixture_brings_its_own_profile(boss, alice, tmp_path):
    boss.patch(path(alice), FIELDS)
    before = stored()
    fixture = tmp_path / "users.json"
    call_command("dumpdata", "auth.user", "login.profile", output=fixture, verbosity=0)
    User.objects.all().delete()

    call_command("loaddata", fixture, verbosity=0)

    assert stored() == before


def test_the_list_has_the_requested_order(boss, alice, bob):
    ids = [boss.user.pk, alice.user.pk, bob.user.pk]

    for ordering in "id", "-id":
        listed = boss.get(f"/api/profiles/?ordering={ordering}").json()
        expected = sorted(ids, reverse=ordering.startswith("-"))
        assert [profile["user_id"] for profile in listed] == expected


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_the_profile_of_a_user_who_is_deleted_meanwhile_is_not_found(
    boss, alice, method, monkeypatch
):
    find = ProfileViewSet.get_object

    def find_and_lose(self):
        profile = find(self)
        User.objects.filter(pk=alice.user.pk).delete()
        return Profile(pk=profile.pk, user_id=profile.user_id)

    monkeypatch.setattr(ProfileViewSet, "get_object", find_and_lose)

    response = boss.request(method, path(alice), {"company": "Alma"})

    assert (response.status_code, response.json()["code"]) == (404, "not_found")

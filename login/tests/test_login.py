"""Login: a username and a password for a pair of tokens."""

import pytest
from django.contrib.auth.models import User

from almaFintech import settings
from conftest import PASSWORD
from login.tokens import AccessToken

LOGIN = {"username": "alice", "password": PASSWORD}


def test_the_right_password_returns_two_working_tokens(alice, anyone):
    response = anyone.post("/api/login/", LOGIN, format="json")

    assert response.status_code == 200
    assert sorted(response.json()) == ["access", "expires_in", "refresh"]
    access = {"Authorization": f"Bearer {response.json()['access']}"}
    accounts = anyone.get("/api/accounts/", headers=access)
    assert [row["id"] for row in accounts.json()] == [alice.account.pk]
    refresh = {"refresh": response.json()["refresh"]}
    assert anyone.post("/api/login/refresh/", refresh, format="json").status_code == 200


def test_spaces_around_a_password_are_part_of_it(alice, anyone):
    alice.user.set_password(f" {PASSWORD} ")
    alice.user.save()

    assert anyone.post("/api/login/", LOGIN, format="json").status_code == 401
    login = LOGIN | {"password": f" {PASSWORD} "}
    assert anyone.post("/api/login/", login, format="json").status_code == 200


@pytest.mark.parametrize("wrong", [{"password": PASSWORD + " "}, {"username": "nobody"}])
def test_a_wrong_login_returns_401_and_does_not_say_what_is_wrong(alice, anyone, wrong):
    response = anyone.post("/api/login/", LOGIN | wrong, format="json")

    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert response.json() == {
        "detail": "No active account found with the given credentials",
        "code": "no_active_account",
    }


def test_an_inactive_user_cannot_log_in(alice, anyone):
    User.objects.filter(pk=alice.user.pk).update(is_active=False)

    response = anyone.post("/api/login/", LOGIN, format="json")

    assert (response.status_code, response.json()["code"]) == (401, "no_active_account")


@pytest.mark.parametrize("field", ["username", "password"])
@pytest.mark.parametrize("value", [None, "", True, [], {}, "\0", "\ud800"])
def test_a_malformed_login_names_the_field(alice, anyone, field, value):
    response = anyone.post("/api/login/", LOGIN | {field: value}, format="json")

    assert (response.status_code, list(response.json())) == (400, [field])


def test_an_empty_login_names_both_fields(anyone):
    response = anyone.post("/api/login/", {}, format="json")

    assert (response.status_code, sorted(response.json())) == (400, ["password", "username"])


def test_a_login_needs_post(anyone):
    assert anyone.get("/api/login/").status_code == 405


def test_new_passwords_are_hashed_with_argon2():
    # `django.conf.settings` has a fast hasher in tests, so this reads the module itself.
    assert settings.PASSWORD_HASHERS[0] == "login.hashers.Argon2Hasher"


@pytest.mark.parametrize("path", ["/api/login/", "/api/login/refresh/"])
def test_a_response_states_when_the_access_token_expires(alice, anyone, path):
    tokens = anyone.post("/api/login/", LOGIN, format="json").json()
    body = LOGIN if path == "/api/login/" else {"refresh": tokens["refresh"]}

    response = anyone.post(path, body, format="json").json()

    token = AccessToken(response["access"])
    assert response["expires_in"] == AccessToken.lifetime.total_seconds()
    assert abs(token["exp"] - token["iat"] - response["expires_in"]) <= 1

"""The logout, which ends one refresh token."""

import pytest
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken

from login.tokens import RefreshToken


def post(client, path, token):
    return client.post(path, {"refresh": str(token)}, format="json")


def test_a_logout_ends_this_refresh_token_alone(alice, anyone):
    here, elsewhere = RefreshToken.for_user(alice.user), RefreshToken.for_user(alice.user)

    response = post(anyone, "/api/login/logout/", here)

    assert (response.status_code, response.json()) == (200, {})
    ended = post(anyone, "/api/login/refresh/", here)
    assert (ended.status_code, ended.json()["code"]) == (401, "token_not_valid")
    assert post(anyone, "/api/login/refresh/", elsewhere).status_code == 200
    assert BlacklistedToken.objects.get().token.jti == here["jti"]


def test_a_second_logout_is_401(alice, anyone):
    token = RefreshToken.for_user(alice.user)
    post(anyone, "/api/login/logout/", token)

    assert post(anyone, "/api/login/logout/", token).status_code == 401
    assert BlacklistedToken.objects.count() == 1


def test_the_token_of_a_deleted_user_can_be_ended(alice, anyone):
    token = RefreshToken.for_user(alice.user)
    alice.user.delete()

    assert post(anyone, "/api/login/logout/", token).status_code == 200
    assert BlacklistedToken.objects.count() == 1


def test_a_bad_token_ends_nothing(alice, anyone):
    access = RefreshToken.for_user(alice.user).access_token

    assert post(anyone, "/api/login/logout/", access).status_code == 401
    assert post(anyone, "/api/login/logout/", "garbage").status_code == 401
    assert BlacklistedToken.objects.count() == 0


@pytest.mark.parametrize("value", [None, "", True, [], "\0", "\ud800"])
def test_a_malformed_logout_names_the_field(db, anyone, value):
    response = anyone.post("/api/login/logout/", {"refresh": value}, format="json")

    assert (response.status_code, list(response.json())) == (400, ["refresh"])

"""Logout ends one session: its refresh token and its access tokens."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from login.models import EndedSession
from login.tokens import RefreshToken


def post(client, path, token):
    return client.post(path, {"refresh": str(token)}, format="json")


def test_a_logout_ends_only_this_refresh_token(alice, anyone):
    here, elsewhere = RefreshToken.for_user(alice.user), RefreshToken.for_user(alice.user)

    response = post(anyone, "/api/login/logout/", here)

    assert (response.status_code, response.json()) == (200, {})
    ended = post(anyone, "/api/login/refresh/", here)
    assert (ended.status_code, ended.json()["code"]) == (401, "token_not_valid")
    assert post(anyone, "/api/login/refresh/", elsewhere).status_code == 200
    assert BlacklistedToken.objects.get().token.jti == here["jti"]


def test_the_access_tokens_end_with_their_session(alice, anyone):
    here, elsewhere = RefreshToken.for_user(alice.user), RefreshToken.for_user(alice.user)
    renewed = post(anyone, "/api/login/refresh/", here).json()["access"]

    def look(access):
        return anyone.get("/api/accounts/", headers={"Authorization": f"Bearer {access}"})

    assert post(anyone, "/api/login/logout/", here).status_code == 200

    for access in here.access_token, renewed:
        response = look(access)
        assert (response.status_code, response.json()) == (
            401,
            {"detail": "The session of the token has ended.", "code": "token_not_valid"},
        )
    assert look(elsewhere.access_token).status_code == 200


def test_a_token_without_a_session_stays_valid(alice, anyone):
    token = RefreshToken.for_user(alice.user)
    del token["sid"]
    access = {"Authorization": f"Bearer {token.access_token}"}

    assert post(anyone, "/api/login/logout/", token).status_code == 200

    assert post(anyone, "/api/login/refresh/", token).status_code == 401
    assert anyone.get("/api/accounts/", headers=access).status_code == 200


def test_ended_sessions_are_deleted_once_their_last_token_expires(alice, anyone):
    tokens = [RefreshToken.for_user(alice.user) for _ in range(2)]
    for token in tokens:
        assert post(anyone, "/api/login/logout/", token).status_code == 200
    last = timezone.now() + RefreshToken.lifetime
    for ended in EndedSession.objects.all():
        assert abs(ended.expires_at - last) < timedelta(minutes=1)
    past = timezone.now() - timedelta(seconds=1)
    EndedSession.objects.filter(pk=tokens[0]["sid"]).update(expires_at=past)
    OutstandingToken.objects.filter(jti=tokens[0]["jti"]).update(expires_at=past)

    call_command("expire_tokens")

    assert EndedSession.objects.get().sid == tokens[1]["sid"]
    assert OutstandingToken.objects.get().jti == tokens[1]["jti"]


def test_a_second_logout_returns_401(alice, anyone):
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

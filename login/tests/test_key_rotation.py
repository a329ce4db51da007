"""Tokens signed with the old SECRET_KEY stay valid as long as that key is a fallback."""

import pytest
from rest_framework.test import APIClient

from login.tokens import RefreshToken

OLD = "the-old-key-6ba7b810-9dad-11d1-80b4-00c04fd430c8-old"
NEW = "the-new-key-6ba7b810-9dad-11d1-80b4-00c04fd430c8-new"


@pytest.fixture
def keys(settings):
    """Return a function that changes the keys of the server, as a restart would."""

    def use(key, *fallbacks):
        settings.SECRET_KEY = key
        settings.SECRET_KEY_FALLBACKS = list(fallbacks)

    return use


def statuses(refresh, access):
    client = APIClient()
    renewed = client.post("/api/login/refresh/", {"refresh": refresh}, format="json")
    read = client.get("/api/accounts/", headers={"Authorization": f"Bearer {access}"})
    return renewed.status_code, read.status_code


def test_tokens_outlive_their_key_as_long_as_it_is_a_fallback(alice, keys):
    keys(OLD)
    token = RefreshToken.for_user(alice.user)
    old = str(token), str(token.access_token)
    assert statuses(*old) == (200, 200)

    keys(NEW, "another-fallback-" * 3, OLD)
    assert statuses(*old) == (200, 200)

    keys(NEW)
    assert statuses(*old) == (401, 401)


def test_new_tokens_are_signed_with_the_new_key(alice, anyone, keys):
    keys(OLD)
    old = str(RefreshToken.for_user(alice.user))
    keys(NEW, OLD)
    login = {"username": "alice", "password": "a long and quiet river"}
    fresh = anyone.post("/api/login/", login, format="json").json()
    renewed = anyone.post("/api/login/refresh/", {"refresh": old}, format="json").json()

    keys(NEW)
    assert statuses(fresh["refresh"], fresh["access"]) == (200, 200)
    assert statuses(fresh["refresh"], renewed["access"]) == (200, 200)


def test_an_old_refresh_token_can_be_ended(alice, anyone, keys):
    keys(OLD)
    token = RefreshToken.for_user(alice.user)
    old = str(token), str(token.access_token)
    keys(NEW, OLD)

    logout = anyone.post("/api/login/logout/", {"refresh": old[0]}, format="json")

    assert logout.status_code == 200
    assert statuses(*old) == (401, 401)


def test_an_old_key_does_not_revive_an_expired_token(alice, keys):
    keys(OLD)
    token = RefreshToken.for_user(alice.user)
    access = token.access_token
    for expired in token, access:
        expired.set_exp(lifetime=-expired.lifetime)
    old = str(token), str(access)
    keys(NEW, OLD)

    assert statuses(*old) == (401, 401)

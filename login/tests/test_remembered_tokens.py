"""A token whose signature was verified is not verified again, but everything else is."""

from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import jwt
import pytest
import time_machine
from rest_framework.test import APIClient

from login.tokens import AccessToken, KeyRing, RefreshToken

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)


@pytest.fixture
def look():
    """A function that reads the accounts with a token, and returns the status and the code."""

    def read(token):
        headers = {"Authorization": f"Bearer {token}"}
        response = APIClient().get("/api/accounts/", headers=headers)
        body = response.json()
        return response.status_code, body["code"] if isinstance(body, dict) else None

    return read


@pytest.fixture
def token(alice):
    """A function that signs an access token with further claims."""

    def sign(**claims):
        access = AccessToken.for_user(alice.user)
        access.payload |= claims
        return str(access)

    return sign


def status_of(answer):
    return answer[0]


def test_a_signature_is_verified_once(look, token):
    access = token()
    assert status_of(look(access)) == 200

    with patch.object(jwt.PyJWS, "decode_complete", side_effect=AssertionError):
        assert status_of(look(access)) == 200


def test_a_remembered_token_expires(look, token):
    with time_machine.travel(NOON, tick=False) as clock:
        access = token()
        assert status_of(look(access)) == 200
        clock.shift(AccessToken.lifetime - timedelta(seconds=1))
        assert status_of(look(access)) == 200
        clock.shift(1)
        assert look(access) == (401, "token_expired")


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_remembered_token_is_invalid_before_its_time(look, token, claim):
    with time_machine.travel(NOON, tick=False) as clock:
        access = token(**{claim: int(NOON.timestamp())})
        assert status_of(look(access)) == 200
        clock.shift(-1)
        assert look(access) == (401, "token_not_valid")


def test_a_refusal_is_not_remembered(look, token):
    with time_machine.travel(NOON, tick=False) as clock:
        access = token(nbf=int(NOON.timestamp()) + 1)
        assert look(access) == (401, "token_not_valid")
        clock.shift(1)
        assert status_of(look(access)) == 200


def test_a_remembered_token_ends_with_its_key(look, token, settings):
    access = token()
    assert status_of(look(access)) == 200
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another key " * 5
    assert look(access) == (401, "token_not_valid")
    settings.SECRET_KEY_FALLBACKS = [old]
    assert status_of(look(access)) == 200
    settings.SECRET_KEY_FALLBACKS = []
    assert look(access) == (401, "token_not_valid")


def test_a_remembered_token_ends_with_its_user(alice, look, token):
    access = token()
    assert status_of(look(access)) == 200
    alice.user.is_active = False
    alice.user.save()
    assert look(access) == (401, "user_inactive")


def test_a_changed_token_is_another_token(look, token):
    access = token()
    assert status_of(look(access)) == 200
    head, claims, signature = access.split(".")
    assert look(f"{head}.{claims}x.{signature}") == (401, "token_not_valid")
    assert look(f"{head}.{claims}.{signature[::-1]}") == (401, "token_not_valid")


def test_changes_to_a_token_object_are_not_remembered(alice):
    text = str(RefreshToken.for_user(alice.user))
    first = RefreshToken(text)
    first["user_id"] = "0"

    assert RefreshToken(text)["user_id"] == str(alice.user.pk)


def test_the_number_of_remembered_tokens_is_bounded():
    assert KeyRing.remembered.cache_parameters()["maxsize"] == 4096

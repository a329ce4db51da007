"""A refresh token that is used a second time ends its session (RFC 9700)."""

from datetime import timedelta

import pytest
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken

from login.models import EndedSession
from login.tests.clients import look, renew
from login.tokens import GRACE, RefreshToken


@pytest.fixture(autouse=True)
def rotation(monkeypatch):
    monkeypatch.setattr(api_settings, "ROTATE_REFRESH_TOKENS", True)


@pytest.fixture
def wait():
    """Return a function that moves the use of all used tokens back in time."""

    def wait(time: timedelta):
        for used in BlacklistedToken.objects.all():
            used.blacklisted_at -= time
            used.save()

    return wait


def logout(client, token):
    return client.post("/api/login/logout/", {"refresh": str(token)}, format="json")


def test_the_tokens_of_a_session_carry_its_id(alice, anyone):
    first, other = RefreshToken.for_user(alice.user), RefreshToken.for_user(alice.user)
    second = RefreshToken(renew(anyone, first).json()["refresh"])

    assert first["sid"] == first.access_token["sid"] == second["sid"] == second.access_token["sid"]
    assert first["sid"] != other["sid"]


@pytest.mark.parametrize("send", [renew, logout])
def test_a_reused_token_ends_its_session(alice, anyone, wait, send):
    first, elsewhere = RefreshToken.for_user(alice.user), RefreshToken.for_user(alice.user)
    second = renew(anyone, first).json()
    third = renew(anyone, second["refresh"]).json()
    wait(GRACE + timedelta(seconds=1))
    assert look(anyone, third["access"]).status_code == 200

    again = send(anyone, first)

    assert (again.status_code, again.json()["code"]) == (401, "token_not_valid")
    for access in first.access_token, second["access"], third["access"]:
        assert look(anyone, access).status_code == 401
    assert renew(anyone, third["refresh"]).status_code == 401
    assert look(anyone, elsewhere.access_token).status_code == 200
    assert renew(anyone, elsewhere).status_code == 200


def test_a_refresh_sent_twice_logs_nobody_out(alice, anyone, wait):
    first = RefreshToken.for_user(alice.user)
    second = renew(anyone, first).json()
    wait(GRACE - timedelta(seconds=2))

    assert renew(anyone, first).status_code == 401

    assert not EndedSession.objects.exists()
    assert look(anyone, second["access"]).status_code == 200
    assert renew(anyone, second["refresh"]).status_code == 200


def test_a_reused_token_without_a_session_ends_nothing(alice, anyone, wait):
    first = RefreshToken.for_user(alice.user)
    del first["sid"]
    second = renew(anyone, first).json()
    wait(GRACE * 2)

    assert renew(anyone, first).status_code == 401

    assert look(anyone, second["access"]).status_code == 200
    assert renew(anyone, second["refresh"]).status_code == 200


def test_a_session_that_ended_twice_is_one_row(alice, anyone, wait):
    first = RefreshToken.for_user(alice.user)
    renew(anyone, first)
    wait(GRACE * 2)
    for _ in range(2):
        assert renew(anyone, first).status_code == 401

    assert EndedSession.objects.get().sid == first["sid"]

"""Refreshing, and the end of tokens."""

import pytest
from django.db import OperationalError
from rest_framework_simplejwt.tokens import AccessToken

from conftest import Person
from login import views
from login.sessions import user_of
from login.tests.clients import look, renew
from login.tokens import RefreshToken


@pytest.fixture
def refresh(alice):
    return RefreshToken.for_user(alice.user)


def test_a_refresh_token_can_be_used_repeatedly(alice, anyone, refresh):
    for _ in range(2):
        response = renew(anyone, refresh)

        assert (response.status_code, list(response.json())) == (200, ["access", "expires_in"])
        accounts = look(anyone, response.json()["access"])
        assert [row["id"] for row in accounts.json()] == [alice.account.pk]


def deactivate(boss: Person, path: str):
    assert boss.patch(path, {"is_active": False}).status_code == 200


def delete(boss: Person, path: str):
    assert boss.delete(path).status_code == 204


def change_password(boss: Person, path: str):
    assert boss.patch(path, {"password": "another quiet river"}).status_code == 200


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (deactivate, "user_inactive"),
        (delete, "user_not_found"),
        (change_password, "password_changed"),
    ],
)
def test_both_tokens_end_with_their_user(alice, boss, anyone, refresh, end, code):
    access = refresh.access_token
    assert (renew(anyone, refresh).status_code, look(anyone, access).status_code) == (200, 200)

    end(boss, f"/api/users/{alice.user.pk}/")

    for response in renew(anyone, refresh), look(anyone, access):
        assert (response.status_code, response.json()["code"]) == (401, code)
        assert response["WWW-Authenticate"].startswith("Bearer")


def test_an_edit_of_anything_else_keeps_the_tokens(alice, boss, anyone, refresh):
    assert boss.patch(f"/api/users/{alice.user.pk}/", {"first_name": "Al"}).status_code == 200

    assert renew(anyone, refresh).status_code == 200
    assert look(anyone, refresh.access_token).status_code == 200


def test_each_kind_of_token_has_its_own_use(alice, anyone, refresh):
    assert renew(anyone, AccessToken.for_user(alice.user)).status_code == 401
    assert look(anyone, refresh).status_code == 401


def test_a_forged_token_returns_401(alice, anyone, refresh):
    forged = f"{refresh}"[:-4] + "AAAA"

    for token in forged, "garbage", "a.b.c":
        response = renew(anyone, token)
        assert (response.status_code, response.json()["code"]) == (401, "token_not_valid")


def test_an_expired_token_has_its_own_code(alice, anyone, refresh):
    access = refresh.access_token
    for token in refresh, access:
        token.set_exp(lifetime=-token.lifetime)
    logout = anyone.post("/api/login/logout/", {"refresh": str(refresh)}, format="json")

    for response in renew(anyone, refresh), look(anyone, access), logout:
        assert response.status_code == 401
        assert response["WWW-Authenticate"].startswith("Bearer")
        assert response.json() == {"detail": "The token has expired.", "code": "token_expired"}


def test_a_user_who_is_deleted_during_a_refresh_is_not_found(alice, anyone, refresh, monkeypatch):
    def delete_first(token):
        alice.user.delete()
        return user_of(token)

    monkeypatch.setattr(views, "user_of", delete_first)
    response = renew(anyone, refresh)

    assert (response.status_code, response.json()["code"]) == (401, "user_not_found")


@pytest.mark.parametrize("value", [None, "", True, [], {}, "\0", "\ud800"])
def test_a_malformed_refresh_names_the_field(db, anyone, value):
    response = anyone.post("/api/login/refresh/", {"refresh": value}, format="json")

    assert (response.status_code, list(response.json())) == (400, ["refresh"])


@pytest.mark.django_db(transaction=True)
def test_a_refresh_that_a_deadlock_rolled_back_is_retried(alice, anyone, refresh, monkeypatch):
    failures = [OperationalError(1213, "Deadlock found")]

    def fail_once(token):
        if failures:
            raise failures.pop()
        return user_of(token)

    monkeypatch.setattr(views, "user_of", fail_once)

    assert renew(anyone, refresh).status_code == 200
    assert failures == []

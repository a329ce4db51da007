"""Users change their own password."""

import pytest
from django.contrib.auth.models import User
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from audit.models import Record
from conftest import PASSWORD
from login import views
from login.tests.clients import look, renew
from login.tokens import RefreshToken

PATH = "/api/me/password/"
NEW = "another quiet river"
BODY = {"old_password": PASSWORD, "new_password": NEW}


def is_password(person, password):
    return User.objects.get(pk=person.user.pk).check_password(password)


def test_all_tokens_end_and_the_response_has_new_ones(alice, anyone):
    before = RefreshToken.for_user(alice.user)

    response = alice.post(PATH, BODY)

    assert response.status_code == 200
    assert sorted(response.json()) == ["access", "expires_in", "refresh"]
    assert is_password(alice, NEW)
    for ended in renew(anyone, before), look(anyone, before.access_token):
        assert (ended.status_code, ended.json()["code"]) == (401, "password_changed")
    assert look(anyone, response.json()["access"]).status_code == 200
    assert renew(anyone, response.json()["refresh"]).status_code == 200
    login = {"username": "alice", "password": NEW}
    assert anyone.post("/api/login/", login, format="json").status_code == 200
    assert not Record.objects.exists()


def test_a_change_by_staff_is_recorded(boss):
    assert boss.post(PATH, BODY).status_code == 200

    record = Record.objects.get()
    assert (record.by, record.number, record.changes) == (
        boss.user.pk,
        boss.user.pk,
        {"password": ["***", "***"]},
    )


def test_a_wrong_old_password_changes_nothing(alice):
    response = alice.post(PATH, BODY | {"old_password": "wrong"})

    assert response.status_code == 400
    assert response.json() == {"old_password": ["This is not your password."]}
    assert is_password(alice, PASSWORD)
    assert not OutstandingToken.objects.exists()


def test_wrong_old_passwords_are_limited_like_logins(alice, anyone, settings):
    settings.LOGIN_RATE_PER_ADDRESS = "3/d"
    wrong = BODY | {"old_password": "wrong"}
    assert [alice.post(PATH, wrong).status_code for _ in range(3)] == [400] * 3

    response = alice.post(PATH, BODY)

    assert (response.status_code, response.json()["code"]) == (429, "too_many_failed_logins")
    assert int(response["Retry-After"]) > 0
    login = {"username": "alice", "password": PASSWORD}
    assert anyone.post("/api/login/", login, format="json").status_code == 429
    assert is_password(alice, PASSWORD)


@pytest.mark.parametrize("new", ["alice", "12345678", "short", "password123"])
def test_a_weak_password_is_refused(alice, settings, new):
    kinds = ("UserAttributeSimilarity", "MinimumLength", "CommonPassword", "NumericPassword")
    settings.AUTH_PASSWORD_VALIDATORS = [
        {"NAME": f"django.contrib.auth.password_validation.{kind}Validator"} for kind in kinds
    ]

    response = alice.post(PATH, BODY | {"new_password": new})

    assert (response.status_code, list(response.json())) == (400, ["new_password"])
    assert is_password(alice, PASSWORD)


@pytest.mark.parametrize("field", ["old_password", "new_password"])
@pytest.mark.parametrize("value", [None, "", True, [], {}, "\0", "\ud800", "x" * 129])
def test_a_malformed_password_names_the_field(alice, field, value):
    response = alice.post(PATH, BODY | {field: value})

    assert (response.status_code, list(response.json())) == (400, [field])
    assert is_password(alice, PASSWORD)


def test_a_concurrent_change_of_the_password_wins(alice, monkeypatch):
    hash_password = views.make_password

    def change_first(raw):
        alice.user.set_password("a password changed meanwhile")
        alice.user.save()
        return hash_password(raw)

    monkeypatch.setattr(views, "make_password", change_first)
    response = alice.post(PATH, BODY)

    assert (response.status_code, response.json()["code"]) == (409, "conflict")
    assert is_password(alice, "a password changed meanwhile")


def test_a_change_needs_a_token(db, anyone):
    assert anyone.post(PATH, BODY, format="json").status_code == 401


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_only_post_is_allowed(alice, method):
    assert alice.request(method, PATH, BODY).status_code == 405

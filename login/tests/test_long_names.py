"""Usernames do not cost time quadratic in their length."""

import unicodedata

import pytest
from django.contrib.auth.models import User

from conftest import PASSWORD

LONGEST = 150
# Combining marks in the worst order: sorting them takes time quadratic in their number.
MARKS = "\u0301\u0316" * 100_000


@pytest.fixture(autouse=True)
def normalized(monkeypatch):
    """Yield the lengths of all texts that were normalized, and check that none was too long."""
    lengths = []
    normalize = unicodedata.normalize

    def count(form, text):
        lengths.append(len(text))
        return normalize(form, text[:1000])

    monkeypatch.setattr(unicodedata, "normalize", count)
    yield lengths
    assert all(length <= LONGEST for length in lengths)


def test_the_fixture_sees_normalized_texts(alice, anyone, normalized):
    anyone.post("/api/login/", {"username": "alice", "password": "x"}, format="json")

    assert {*normalized} == {len("alice")}


def test_a_login_with_a_long_name_fails_without_normalizing_it(alice, anyone, settings):
    settings.LOGIN_RATE_PER_ADDRESS = "3/d"
    login = {"username": MARKS, "password": PASSWORD}
    response = anyone.post("/api/login/", login, format="json")
    nobody = anyone.post("/api/login/", login | {"username": "nobody"}, format="json")

    assert (response.status_code, response.content) == (401, nobody.content)
    # The failure was counted for the address.
    assert anyone.post("/api/login/", login, format="json").status_code == 401
    assert anyone.post("/api/login/", login, format="json").status_code == 429


def test_a_long_name_does_not_log_in_to_the_admin(boss, client, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = None

    response = client.post("/admin/login/", {"username": MARKS, "password": PASSWORD})

    assert response.status_code == 200
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_staff_cannot_give_a_user_a_long_name(boss, alice, method):
    path = f"/api/users/{alice.user.pk}/"
    bodies = [{"username": MARKS, "password": PASSWORD}, {"username": "x" * (LONGEST + 1)}]
    for body in bodies:
        body = {"password": PASSWORD} | body
        for response in boss.request(method, path, body), boss.post("/api/users/", body):
            assert response.status_code == 400
            assert response.json() == {
                "username": ["Ensure this field has no more than 150 characters."]
            }
    assert sorted(User.objects.values_list("username", flat=True)) == ["alice", "boss"]


def test_a_name_that_grows_when_normalized_is_measured_again(boss, anyone):
    # One character that normalizes to eighteen.
    name = "\ufdfa" * 100
    response = boss.post("/api/users/", {"username": name, "password": PASSWORD})

    assert (response.status_code, list(response.json())) == (400, ["username"])
    login = {"username": name, "password": PASSWORD}
    assert anyone.post("/api/login/", login, format="json").status_code == 401


def test_a_filter_by_a_long_name_gets_400(boss):
    assert boss.get(f"/api/users/?username={'x' * (LONGEST + 1)}").status_code == 400


def test_the_admin_accepts_no_long_names(staff, alice, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = None
    names = {"username": MARKS, "usable_password": "true"}
    passwords = {"password1": PASSWORD, "password2": PASSWORD}

    added = staff.post("/admin/auth/user/add/", names | passwords)
    edited = staff.post(f"/admin/auth/user/{alice.user.pk}/change/", names)

    assert (added.status_code, edited.status_code) == (200, 200)
    assert sorted(User.objects.values_list("username", flat=True)) == ["alice", "boss"]

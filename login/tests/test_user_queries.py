"""Query parameters filter the list of users, or are refused."""

import pytest
from django.contrib.auth.models import User


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["alice", "boss", "carol", "dave"]),
        ("username=carol", ["carol"]),
        ("username=nobody", []),
        ("email=carol@example.com", ["carol"]),
        ("email=carol", []),
        ("is_staff=true", ["boss"]),
        ("is_staff=false", ["alice", "carol", "dave"]),
        ("is_active=false", ["dave"]),
        ("is_active=true&is_staff=false", ["alice", "carol"]),
        ("ordering=-username&limit=2", ["dave", "carol"]),
    ],
)
def test_users_are_found(alice, boss, query, names):
    User.objects.create_user("carol", email="carol@example.com")
    User.objects.create_user("dave", is_active=False)

    assert [row["username"] for row in boss.get(f"/api/users/?{query}").json()] == names


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("username", ["", "%00", "%FF", "%ED%A0%80", "%zz", "x" * 151]),
        ("email", ["", "%00", "%FF", "%ED%A0%80", "%zz", "x" * 255]),
        ("is_staff", ["", "%00", "2", "maybe", "null"]),
        ("is_active", ["", "%00", "2", "maybe", "null"]),
        ("active", ["true"]),
        ("password", ["x"]),
        ("password__startswith", ["argon2"]),
    ],
)
def test_a_bad_value_returns_400_and_is_named(boss, name, values):
    for value in values:
        response = boss.get(f"/api/users/?{name}={value}")

        assert (response.status_code, list(response.json())) == (400, [name]), value


def test_errors_are_lists_of_sentences(boss):
    response = boss.get("/api/users/?username=&is_staff=2")

    assert response.json() == {
        "username": ["This field may not be blank."],
        "is_staff": ["Must be a valid boolean."],
    }

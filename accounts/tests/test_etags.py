"""Edits with If-Match are refused if the account has changed since it was read."""

import pytest

from accounts.models import Account


def path_of(person):
    return f"/api/accounts/{person.account.pk}/"


def test_every_change_gives_a_new_version(alice, bob, boss):
    first = alice.get(path_of(alice))["ETag"]
    assert alice.get(path_of(alice))["ETag"] == first

    alice.send(bob.account, 1)

    second = alice.get(path_of(alice))["ETag"]
    assert second != first
    edited = boss.patch(path_of(alice), {"balance": 7})
    assert edited["ETag"] == boss.get(path_of(alice))["ETag"] not in (first, second)


def test_a_new_account_has_a_version(boss):
    opened = boss.post("/api/accounts/", {"currency": "USD", "balance": 5})

    assert opened["ETag"] == boss.get(f"/api/accounts/{opened.json()['id']}/")["ETag"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_an_edit_of_an_outdated_version_is_refused(alice, bob, boss, method):
    read = boss.get(path_of(alice))
    alice.send(bob.account, 400_000)

    edit = read.json() | {"balance": read.json()["balance"] + 5}
    late = boss.request(method, path_of(alice), edit, **{"If-Match": read["ETag"]})

    assert (late.status_code, late.json()) == (
        412,
        {
            "detail": "The account has changed since it was read: read it again",
            "code": "precondition_failed",
        },
    )
    assert alice.balance == 600_000
    again = {"If-Match": boss.get(path_of(alice))["ETag"]}
    assert boss.request(method, path_of(alice), edit, **again).status_code in (200, 204)


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("*", 200),
        ('"9", {}, "8"', 200),
        ('"9"', 412),
        ('  {} , "8"', 200),
    ],
)
def test_a_condition_names_versions(alice, boss, condition, status):
    condition = condition.format(boss.get(path_of(alice))["ETag"])

    edited = boss.patch(path_of(alice), {"balance": 7}, **{"If-Match": condition})

    assert edited.status_code == status
    assert alice.balance == (7 if status == 200 else 1_000_000)


@pytest.mark.parametrize(
    "condition", ["", "1", "nothing", "W/{}", '{}, W/"8"', '{} "8"', "'1'", '"1']
)
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_malformed_condition_returns_400(alice, boss, method, condition):
    condition = condition.format(boss.get(path_of(alice))["ETag"])

    refused = boss.request(method, path_of(alice), {"balance": 7}, **{"If-Match": condition})

    assert (refused.status_code, refused.json()["code"]) == (400, "if_match_malformed")
    assert "quotes" in refused.json()["detail"]
    assert alice.balance == 1_000_000


def test_only_an_account_that_can_be_edited_has_a_version(alice, boss):
    for path in "?at=2026-01-01", "transfers/", "statement/":
        assert "ETag" not in alice.get(f"{path_of(alice)}{path}")
    assert "ETag" not in boss.patch(path_of(alice), {"balance": -1})
    assert Account.objects.filter(pk=alice.account.pk).exists()

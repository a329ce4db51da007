"""Unknown paths, and paths without their trailing slash."""

from urllib.parse import quote

import pytest
from django.contrib.auth.models import User

from accounts.models import Account, Transfer

KINDS = ("users", "profiles", "accounts", "transfers")
NOT_FOUND = {"detail": "Not found.", "code": "not_found"}


@pytest.mark.parametrize(
    "path", ["nowhere", "nowhere/", "users/1/nothing/", "users//", "../x", "%00/"]
)
def test_an_unknown_path_returns_404_in_json(anyone, path):
    for method in "GET", "POST", "DELETE", "OPTIONS":
        response = anyone.generic(method, f"/api/{path}")

        assert (response.status_code, response.json()) == (404, NOT_FOUND)


@pytest.mark.parametrize("path", ["users", "accounts/1/transfers", "login", "transfers/1"])
def test_a_read_is_redirected_to_the_path_with_the_slash(anyone, path):
    response = anyone.get(f"/api/{path}?limit=1&cursor=a%2Fb")

    assert response.status_code == 301
    assert response["Location"] == f"/api/{path}/?limit=1&cursor=a%2Fb"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_write_is_not_redirected(boss, alice, method):
    response = boss.request(method, f"/api/users/{alice.user.pk}", {"username": "carol"})

    slash = f"Not found. The path ends with a slash: /api/users/{alice.user.pk}/"
    assert (response.status_code, response.json()) == (404, {**NOT_FOUND, "detail": slash})
    assert User.objects.filter(username="alice").exists()


@pytest.mark.parametrize(
    "id",
    ["0", "-1", "99999", "abc", "1e3", str(2**63), str(10**30), "9" * 5000, "%00", "1%00", "é"],
)
def test_an_unknown_id_returns_404(boss, alice, bob, id):
    alice.send(bob.account, 1)

    answers = [boss.get(f"/api/{kind}/{id}/") for kind in KINDS]
    answers += [boss.patch(f"/api/{kind}/{id}/", {}) for kind in ("users", "profiles", "accounts")]
    answers += [boss.delete(f"/api/{kind}/{id}/") for kind in ("users", "accounts", "transfers")]
    answers += [boss.get(f"/api/accounts/{id}/transfers/")]

    for answer in answers:
        assert (answer.status_code, sorted(answer.json())) == (404, ["code", "detail"])
    counts = [model.objects.count() for model in (User, Account, Transfer)]
    assert counts == [3, 2, 1]


@pytest.mark.parametrize(
    "spelling", ["+{id}", "%20{id}", "{id}%20", "{id}.0", "{id}%0A", "{arabic_digits}"]
)
def test_an_id_has_only_ascii_digits(boss, alice, spelling):
    id = str(alice.account.pk)
    arabic_digits = quote("".join(chr(ord("\N{ARABIC-INDIC DIGIT ZERO}") + int(d)) for d in id))
    assert boss.get(f"/api/accounts/{id}/").status_code == 200

    other = spelling.format(id=id, arabic_digits=arabic_digits)
    for method in "GET", "PATCH", "DELETE":
        answer = boss.request(method, f"/api/accounts/{other}/", {})
        assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
    assert Account.objects.filter(pk=id).exists()

"""The accounts endpoint: visibility, permissions and edits."""

import pytest
from django.contrib.auth.models import User

from accounts.models import Account, Transfer

MAX = 2**63 - 1


def test_staff_opens_an_account(boss):
    response = boss.post("/api/accounts/", {"currency": "USD", "balance": 5})

    assert response.status_code == 201
    account = Account.objects.get()
    assert response.json() == {"id": account.pk, "currency": "USD", "balance": 5}
    assert account.balance == 5


def test_a_new_account_is_empty_by_default(boss):
    response = boss.post("/api/accounts/", {"currency": "EUR"})

    assert response.json()["balance"] == 0


@pytest.mark.parametrize(
    "currency", ["XTS", "XXX", "DEM", "usd", "US", "USDX", "", None, 840, "\x00"]
)
def test_a_currency_is_an_active_iso_4217_code(boss, currency):
    response = boss.post("/api/accounts/", {"currency": currency})

    assert response.status_code == 400
    assert list(response.json()) == ["currency"]
    assert Account.objects.count() == 0


@pytest.mark.parametrize("balance", [-1, 1.5, True, None, "abc", MAX + 1])
def test_a_balance_is_a_whole_number_from_0(boss, balance):
    response = boss.post("/api/accounts/", {"currency": "USD", "balance": balance})

    assert response.status_code == 400
    assert list(response.json()) == ["balance"]
    assert Account.objects.count() == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_balance_that_a_form_leaves_blank_is_refused(boss, alice, method):
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    edited = boss.request(
        method, f"/api/accounts/{alice.account.pk}/", "currency=USD&balance=", **form
    )
    opened = boss.post("/api/accounts/", "currency=USD&balance=", **form)

    for response in edited, opened:
        assert response.status_code == 400
        assert response.json() == {"balance": ["A valid integer is required."]}
    assert alice.balance == 1_000_000
    assert Account.objects.count() == 1


def test_a_balance_may_be_the_column_maximum(boss):
    assert boss.post("/api/accounts/", {"currency": "USD", "balance": MAX}).status_code == 201
    assert Account.objects.get().balance == MAX


def test_a_user_sees_the_accounts_in_the_profile(alice, bob, boss):
    own = {"id": alice.account.pk, "currency": "USD", "balance": 1_000_000}

    assert alice.get("/api/accounts/").json() == [own]
    assert alice.get(f"/api/accounts/{alice.account.pk}/").json() == own
    assert [row["id"] for row in boss.get("/api/accounts/").json()] == [
        alice.account.pk,
        bob.account.pk,
    ]


@pytest.mark.parametrize("path", ["", "transfers/"])
def test_an_invisible_account_looks_like_a_missing_one(alice, bob, path):
    unseen = bob.get(f"/api/accounts/{alice.account.pk}/{path}")
    unknown = bob.get(f"/api/accounts/{10**9}/{path}")

    assert unseen.status_code == unknown.status_code == 404
    assert unseen.json() == unknown.json()


def test_users_cannot_write_accounts(alice):
    path = f"/api/accounts/{alice.account.pk}/"
    body = {"currency": "USD", "balance": MAX}

    responses = [
        alice.post("/api/accounts/", body),
        alice.post(path, body),
        alice.put(path, body),
        alice.patch(path, body),
        alice.delete(path),
    ]

    assert [response.status_code for response in responses] == [403] * 5
    assert alice.balance == 1_000_000
    assert Account.objects.count() == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_staff_edits_a_balance(alice, boss, method):
    response = boss.request(
        method, f"/api/accounts/{alice.account.pk}/", {"currency": "USD", "balance": 7}
    )

    assert response.status_code == 200
    assert response.json() == {"id": alice.account.pk, "currency": "USD", "balance": 7}
    assert alice.balance == 7


def test_an_edit_without_a_balance_keeps_it(alice, boss):
    response = boss.put(f"/api/accounts/{alice.account.pk}/", {"currency": "EUR"})

    assert response.json() == {"id": alice.account.pk, "currency": "EUR", "balance": 1_000_000}
    assert alice.balance == 1_000_000


def test_a_currency_is_fixed_once_there_are_transfers(alice, bob, boss):
    alice.send(bob.account, 1)
    path = f"/api/accounts/{bob.account.pk}/"

    response = boss.patch(path, {"currency": "EUR", "balance": 9})

    assert response.status_code == 400
    assert response.json()["code"] == "currency_fixed"
    assert boss.get(path).json() == {"id": bob.account.pk, "currency": "USD", "balance": 1}
    assert boss.patch(path, {"currency": "USD", "balance": 9}).status_code == 200


def test_an_account_in_a_withdrawn_currency_still_works(alice, bob, boss):
    for person in (alice, bob):
        person.account.currency = "HRK"
        person.account.save()
    path = f"/api/accounts/{alice.account.pk}/"

    assert alice.send(bob.account, 1).json()["currency"] == "HRK"
    assert boss.put(path, {"currency": "HRK", "balance": 5}).status_code == 200
    assert boss.get(path).json() == {"id": alice.account.pk, "currency": "HRK", "balance": 5}
    assert boss.post("/api/accounts/", {"currency": "HRK"}).status_code == 400


def test_deleting_an_account_keeps_its_transfers(alice, bob, boss):
    transfer = alice.send(bob.account, 300_000).json()

    response = boss.delete(f"/api/accounts/{alice.account.pk}/")

    assert response.status_code == 204
    assert alice.get("/api/accounts/").json() == []
    assert alice.get("/api/transfers/").json() == []
    assert bob.get("/api/transfers/").json() == [{**transfer, "origin": None}]
    assert bob.balance == 300_000


def test_an_account_lists_its_transfers_newest_first(alice, bob, boss):
    first = alice.send(bob.account, 1).json()
    second = bob.send(alice.account, 1).json()
    boss.account = Account.objects.create(currency="USD", balance=1)
    boss.send(alice.account, 1)

    path = f"/api/accounts/{bob.account.pk}/transfers/"

    assert bob.get(path).json() == boss.get(path).json() == [second, first]


def test_biggest_lists_every_currency_and_every_tie(alice, bob, boss):
    euros = Account.objects.create(currency="EUR", balance=3)
    tie = Account.objects.create(currency="USD", balance=1_000_000)

    biggest = boss.get("/api/accounts/biggest/").json()

    assert [row["id"] for row in biggest] == [alice.account.pk, euros.pk, tie.pk]
    assert [row["id"] for row in bob.get("/api/accounts/biggest/").json()] == [bob.account.pk]


def test_biggest_of_no_accounts_is_an_empty_list(boss):
    assert boss.get("/api/accounts/biggest/").json() == []


def test_transfers_of_an_account_are_read_only(alice, boss):
    response = boss.post(f"/api/accounts/{alice.account.pk}/transfers/", {})

    assert response.status_code == 405
    assert Transfer.objects.count() == 0


def test_biggest_compares_the_balances_at_the_time_it_is_read(alice, bob):
    """The highest balance of a moment earlier may no longer be that of any account."""
    biggest = Account.objects.biggest()
    alice.send(bob.account, 1)

    assert biggest.first_rows(["id"], 10) == [alice.account]


@pytest.mark.parametrize("query", ["limit=0", "ordering=zz", "currency=zz", "cursor=zz"])
def test_the_transfers_of_an_invisible_account_are_missing_whatever_the_query(alice, bob, query):
    assert alice.get(f"/api/accounts/{bob.account.pk}/transfers/?{query}").status_code == 404
    assert alice.get(f"/api/accounts/{alice.account.pk}/transfers/?{query}").status_code == 400


@pytest.mark.parametrize("number", ["0", str(MAX), str(MAX + 1), "9" * 30, "9" * 5000])
def test_a_number_without_an_account_is_not_found(alice, boss, number):
    for reader in alice, boss:
        response = reader.get(f"/api/accounts/{number}/")

        assert response.status_code == 404
        assert response.json()["code"] == "not_found"


def test_a_look_up_follows_the_rights_of_its_user(alice, bob):
    path = f"/api/accounts/{alice.account.pk}/"
    statuses = [bob.get(path).status_code]

    bob.user.profile.accounts.add(alice.account)
    statuses.append(bob.get(path).status_code)
    bob.user.profile.accounts.remove(alice.account)
    statuses.append(bob.get(path).status_code)
    User.objects.filter(pk=bob.user.pk).update(is_staff=True)
    statuses.append(bob.get(path).status_code)

    assert statuses == [404, 200, 404, 200]
    assert bob.get(f"/api/accounts/00{alice.account.pk}/").json() == bob.get(path).json()

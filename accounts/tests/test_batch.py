"""Many transfers in one request, all or none."""

from itertools import pairwise

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Transfer

PATH = "/api/transfers/batch/"


def item(origin: Account, destination: Account, balance: object) -> dict:
    return {"origin": origin.pk, "destination": destination.pk, "balance": balance}


def test_a_batch_is_booked_in_order(alice, bob, boss):
    items = [
        item(alice.account, bob.account, 1_000_000),
        {**item(bob.account, alice.account, 400_000), "reference": "change"},
    ]

    response = boss.post(PATH, {"transfers": items})

    assert response.status_code == 201
    assert [row["balance"] for row in response.json()] == [1_000_000, 400_000]
    assert response.json() == list(reversed(boss.get("/api/transfers/").json()))
    assert (alice.balance, bob.balance) == (400_000, 600_000)


def test_a_batch_is_booked_as_a_whole(alice, bob):
    items = [item(alice.account, bob.account, 600_000), item(alice.account, bob.account, 600_000)]

    response = alice.post(PATH, {"transfers": items})

    assert response.status_code == 400
    assert response.json() == {
        "index": 1,
        "detail": "Origin account has insufficient funds",
        "code": "insufficient_funds",
    }
    assert (alice.balance, bob.balance) == (1_000_000, 0)
    assert Transfer.objects.count() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"balance": 0}, "balance: Ensure this value is greater than or equal to 1."),
        ({"balance": 1.5}, "balance: Whole micro units are required: 1.5 is 1500000."),
        ({"origin": "abc"}, "origin: A valid integer is required."),
        ({"reference": "x" * 141}, "reference: Ensure this field has no more than 140 characters."),
    ],
)
def test_a_malformed_item_is_named(alice, bob, change, message):
    good = item(alice.account, bob.account, 1)

    response = alice.post(PATH, {"transfers": [good, {**good, **change}, {}]})

    assert response.status_code == 400
    assert response.json() == {"index": 1, "detail": message, "code": "invalid"}
    assert alice.balance == 1_000_000


@pytest.mark.parametrize(
    "body", [{}, [], "x", 5, None, {"transfers": None}, {"transfers": {}}, {"transfers": []}]
)
def test_a_malformed_batch_is_refused(alice, body):
    response = alice.post(PATH, body)

    assert response.status_code == 400
    assert response.json()["detail"]
    assert Transfer.objects.count() == 0


@pytest.mark.parametrize("wrong", [5, None, "text", []])
def test_a_malformed_item_is_named_by_its_index(alice, bob, wrong):
    response = alice.post(PATH, {"transfers": [item(alice.account, bob.account, 1), wrong]})

    assert response.status_code == 400
    assert (response.json()["index"], response.json()["code"]) == (1, "invalid")
    assert alice.balance == 1_000_000


def test_a_batch_has_at_most_1000_transfers(alice, bob):
    items = [item(alice.account, bob.account, 1)] * 1001

    response = alice.post(PATH, {"transfers": items})

    assert response.status_code == 400
    assert "1000" in response.json()["detail"]
    assert alice.balance == 1_000_000


def test_every_origin_must_belong_to_the_user(alice, bob):
    items = [item(alice.account, bob.account, 1), item(bob.account, alice.account, 1)]

    response = alice.post(PATH, {"transfers": items})

    assert response.status_code == 403
    assert response.json() == {
        "index": 1,
        "detail": "You can only send from your own accounts.",
        "code": "permission_denied",
    }
    assert (alice.balance, bob.balance) == (1_000_000, 0)


def test_the_first_foreign_origin_is_named_whether_it_exists_or_not(alice, bob):
    own, strange = item(alice.account, bob.account, 1), item(bob.account, alice.account, 1)
    unknown = {**strange, "origin": bob.account.pk + 1000}

    for wrong in strange, unknown:
        response = alice.post(PATH, {"transfers": [own, own, wrong, own, strange]})
        assert (response.status_code, response.json()["index"]) == (403, 2)
    single = alice.post("/api/transfers/", strange)
    assert (single.status_code, sorted(single.json())) == (403, ["code", "detail"])
    assert (alice.balance, bob.balance) == (1_000_000, 0)


def test_a_batch_allows_post_only(alice):
    assert alice.get(PATH).status_code == 405


@pytest.mark.server
def test_a_thousand_transfers_take_as_many_statements_as_one(boss):
    accounts = Account.objects.bulk_create(
        [Account(currency="USD", balance=5) for _ in range(1001)]
    )
    items = [item(*pair, 1) for pair in pairwise(accounts)]
    # The very first record also creates the end of the chain.
    boss.post(PATH, {"transfers": items[:1]})

    with CaptureQueriesContext(connection) as one:
        assert boss.post(PATH, {"transfers": items[:1]}).status_code == 201
    with CaptureQueriesContext(connection) as thousand:
        assert boss.post(PATH, {"transfers": items}).status_code == 201

    assert len(thousand) == len(one)
    assert Transfer.objects.count() == 1002

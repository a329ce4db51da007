"""Sending and cancelling transfers over HTTP."""

import pytest

from accounts.models import Account, Transfer

MAX = 2**63 - 1


def test_a_transfer_moves_the_money(alice, bob):
    response = alice.send(bob.account, 300_000)

    assert response.status_code == 201
    transfer = Transfer.objects.get()
    assert response.json() == {
        "id": transfer.pk,
        "date": transfer.date.isoformat().replace("+00:00", "Z"),
        "origin": alice.account.pk,
        "destination": bob.account.pk,
        "currency": "USD",
        "balance": 300_000,
        "cancelled": False,
        "reference": "",
        "created_by": alice.user.pk,
        "cancelled_by": None,
        "cancelled_at": None,
    }
    assert (alice.balance, bob.balance) == (700_000, 300_000)


def test_an_overdraft_moves_nothing(alice, bob):
    response = alice.send(bob.account, 1_000_001)

    assert response.status_code == 400
    assert response.json() == {
        "detail": "Origin account has insufficient funds",
        "code": "insufficient_funds",
    }
    assert (alice.balance, bob.balance) == (1_000_000, 0)
    assert Transfer.objects.count() == 0


def test_the_last_micro_unit_can_be_sent(alice, bob):
    assert alice.send(bob.account, 1_000_000).status_code == 201
    assert (alice.balance, bob.balance) == (0, 1_000_000)


@pytest.mark.parametrize("destination", ["another's", "in euros", "missing"])
def test_an_overdraft_reveals_nothing_about_the_destination(alice, bob, destination):
    numbers = {
        "another's": bob.account.pk,
        "in euros": Account.objects.create(currency="EUR").pk,
        "missing": 10**9,
    }

    response = alice.send(Account(pk=numbers[destination]), 2**63 - 1)

    assert response.status_code == 400
    assert response.json() == {
        "detail": "Origin account has insufficient funds",
        "code": "insufficient_funds",
    }
    assert (alice.balance, bob.balance) == (1_000_000, 0)


def test_currencies_must_match(alice, boss):
    euros = Account.objects.create(currency="EUR")

    response = alice.send(euros, 1)

    assert response.status_code == 400
    assert response.json() == {
        "detail": "Origin currency must match destination currency",
        "code": "currency_mismatch",
    }
    assert (alice.balance, euros.balance) == (1_000_000, 0)
    assert Transfer.objects.count() == 0


def test_a_balance_cannot_exceed_the_column_maximum(alice):
    full = Account.objects.create(currency="USD", balance=MAX)

    response = alice.send(full, 1)

    assert response.status_code == 400
    assert response.json()["code"] == "balance_overflow"
    assert alice.balance == 1_000_000
    full.refresh_from_db()
    assert full.balance == MAX


def test_a_balance_can_reach_the_column_maximum(alice):
    almost_full = Account.objects.create(currency="USD", balance=MAX - 1)

    assert alice.send(almost_full, 1).status_code == 201

    almost_full.refresh_from_db()
    assert (almost_full.balance, alice.balance) == (MAX, 999_999)


def test_a_transfer_to_oneself_is_refused(alice):
    response = alice.send(alice.account, 1)

    assert response.status_code == 400
    assert response.json()["code"] == "same_account"
    assert alice.balance == 1_000_000
    assert Transfer.objects.count() == 0


@pytest.mark.parametrize(
    "amount",
    [0, -1, 1.5, True, False, None, "abc", "", "1_000", "\u0663", [], {}, MAX + 1, 10**40, 2.0**60],
)
def test_an_amount_is_a_whole_number_from_1(alice, bob, amount):
    response = alice.send(bob.account, amount)

    assert response.status_code == 400
    assert list(response.json()) == ["balance"]
    assert (alice.balance, bob.balance) == (1_000_000, 0)
    assert Transfer.objects.count() == 0


@pytest.mark.parametrize("amount", [5, "5", 5.0])
def test_an_amount_may_be_written_in_other_exact_ways(alice, bob, amount):
    assert alice.send(bob.account, amount).status_code == 201
    assert (alice.balance, bob.balance) == (999_995, 5)


@pytest.mark.parametrize(
    ("amount", "micro_units"),
    [(1.25, "1.25 is 1250000"), ("0.000001", "0.000001 is 1"), ("5.00", "5.00 is 5000000")],
)
def test_the_error_for_an_amount_in_units_states_the_micro_units(
    alice, bob, boss, amount, micro_units
):
    errors = {"balance": [f"Whole micro units are required: {micro_units}."]}

    assert alice.send(bob.account, amount).json() == errors
    assert boss.post("/api/accounts/", {"currency": "USD", "balance": amount}).json() == errors
    assert (alice.balance, bob.balance) == (1_000_000, 0)


@pytest.mark.parametrize("amount", ["abc", "1.2345678", "1.", ".5", "-1.5", "1e3", 1e-7, 1e300])
def test_other_invalid_amounts_are_not_converted(alice, bob, amount):
    errors = {"balance": ["A valid integer is required."]}

    assert alice.send(bob.account, amount).json() == errors


def test_an_id_is_not_converted_like_an_amount(alice, bob):
    body = {"origin": 1.5, "destination": bob.account.pk, "balance": 1}

    errors = {"origin": ["A valid integer is required."]}
    assert alice.post("/api/transfers/", body).json() == errors


def test_a_new_transfer_has_an_address(alice, bob):
    sent = alice.send(bob.account, 5)

    assert sent["Location"] == f"/api/transfers/{sent.json()['id']}/"
    assert alice.get(sent["Location"]).json() == sent.json()


@pytest.mark.parametrize("field", ["origin", "destination", "balance"])
def test_every_field_is_required(alice, bob, field):
    body = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 1}
    del body[field]

    response = alice.post("/api/transfers/", body)

    assert response.status_code == 400
    assert response.json() == {field: ["This field is required."]}
    assert (alice.balance, bob.balance) == (1_000_000, 0)


@pytest.mark.parametrize("account", [0, -1, 10**9, MAX, 10**30, 1.5, True, None, "abc", [1], {}])
def test_an_unknown_destination_is_refused(alice, account):
    body = {"origin": alice.account.pk, "destination": account, "balance": 1}

    response = alice.post("/api/transfers/", body)

    assert response.status_code == 400
    assert "estination" in response.content.decode()
    assert alice.balance == 1_000_000
    assert Transfer.objects.count() == 0


def test_staff_gets_an_error_for_an_unknown_origin(boss, bob):
    body = {"origin": 10**9, "destination": bob.account.pk, "balance": 1}

    response = boss.post("/api/transfers/", body)

    assert response.status_code == 400
    assert response.json() == {
        "detail": "Origin account does not exist",
        "code": "account_missing",
    }


def test_read_only_fields_are_ignored(alice, bob):
    response = alice.post(
        "/api/transfers/",
        {
            "id": 77,
            "date": "1999-01-01T00:00:00Z",
            "currency": "EUR",
            "cancelled": True,
            "origin": alice.account.pk,
            "destination": bob.account.pk,
            "balance": 1,
        },
    )

    assert response.status_code == 201
    transfer = Transfer.objects.get()
    assert transfer.pk != 77
    assert transfer.date.year != 1999
    assert (transfer.currency, transfer.cancelled) == ("USD", False)


def test_a_user_sends_only_from_their_own_accounts(alice, bob):
    body = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 1}

    response = bob.post("/api/transfers/", body)
    unknown = bob.post("/api/transfers/", {**body, "origin": 10**9})

    assert response.status_code == unknown.status_code == 403
    assert response.json() == unknown.json()
    assert (alice.balance, bob.balance) == (1_000_000, 0)
    assert Transfer.objects.count() == 0


def test_staff_sends_from_any_account(alice, bob, boss):
    boss.account = alice.account

    assert boss.send(bob.account, 1).status_code == 201
    assert (alice.balance, bob.balance) == (999_999, 1)


def test_the_receiver_cancels_a_transfer(alice, bob):
    transfer = alice.send(bob.account, 300_000).json()["id"]

    response = bob.cancel(transfer)

    assert (response.status_code, response.content) == (204, b"")
    assert (alice.balance, bob.balance) == (1_000_000, 0)
    assert Transfer.objects.get().cancelled is True


def test_a_transfer_is_cancelled_once(alice, bob):
    transfer = alice.send(bob.account, 300_000).json()["id"]
    bob.cancel(transfer)
    alice.send(bob.account, 500_000)

    response = bob.cancel(transfer)

    assert response.status_code == 400
    assert response.json() == {"detail": "Transfer already cancelled", "code": "already_cancelled"}
    assert (alice.balance, bob.balance) == (500_000, 500_000)


def test_a_transfer_whose_money_was_spent_cannot_be_cancelled(alice, bob):
    transfer = alice.send(bob.account, 300_000).json()["id"]
    bob.send(alice.account, 1)

    response = bob.cancel(transfer)

    assert response.status_code == 400
    assert response.json() == {
        "detail": "Destination account has insufficient funds",
        "code": "insufficient_funds",
    }
    assert (alice.balance, bob.balance) == (700_001, 299_999)
    assert Transfer.objects.get(pk=transfer).cancelled is False


def test_the_sender_cannot_cancel_a_transfer(alice, bob):
    transfer = alice.send(bob.account, 300_000).json()["id"]

    response = alice.cancel(transfer)

    assert response.status_code == 403
    assert (alice.balance, bob.balance) == (700_000, 300_000)
    assert Transfer.objects.get().cancelled is False


def test_an_invisible_transfer_looks_like_a_missing_one(alice, bob, boss):
    boss.account = Account.objects.create(currency="USD", balance=5)
    transfer = boss.send(alice.account, 5).json()["id"]

    unseen = bob.cancel(transfer)
    unknown = bob.cancel(10**9)

    assert unseen.status_code == unknown.status_code == 404
    assert unseen.json() == unknown.json()
    assert bob.get(f"/api/transfers/{transfer}/").json() == unseen.json()
    assert (alice.balance, boss.balance) == (1_000_005, 0)


def test_staff_cancels_any_transfer(alice, bob, boss):
    transfer = alice.send(bob.account, 300_000).json()["id"]

    assert boss.cancel(transfer).status_code == 204
    assert (alice.balance, bob.balance) == (1_000_000, 0)


@pytest.mark.parametrize("end", ["origin", "destination"])
def test_a_transfer_with_a_deleted_account_cannot_be_cancelled(alice, bob, boss, end):
    transfer = alice.send(bob.account, 300_000).json()["id"]
    deleted, other = (alice, bob) if end == "origin" else (bob, alice)
    left = other.balance
    assert boss.delete(f"/api/accounts/{deleted.account.pk}/").status_code == 204

    response = boss.cancel(transfer)

    assert response.status_code == 400
    assert response.json() == {
        "detail": f"{end.capitalize()} account does not exist",
        "code": "account_missing",
    }
    assert other.balance == left
    row = boss.get(f"/api/transfers/{transfer}/").json()
    assert (row[end], row["currency"], row["cancelled"]) == (None, "USD", False)


def test_a_cancellation_cannot_overflow_the_origin(alice, bob):
    transfer = alice.send(bob.account, 10).json()["id"]
    account = Account.objects.get(pk=alice.account.pk)
    account.balance = MAX
    account.save()

    response = bob.cancel(transfer)

    assert response.status_code == 400
    assert response.json()["code"] == "balance_overflow"
    assert (alice.balance, bob.balance) == (MAX, 10)


def test_a_user_sees_transfers_sent_and_received(alice, bob, boss):
    sent = alice.send(bob.account, 1).json()
    received = bob.send(alice.account, 1).json()
    boss.account = Account.objects.create(currency="USD", balance=5)
    foreign = boss.send(Account.objects.create(currency="USD"), 5).json()

    assert alice.get("/api/transfers/").json() == [received, sent]
    assert bob.get("/api/transfers/").json() == [received, sent]
    assert boss.get("/api/transfers/").json() == [foreign, received, sent]
    assert alice.get(f"/api/transfers/{sent['id']}/").json() == sent
    assert bob.get(f"/api/transfers/{sent['id']}/").json() == sent


def test_a_transfer_between_own_accounts_is_listed_once_and_can_be_cancelled(alice):
    savings = alice.open_account(0)
    transfer = alice.send(savings, 10).json()

    assert alice.get("/api/transfers/").json() == [transfer]
    assert alice.cancel(transfer["id"]).status_code == 204
    assert alice.balance == 1_000_000


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_transfer_cannot_be_edited(alice, bob, boss, method):
    transfer = alice.send(bob.account, 1).json()

    response = boss.request(method, f"/api/transfers/{transfer['id']}/", {"balance": 5})

    assert response.status_code == 405
    assert response["Allow"] == "GET, DELETE, HEAD, OPTIONS"
    assert boss.get(f"/api/transfers/{transfer['id']}/").json() == transfer

"""The pages of transfers in the admin."""

import re

import pytest
from django.db import OperationalError

from accounts import ledger
from accounts.models import Transfer
from almaFintech.tests.admin import MAX, TRANSFERS, act, booked, form, found, messages, send

AUTOCOMPLETE = "/admin/autocomplete/?app_label=accounts&model_name=transfer&field_name=origin&term="


def test_a_transfer_moves_the_money(staff, alice, bob):
    response = send(staff, alice.account.pk, bob.account.pk, 300_000)

    transfer = Transfer.objects.get()
    assert (transfer.origin, transfer.destination) == (alice.account, bob.account)
    assert (transfer.balance, transfer.currency, transfer.cancelled) == (300_000, "USD", False)
    assert (alice.balance, bob.balance) == (700_000, 300_000)
    assert "was added successfully" in messages(response)[0]


def test_an_overdraft_shows_a_message_and_keeps_the_form(staff, alice, bob):
    response = send(staff, alice.account.pk, bob.account.pk, 1_000_001, key="k1")

    assert messages(response) == ["Origin account has insufficient funds"]
    typed = {name: str(form(response)[name].value()) for name in form(response).fields}
    assert typed == {
        "origin": str(alice.account.pk),
        "destination": str(bob.account.pk),
        "balance": "1000001",
        "reference": "",
        "idempotency_key": "k1",
    }
    assert (alice.balance, bob.balance) == (1_000_000, 0)
    assert not Transfer.objects.exists()


def test_different_currencies_are_refused(staff, alice, bob):
    euros = bob.open_account(0, "EUR")
    response = send(staff, alice.account.pk, euros.pk, 1)

    assert messages(response) == ["Origin currency must match destination currency"]
    assert form(response)["destination"].value() == str(euros.pk)
    assert alice.balance == 1_000_000
    assert not Transfer.objects.exists()


def test_a_balance_cannot_exceed_the_column_maximum(staff, alice, bob):
    full = bob.open_account(MAX)
    response = send(staff, alice.account.pk, full.pk, 1)

    assert messages(response) == ["Destination account cannot hold that much"]
    assert alice.balance == 1_000_000
    assert not Transfer.objects.exists()


def test_a_transfer_to_the_same_account_is_refused(staff, alice):
    response = send(staff, alice.account.pk, alice.account.pk, 1)

    assert form(response).errors == {
        "destination": ["Origin and destination must be different accounts"]
    }
    assert alice.balance == 1_000_000
    assert not Transfer.objects.exists()


@pytest.mark.parametrize("amount", [0, -1, MAX + 1, "9" * 5000, "1.5", "abc", "", "1\0"])
def test_an_invalid_amount_is_refused(staff, alice, bob, amount):
    response = send(staff, alice.account.pk, bob.account.pk, amount)

    assert [*form(response).errors] == ["balance"]
    assert form(response)["balance"].value() == str(amount)
    assert (alice.balance, bob.balance) == (1_000_000, 0)
    assert not Transfer.objects.exists()


@pytest.mark.parametrize("number", ["", "0", "-1", "abc", "1.5", "9" * 30, "9" * 5000, "\0"])
@pytest.mark.parametrize("side", ["origin", "destination"])
def test_a_missing_account_is_refused(staff, alice, side, number):
    sides = {"origin": alice.account.pk, "destination": alice.account.pk, side: number}
    response = send(staff, **sides, amount=1)

    assert [*form(response).errors] == [side]
    assert alice.balance == 1_000_000
    assert not Transfer.objects.exists()


def test_an_account_deleted_meanwhile_is_refused(staff, alice, bob, monkeypatch):
    # The form finds the account, and it is deleted before the ledger locks it.
    save_model = "accounts.admin.TransferAdmin.save_model"
    monkeypatch.setattr(
        save_model, lambda self, request, obj, *args: (bob.account.delete(), obj.save())
    )
    response = send(staff, alice.account.pk, bob.account.pk, 1)

    assert messages(response) == ["Destination account does not exist"]
    assert alice.balance == 1_000_000
    assert not Transfer.objects.exists()


# --- Choosing the accounts ------------------------------------------------------------


def test_the_form_does_not_list_all_accounts(staff, alice, bob):
    page = staff.get(f"{TRANSFERS}add/?origin={alice.account.pk}").content.decode()

    def options(name):
        select = found(rf'(<select name="{name}".*?</select>)', page)
        return re.findall(r'<option value="(\d+)"', select)

    assert options("origin") == [str(alice.account.pk)]
    assert options("destination") == []
    # The form does not offer to edit or delete accounts, either.
    assert "related-widget-wrapper-link add-related" not in page
    assert "related-widget-wrapper-link change-related" not in page
    assert "related-widget-wrapper-link delete-related" not in page


def test_accounts_are_found_by_number_while_typing(staff, alice, bob):
    def offered(term):
        return [row["id"] for row in staff.get(AUTOCOMPLETE + term).json()["results"]]

    assert offered("") == [str(alice.account.pk), str(bob.account.pk)]
    assert offered(str(bob.account.pk)) == [str(bob.account.pk)]
    for term in ("abc", "%00", "9" * 19, "9" * 30, "9" * 5000):
        assert offered(term) == []


@pytest.mark.parametrize("value", ["abc", "1.5", "%00", "-1", "9" * 30, "9" * 5000])
@pytest.mark.parametrize("field", ["origin", "destination", "balance"])
def test_a_link_to_the_form_may_carry_any_value(staff, alice, field, value):
    assert staff.get(f"{TRANSFERS}add/?{field}={value}").status_code == 200


# --- A booked transfer ----------------------------------------------------------------


def test_a_booked_transfer_is_read_only(staff, alice, bob):
    transfer = booked(alice, bob, 1_250_000 - 1_000_000)
    path = f"{TRANSFERS}{transfer.pk}/change/"
    page = staff.get(path).content.decode()

    assert "0.25\N{NO-BREAK SPACE}USD" in page
    assert 'name="balance"' not in page
    assert 'name="_save"' not in page
    assert staff.post(path, {"balance": 1, "cancelled": "on"}).status_code == 403
    transfer.refresh_from_db()
    assert (transfer.balance, transfer.cancelled) == (250_000, False)


def test_a_booked_transfer_cannot_be_deleted(staff, alice, bob):
    transfer = booked(alice, bob)
    path = f"{TRANSFERS}{transfer.pk}/delete/"

    assert staff.get(path).status_code == 403
    assert staff.post(path, {"post": "yes"}).status_code == 403
    assert path not in staff.get(f"{TRANSFERS}{transfer.pk}/change/").content.decode()
    assert "delete_selected" not in staff.get(TRANSFERS).content.decode()
    response = act(staff, TRANSFERS, "delete_selected", transfer, post="yes")
    assert messages(response) == ["No action selected."]
    transfer.refresh_from_db()
    assert not transfer.cancelled
    assert (alice.balance, bob.balance) == (999_999, 1)


def test_the_page_of_a_transfer_shows_who_made_and_cancelled_it(staff, alice, bob, boss):
    data = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 5}
    staff.post(f"{TRANSFERS}add/", {**data, "reference": "rent"})
    transfer = Transfer.objects.get()
    act(staff, TRANSFERS, "cancel_selected", transfer)

    transfer.refresh_from_db()
    assert transfer.reference == "rent"
    assert (transfer.created_by_id, transfer.cancelled_by_id) == (boss.user.pk, boss.user.pk)
    page = staff.get(f"{TRANSFERS}{transfer.pk}/change/").content.decode()
    assert page.count(f"/admin/auth/user/{boss.user.pk}/change/") == 2


# --- Cancelling -----------------------------------------------------------------------


def test_cancelling_returns_the_money(staff, alice, bob):
    transfers = [booked(alice, bob, 300_000), booked(alice, bob, 200_000)]
    response = act(staff, TRANSFERS, "cancel_selected", *transfers)

    assert messages(response) == ["2 cancelled."]
    assert (alice.balance, bob.balance) == (1_000_000, 0)
    assert [*Transfer.objects.values_list("cancelled", flat=True)] == [True, True]
    history = staff.get(f"{TRANSFERS}{transfers[0].pk}/history/").content.decode()
    assert "Cancelled." in history
    assert "boss" in history


def test_cancelling_is_all_or_none(staff, alice, bob):
    kept = booked(alice, bob, 300_000)
    spent = booked(alice, bob, 200_000)
    carol = bob.open_account(0)
    bob.send(carol, 100_000)
    response = act(staff, TRANSFERS, "cancel_selected", kept, spent)

    # The older one is cancelled first, and the rest does not cover the newer one.
    assert messages(response) == [
        f"Nothing was cancelled. Transfer {spent.pk}: Destination account has insufficient funds"
    ]
    assert (alice.balance, bob.balance) == (500_000, 400_000)
    assert not Transfer.objects.filter(cancelled=True).exists()
    assert "Cancelled." not in staff.get(f"{TRANSFERS}{kept.pk}/history/").content.decode()


def test_a_cancelled_transfer_is_not_cancelled_again(staff, alice, bob):
    fresh, cancelled = booked(alice, bob, 300_000), booked(alice, bob, 200_000)
    cancelled.delete()
    response = act(staff, TRANSFERS, "cancel_selected", fresh, cancelled)

    assert messages(response) == [
        f"Nothing was cancelled. Transfer {cancelled.pk}: Transfer already cancelled"
    ]
    assert (alice.balance, bob.balance) == (700_000, 300_000)


def test_a_transfer_of_a_deleted_account_is_not_cancelled(staff, alice, bob):
    transfer = booked(alice, bob, 300_000)
    alice.account.delete()
    response = act(staff, TRANSFERS, "cancel_selected", transfer)

    assert messages(response) == [
        f"Nothing was cancelled. Transfer {transfer.pk}: Origin account does not exist"
    ]
    assert bob.balance == 300_000
    assert not Transfer.objects.get().cancelled


@pytest.mark.django_db(transaction=True)
def test_a_cancellation_runs_again_after_a_deadlock(staff, alice, bob, monkeypatch):
    transfer = booked(alice, bob, 300_000)
    cancel = ledger.cancel
    # MariaDB's error for a deadlock with another transaction.
    deadlocks = [OperationalError(1213, "Deadlock found when trying to get lock")]

    def cancel_after_deadlock(transfers, by):
        if deadlocks:
            raise deadlocks.pop()
        return cancel(transfers, by=by)

    monkeypatch.setattr(ledger, "cancel", cancel_after_deadlock)
    response = act(staff, TRANSFERS, "cancel_selected", transfer)

    assert messages(response) == ["1 cancelled."]
    assert (alice.balance, bob.balance) == (1_000_000, 0)

"""Accounts and transfers in the admin."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import OperationalError, connection
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import ledger
from accounts.currencies import in_units
from accounts.models import Account, Entry, IdempotencyKey, Transfer
from accounts.tests.meetings import at_once
from almaFintech.admin import BoundedPaginator
from almaFintech.tests.admin import act, form, messages, shown
from audit.models import Record
from conftest import Person, needs_row_locks

MAX = 2**63 - 1
ACCOUNTS = "/admin/accounts/account/"
TRANSFERS = "/admin/accounts/transfer/"
ENTRIES = "/admin/accounts/entry/"
AUTOCOMPLETE = "/admin/autocomplete/?app_label=accounts&model_name=transfer&field_name=origin&term="


def send(staff, origin, destination, amount, key="", **buttons):
    data = {"origin": origin, "destination": destination, "balance": amount} | buttons
    return staff.post(f"{TRANSFERS}add/", data | {"idempotency_key": key}, follow=True)


def key_of(page):
    return form(page)["idempotency_key"].value()


def booked(person, other, amount=1):
    return Transfer.objects.get(pk=person.send(other.account, amount).json()["id"])


def listed(response):
    return [row.pk for row in response.context["cl"].result_list]


# --- Accounts ----------------------------------------------------------------------------


def test_an_account_opens_with_a_currency_and_a_balance(staff):
    response = staff.post(f"{ACCOUNTS}add/", {"currency": "EUR", "balance": "2500000"})

    assert response.status_code == 302
    assert [*Account.objects.values_list("currency", "balance")] == [("EUR", 2_500_000)]


@pytest.mark.parametrize(
    ("currency", "balance"),
    [("USD", "-1"), ("USD", "1.5"), ("USD", ""), ("USD", MAX + 1), ("HRK", 1), ("XTS", 1), ("", 1)],
)
def test_an_account_that_may_not_be_is_refused_in_the_form(staff, currency, balance):
    response = staff.post(f"{ACCOUNTS}add/", {"currency": currency, "balance": balance})

    assert response.status_code == 200
    assert form(response).errors
    assert form(response)["balance"].value() == str(balance)
    assert not Account.objects.exists()


def test_the_currency_can_change_before_the_first_transfer(staff, alice):
    path = f"{ACCOUNTS}{alice.account.pk}/change/"
    staff.post(
        path, {"currency": "EUR", "balance": 1_000_000, "initial-balance": 1_000_000, "reason": "x"}
    )

    alice.account.refresh_from_db()
    assert (alice.account.currency, alice.balance) == ("EUR", 1_000_000)


def test_the_currency_is_read_only_after_the_first_transfer(staff, alice, bob):
    path = f"{ACCOUNTS}{alice.account.pk}/change/"
    assert 'name="currency"' in staff.get(path).content.decode()
    alice.send(bob.account, 1)

    assert 'name="currency"' not in staff.get(path).content.decode()
    staff.post(
        path, {"currency": "EUR", "balance": 999_999, "initial-balance": 999_999, "reason": "x"}
    )
    alice.account.refresh_from_db()
    assert (alice.account.currency, alice.balance) == ("USD", 999_999)


def test_an_account_in_a_withdrawn_currency_can_be_edited(staff):
    account = Account.objects.create(currency="HRK", balance=5)
    path = f"{ACCOUNTS}{account.pk}/change/"

    assert form(staff.get(path))["currency"].value() == "HRK"
    response = staff.post(
        path, {"currency": "HRK", "balance": 7, "initial-balance": 5, "reason": "x"}
    )

    assert response.status_code == 302
    account.refresh_from_db()
    assert (account.currency, account.balance) == ("HRK", 7)


def test_an_edited_balance_is_written(staff, alice):
    path = f"{ACCOUNTS}{alice.account.pk}/change/"
    data = {"currency": "USD", "balance": 2_000_000, "initial-balance": 1_000_000, "reason": "x"}

    assert staff.post(path, data).status_code == 302
    assert alice.balance == 2_000_000


def test_an_edit_does_not_overwrite_a_transfer_that_came_after_the_page(staff, alice, bob):
    path = f"{ACCOUNTS}{alice.account.pk}/change/"
    page = staff.get(path).content.decode()
    first_shown = re.search(r'name="initial-balance" value="(\d+)"', page)[1]
    alice.send(bob.account, 300_000)

    response = staff.post(
        path, {"balance": 5_000_000, "initial-balance": first_shown, "reason": "x"}, follow=True
    )

    assert messages(response) == ["The balance has changed since it was read: read it again"]
    assert form(response)["balance"].value() == 700_000
    assert (alice.balance, bob.balance) == (700_000, 300_000)


def test_the_balance_first_shown_is_remembered_while_the_form_is_corrected(staff, alice, bob):
    path = f"{ACCOUNTS}{alice.account.pk}/change/"
    alice.send(bob.account, 300_000)

    response = staff.post(path, {"balance": -1, "initial-balance": 1_000_000})
    first_shown = re.search(r'name="initial-balance" value="(\d+)"', response.content.decode())[1]
    response = staff.post(
        path, {"balance": 5_000_000, "initial-balance": first_shown, "reason": "x"}, follow=True
    )

    assert messages(response) == ["The balance has changed since it was read: read it again"]
    assert (alice.balance, bob.balance) == (700_000, 300_000)


def test_a_form_that_is_corrected_shows_the_saved_balance(staff, alice):
    path = f"{ACCOUNTS}{alice.account.pk}/change/"

    page = staff.post(path, {"balance": 777, "initial-balance": 1_000_000}).content.decode()

    assert "Say why the balance or the currency is edited." in page
    assert in_units(1_000_000, "USD") in page
    assert in_units(777, "USD") not in page


def test_saving_an_untouched_balance_does_not_restore_it(staff, alice, bob):
    path = f"{ACCOUNTS}{alice.account.pk}/change/"
    alice.send(bob.account, 300_000)

    response = staff.post(path, {"balance": 1_000_000, "initial-balance": 1_000_000})

    assert response.status_code == 302
    assert (alice.balance, bob.balance) == (700_000, 300_000)


@pytest.mark.parametrize("shown", ["", "abc", "-1", str(MAX + 1)])
def test_a_mangled_initial_balance_changes_nothing(staff, alice, shown):
    path = f"{ACCOUNTS}{alice.account.pk}/change/"
    response = staff.post(
        path, {"currency": "USD", "balance": 5, "initial-balance": shown, "reason": "x"}
    )

    assert response.status_code == 200
    assert form(response).errors
    assert alice.balance == 1_000_000


def test_deleting_an_account_keeps_its_transfers(staff, alice, bob):
    transfer = booked(alice, bob)
    path = f"{ACCOUNTS}{alice.account.pk}/delete/"

    assert staff.get(path).status_code == 200
    assert (
        staff.post(path, {"post": "yes", "reason": "x", "shown": shown(alice.account)}).status_code
        == 302
    )

    transfer.refresh_from_db()
    assert (transfer.origin, transfer.destination) == (None, bob.account)
    assert [*Account.objects.all()] == [bob.account]
    assert ">deleted<" in staff.get(TRANSFERS).content.decode()


def test_deleting_accounts_in_bulk_keeps_their_transfers(staff, alice, bob):
    transfer = booked(alice, bob)

    response = act(staff, ACCOUNTS, "delete_selected", alice.account, bob.account)
    assert Account.objects.count() == 2, "the first request only asks"
    assert "Are you sure" in response.content.decode()
    confirmed = {"post": "yes", "reason": "x", "shown": shown(alice.account, bob.account)}
    act(staff, ACCOUNTS, "delete_selected", alice.account, bob.account, **confirmed)

    transfer.refresh_from_db()
    assert (transfer.origin, transfer.destination) == (None, None)
    assert not Account.objects.exists()


def test_an_account_leads_to_its_transfers(staff, alice, bob):
    transfer = booked(alice, bob)
    link = f'<a href="{TRANSFERS}?q={alice.account.pk}">'

    assert link in staff.get(ACCOUNTS).content.decode()
    assert link in staff.get(f"{ACCOUNTS}{alice.account.pk}/change/").content.decode()
    assert transfer.pk in listed(staff.get(f"{TRANSFERS}?q={alice.account.pk}"))


# --- Booking a transfer ------------------------------------------------------------------


def test_a_transfer_moves_the_money(staff, alice, bob):
    response = send(staff, alice.account.pk, bob.account.pk, 300_000)

    transfer = Transfer.objects.get()
    assert (transfer.origin, transfer.destination) == (alice.account, bob.account)
    assert (transfer.balance, transfer.currency, transfer.cancelled) == (300_000, "USD", False)
    assert (alice.balance, bob.balance) == (700_000, 300_000)
    assert "was added successfully" in messages(response)[0]


def test_an_overdraft_is_a_message_and_keeps_what_was_typed(staff, alice, bob):
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


def test_an_account_cannot_hold_more_than_its_column(staff, alice, bob):
    full = bob.open_account(MAX)
    response = send(staff, alice.account.pk, full.pk, 1)

    assert messages(response) == ["Destination account cannot hold that much"]
    assert alice.balance == 1_000_000
    assert not Transfer.objects.exists()


def test_a_transfer_to_oneself_is_refused(staff, alice):
    response = send(staff, alice.account.pk, alice.account.pk, 1)

    assert form(response).errors == {
        "destination": ["Origin and destination must be different accounts"]
    }
    assert alice.balance == 1_000_000
    assert not Transfer.objects.exists()


@pytest.mark.parametrize("amount", [0, -1, MAX + 1, "9" * 5000, "1.5", "abc", "", "1\0"])
def test_an_amount_that_is_none_is_refused(staff, alice, bob, amount):
    response = send(staff, alice.account.pk, bob.account.pk, amount)

    assert [*form(response).errors] == ["balance"]
    assert form(response)["balance"].value() == str(amount)
    assert (alice.balance, bob.balance) == (1_000_000, 0)
    assert not Transfer.objects.exists()


@pytest.mark.parametrize("number", ["", "0", "-1", "abc", "1.5", "9" * 30, "9" * 5000, "\0"])
@pytest.mark.parametrize("side", ["origin", "destination"])
def test_an_account_that_is_not_there_is_refused(staff, alice, side, number):
    sides = {"origin": alice.account.pk, "destination": alice.account.pk, side: number}
    response = send(staff, **sides, amount=1)

    assert [*form(response).errors] == [side]
    assert alice.balance == 1_000_000
    assert not Transfer.objects.exists()


def test_an_account_deleted_meanwhile_is_a_message(staff, alice, bob, monkeypatch):
    # The form has found the account, and somebody deletes it before the ledger locks it.
    save_model = "accounts.admin.TransferAdmin.save_model"
    monkeypatch.setattr(
        save_model, lambda self, request, obj, *args: (bob.account.delete(), obj.save())
    )
    response = send(staff, alice.account.pk, bob.account.pk, 1)

    assert messages(response) == ["Destination account does not exist"]
    assert alice.balance == 1_000_000
    assert not Transfer.objects.exists()


# --- A form that is sent again -----------------------------------------------------------


def test_every_form_has_a_key_of_its_own(staff):
    pages = [staff.get(f"{TRANSFERS}add/{query}") for query in ("", "?idempotency_key=a%00", "")]
    keys = {key_of(page) for page in pages}

    assert len(keys) == 3
    for page in pages:
        hidden = f'<input type="hidden" name="idempotency_key" value="{key_of(page)}"'
        assert hidden in page.content.decode()


@pytest.mark.parametrize("button", ["_save", "_addanother"])
def test_a_form_sent_twice_is_booked_once(staff, alice, bob, button):
    key = key_of(staff.get(f"{TRANSFERS}add/"))
    sent = (alice.account.pk, bob.account.pk, 600_000, key)
    first = send(staff, *sent, **{button: "1"})
    # The money that is left would not do for another one.
    again = send(staff, *sent, **{button: "1"})

    transfer = Transfer.objects.get()
    assert (alice.balance, bob.balance) == (400_000, 600_000)
    assert again.redirect_chain == [(TRANSFERS, 302)]
    assert "was added successfully" in messages(first)[0]
    assert messages(again) == [
        f"This form has already booked transfer {transfer.pk}, and did not book it again."
    ]
    assert LogEntry.objects.count() == 1


def test_a_form_without_a_key_is_booked_each_time(staff, alice, bob):
    for _ in range(2):
        send(staff, alice.account.pk, bob.account.pk, 300_000)

    assert (alice.balance, bob.balance) == (400_000, 600_000)
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize("amount", [1_000_001, "abc"])
def test_a_form_that_was_refused_can_be_corrected(staff, alice, bob, amount):
    refused = send(staff, alice.account.pk, bob.account.pk, amount, key="k1")
    assert key_of(refused) == "k1"
    assert not IdempotencyKey.objects.exists()

    for _ in range(2):
        send(staff, alice.account.pk, bob.account.pk, 300_000, key="k1")
    assert (alice.balance, bob.balance) == (700_000, 300_000)


def test_a_form_that_was_booked_and_then_changed_is_another_one(staff, alice, bob):
    send(staff, alice.account.pk, bob.account.pk, 300_000, key="k1")
    changed = send(staff, alice.account.pk, bob.account.pk, 200_000, key="k1")

    assert (alice.balance, bob.balance) == (700_000, 300_000)
    assert changed.redirect_chain == [(TRANSFERS, 302)]
    assert messages(changed) == [
        "This form has already booked another transfer, and nothing was booked now. "
        "Open a new form to book one more."
    ]
    assert Transfer.objects.count() == 1


def test_a_key_of_the_api_is_not_for_a_form(staff, alice, bob, boss):
    sent = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 300_000}
    boss.post("/api/transfers/", sent, idempotency_key="k1")
    response = send(staff, *sent.values(), key="k1")
    assert messages(response)[0].startswith("This form has already booked another transfer")

    send(staff, *sent.values(), key="k2")
    assert boss.post("/api/transfers/", sent, idempotency_key="k2").status_code == 422
    assert (alice.balance, bob.balance) == (400_000, 600_000)


def test_a_key_of_a_form_belongs_to_its_user(staff, alice, bob):
    other = Client()
    other.force_login(Person.join("chief", is_staff=True).user)
    for browser in (staff, other):
        send(browser, alice.account.pk, bob.account.pk, 300_000, key="k1")

    assert (alice.balance, bob.balance) == (400_000, 600_000)


@pytest.mark.parametrize("key", ["x" * 256, "a b", "a\0", "k1\n", "é"])
def test_a_key_that_no_form_has_books_nothing(staff, alice, bob, key):
    response = send(staff, alice.account.pk, bob.account.pk, 300_000, key=key)

    assert [*form(response).errors] == ["idempotency_key"]
    assert (alice.balance, bob.balance) == (1_000_000, 0)


@pytest.mark.django_db(transaction=True)
def test_a_form_whose_answer_was_lost_before_the_commit_is_free(staff, alice, bob, monkeypatch):
    def fail(*args):
        raise OperationalError("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr("accounts.idempotency.keep", fail)
        assert send(staff, alice.account.pk, bob.account.pk, 300_000, key="k1").status_code == 503
    assert (alice.balance, IdempotencyKey.objects.count()) == (1_000_000, 0)

    send(staff, alice.account.pk, bob.account.pk, 300_000, key="k1")
    assert (alice.balance, bob.balance) == (700_000, 300_000)


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_a_form_sent_by_many_at_once_is_booked_once(boss, alice, bob):
    ends = []

    def save():
        browser = Client()
        browser.force_login(boss.user)
        ends.append(send(browser, alice.account.pk, bob.account.pk, 100_000, key="k1"))
        return ends[-1]

    assert at_once(*[save] * 8) == [200] * 8
    assert {tuple(end.redirect_chain) for end in ends} == {((TRANSFERS, 302),)}
    # The contexts of the test client are those of all threads, so the pages themselves are read.
    assert sum("was added successfully" in end.content.decode() for end in ends) == 1
    assert sum("and did not book it again" in end.content.decode() for end in ends) == 7
    assert (alice.balance, bob.balance) == (900_000, 100_000)


def test_a_form_that_is_still_being_booked_comes_back_with_its_key(staff, alice, bob, monkeypatch):
    def wait_in_vain(*args, **kwargs):
        raise OperationalError(1205, "Lock wait timeout exceeded")

    monkeypatch.setattr(IdempotencyKey, "save", wait_in_vain)
    response = send(staff, alice.account.pk, bob.account.pk, 300_000, key="k1")

    assert messages(response) == ["This form is still being booked: save it again later."]
    assert (key_of(response), form(response)["balance"].value()) == ("k1", "300000")
    assert (alice.balance, bob.balance) == (1_000_000, 0)


# --- A booked transfer -------------------------------------------------------------------


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


# --- Cancelling --------------------------------------------------------------------------


def test_cancelling_gives_the_money_back(staff, alice, bob):
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

    # The older one goes first, and what is left does not pay for the newer one.
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
def test_a_deadlock_is_run_again(staff, alice, bob, monkeypatch):
    transfer = booked(alice, bob, 300_000)
    cancel = ledger.cancel
    # The error by which MariaDB says that another transaction was in the way.
    deadlocks = [OperationalError(1213, "Deadlock found when trying to get lock")]

    def cancel_after_deadlock(transfers, by):
        if deadlocks:
            raise deadlocks.pop()
        return cancel(transfers, by=by)

    monkeypatch.setattr(ledger, "cancel", cancel_after_deadlock)
    response = act(staff, TRANSFERS, "cancel_selected", transfer)

    assert messages(response) == ["1 cancelled."]
    assert (alice.balance, bob.balance) == (1_000_000, 0)


def test_cancelling_a_whole_list_is_bounded(staff, alice, bob, monkeypatch):
    monkeypatch.setattr("almaFintech.admin.MOST_AT_ONCE", 2)
    transfers = [booked(alice, bob) for _ in range(3)]
    response = act(staff, TRANSFERS, "cancel_selected", transfers[0], select_across="1")

    assert messages(response) == ["Select at most 2 at once. Nothing was changed."]
    assert (alice.balance, bob.balance) == (999_997, 3)
    assert not Transfer.objects.filter(cancelled=True).exists()

    transfers[0].delete()
    path = f"{TRANSFERS}?cancelled__exact=0"
    response = act(staff, path, "cancel_selected", transfers[1], select_across="1")
    assert messages(response) == ["2 cancelled."]
    assert (alice.balance, bob.balance) == (1_000_000, 0)


@pytest.mark.parametrize("number", ["abc", "\0", "", "-1", "1.5", str(MAX), "9" * 30, "9" * 5000])
@pytest.mark.parametrize("across", ["0", ""])
def test_what_is_not_there_is_not_cancelled(staff, alice, bob, number, across):
    transfer = booked(alice, bob)
    response = act(
        staff, TRANSFERS, "cancel_selected", transfer, number, select_across=across, index="0"
    )

    assert messages(response) == [
        "Not all of what was selected is in the list: select again. Nothing was changed."
    ]
    assert (alice.balance, bob.balance) == (999_999, 1)


def test_what_has_left_the_list_is_not_cancelled_again(staff, alice, bob):
    path, transfer = f"{TRANSFERS}?cancelled__exact=0", booked(alice, bob)
    assert messages(act(staff, path, "cancel_selected", transfer)) == ["1 cancelled."]

    assert messages(act(staff, path, "cancel_selected", transfer)) == [
        "Not all of what was selected is in the list: select again. Nothing was changed."
    ]
    assert (alice.balance, bob.balance) == (1_000_000, 0)


@pytest.mark.parametrize(
    ("query", "why"),
    [("q=%00", ["Null characters are not allowed."]), ("q=abc", []), ("cancelled__exact=1", [])],
)
def test_a_whole_list_of_nothing_is_not_cancelled(staff, alice, bob, query, why):
    transfer = booked(alice, bob)
    path = f"{TRANSFERS}?{query}"
    response = act(staff, path, "cancel_selected", transfer, select_across="1")

    assert set(messages(response)) == {"The list is empty. Nothing was changed.", *why}
    assert (alice.balance, bob.balance) == (999_999, 1)


@pytest.mark.parametrize("number", ["abc", "\0", str(MAX), "9" * 30])
def test_an_account_that_is_not_there_is_not_deleted(staff, alice, number):
    response = act(staff, ACCOUNTS, "delete_selected", alice.account, number, post="yes")

    assert messages(response) == [
        "Not all of what was selected is in the list: select again. Nothing was changed."
    ]
    assert alice.balance == 1_000_000


# --- Lists -------------------------------------------------------------------------------


def test_the_list_shows_units_micro_units_and_links(staff, alice, bob):
    alice.send(bob.account, 250_000)
    page = staff.get(TRANSFERS).content.decode()

    assert "0.25\N{NO-BREAK SPACE}USD" in page
    assert ">250000<" in page
    for person in (alice, bob):
        assert f'<a href="{ACCOUNTS}{person.account.pk}/change/">{person.account.pk}</a>' in page


@pytest.mark.parametrize(
    ("micro_units", "text"),
    [
        (0, "0.00"),
        (1, "0.000001"),
        (1_250_000, "1.25"),
        (-1_250_000, "-1.25"),
        (1_000_000_000_000, "1,000,000.00"),
        (MAX, "9,223,372,036,854.775807"),
    ],
)
def test_micro_units_are_shown_in_units(micro_units, text):
    assert in_units(micro_units, "USD") == f"{text}\N{NO-BREAK SPACE}USD"


def test_search_finds_by_number(staff, alice, bob):
    # Other numbers than those of the accounts, so that each search has one meaning.
    Transfer.objects.bulk_create(
        [
            Transfer(pk=pk, origin=alice.account, destination=bob.account, balance=1)
            for pk in (10_001, 10_002)
        ]
    )

    assert listed(staff.get(f"{TRANSFERS}?q=10001")) == [10_001]
    assert listed(staff.get(f"{TRANSFERS}?q={alice.account.pk}")) == [10_002, 10_001]
    assert listed(staff.get(f"{TRANSFERS}?q= {bob.account.pk} ")) == [10_002, 10_001]
    assert listed(staff.get(f"{TRANSFERS}?q=10003")) == []
    assert listed(staff.get(f"{ACCOUNTS}?q={alice.account.pk}")) == [alice.account.pk]


@pytest.mark.parametrize("term", ["abc", "-1", "1.5", "%", "9" * 19, "9" * 30, "9" * 5000, "\0"])
@pytest.mark.parametrize("path", [ACCOUNTS, TRANSFERS])
def test_a_search_for_what_no_number_can_be_finds_nothing(staff, alice, bob, path, term):
    alice.send(bob.account, 1)
    response = staff.get(path, {"q": term})

    assert response.status_code == 200
    assert listed(response) == []


@pytest.mark.parametrize(
    "query",
    [
        "currency=%00",
        "currency__exact=%00",
        "cancelled__exact=maybe",
        "date__year=9999",
        "date__year=99999999999999999999",
        "date__year=9999&date__month=12&date__day=31",
        "date__year=2024&date__month=13",
        "date__month=2",
        "p=0",
        "p=abc",
        "o=99.x",
        "_facets=True",
    ],
)
def test_a_query_that_makes_no_sense_is_no_error(staff, alice, bob, query):
    alice.send(bob.account, 1)
    # Not every database can compare with a NUL.
    assert staff.get(f"{TRANSFERS}?{query}", follow=True).status_code in (200, 400)


@pytest.mark.parametrize("path", [ENTRIES, TRANSFERS, "/admin/audit/record/"])
@pytest.mark.parametrize(
    "query",
    [
        "date__year=-1",
        "date__year=0",
        f"date__year={'9' * 30}",
        "date__year__gt=-1",
        "date__iso_year=0",
        "id__range=1",
    ],
)
def test_a_lookup_of_what_cannot_be_leads_to_the_list(staff, path, query):
    response = staff.get(f"{path}?{query}", follow=True)

    assert response.redirect_chain == [(f"{path}?e=1", 302)]
    assert response.status_code == 200


@pytest.mark.parametrize("value", ["abc", "1.5", "%00", "-1", "9" * 30, "9" * 5000])
@pytest.mark.parametrize("field", ["origin", "destination", "balance"])
def test_a_link_to_the_form_may_carry_anything(staff, alice, field, value):
    assert staff.get(f"{TRANSFERS}add/?{field}={value}").status_code == 200


def test_filters(staff, alice, bob):
    euros = alice.open_account(10, "EUR")
    in_euros = Transfer.objects.create(
        origin=euros, destination=bob.open_account(0, "EUR"), balance=1
    )
    kept, cancelled = booked(alice, bob), booked(alice, bob)
    cancelled.delete()

    assert listed(staff.get(f"{TRANSFERS}?cancelled__exact=1")) == [cancelled.pk]
    assert listed(staff.get(f"{TRANSFERS}?cancelled__exact=0")) == [kept.pk, in_euros.pk]
    assert listed(staff.get(f"{TRANSFERS}?currency=EUR")) == [in_euros.pk]
    assert listed(staff.get(f"{TRANSFERS}?currency=USD&cancelled__exact=0")) == [kept.pk]
    assert listed(staff.get(f"{ACCOUNTS}?currency=USD")) == [alice.account.pk, bob.account.pk]


def test_the_currencies_of_a_list_are_offered(staff, alice, bob):
    euros = alice.open_account(10, "EUR")
    booked(alice, bob)
    Transfer.objects.create(origin=euros, destination=bob.open_account(0, "EUR"), balance=1)
    alice.open_account(0, "ARS")
    for account in Account.objects.filter(currency="EUR"):
        account.delete()

    def offered(path):
        return re.findall(r"\?currency=(\w+)", staff.get(path).content.decode())

    assert offered(ACCOUNTS) == ["ARS", "USD"]
    # Transfers outlive their accounts, and not every account has one.
    assert offered(TRANSFERS) == ["EUR", "USD"]


def test_the_date_filter(staff, alice, bob):
    now = timezone.now()
    for date in now, now - timedelta(days=3), datetime(2024, 2, 28, tzinfo=UTC):
        transfer = booked(alice, bob)
        # Transfers refuse update(), and nothing else can book one in the past.
        QuerySet(Transfer).filter(pk=transfer.pk).update(date=date)

    def count(query):
        with CaptureQueriesContext(connection) as queries:
            response = staff.get(f"{TRANSFERS}{query}")
        # To list the distinct dates, the database would read every transfer.
        assert not [query for query in queries if "DISTINCT" in query["sql"]]
        return len(listed(response))

    changelist = staff.get(TRANSFERS).context["cl"]
    [by_date] = [spec for spec in changelist.filter_specs if spec.title == "date"]
    choices = {str(it["display"]): it["query_string"] for it in by_date.choices(changelist)}

    assert [count(choices[name]) for name in ("Any date", "Past 7 days", "Today")] == [3, 2, 1]
    midnight = "T00:00:00%2B00:00"
    assert count(f"?date__gte=2024-02-01{midnight}&date__lt=2024-03-01{midnight}") == 1


@pytest.mark.parametrize("path", [TRANSFERS, ACCOUNTS, f"{TRANSFERS}?_facets=True"])
def test_the_queries_of_a_list_do_not_grow_with_its_rows(staff, alice, bob, path):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert staff.get(path).status_code == 200
        return [query["sql"] for query in captured]

    booked(alice, bob)
    few = queries()
    for _ in range(5):
        bob.open_account(0)
        booked(alice, bob)
    many = queries()

    assert len(many) == len(few)
    # An unbounded count reads the whole table.
    assert [sql for sql in many if "COUNT(" in sql]
    assert not [sql for sql in many if "COUNT(" in sql and "LIMIT" not in sql]


def test_a_list_says_when_it_ends_before_its_rows(staff, alice, bob, monkeypatch):
    monkeypatch.setattr(BoundedPaginator, "most", 3)
    says = "The pages end after 3 rows: search and filter for more."
    for _ in range(2):
        booked(alice, bob)
    assert says not in staff.get(TRANSFERS).content.decode()
    for _ in range(2):
        booked(alice, bob)

    response = staff.get(TRANSFERS)
    assert says in response.content.decode()
    assert response.context["cl"].result_count == 3


# --- Choosing accounts -------------------------------------------------------------------


def test_the_form_of_a_transfer_does_not_list_the_accounts(staff, alice, bob):
    page = staff.get(f"{TRANSFERS}add/?origin={alice.account.pk}").content.decode()

    def options(name):
        select = re.search(rf'<select name="{name}".*?</select>', page, re.S)[0]
        return re.findall(r'<option value="(\d+)"', select)

    assert options("origin") == [str(alice.account.pk)]
    assert options("destination") == []
    # Nor does it offer to edit or delete accounts on the way.
    assert "related-widget-wrapper-link add-related" not in page
    assert "related-widget-wrapper-link change-related" not in page
    assert "related-widget-wrapper-link delete-related" not in page


def test_accounts_are_found_by_number_while_typing(staff, alice, bob):
    def found(term):
        return [row["id"] for row in staff.get(AUTOCOMPLETE + term).json()["results"]]

    assert found("") == [str(alice.account.pk), str(bob.account.pk)]
    assert found(str(bob.account.pk)) == [str(bob.account.pk)]
    for term in ("abc", "%00", "9" * 19, "9" * 30, "9" * 5000):
        assert found(term) == []


# --- Who and why --------------------------------------------------------------------------


def kinds_of(account):
    return list(Entry.objects.of(account.pk).values_list("kind", "by", "reason"))


def test_an_edited_balance_tells_who_and_why(staff, alice, boss):
    data = {
        "currency": "USD",
        "balance": "7",
        "initial-balance": "1000000",
        "reason": "a mistake",
    }
    staff.post(f"{ACCOUNTS}{alice.account.pk}/change/", data)

    assert kinds_of(alice.account)[1:] == [("adjustment", boss.user.pk, "a mistake")]


def test_a_new_and_a_deleted_account_tell_who(staff, boss):
    staff.post(f"{ACCOUNTS}add/", {"currency": "EUR", "balance": "5", "reason": "a gift"})
    account = Account.objects.get()
    close = {"post": "yes", "reason": " lost ", "shown": shown(account)}
    staff.post(f"{ACCOUNTS}{account.pk}/delete/", close)

    assert kinds_of(account) == [
        ("opening", boss.user.pk, "a gift"),
        ("closing", boss.user.pk, "lost"),
    ]


def test_accounts_deleted_in_bulk_tell_who(staff, alice, boss):
    confirmed = {"post": "yes", "reason": "lost", "shown": shown(alice.account)}
    act(staff, ACCOUNTS, "delete_selected", alice.account, **confirmed)

    assert not Account.objects.exists()
    assert kinds_of(alice.account)[-1] == ("closing", boss.user.pk, "lost")
    assert Record.objects.get(action="deleted").reason == "lost"


# --- Deleting what holds money -----------------------------------------------------------


def delete_pages(staff, *accounts):
    """The page that confirms the deletion: of one account, and of those selected in the list."""
    return (
        staff.get(f"{ACCOUNTS}{accounts[0].pk}/delete/").content.decode(),
        act(staff, ACCOUNTS, "delete_selected", *accounts).content.decode(),
    )


def test_the_page_that_deletes_names_the_balance_and_the_owners(staff, alice, bob):
    bob.user.profile.accounts.add(alice.account)
    one, selected = delete_pages(staff, alice.account, bob.account)

    for page in (one, selected):
        assert (
            f"<td>{alice.account}</td><td>1.00\N{NO-BREAK SPACE}USD</td><td>alice, bob</td>" in page
        )
        assert re.search(r'<input type="text" name="reason" maxlength="140" required', page)
    assert f'name="shown" value="{shown(alice.account)}"' in one
    assert f'name="shown" value="{shown(alice.account, bob.account)}"' in selected
    assert f"<td>{bob.account}</td><td>0.00\N{NO-BREAK SPACE}USD</td><td>bob</td>" in selected
    for number in (alice.account.pk, bob.account.pk):
        assert f'name="_selected_action" value="{number}"' in selected


def test_an_empty_account_is_deleted_without_a_reason(staff, bob):
    [page, _] = delete_pages(staff, bob.account)
    assert not re.search(r'name="reason"[^>]* required', page)

    close = {"post": "yes", "reason": "", "shown": shown(bob.account)}
    assert staff.post(f"{ACCOUNTS}{bob.account.pk}/delete/", close).status_code == 302

    assert not Account.objects.filter(pk=bob.account.pk).exists()


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"reason": ""}, "Reason: This field is required."),
        ({"reason": "   "}, "Reason: This field is required."),
        ({"reason": "x" * 141}, "Reason: Ensure this value has at most 140 characters"),
        ({"reason": "\0"}, "Reason: Null characters are not allowed."),
        ({"reason": "x", "shown": ""}, "a balance has changed since the page was shown"),
    ],
)
@pytest.mark.parametrize("selected", [False, True])
def test_what_was_not_confirmed_is_not_deleted(staff, alice, form, why, selected):
    form = {"post": "yes", "shown": shown(alice.account)} | form
    if selected:
        response = act(staff, ACCOUNTS, "delete_selected", alice.account, **form)
    else:
        response = staff.post(f"{ACCOUNTS}{alice.account.pk}/delete/", form, follow=True)

    [message] = messages(response)
    assert message.startswith("Nothing was deleted")
    assert why in message
    assert (alice.balance, kinds_of(alice.account)[1:]) == (1_000_000, [])
    assert not Record.objects.filter(action="deleted").exists()


@pytest.mark.parametrize("selected", [False, True])
def test_a_balance_that_changed_after_the_page_is_not_written_off(staff, alice, bob, selected):
    form = {"post": "yes", "reason": "x", "shown": shown(alice.account)}
    alice.send(bob.account, 1)
    if selected:
        response = act(staff, ACCOUNTS, "delete_selected", alice.account, **form)
    else:
        response = staff.post(f"{ACCOUNTS}{alice.account.pk}/delete/", form, follow=True)
        assert "0.999999\N{NO-BREAK SPACE}USD" in response.content.decode()

    assert messages(response) == [
        "Nothing was deleted: a balance has changed since the page was shown. "
        "Look at the balances again."
    ]
    assert alice.balance == 999_999


@pytest.mark.parametrize("edit", [{"balance": 5}, {"currency": "EUR"}])
def test_an_edit_needs_a_reason(staff, alice, edit):
    data = {"currency": "USD", "balance": 1_000_000, "initial-balance": 1_000_000} | edit
    path = f"{ACCOUNTS}{alice.account.pk}/change/"

    response = staff.post(path, data)
    assert form(response).errors == {"reason": ["Say why the balance or the currency is edited."]}
    assert kinds_of(alice.account)[1:] == []

    assert staff.post(path, data | {"reason": "a mistake"}).status_code == 302
    assert Record.objects.get(action="changed").reason == "a mistake"


def test_saving_an_account_unchanged_needs_no_reason(staff, alice):
    data = {"currency": "USD", "balance": 1_000_000, "initial-balance": 1_000_000}
    path = f"{ACCOUNTS}{alice.account.pk}/change/"
    assert staff.post(path, data).status_code == 302


def test_a_transfer_tells_who_made_it_and_gave_it_back(staff, alice, bob, boss):
    data = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 5}
    staff.post(f"{TRANSFERS}add/", {**data, "reference": "rent"})
    transfer = Transfer.objects.get()
    act(staff, TRANSFERS, "cancel_selected", transfer)

    transfer.refresh_from_db()
    assert transfer.reference == "rent"
    assert (transfer.created_by_id, transfer.cancelled_by_id) == (boss.user.pk, boss.user.pk)
    page = staff.get(f"{TRANSFERS}{transfer.pk}/change/").content.decode()
    assert page.count(f"/admin/auth/user/{boss.user.pk}/change/") == 2


def test_a_reference_is_found(staff, alice, bob):
    rent = Transfer.objects.create(
        origin=alice.account, destination=bob.account, balance=1, reference="rent for May"
    )
    booked(alice, bob)

    assert listed(staff.get(f"{TRANSFERS}?q=rent+for+May")) == [rent.pk]
    assert listed(staff.get(f"{TRANSFERS}?q=rent")) == []


def test_entries_are_listed_and_not_changed(staff, alice, bob):
    booked(alice, bob, 300_000)
    entry = Entry.objects.of(alice.account.pk).last()

    found = staff.get(f"{ENTRIES}?q={alice.account.pk}")
    page = staff.get(f"{ENTRIES}{entry.pk}/change/")

    assert len(listed(found)) == 2
    assert "-0.30\N{NO-BREAK SPACE}USD" in found.content.decode()
    assert bytes(entry.digest).hex() in page.content.decode()
    assert staff.post(f"{ENTRIES}{entry.pk}/change/", {"reason": "x"}).status_code == 403
    assert staff.post(f"{ENTRIES}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    assert staff.get(f"{ENTRIES}add/").status_code == 403
    assert "delete_selected" not in found.content.decode()


def test_the_page_of_an_entry_of_a_deleted_account_opens(staff, alice):
    number = alice.account.pk
    alice.account.delete()
    entry = Entry.objects.of(number).last()

    page = staff.get(f"{ENTRIES}{entry.pk}/change/")

    assert page.status_code == 200
    assert staff.get(ENTRIES).status_code == 200

"""The pages of accounts in the admin."""

import re

import pytest

from accounts.currencies import in_units
from accounts.models import Account
from almaFintech.tests.admin import (
    ACCOUNTS,
    MAX,
    TRANSFERS,
    act,
    booked,
    entries_of,
    form,
    found,
    listed,
    messages,
    shown,
)
from audit.models import Record


def test_an_account_opens_with_a_currency_and_a_balance(staff):
    response = staff.post(f"{ACCOUNTS}add/", {"currency": "EUR", "balance": "2500000"})

    assert response.status_code == 302
    assert [*Account.objects.values_list("currency", "balance")] == [("EUR", 2_500_000)]


@pytest.mark.parametrize(
    ("currency", "balance"),
    [("USD", "-1"), ("USD", "1.5"), ("USD", ""), ("USD", MAX + 1), ("HRK", 1), ("XTS", 1), ("", 1)],
)
def test_an_invalid_account_is_refused_in_the_form(staff, currency, balance):
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


def test_an_edit_does_not_overwrite_a_later_transfer(staff, alice, bob):
    path = f"{ACCOUNTS}{alice.account.pk}/change/"
    page = staff.get(path).content.decode()
    first_shown = found(r'name="initial-balance" value="(\d+)"', page)
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
    first_shown = found(r'name="initial-balance" value="(\d+)"', response.content.decode())
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
def test_a_malformed_initial_balance_changes_nothing(staff, alice, shown):
    path = f"{ACCOUNTS}{alice.account.pk}/change/"
    response = staff.post(
        path, {"currency": "USD", "balance": 5, "initial-balance": shown, "reason": "x"}
    )

    assert response.status_code == 200
    assert form(response).errors
    assert alice.balance == 1_000_000


@pytest.mark.parametrize("edit", [{"balance": 5}, {"currency": "EUR"}])
def test_an_edit_needs_a_reason(staff, alice, edit):
    data = {"currency": "USD", "balance": 1_000_000, "initial-balance": 1_000_000} | edit
    path = f"{ACCOUNTS}{alice.account.pk}/change/"

    response = staff.post(path, data)
    assert form(response).errors == {"reason": ["Say why the balance or the currency is edited."]}
    assert entries_of(alice.account)[1:] == []

    assert staff.post(path, data | {"reason": "a mistake"}).status_code == 302
    assert Record.objects.get(action="changed").reason == "a mistake"


def test_saving_an_account_unchanged_needs_no_reason(staff, alice):
    data = {"currency": "USD", "balance": 1_000_000, "initial-balance": 1_000_000}
    path = f"{ACCOUNTS}{alice.account.pk}/change/"
    assert staff.post(path, data).status_code == 302


def test_the_entry_of_an_edit_records_who_and_why(staff, alice, boss):
    data = {
        "currency": "USD",
        "balance": "7",
        "initial-balance": "1000000",
        "reason": "a mistake",
    }
    staff.post(f"{ACCOUNTS}{alice.account.pk}/change/", data)

    assert entries_of(alice.account)[1:] == [("adjustment", boss.user.pk, "a mistake")]


def test_the_entries_of_a_new_and_a_deleted_account_record_who_and_why(staff, boss):
    staff.post(f"{ACCOUNTS}add/", {"currency": "EUR", "balance": "5", "reason": "a gift"})
    account = Account.objects.get()
    close = {"post": "yes", "reason": " lost ", "shown": shown(account)}
    staff.post(f"{ACCOUNTS}{account.pk}/delete/", close)

    assert entries_of(account) == [
        ("opening", boss.user.pk, "a gift"),
        ("closing", boss.user.pk, "lost"),
    ]


def test_an_account_links_to_its_transfers(staff, alice, bob):
    transfer = booked(alice, bob)
    link = f'<a href="{TRANSFERS}?q={alice.account.pk}">'

    assert link in staff.get(ACCOUNTS).content.decode()
    assert link in staff.get(f"{ACCOUNTS}{alice.account.pk}/change/").content.decode()
    assert transfer.pk in listed(staff.get(f"{TRANSFERS}?q={alice.account.pk}"))


# --- Deleting -------------------------------------------------------------------------


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


def test_the_entries_of_accounts_deleted_in_bulk_record_who_and_why(staff, alice, boss):
    confirmed = {"post": "yes", "reason": "lost", "shown": shown(alice.account)}
    act(staff, ACCOUNTS, "delete_selected", alice.account, **confirmed)

    assert not Account.objects.exists()
    assert entries_of(alice.account)[-1] == ("closing", boss.user.pk, "lost")
    assert Record.objects.get(action="deleted").reason == "lost"


def delete_pages(staff, *accounts):
    """Return the pages that confirm a deletion: of one account, and of a selection in the list."""
    return (
        staff.get(f"{ACCOUNTS}{accounts[0].pk}/delete/").content.decode(),
        act(staff, ACCOUNTS, "delete_selected", *accounts).content.decode(),
    )


def test_the_page_that_deletes_shows_the_balances_and_the_owners(staff, alice, bob):
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
def test_an_account_is_not_deleted_without_confirmation(staff, alice, form, why, selected):
    form = {"post": "yes", "shown": shown(alice.account)} | form
    if selected:
        response = act(staff, ACCOUNTS, "delete_selected", alice.account, **form)
    else:
        response = staff.post(f"{ACCOUNTS}{alice.account.pk}/delete/", form, follow=True)

    [message] = messages(response)
    assert message.startswith("Nothing was deleted")
    assert why in message
    assert (alice.balance, entries_of(alice.account)[1:]) == (1_000_000, [])
    assert not Record.objects.filter(action="deleted").exists()


@pytest.mark.parametrize("selected", [False, True])
def test_a_balance_changed_since_the_page_was_shown_is_not_written_off(staff, alice, bob, selected):
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


@pytest.mark.parametrize("number", ["abc", "\0", str(MAX), "9" * 30])
def test_no_account_is_deleted_when_a_selected_one_is_missing(staff, alice, number):
    response = act(staff, ACCOUNTS, "delete_selected", alice.account, number, post="yes")

    assert messages(response) == [
        "Some of the selected rows are no longer in the list: select again. Nothing was changed."
    ]
    assert alice.balance == 1_000_000

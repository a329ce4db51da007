"""Actions on selected rows run on exactly these rows, or on none."""

import pytest

from accounts.models import Transfer
from almaFintech.tests.admin import MAX, TRANSFERS, act, booked, messages


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
def test_nothing_is_cancelled_when_a_selected_row_is_missing(staff, alice, bob, number, across):
    transfer = booked(alice, bob)
    response = act(
        staff, TRANSFERS, "cancel_selected", transfer, number, select_across=across, index="0"
    )

    assert messages(response) == [
        "Some of the selected rows are no longer in the list: select again. Nothing was changed."
    ]
    assert (alice.balance, bob.balance) == (999_999, 1)


def test_a_row_that_has_left_the_list_is_not_cancelled_again(staff, alice, bob):
    path, transfer = f"{TRANSFERS}?cancelled__exact=0", booked(alice, bob)
    assert messages(act(staff, path, "cancel_selected", transfer)) == ["1 cancelled."]

    assert messages(act(staff, path, "cancel_selected", transfer)) == [
        "Some of the selected rows are no longer in the list: select again. Nothing was changed."
    ]
    assert (alice.balance, bob.balance) == (1_000_000, 0)


@pytest.mark.parametrize(
    ("query", "why"),
    [("q=%00", ["Null characters are not allowed."]), ("q=abc", []), ("cancelled__exact=1", [])],
)
def test_an_empty_list_is_not_cancelled(staff, alice, bob, query, why):
    transfer = booked(alice, bob)
    path = f"{TRANSFERS}?{query}"
    response = act(staff, path, "cancel_selected", transfer, select_across="1")

    assert set(messages(response)) == {"The list is empty. Nothing was changed.", *why}
    assert (alice.balance, bob.balance) == (999_999, 1)

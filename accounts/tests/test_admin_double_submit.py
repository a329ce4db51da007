"""The form of a transfer books once, however often it is sent."""

import pytest
from django.contrib.admin.models import LogEntry
from django.db import IntegrityError, OperationalError
from django.test import Client

from accounts.models import IdempotencyKey, Transfer
from accounts.tests.concurrency import run_concurrently
from almaFintech.tests.admin import TRANSFERS, form, key_of, messages, send
from conftest import Person, needs_row_locks


def test_every_form_has_its_own_key(staff):
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
    # The remaining balance would not cover a second transfer.
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
def test_a_refused_form_can_be_corrected(staff, alice, bob, amount):
    refused = send(staff, alice.account.pk, bob.account.pk, amount, key="k1")
    assert key_of(refused) == "k1"
    assert not IdempotencyKey.objects.exists()

    for _ in range(2):
        send(staff, alice.account.pk, bob.account.pk, 300_000, key="k1")
    assert (alice.balance, bob.balance) == (700_000, 300_000)


def test_a_booked_form_that_was_changed_books_nothing(staff, alice, bob):
    send(staff, alice.account.pk, bob.account.pk, 300_000, key="k1")
    changed = send(staff, alice.account.pk, bob.account.pk, 200_000, key="k1")

    assert (alice.balance, bob.balance) == (700_000, 300_000)
    assert changed.redirect_chain == [(TRANSFERS, 302)]
    assert messages(changed) == [
        "This form has already booked another transfer, and nothing was booked now. "
        "Open a new form to book one more."
    ]
    assert Transfer.objects.count() == 1


def test_the_api_and_the_form_do_not_share_a_key(staff, alice, bob, boss):
    typed = (alice.account.pk, bob.account.pk, 300_000)
    sent = dict(zip(("origin", "destination", "balance"), typed, strict=True))
    boss.post("/api/transfers/", sent, idempotency_key="k1")
    response = send(staff, *typed, key="k1")
    assert messages(response)[0].startswith("This form has already booked another transfer")

    send(staff, *typed, key="k2")
    assert boss.post("/api/transfers/", sent, idempotency_key="k2").status_code == 422
    assert (alice.balance, bob.balance) == (400_000, 600_000)


def test_a_key_of_a_form_belongs_to_its_user(staff, alice, bob):
    other = Client()
    other.force_login(Person.join("chief", is_staff=True).user)
    for browser in (staff, other):
        send(browser, alice.account.pk, bob.account.pk, 300_000, key="k1")

    assert (alice.balance, bob.balance) == (400_000, 600_000)


@pytest.mark.parametrize("key", ["x" * 256, "a b", "a\0", "k1\n", "é"])
def test_a_form_with_a_malformed_key_books_nothing(staff, alice, bob, key):
    response = send(staff, alice.account.pk, bob.account.pk, 300_000, key=key)

    assert [*form(response).errors] == ["idempotency_key"]
    assert (alice.balance, bob.balance) == (1_000_000, 0)


@pytest.mark.django_db(transaction=True)
def test_a_form_that_failed_before_the_commit_can_be_sent_again(staff, alice, bob, monkeypatch):
    def fail(*args):
        raise OperationalError("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr("accounts.idempotency.record_response", fail)
        assert send(staff, alice.account.pk, bob.account.pk, 300_000, key="k1").status_code == 503
    assert (alice.balance, IdempotencyKey.objects.count()) == (1_000_000, 0)

    send(staff, alice.account.pk, bob.account.pk, 300_000, key="k1")
    assert (alice.balance, bob.balance) == (700_000, 300_000)


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_a_form_sent_concurrently_is_booked_once(boss, alice, bob):
    ends = []

    def save():
        browser = Client()
        browser.force_login(boss.user)
        ends.append(send(browser, alice.account.pk, bob.account.pk, 100_000, key="k1"))
        return ends[-1]

    assert run_concurrently(*[save] * 8) == [200] * 8
    assert {tuple(end.redirect_chain) for end in ends} == {((TRANSFERS, 302),)}
    # All threads share the contexts of the test client, so the pages themselves are read.
    assert sum("was added successfully" in end.content.decode() for end in ends) == 1
    assert sum("and did not book it again" in end.content.decode() for end in ends) == 7
    assert (alice.balance, bob.balance) == (900_000, 100_000)


def test_a_form_whose_key_expires_meanwhile_is_not_said_to_be_booked(
    staff, alice, bob, monkeypatch
):
    def find_it_taken(*args, **kwargs):
        raise IntegrityError("one_key_per_user")

    monkeypatch.setattr(IdempotencyKey, "save", find_it_taken)
    response = send(staff, alice.account.pk, bob.account.pk, 300_000, key="k1")

    assert messages(response) == ["This form is still being booked: save it again later."]
    assert (alice.balance, bob.balance) == (1_000_000, 0)


def test_a_form_that_is_still_being_booked_is_shown_with_its_key(staff, alice, bob, monkeypatch):
    def wait_in_vain(*args, **kwargs):
        raise OperationalError(1205, "Lock wait timeout exceeded")

    monkeypatch.setattr(IdempotencyKey, "save", wait_in_vain)
    response = send(staff, alice.account.pk, bob.account.pk, 300_000, key="k1")

    assert messages(response) == ["This form is still being booked: save it again later."]
    assert (key_of(response), form(response)["balance"].value()) == ("k1", "300000")
    assert (alice.balance, bob.balance) == (1_000_000, 0)

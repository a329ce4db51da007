"""The pages of entries in the admin."""

from accounts.models import Entry
from almaFintech.tests.admin import ENTRIES, booked, listed


def test_entries_are_listed_and_not_changed(staff, alice, bob):
    booked(alice, bob, 300_000)
    entry = Entry.objects.of(alice.account.pk).latest("seq")

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
    entry = Entry.objects.of(number).latest("seq")

    page = staff.get(f"{ENTRIES}{entry.pk}/change/")

    assert page.status_code == 200
    assert staff.get(ENTRIES).status_code == 200

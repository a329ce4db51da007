"""One active member of staff always remains, to appoint others."""

from functools import partial

import pytest
from django.contrib.auth.models import User
from django.test import Client

from accounts.tests.concurrency import run_concurrently
from almaFintech.tests.admin import USERS, act, messages, user_form
from conftest import Person, needs_row_locks

REFUSED = {"detail": "The last active member of staff cannot be removed.", "code": "last_staff"}


def path(person):
    return f"/api/users/{person.user.pk}/"


def is_staff(person):
    return User.objects.filter(pk=person.user.pk, is_staff=True, is_active=True).exists()


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("PATCH", {"is_staff": False}),
        ("PATCH", {"is_active": False}),
        ("PUT", {"username": "boss", "is_staff": False}),
        ("POST", {"username": "boss", "is_active": False}),
        ("DELETE", None),
    ],
)
def test_the_api_keeps_the_last_one(boss, alice, method, change):
    # Deactivated staff does not count.
    Person.join("gone", is_staff=True, is_active=False)
    rows = list(User.objects.order_by("pk").values())

    response = boss.request(method, path(boss), change)

    assert (response.status_code, response.json()) == (400, REFUSED)
    assert list(User.objects.order_by("pk").values()) == rows

    second = Person.join("second", is_staff=True)
    assert boss.request(method, path(boss), change).status_code in (200, 204)
    assert not is_staff(boss)
    assert is_staff(second)


def test_other_edits_of_the_last_one_are_allowed(boss):
    change = {"first_name": "Bo", "is_staff": True, "is_active": True}

    assert boss.patch(path(boss), change).status_code == 200


def test_others_are_deleted_and_deactivated_as_before(boss, alice, bob):
    assert boss.patch(path(alice), {"is_active": False}).status_code == 200
    assert boss.delete(path(bob)).status_code == 204


@pytest.mark.parametrize("flags", [{"is_active": "on"}, {"is_staff": "on"}, {}])
def test_the_page_of_the_admin_keeps_the_last_one(staff, boss, flags):
    page = f"{USERS}{boss.user.pk}/change/"
    form = user_form(boss.user)
    for name in "is_active", "is_staff":
        form.pop(name, None)

    response = staff.post(page, form | flags, follow=True)

    assert messages(response) == [REFUSED["detail"]]
    assert is_staff(boss)
    Person.join("second", is_staff=True)
    staff.post(page, form | flags)
    assert not is_staff(boss)


def test_the_admin_does_not_delete_the_last_one(staff, boss, alice):
    page = f"{USERS}{boss.user.pk}/delete/"
    for response in (
        staff.post(page, {"post": "yes"}, follow=True),
        act(staff, USERS, "delete_selected", alice.user, boss.user, post="yes"),
    ):
        assert messages(response) == [REFUSED["detail"]]
        assert is_staff(boss)
        assert User.objects.count() == 2

    second = Person.join("second", is_staff=True)
    response = act(staff, USERS, "delete_selected", second.user, boss.user, post="yes")
    assert messages(response) == [REFUSED["detail"]]
    assert User.objects.count() == 3
    staff.post(page, {"post": "yes"})
    assert sorted(User.objects.values_list("username", flat=True)) == ["alice", "second"]


# Each of these logs in while both still can, and returns a request that removes the other one.


def by_api(person, other):
    return partial(person.patch, path(other), {"is_staff": False})


def delete_by_api(person, other):
    return partial(person.delete, path(other))


def in_admin(person, other):
    client = Client()
    client.force_login(person.user)
    form = user_form(other.user, is_active="on")
    form.pop("is_staff", None)
    return partial(client.post, f"{USERS}{other.user.pk}/change/", form)


def delete_in_admin(person, other):
    client = Client()
    client.force_login(person.user)
    return partial(act, client, USERS, "delete_selected", other.user, post="yes")


@needs_row_locks
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attack", [by_api, delete_by_api, in_admin, delete_in_admin])
def test_one_remains_when_two_remove_each_other(boss, attack, caplog):
    """One of them remains, and no deadlock occurs."""
    second = Person.join("second", is_staff=True)
    for _ in range(10):
        for person in boss, second:
            person.user.save()

        run_concurrently(attack(boss, second), attack(second, boss))

        assert is_staff(boss) or is_staff(second)
    assert "is run again" not in caplog.text

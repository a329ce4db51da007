"""Staff have every permission, and nobody else has any."""

import pytest
from django.contrib.auth.models import AnonymousUser, Permission

from conftest import Person

APPS = ("auth", "login", "accounts", "token_blacklist", "any")


def rights(user):
    """Return the results of all permission checks of `user`."""
    permissions = Permission.objects.select_related("content_type")
    names = [f"{p.content_type.app_label}.{p.codename}" for p in permissions]
    assert "accounts.add_transfer" in names
    return {user.has_perm(name) for name in names} | {user.has_module_perms(app) for app in APPS}


def test_staff_has_every_right(boss):
    assert boss.user.is_superuser is False
    assert rights(boss.user) == {True}


def test_a_user_has_no_right(alice):
    # Not even with permissions in the database: the roles are staff and user.
    alice.user.user_permissions.set(Permission.objects.all())

    assert rights(alice.user) == {False}


def test_inactive_staff_has_no_right(db):
    assert rights(Person.join("gone", is_staff=True, is_active=False).user) == {False}


def test_a_stranger_has_no_right(db):
    assert rights(AnonymousUser()) == {False}


@pytest.mark.parametrize(("flags", "status"), [({"is_staff": True}, 200), ({}, 302)])
def test_staff_alone_opens_the_admin(db, client, flags, status):
    client.force_login(Person.join("dora", **flags).user)

    assert client.get("/admin/").status_code == status
    assert client.get("/admin/accounts/transfer/").status_code == status

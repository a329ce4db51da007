"""The initial user of a development database, whom production refuses."""

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from login.models import Profile

LOGIN = {"username": "admin", "password": "admin"}


def migrate(settings, *, debug):
    settings.DEBUG = debug
    call_command("migrate", verbosity=0)


def test_migrate_creates_the_user_once_in_development(db, settings, anyone):
    migrate(settings, debug=True)
    migrate(settings, debug=True)

    user = User.objects.get()
    assert (user.username, user.is_staff, user.is_active) == ("admin", True, True)
    assert Profile.objects.get().user == user
    assert anyone.post("/api/login/", LOGIN, format="json").status_code == 200


def test_migrate_creates_no_user_in_production(db, settings):
    migrate(settings, debug=False)

    assert User.objects.count() == 0


def test_migrate_creates_no_user_beside_others(alice, settings):
    migrate(settings, debug=True)

    assert list(User.objects.all()) == [alice.user]


# Spellings that MariaDB or Unicode normalization treat as the same name.
@pytest.mark.parametrize("username", ["admin", "ADMIN", "admin ", "\uff41dmin"])
def test_production_refuses_the_development_password(db, anyone, client, username):
    User.objects.create_superuser("admin", password="admin")
    login = LOGIN | {"username": username}

    response = anyone.post("/api/login/", login, format="json")
    page = client.post("/admin/login/", login)

    assert (response.status_code, response.json()["code"]) == (401, "no_active_account")
    assert page.status_code == 200
    assert "_auth_user_id" not in client.session


def test_production_accepts_another_password_of_that_user(db, anyone):
    User.objects.create_superuser("admin", password="a quiet river")

    login = LOGIN | {"password": "a quiet river"}

    assert anyone.post("/api/login/", login, format="json").status_code == 200

"""Every user gets one profile, however the user was created."""

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from login.models import Profile


def through_the_api(boss, client):
    boss.post("/api/users/", {"username": "carol", "password": "the quick brown river"})


def through_the_admin(boss, client):
    client.force_login(boss.user)
    password = {"password1": "the quick brown river", "password2": "the quick brown river"}
    client.post("/admin/auth/user/add/", {"username": "carol", **password})


def through_createsuperuser(boss, client):
    call_command("createsuperuser", interactive=False, username="carol", email="", verbosity=0)


def through_the_orm(boss, client):
    User.objects.create(username="carol")


@pytest.mark.parametrize(
    "make", [through_the_api, through_the_admin, through_createsuperuser, through_the_orm]
)
def test_a_new_user_has_an_empty_profile(boss, client, make):
    make(boss, client)

    profile = Profile.objects.get(user__username="carol")
    assert (profile.cuit, profile.phone, profile.company) == (None, None, None)
    assert list(profile.accounts.all()) == []


def test_saving_a_user_again_makes_no_second_profile(alice):
    profile = alice.user.profile

    User.objects.get(pk=alice.user.pk).save()

    assert list(Profile.objects.filter(user=alice.user)) == [profile]

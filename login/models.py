"""What the server knows of a user beside Django's User."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import models

from accounts.models import Account


class ProfileQuerySet(models.QuerySet["Profile"]):
    def of(self, users: Sequence[User]) -> "list[Profile]":
        """The profiles of `users`, in their order, made now where there is none."""
        found = {profile.user_id: profile for profile in self.filter(user__in=users)}
        missing = [user for user in users if user.pk not in found]
        if missing:
            profiles = [Profile(user=user) for user in missing]
            Profile.objects.bulk_create(profiles, ignore_conflicts=True)
            found |= {profile.user_id: profile for profile in self.filter(user__in=missing)}
        return [found[user.pk] for user in users if user.pk in found]

    def of_user(self, user: User) -> "Profile":
        """The profile of `user`, made now where there is none."""
        profile, _ = self.get_or_create(user=user)
        return profile


class Profile(models.Model):
    """The profile that every user has.

    Attributes:
        user: whose profile it is.
        cuit: tax identification code.
        phone: telephone number.
        company: company the user works for.
        accounts: accounts the user has access to.
    """

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="profile")
    cuit = models.CharField(max_length=14, blank=True, null=True)  # noqa: DJ001
    phone = models.CharField(max_length=32, blank=True, null=True)  # noqa: DJ001
    company = models.CharField(max_length=32, blank=True, null=True)  # noqa: DJ001
    accounts = models.ManyToManyField(Account, blank=True)

    objects = models.Manager.from_queryset(ProfileQuerySet)()

    def __str__(self) -> str:
        return f"{self.user}"


def create_profile(instance: User, created: bool, raw: bool, **kwargs: Any) -> None:
    """Give a new user a profile; one loaded from a fixture brings its own."""
    if created and not raw:
        Profile.objects.create(user=instance)

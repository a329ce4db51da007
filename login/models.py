"""Profiles, and sessions that have ended."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import models
from django.utils import timezone
from rest_framework_simplejwt.settings import api_settings

from accounts.models import Account


class ProfileQuerySet(models.QuerySet["Profile"]):
    def of(self, users: Sequence[User]) -> "list[Profile]":
        """Return the profiles of `users` in their order; missing ones are created."""
        found = {profile.user_id: profile for profile in self.filter(user__in=users)}
        missing = [user for user in users if user.pk not in found]
        if missing:
            profiles = [Profile(user=user) for user in missing]
            Profile.objects.bulk_create(profiles, ignore_conflicts=True)
            found |= {profile.user_id: profile for profile in self.filter(user__in=missing)}
        return [found[user.pk] for user in users if user.pk in found]

    def of_user(self, user: User) -> "Profile":
        """Return the profile of `user`; a missing one is created."""
        profile, _ = self.get_or_create(user=user)
        return profile


class Profile(models.Model):
    """The profile that every user has.

    Attributes:
        user: the user that the profile describes.
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


class EndedSessionQuerySet(models.QuerySet["EndedSession"]):
    def end(self, sid: str, expires: int) -> None:
        """End a session. Ending it twice is harmless.

        expires: when one of its tokens expires, in seconds since 1970.
        """
        # The session gets no more tokens, so none of them lives longer than this.
        longest = max(api_settings.ACCESS_TOKEN_LIFETIME, api_settings.REFRESH_TOKEN_LIFETIME)
        expires_at = max(timezone.now() + longest, datetime.fromtimestamp(expires, UTC))
        ended = EndedSession(sid=sid, expires_at=expires_at)
        EndedSession.objects.bulk_create([ended], ignore_conflicts=True)

    def expired(self) -> "EndedSessionQuerySet":
        return self.filter(expires_at__lt=timezone.now())


class EndedSession(models.Model):
    """A session whose tokens are refused until the last of them has expired.

    Attributes:
        sid: id of the session, a claim of its tokens.
        expires_at: when the row can be deleted.
    """

    sid = models.CharField(max_length=32, primary_key=True)
    expires_at = models.DateTimeField(db_index=True)

    objects = models.Manager.from_queryset(EndedSessionQuerySet)()

    def __str__(self) -> str:
        return self.sid


def create_profile(instance: User, created: bool, raw: bool, **kwargs: Any) -> None:
    """Create the profile of a new user; a user loaded from a fixture brings one along."""
    if created and not raw:
        Profile.objects.create(user=instance)

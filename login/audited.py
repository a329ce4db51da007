"""Recorded values and locks of users and profiles, for the records of staff."""

from django.contrib.auth.models import User
from django.shortcuts import get_object_or_404

from almaFintech.db.querysets import locked
from audit import trail
from audit.registry import State
from login.models import Profile


def profile_of(user: User) -> State:
    """Return the state of a user's profile, which the admin edits together with the user."""
    profile = Profile.objects.filter(user=user).first()
    if profile is None:
        return {}
    return {f"profile.{name}": value for name, value in trail.state_of(profile).items()}


def accounts_of(profile: Profile) -> State:
    return {"accounts": sorted(profile.accounts.values_list("pk", flat=True))}


def lock_with_user(profile: Profile) -> Profile:
    """Return a profile as it is now, under the lock of its user. Raises Http404.

    It belongs to its user, who may be deleted meanwhile, and only changes under that lock.
    """
    get_object_or_404(locked(User.objects.all()), pk=profile.user_id)
    found: Profile = get_object_or_404(Profile, pk=profile.pk)
    return found

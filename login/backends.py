"""Authentication by password, and the permissions of staff."""

from typing import Any, cast

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import User
from django.db.models import CharField
from django.http import HttpRequest

from login.development import is_development_login
from login.rates import LOGIN, Attempt

LONGEST_NAME = cast("CharField[str, str]", User._meta.get_field("username")).max_length or 0


def has_password(user: User, password: str) -> bool:
    """Return whether `user` has this password, and renew a hash of an older kind if so.

    Tokens carry a fingerprint of the hash, so a renewed hash ends the tokens of the older one.
    """
    checked = user.password

    def renew(raw: str) -> None:
        user.password = make_password(raw)

    if not check_password(password, checked, renew):
        return False
    if user.password == checked:
        return True
    row = User.objects.filter(pk=user.pk)
    # Never replace another hash: the password may have been changed since it was checked.
    if row.filter(password=checked).update(password=user.password):
        return True
    # The password was changed, or another login has renewed the hash.
    user.password = row.values_list("password", flat=True).first() or ""
    return check_password(password, user.password)


class StaffBackend(ModelBackend):
    """Checks passwords as Django does, and grants staff every permission.

    The API and the admin both log in here, so failed logins are limited here. Every refusal
    costs one run of the password hasher, so its duration does not reveal which users exist.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        name = username or ""
        attempt = Attempt(LOGIN, request)
        if len(name) > LONGEST_NAME:
            # No user has such a name, and normalizing it takes time quadratic in its length.
            attempt.failed()
            return None
        name = User.normalize_username(name)
        attempt.by(name)
        user = self.find(name, password or "")
        if user is None or not self.may_log_in(user, name, password):
            attempt.failed()
            return None
        attempt.succeeded(user)
        return user

    def find(self, name: str, password: str) -> User | None:
        """Return the active user with this name and password."""
        try:
            user = User.objects.get_by_natural_key(name)
        except User.DoesNotExist:
            # Take as long as for an existing user.
            make_password(password)
            return None
        is_right = has_password(user, password)
        return user if is_right and self.user_can_authenticate(user) else None

    def may_log_in(self, user: User, name: str, password: str | None) -> bool:
        # MariaDB finds "alice" by "ALICE" and "\u00e1lice" too. The limits would count each
        # spelling apart, and so allow more guesses.
        is_exact = user.get_username() == name
        return is_exact and (settings.DEBUG or not is_development_login(name, password))

    def has_perm(self, user_obj: Any, perm: str, obj: object = None) -> bool:
        return user_obj.is_active and user_obj.is_staff

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        return user_obj.is_active and user_obj.is_staff

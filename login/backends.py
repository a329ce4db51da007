"""Who a login is, and what staff may do."""

from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.http import HttpRequest

from login.development import is_development_login
from login.limits import LOGIN, Attempt


class StaffBackend(ModelBackend):
    """Passwords as in Django, and every permission for whoever has `is_staff`.

    The API and the admin both log in here, so this is where failed logins are limited. Every
    refusal costs one run of the password hasher: its time does not tell who is a user.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        name = User.normalize_username(username or "")
        attempt = Attempt(LOGIN, request)
        attempt.by(name)
        user = super().authenticate(request, name, password, **kwargs)
        if user is None or not self.may_log_in(user, name, password):
            attempt.failed()
            return None
        attempt.succeeded(user)
        return user

    def may_log_in(self, user: User, name: str, password: str | None) -> bool:
        # MariaDB finds "alice" by "ALICE" and "\u00e1lice" too; each spelling would be a name of
        # its own to the limits, and another number of guesses.
        is_exact = user.get_username() == name
        return is_exact and (settings.DEBUG or not is_development_login(name, password))

    def has_perm(self, user_obj: Any, perm: str, obj: object = None) -> bool:
        return user_obj.is_active and user_obj.is_staff

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        return user_obj.is_active and user_obj.is_staff

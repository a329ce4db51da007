"""The user that a development server starts with, and how production tells it apart."""

from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import User
from django.db import connection

from login.models import Profile

DEVELOPMENT_USER = "admin"
DEVELOPMENT_PASSWORD = "admin"  # noqa: S105


def create_development_user(**kwargs: Any) -> None:
    """After `migrate`, give a development database without users its first one."""
    if not settings.DEBUG or Profile._meta.db_table not in connection.introspection.table_names():
        return
    if not User.objects.exists():
        User.objects.create_superuser(DEVELOPMENT_USER, password=DEVELOPMENT_PASSWORD)


def is_development_login(username: str | None, password: str | None) -> bool:
    return (username, password) == (DEVELOPMENT_USER, DEVELOPMENT_PASSWORD)


def is_development_user_present() -> bool:
    user = User.objects.filter(username=DEVELOPMENT_USER).first()
    return user is not None and check_password(DEVELOPMENT_PASSWORD, user.password)

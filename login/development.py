"""The initial user of a development database, whom production refuses."""

import logging
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import User
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection

from almaFintech.db.failures import reason_of
from almaFintech.server.startup import STORED
from login.models import Profile

logger = logging.getLogger(__name__)

DEVELOPMENT_USER = "admin"
DEVELOPMENT_PASSWORD = "admin"  # noqa: S105


def create_development_user(**kwargs: Any) -> None:
    """Create the first user of a development database after `migrate`."""
    if not settings.DEBUG or Profile._meta.db_table not in connection.introspection.table_names():
        return
    if not User.objects.exists():
        User.objects.create_superuser(DEVELOPMENT_USER, password=DEVELOPMENT_PASSWORD)


def is_development_login(username: str | None, password: str | None) -> bool:
    return (username, password) == (DEVELOPMENT_USER, DEVELOPMENT_PASSWORD)


def is_development_user_present() -> bool:
    user = User.objects.filter(username=DEVELOPMENT_USER).first()
    return user is not None and check_password(DEVELOPMENT_PASSWORD, user.password)


@register(Tags.database, STORED, deploy=True)
def development_user_is_absent(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Report a user who still has the development password.

    A server whose database is down starts nevertheless: in production `login.backends` refuses
    that password at every login.
    """
    try:
        is_present = DEFAULT_DB_ALIAS in (databases or []) and is_development_user_present()
    except DatabaseError as error:
        logger.warning(
            "Could not check the database for the development user: %s", reason_of(error)
        )
        return []
    if not is_present:
        return []
    return [
        Error(
            f"The user {DEVELOPMENT_USER!r} still has the development password: "
            f"`python manage.py changepassword {DEVELOPMENT_USER}` changes it.",
            id="login.E001",
        )
    ]

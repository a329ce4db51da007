"""What a production server checks before it serves: the door for wsgi.py and asgi.py.

A wallet that runs with a known key, with DEBUG on or with the development user is open to
everybody, and nothing in its answers shows it. So these entry points refuse to start then.
"""

import logging
import sys
from collections.abc import Callable
from typing import TypeVar

from django.core.checks import ERROR, CheckMessage, Tags, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections

from almaFintech import EXIT_STATUS
from almaFintech.db.failures import reason_of

Application = TypeVar("Application")
logger = logging.getLogger(__name__)

# Warnings of `check --deploy` that are reasons not to start: a weak SECRET_KEY or fallback,
# DEBUG, and no ALLOWED_HOSTS.
FATAL_WARNINGS = {"security.W009", "security.W018", "security.W020", "security.W025"}
_NEW_KEY = "Set it to what `openssl rand -hex 48` prints."
REMEDIES = {
    "security.W009": _NEW_KEY,
    "security.W018": "Set DEBUG=false.",
    "security.W020": "Set it to the host names of this server, such as wallet.example.",
    "security.W025": "Remove it, and let those it signed log in again.",
    "almaFintech.E002": _NEW_KEY,
}


def production(
    get_application: Callable[[], Application], *, ask_database: bool = True
) -> Application:
    """Return the application of `get_application`, or end the process with a sentence."""
    try:
        application = get_application()
        # With unsafe settings the database may be anybody's, so it is not even asked.
        reasons = unsafe_settings() or (unsafe_users() if ask_database else [])
    except ImproperlyConfigured as error:
        reasons = [str(error)]
    if reasons:
        print("almaFintech does not start:", " ".join(reasons), file=sys.stderr)
        raise SystemExit(EXIT_STATUS)
    return application


def unsafe_settings() -> list[str]:
    def fatal(message: CheckMessage) -> bool:
        return message.level >= ERROR or message.id in FATAL_WARNINGS

    messages = run_checks(tags=[Tags.security], include_deployment_checks=True)
    return [f"{m.msg} {REMEDIES.get(m.id or '', '')}".strip() for m in messages if fatal(m)]


def unsafe_users() -> list[str]:
    """Look for the development user; a database that is away does not stop the start.

    `login.backends` refuses that user's password in production whenever it turns up.
    """
    from login.development import DEVELOPMENT_USER, is_development_user_present

    try:
        if is_development_user_present():
            return [
                f"The user {DEVELOPMENT_USER!r} still has the development password: "
                f"`python manage.py changepassword {DEVELOPMENT_USER}` changes it."
            ]
    except DatabaseError as error:
        logger.warning(
            "The database could not be asked for the development user: %s", reason_of(error)
        )
    finally:
        # The workers that are forked from this process must not share its connection.
        connections.close_all()
    return []

"""Refusal of unsafe configurations, for wsgi.py, asgi.py and `python -m almaFintech.server`.

A wallet that runs with a published key, with DEBUG on or with the development user is open to
everybody, and nothing in its responses shows it.
"""

import sys

import django
from django.core.checks import ERROR, CheckMessage, Tags, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections

from almaFintech import EXIT_STATUS

# The tag of checks, in any app, for rows that the database of a production server must not have.
STORED = "stored"

# Warnings of `check --deploy` that prevent a start: a weak SECRET_KEY or fallback, DEBUG, and an
# empty ALLOWED_HOSTS.
FATAL_WARNINGS = {"security.W009", "security.W018", "security.W020", "security.W025"}
_NEW_KEY = "Set it to what `openssl rand -hex 48` prints."
REMEDIES = {
    "security.W009": _NEW_KEY,
    "security.W018": "Set DEBUG=false.",
    "security.W020": "Set it to the host names of this server, such as wallet.example.",
    "security.W025": "Remove it; users with sessions and tokens signed by it have to log in again.",
    "almaFintech.E002": _NEW_KEY,
}


def refuse_unsafe(*, ask_database: bool = True) -> None:
    """Set up Django, or end the process with a message if serving would be unsafe."""
    try:
        django.setup()
        # With unsafe settings the database may be the wrong one, so it is not queried.
        reasons = reasons_of(Tags.security) or (reasons_of(STORED) if ask_database else [])
        # Forked processes must not share the connection of this one.
        connections.close_all()
    except ImproperlyConfigured as error:
        reasons = [str(error)]
    if reasons:
        print("almaFintech does not start:", " ".join(reasons), file=sys.stderr)
        raise SystemExit(EXIT_STATUS)


def reasons_of(tag: str) -> list[str]:
    """Run the checks of a tag, and return a sentence for each reason not to start."""

    def is_fatal(message: CheckMessage) -> bool:
        return message.level >= ERROR or message.id in FATAL_WARNINGS

    messages = run_checks(tags=[tag], include_deployment_checks=True, databases=[DEFAULT_DB_ALIAS])
    return [f"{m.msg} {REMEDIES.get(m.id or '', '')}".strip() for m in messages if is_fatal(m)]

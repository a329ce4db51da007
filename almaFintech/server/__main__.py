"""Serve production: `python -m almaFintech.server` checks, migrates, and becomes the server.

`make serve` and the image run this. Several may start at once: one migrates while the others wait.
The server itself is `almaFintech/server/master.py`.
"""

import fcntl
import os
import sys
import time
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import Error, connection

from almaFintech import EXIT_STATUS
from almaFintech.server.startup import refuse_unsafe

BASE_DIR = Path(__file__).resolve().parents[2]

# The lock ends with the session, and so with the process, however the process ends.
TRY_LOCK = {
    "postgresql": "SELECT pg_try_advisory_lock(hashtext('almaFintech migrates'))",
    "mysql": "SELECT GET_LOCK(CONCAT(DATABASE(), ' almaFintech migrates'), 0)",
}
TRY_AGAIN_SECONDS = 0.2


def main() -> None:
    os.chdir(BASE_DIR)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "almaFintech.settings")
    refuse_unsafe(ask_database=False)
    try:
        migrate()
    except (Error, ImproperlyConfigured, OSError, CommandError) as error:
        reason = " ".join(str(error).split())
        print(
            "almaFintech does not start: the database cannot be migrated:", reason, file=sys.stderr
        )
        raise SystemExit(EXIT_STATUS) from None
    # The tables exist now, so the users can be checked: one message here instead of one from each
    # worker.
    refuse_unsafe()
    served = [settings.SERVE_ADDRESS, str(settings.SERVE_WORKERS)]
    os.execv(sys.executable, [sys.executable, "-m", "almaFintech.server.master", *served])  # noqa: S606


def migrate() -> None:
    """Apply missing migrations, one process at a time; if none is missing, write nothing."""
    from almaFintech.db.schema_state import unapplied_migrations

    if unapplied_migrations():
        while not try_lock():
            time.sleep(TRY_AGAIN_SECONDS)
        call_command("migrate", interactive=False)


def try_lock() -> bool:
    """Try to take the lock of this database; return whether that succeeded."""
    if connection.vendor == "sqlite":
        # The file stays open, and so locked, until this process ends or executes another program.
        file = os.open(f"{settings.DATABASES['default']['NAME']}.lock", os.O_CREAT | os.O_RDONLY)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        return True
    with connection.cursor() as cursor:
        cursor.execute(TRY_LOCK[connection.vendor])
        return bool(cursor.fetchone()[0])


if __name__ == "__main__":
    main()

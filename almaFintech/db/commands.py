"""The base class of the `manage.py` commands that use the database."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection

from almaFintech.db.schema_state import unapplied_migrations


class DatabaseCommand(BaseCommand):
    """A command that fails with one sentence if the database is down or lacks tables.

    It does the same for files that cannot be read or written; `--traceback` shows the place.
    """

    # The exit status of a command that cannot do its work.
    failure_status = 1

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except Error as error:
            raise CommandError(explain(error), returncode=self.failure_status) from error
        except OSError as error:
            raise CommandError(str(error), returncode=self.failure_status) from error
        except CommandError as error:
            # Raised by the command, or by a system check that fails.
            error.returncode = self.failure_status
            raise


def explain(error: Error) -> str:
    """Return the reason for a failure of the database, and the remedy if one is known."""
    # The lines after the first one repeat the statement.
    reason = str(error).partition("\n")[0]
    try:
        connection.ensure_connection()
    except Error:
        return f"The database is down: {reason}"
    try:
        if unapplied_migrations():
            return f"The database lacks tables: run `python manage.py migrate`. ({reason})"
    except Error:
        # This query fails as well; the first failure is the one to report.
        pass
    return f"The database failed: {reason}"

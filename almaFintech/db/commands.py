"""What the commands of `manage.py` share."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection

from almaFintech.db.schema_state import unapplied_migrations


class DatabaseCommand(BaseCommand):
    """A command that says in a sentence that the database is down or has no tables.

    So it does when a file cannot be read or written; `--traceback` shows where.
    """

    # The exit status of whatever keeps the command from its work.
    kept_from_it = 1

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except Error as error:
            raise CommandError(why(error), returncode=self.kept_from_it) from error
        except OSError as error:
            raise CommandError(str(error), returncode=self.kept_from_it) from error
        except CommandError as error:
            # Not always the command's own, but also that of a system check that fails.
            error.returncode = self.kept_from_it
            raise


def why(error: Error) -> str:
    """Say why the database failed, and what to do where that is known."""
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
        # It does not answer this either, and the first failure is the one to be told of.
        pass
    return f"The database failed: {reason}"

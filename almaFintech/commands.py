"""What the commands of `manage.py` share."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error


class DatabaseCommand(BaseCommand):
    """A command that says in a sentence that the database is away or has no tables.

    So it does when a file cannot be read or written; `--traceback` shows where.
    """

    # The exit status of whatever keeps the command from its work.
    kept_from_it = 1

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except Error as error:
            # The lines after the first one repeat the statement.
            reason = str(error).partition("\n")[0]
            text = f"The database is away or not migrated: {reason}"
            raise CommandError(text, returncode=self.kept_from_it) from error
        except OSError as error:
            raise CommandError(str(error), returncode=self.kept_from_it) from error
        except CommandError as error:
            # Not always the command's own, but also that of a system check that fails.
            error.returncode = self.kept_from_it
            raise

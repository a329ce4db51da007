"""`manage.py restore FILE`: fill an empty database with a backup, and verify the ledger."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import call_command

from almaFintech.db import backups
from almaFintech.db.commands import DatabaseCommand


class Command(DatabaseCommand):
    help = (
        "Fill the database, which must be empty, with the backup FILE, and verify the ledger. "
        "Exit status as of verify_ledger: 1 for discrepancies, 2 if it could not check."
    )
    failure_status = 2

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")

    def handle(self, *args: Any, **options: Any) -> None:
        backups.read(options["file"])
        self.stdout.write("Restored.")
        call_command("verify_ledger", stdout=self.stdout)

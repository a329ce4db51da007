"""`manage.py backup FILE`: write the whole database to a file while the server runs."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from almaFintech.db import backups
from almaFintech.db.commands import DatabaseCommand


class Command(DatabaseCommand):
    help = "Back up the database to FILE, which must not exist, and check the result."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        if warning := backups.write(file):
            self.stderr.write(warning)
        self.stdout.write(f"{file}: {file.stat().st_size} bytes, complete.")

"""`manage.py backup FILE`: write all of the database to a file, while the server goes on."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from almaFintech.db import backups
from almaFintech.db.commands import DatabaseCommand


class Command(DatabaseCommand):
    help = "Back the database up to FILE, which must not exist, and check what was written."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        if warning := backups.write(file):
            self.stderr.write(warning)
        self.stdout.write(f"{file}: {file.stat().st_size} bytes, complete.")

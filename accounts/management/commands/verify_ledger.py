"""Verify the ledger from the command line; `accounts.verification` lists the checks."""

import json
import os
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from tqdm import tqdm

from accounts.verification import Verification
from accounts.verification.discrepancies import as_text
from accounts.verification.heads import Head, read_heads
from accounts.verification.reading import estimated_entries, snapshot
from almaFintech.db.commands import DatabaseCommand

DISCREPANCIES, NOT_CHECKED = 1, 2


class Command(DatabaseCommand):
    help = (
        "Verify that the entries of the ledger explain every balance and every transfer, as of the "
        "start of this command; the server may stay up. Prints each discrepancy on one line, and "
        "exits with 1 if there is any, or with 2 if it cannot check."
    )
    failure_status = NOT_CHECKED

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object instead")
        parser.add_argument(
            "--heads",
            type=Path,
            metavar="FILE",
            help="check that the entries recorded in FILE are still there, then, if everything "
            "verified, record in it the last entry of each account and the last record of staff; "
            "keep it out of reach of anyone who can change the database, and it reveals chains "
            "that were truncated or rewritten",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        path = options["heads"] and _usable(options["heads"])
        recorded = _checked_heads(path) if path and path.exists() else iter(())
        as_json = options["json"]
        discrepancies = 0
        with _recording(path) as record_head, snapshot():
            if as_json:
                self.stdout.write('{"discrepancies": [')
            # None shows the bar on a terminal only.
            bar = tqdm(total=estimated_entries(), unit=" entries", leave=False, disable=None)
            with bar:
                verification = Verification(recorded, record_head, bar.update)
                for discrepancy in verification.run():
                    line = str(discrepancy)
                    if as_json:
                        line = json.dumps(discrepancy._asdict(), default=as_text)
                        line = f",{line}" if discrepancies else line
                    discrepancies += 1
                    with bar.external_write_mode():
                        self.stdout.write(line)
            counts = {
                "accounts": verification.accounts,
                "entries": verification.entries,
                "transfers": verification.transfers,
                "discrepancies": discrepancies,
            }
            seconds = round(time.monotonic() - started, 3)
            if as_json:
                rest = {"counts": counts, "totals": verification.totals, "seconds": seconds}
                self.stdout.write(f"], {json.dumps(rest)[1:]}")
            else:
                found = ", ".join(f"{number} {name}" for name, number in counts.items())
                self.stdout.write(f"{found} in {seconds} s.")
            if discrepancies:
                sys.exit(DISCREPANCIES)


def _usable(path: Path) -> Path:
    """Resolve all links of a path; only a regular file may be there, as it is replaced."""
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            raise CommandError(f"{path}: not a regular file")
    except (OSError, RuntimeError) as error:
        # A link to itself raises RuntimeError before Python 3.13.
        raise CommandError(f"{path}: {error}") from error
    return path


def _checked_heads(path: Path) -> Iterator[Head]:
    """Return the heads in a file, after one pass that finds malformed lines."""
    try:
        for _ in read_heads(path):
            pass
    except (OSError, ValueError) as error:
        raise CommandError(f"{path}: {error}") from error
    return read_heads(path)


@contextmanager
def _recording(path: Path | None) -> Iterator[Callable[[Head], object]]:
    """Yield a function that writes heads; they replace the file if nothing is raised."""
    if path is None:
        yield lambda head: None
        return
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        file = new.open("x", encoding="ascii")
    except OSError as error:
        raise CommandError(f"{new}: {error.strerror}") from error
    try:
        with file:
            yield lambda head: file.write(f"{head}\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)

"""The rows that the ledger locks and writes.

`Storage` goes through Django's models, and works with every database. On PostgreSQL the ledger
takes `accounts.postgresql`, which needs two round trips for any number of transfers. The same tests
run with both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connection
from django.db.models import QuerySet

from accounts.journal import Journal
from almaFintech.db import clock
from almaFintech.db.querysets import locked

if TYPE_CHECKING:
    from accounts.models import Transfer


class Storage:
    """The rows of one transaction, by Django's models."""

    def lock(self, ids: Iterable[int | None], *, new: int = 0) -> Journal:
        """Lock accounts until the commit, in the order of their ids, and begin a journal.

        new: number of transfers that will be inserted.
        """
        # The clock is read under the locks: entries of an account are dated in their order.
        return Journal(lock_accounts(ids), clock.now())

    def lock_transfers(self, ids: Iterable[int]) -> tuple[dict[int, Transfer], Journal]:
        """Lock transfers by id, and then their accounts; return the transfers by id."""
        found = {row.pk: row for row in locked_rows("Transfer", ids)}
        ends = (end for row in found.values() for end in (row.origin_id, row.destination_id))
        return found, self.lock(ends)

    def insert(self, transfers: Sequence[Transfer]) -> None:
        """Insert transfers, and give them their ids."""
        rows_of("Transfer").bulk_create(transfers)

    def cancel(self, ids: Iterable[int], *, by: int | None, now: datetime) -> None:
        """Mark locked transfers as cancelled."""
        rows_of("Transfer").filter(pk__in=list(ids)).update(
            cancelled=True, cancelled_by=by, cancelled_at=now
        )

    def write(self, journal: Journal, *, signed_with: bytes = b"") -> None:
        """Write the changed accounts in one statement and the entries in another.

        The accounts are locked, so they exist, and the upsert only ever updates. An UPDATE with
        one CASE for each row would cost the square of their number.
        """
        changed = journal.changed()
        if not changed:
            return
        entry = model_of("Entry")
        entries = [entry(**line._asdict()) for line in journal.lines(signed_with=signed_with)]
        by_key = connection.features.supports_update_conflicts_with_target
        rows_of("Account").bulk_create(
            changed,
            update_conflicts=True,
            update_fields=["currency", "balance", "last_seq", "last_date", "seal"],
            unique_fields=["id"] if by_key else None,
        )
        rows_of("Entry").bulk_create(entries)


def model_of(name: str) -> Any:
    # Looked up in Django's registry, since the models import the ledger.
    return apps.get_model("accounts", name)


def rows_of(name: str) -> QuerySet[Any]:
    """Return all rows of a model, bypassing its guards."""
    return QuerySet(model_of(name))


def locked_rows(name: str, ids: Iterable[int | None], *, no_key: bool = True) -> QuerySet[Any]:
    """Return the rows with these ids, locked in the order of their ids until the commit."""
    numbers = {id for id in ids if id is not None}
    return locked(rows_of(name).filter(pk__in=numbers), no_key=no_key)


def lock_accounts(ids: Iterable[int | None], *, no_key: bool = True) -> dict[int | None, Any]:
    """Return the accounts with these ids by id, locked until the commit."""
    return {account.pk: account for account in locked_rows("Account", ids, no_key=no_key)}

"""The ledger's statements for PostgreSQL: two round trips for any number of transfers.

The first locks the rows, reads the clock under the locks, and reserves the ids of new transfers,
so that the entries and their digests are known before anything is written. The second writes.
Each column goes as one array, which `unnest` turns into rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection

from accounts.journal import Journal, Row
from accounts.storage import Storage, model_of
from almaFintech.db import clock
from almaFintech.db.prepared import Prepared
from almaFintech.db.scripts import Rows, Script, columns

if TYPE_CHECKING:
    from accounts.models import Transfer

# NO KEY does not block inserts that refer to a row; they only check that it exists.
LOCK_ACCOUNTS = Prepared(
    "lock_accounts",
    """
SELECT id, currency, balance, last_seq, last_date, seal FROM accounts_account
WHERE id = ANY (%s::bigint[]) ORDER BY id FOR NO KEY UPDATE
""",
)
LOCK_TRANSFERS = Prepared(
    "lock_transfers",
    """
SELECT id, origin_id, destination_id, currency, balance, cancelled, reference
FROM accounts_transfer WHERE id = ANY (%s::bigint[]) ORDER BY id FOR NO KEY UPDATE
""",
)
# The transfers are locked, and so their accounts stay what they are.
LOCK_THEIR_ACCOUNTS = Prepared(
    "lock_their_accounts",
    """
SELECT id, currency, balance, last_seq, last_date, seal FROM accounts_account
WHERE id IN (
    SELECT unnest(ARRAY[origin_id, destination_id]) FROM accounts_transfer
    WHERE id = ANY (%s::bigint[])
) ORDER BY id FOR NO KEY UPDATE
""",
)
# After the locks were taken: the entries of an account are dated in their order.
READ_CLOCK_AND_RESERVE_IDS = Prepared(
    "read_clock_and_reserve_ids",
    f"""
{clock.NOW["postgresql"]},
    ARRAY(SELECT nextval('accounts_transfer_id_seq') FROM generate_series(1, %s))
""",  # noqa: S608 - a constant
    ("integer",),
)
INSERT_TRANSFERS = Prepared(
    "insert_transfers",
    """
INSERT INTO accounts_transfer (
    id, origin_id, destination_id, currency, balance, reference, created_by_id, date, cancelled
)
SELECT *, %s::timestamptz, false FROM unnest(
    %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::text[], %s::bigint[]
)
""",
)
CANCEL_TRANSFERS = Prepared(
    "cancel_transfers",
    """
UPDATE accounts_transfer SET cancelled = true, cancelled_by_id = %s, cancelled_at = %s
WHERE id = ANY (%s::bigint[])
""",
)
UPDATE_ACCOUNTS = Prepared(
    "update_accounts",
    """
UPDATE accounts_account AS account
SET balance = new.balance, last_seq = new.last_seq, last_date = new.last_date, seal = new.seal
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::bytea[])
    AS new (id, balance, last_seq, last_date, seal)
WHERE account.id = new.id
""",
)
INSERT_ENTRIES = Prepared(
    "insert_entries",
    """
INSERT INTO accounts_entry (
    account_id, seq, kind, transfer_id, counterparty, currency, amount, balance_after, date, by_id,
    reason, digest
)
SELECT * FROM unnest(
    %s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[],
    %s::bigint[], %s::timestamptz[], %s::bigint[], %s::text[], %s::bytea[]
)
""",
)


def is_used() -> bool:
    """Return whether the ledger takes these statements."""
    return connection.vendor == "postgresql" and not settings.PORTABLE_SQL


class PostgreSQLStorage(Storage):
    """The rows of one transaction of the ledger, by statements of its own.

    Nothing is written before `write`, which has to be the last statement of an `atomic()` block:
    the outermost one is committed by it. The statements of a caller that are already in the script
    run before the locks, and those that it adds later run with `write`.
    """

    def __init__(self, script: Script | None = None) -> None:
        self._script = script or Script()
        self._ids: Iterator[int] = iter(())
        self._new: list[tuple[Any, ...]] = []

    def lock(self, ids: Iterable[int | None], *, new: int = 0) -> Journal:
        numbers = sorted({id for id in ids if id is not None})
        return self._journal(self._script.add(LOCK_ACCOUNTS, numbers), new)

    def lock_transfers(self, ids: Iterable[int]) -> tuple[dict[int, Transfer], Journal]:
        numbers = sorted(set(ids))
        transfers = self._script.add(LOCK_TRANSFERS, numbers)
        journal = self._journal(self._script.add(LOCK_THEIR_ACCOUNTS, numbers), 0)
        return {row[0]: transfer_of(row) for row in transfers}, journal

    def _journal(self, accounts: Rows, new: int) -> Journal:
        read = self._script.add(READ_CLOCK_AND_RESERVE_IDS, new)
        self._script.run()
        [(now, ids)] = read
        self._ids = iter(ids)
        return Journal({row[0]: Row(*row) for row in accounts}, clock.moment(now))

    def insert(self, transfers: Sequence[Transfer]) -> None:
        for transfer in transfers:
            reserved = next(self._ids)
            # An object that has a number keeps it, and cannot be booked twice.
            transfer.pk = transfer.pk or reserved
            transfer._state.adding, transfer._state.db = False, connection.alias
            self._new.append(
                (
                    transfer.pk,
                    transfer.origin_id,
                    transfer.destination_id,
                    transfer.currency,
                    transfer.balance,
                    transfer.reference,
                    transfer.created_by_id,
                )
            )

    def cancel(self, ids: Iterable[int], *, by: int | None, now: datetime) -> None:
        self._script.add(CANCEL_TRANSFERS, by, now, list(ids))

    def write(self, journal: Journal, *, signed_with: bytes = b"") -> None:
        lines = journal.lines(signed_with=signed_with)
        if self._new:
            self._script.add(INSERT_TRANSFERS, journal.now, *columns(self._new, 7))
        changed = [
            (row.id, row.balance, row.last_seq, row.last_date, row.seal)
            for row in journal.changed()
        ]
        if changed:
            self._script.add(UPDATE_ACCOUNTS, *columns(changed, 5))
            self._script.add(INSERT_ENTRIES, *columns(lines, 12))
        self._script.run(last=True)


def transfer_of(row: Sequence[Any]) -> Transfer:
    """Return a locked transfer as an object, with the fields that the ledger reads."""
    # In the order of the model's fields, whatever the order of the names.
    names = ("id", "origin_id", "destination_id", "currency", "balance", "cancelled", "reference")
    transfer: Transfer = model_of("Transfer").from_db(connection.alias, names, row)
    return transfer

"""The ledger: the only code that changes a balance.

Every function takes one object or many, locks the rows that it needs, decides from the locked
rows and never from the caller's objects, and then writes all or nothing: the balances, and
an entry for each change of one. The number of SQL statements does not depend on the number of
objects.

Rows are locked in one order everywhere: transfers by id, then accounts by id. Two requests that
need the same rows therefore wait for each other instead of locking each other out. If the
database rolls one back all the same, because of a deadlock, `retried` runs it again at the
outermost level: a view, a page of the admin or a command.

Each function is a transaction, or a part of the caller's without a savepoint. A refusal then marks
the caller's transaction as one to roll back, and the next query in it raises
TransactionManagementError. To go on after a refusal, call the ledger in a `transaction.atomic()`
block of its own.

Amounts and balances are micro units, see `accounts.rules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, cast

from django.db import transaction
from django.db.models import QuerySet

from accounts import metrics, postgresql
from accounts.chain import FOR_GOOD
from accounts.journal import Journal
from accounts.rules import (
    AccountMissing,
    AlreadyCancelled,
    BalanceChanged,
    CurrencyFixed,
    Kind,
    TransferMissing,
    numbered,
    require_amount,
)
from accounts.storage import Storage, lock_accounts, model_of, rows_of
from almaFintech.db import chains, clock
from almaFintech.db.guards import SideDoor
from almaFintech.db.querysets import locked, locked_single

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from accounts.models import Account, Transfer

_closing: ContextVar[bool] = ContextVar("closing", default=False)


def post(transfers: Iterable[Transfer]) -> list[Transfer]:
    """Book new transfers in the order given, all or none, and return them.

    An earlier transfer may fund a later one. Each object gets its id, date and currency.
    Raises InvalidAmount, SameAccount, AccountMissing, CurrencyMismatch, InsufficientFunds or
    BalanceOverflow.
    """
    transfers = list(transfers)
    if len({id(transfer) for transfer in transfers}) < len(transfers):
        raise ValueError("Each transfer to book must be a separate object")
    with _unchanged_on_error(transfers), _transaction(), metrics.measured("post"):
        posting = Posting(transfers, storage())
        posting.book(transfers)
        posting.write()
    return transfers


class Posting:
    """New transfers in the caller's transaction, whose accounts it locks.

    Some of them can be refused, and the others are booked all the same: `book` those that belong
    together, then `write` everything, at the end of the transaction. After an exception of `write`
    the objects are of no use.
    """

    def __init__(self, transfers: Sequence[Transfer], rows: Storage) -> None:
        self._rows = rows
        ends = (id for transfer in transfers for id in _ends(transfer))
        self._journal = rows.lock(ends, new=len(transfers))
        self._booked: list[Transfer] = []

    def book(self, transfers: Sequence[Transfer]) -> None:
        """Book some of the transfers, all or none. Raises a refusal as `post` does."""
        journal = self._journal
        with journal.all_or_none():
            for index, transfer in enumerate(transfers):
                with numbered(index):
                    require_amount(transfer.balance, minimum=1)
                    journal.move(transfer, Kind.TRANSFER, by=transfer.created_by_id)
        for transfer in transfers:
            transfer.date = journal.now
            transfer.currency = journal.accounts[transfer.origin_id].currency
            transfer.cancelled, transfer.cancelled_at, transfer.cancelled_by_id = False, None, None
        self._rows.insert(transfers)
        self._booked += transfers

    def write(self) -> None:
        # Before the write, which may commit: nothing that could fail comes after it.
        metrics.booked(_amounts(self._booked))
        self._rows.write(self._journal)


def cancel(transfers: Iterable[Transfer], *, by: User | None = None) -> list[Transfer]:
    """Cancel transfers in the order given, all or none, and return them.

    The amounts go back, and the rows stay, with `cancelled` set. Raises TransferMissing,
    AlreadyCancelled, AccountMissing, InsufficientFunds (of the destination) or BalanceOverflow.
    """
    transfers = list(transfers)
    with metrics.measured("cancel"), _transaction():
        rows = storage()
        found, journal = rows.lock_transfers(transfer.pk for transfer in transfers)
        with journal.all_or_none():
            for index, transfer in enumerate(transfers):
                with numbered(index):
                    row = found.get(transfer.pk)
                    if row is None:
                        raise TransferMissing
                    if row.cancelled:
                        raise AlreadyCancelled
                    row.cancelled = True
                    journal.move(row, Kind.CANCELLATION, by=_id(by))
        rows.cancel(found, by=_id(by), now=journal.now)
        metrics.cancelled(_amounts(found.values()))
        rows.write(journal)
    for transfer in transfers:
        transfer.cancelled, transfer.cancelled_at = True, journal.now
        transfer.cancelled_by = by
    return transfers


def confirm(transfer: Transfer) -> None:
    """Accept a booked transfer that is unchanged, and refuse one with an edited field."""
    stored = rows_of("Transfer").filter(pk=transfer.pk).values().first()
    if stored is None:
        raise TransferMissing
    if any(transfer.__dict__.get(name, value) != value for name, value in stored.items()):
        raise SideDoor("A booked transfer cannot change: delete() cancels it.")


def open_accounts(
    accounts: Iterable[Account], *, by: User | None = None, reason: str = ""
) -> list[Account]:
    """Insert new accounts with the balances they hold, and return them.

    Raises InvalidAmount.
    """
    accounts = list(accounts)
    for index, account in enumerate(accounts):
        with numbered(index):
            require_amount(account.balance, minimum=0)
    with _transaction():
        # Locked before the accounts get their numbers, so that they are committed in that order.
        register = locked_single(model_of("Register"))
        model = model_of("Account")
        rows = [model(pk=account.pk, currency=account.currency) for account in accounts]
        rows_of("Account").bulk_create(rows)
        # Counting on from a forged number would sign it.
        signed = register.is_signed()
        register.opened += len(rows)
        register.seal = (
            chains.keys()[0].count(register.NAME, register.opened) if signed else chains.GENESIS
        )
        rows_of("Register").filter(pk=register.pk).update(
            opened=register.opened, seal=register.seal
        )
        journal = Journal({row.pk: row for row in rows}, clock.now())
        with journal.all_or_none():
            for row, account in zip(rows, accounts, strict=True):
                journal.change(row, Kind.OPENING, account.balance, by=_id(by), reason=reason)
        Storage().write(journal)
    for account, row in zip(accounts, rows, strict=True):
        _adopt(account, row)
    return accounts


def edit_account(
    account: Account,
    fields: Iterable[str] | None = None,
    *,
    by: User | None = None,
    reason: str = "",
) -> None:
    """Write the edited `fields` (all when None) of an account, and read the others again.

    A balance that was not edited is left alone, even if the object's copy is stale. Raises
    BalanceChanged, CurrencyFixed, InvalidAmount or AccountMissing.
    """
    wanted = {"currency", "balance"} if fields is None else set(fields)
    known = account.__dict__
    with _transaction():
        journal = Storage().lock([account.pk])
        row = cast("Account | None", journal.accounts.get(account.pk))
        if row is None:
            raise AccountMissing("Account does not exist")
        balance = row.balance
        if "balance" in wanted and known.get("balance") != account.balance_as_read:
            require_amount(account.balance, minimum=0)
            if row.balance != account.balance_as_read:
                raise BalanceChanged
            balance = account.balance
        if "currency" in wanted and known.get("currency", row.currency) != row.currency:
            if _touching([row.pk]).exists():
                raise CurrencyFixed
            # The balance in the old currency ends, and the one in the new currency begins.
            with journal.all_or_none():
                journal.change(row, Kind.CLOSING, -row.balance, by=_id(by), reason=reason)
                row.currency = account.currency
                journal.change(row, Kind.OPENING, balance, by=_id(by), reason=reason)
        elif balance != row.balance:
            with journal.all_or_none():
                change = balance - row.balance
                journal.change(row, Kind.ADJUSTMENT, change, by=_id(by), reason=reason)
        Storage().write(journal)
    _adopt(account, row)


def close_accounts(
    accounts: Iterable[Account], *, by: User | None = None, reason: str = ""
) -> tuple[int, dict[str, int]]:
    """Delete accounts; their entries stay, and so do their transfers with that end null.

    Returns what `QuerySet.delete()` returns.
    """
    ids = [account.pk for account in accounts]
    with _transaction():
        rows = lock_to_close(ids)
        journal = Journal(rows, clock.now())
        with journal.all_or_none():
            for row in rows.values():
                journal.change(row, Kind.CLOSING, -row.balance, by=_id(by), reason=reason)
        Storage().write(journal, signed_with=FOR_GOOD)
        token = _closing.set(True)
        try:
            return rows_of("Account").filter(pk__in=list(rows)).delete()
        finally:
            _closing.reset(token)


def is_closing() -> bool:
    """Return whether the ledger is deleting accounts, which their transfers then forget."""
    return _closing.get()


def lock_to_close(ids: Iterable[int]) -> dict[int | None, Account]:
    """Lock accounts that are to be closed, by id, after all the transfers that name them."""
    ids = list(ids)
    for _ in locked(_touching(ids)).values_list("pk").iterator():
        pass
    # Not "no key": until the commit, no new row may refer to the accounts.
    return lock_accounts(ids, no_key=False)


def _transaction() -> transaction.Atomic:
    # No savepoint in a transaction of the caller: it would cost two statements.
    return transaction.atomic(savepoint=False)


def storage() -> Storage:
    """Return the rows of a transaction: by the quickest statements that its database knows."""
    return postgresql.PostgreSQLStorage() if postgresql.is_used() else Storage()


@contextmanager
def _unchanged_on_error(transfers: Sequence[Transfer]) -> Iterator[None]:
    """Restore the caller's objects when the block fails, so that they can be booked later."""
    before = [transfer.__getstate__() for transfer in transfers]
    try:
        yield
    except BaseException:
        for transfer, state in zip(transfers, before, strict=True):
            transfer.__dict__.update(state)
        raise


def _adopt(account: Account, row: Account) -> None:
    """Copy the values that the ledger has written to the caller's object."""
    for name in ("pk", "currency", "balance", "last_seq", "last_date", "seal"):
        setattr(account, name, getattr(row, name))
    account.balance_as_read = row.balance
    account._state.adding, account._state.db = False, row._state.db


def _ends(transfer: Transfer) -> tuple[int | None, int | None]:
    return transfer.origin_id, transfer.destination_id


def _id(user: User | None) -> int | None:
    return user.pk if user else None


def _amounts(transfers: Iterable[Transfer]) -> list[tuple[str, int]]:
    return [(transfer.currency, transfer.balance) for transfer in transfers]


def _touching(accounts: Sequence[int]) -> QuerySet[Transfer]:
    return model_of("Transfer").objects.touching(accounts)

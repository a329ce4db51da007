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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet

from accounts import metrics, rules
from accounts.chain import FOR_GOOD
from accounts.rules import (
    AccountAhead,
    AccountMissing,
    AlreadyCancelled,
    BalanceChanged,
    CurrencyFixed,
    Kind,
    TransferMissing,
    numbered,
    require_amount,
)
from almaFintech.db import chains, clock
from almaFintech.db.guards import SideDoor
from almaFintech.db.querysets import locked, locked_single

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from accounts.models import Account, Entry, Transfer

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
    with metrics.measured("post"), _unchanged_on_error(transfers), _transaction():
        accounts = _lock_accounts(id for transfer in transfers for id in _ends(transfer))
        journal = Journal(accounts)
        for index, transfer in enumerate(transfers):
            with numbered(index):
                require_amount(transfer.balance, minimum=1)
                journal.move(transfer, Kind.TRANSFER, by_id=transfer.created_by_id)
        now = clock.now()
        for transfer in transfers:
            transfer.date, transfer.currency = now, accounts[transfer.origin_id].currency
            transfer.cancelled, transfer.cancelled_at, transfer.cancelled_by = False, None, None
        _rows("Transfer").bulk_create(transfers)
        journal.write(now)
        metrics.booked(_amounts(transfers))
    return transfers


def cancel(transfers: Iterable[Transfer], *, by: User | None = None) -> list[Transfer]:
    """Cancel transfers in the order given, all or none, and return them.

    The amounts go back, and the rows stay, with `cancelled` set. Raises TransferMissing,
    AlreadyCancelled, AccountMissing, InsufficientFunds (of the destination) or BalanceOverflow.
    """
    transfers = list(transfers)
    with metrics.measured("cancel"), _transaction():
        rows = {row.pk: row for row in _locked("Transfer", (each.pk for each in transfers))}
        journal = Journal(_lock_accounts(id for row in rows.values() for id in _ends(row)))
        for index, transfer in enumerate(transfers):
            with numbered(index):
                row = rows.get(transfer.pk)
                if row is None:
                    raise TransferMissing
                if row.cancelled:
                    raise AlreadyCancelled
                row.cancelled = True
                journal.move(row, Kind.CANCELLATION, by_id=by.pk if by else None)
        now = clock.now()
        _rows("Transfer").filter(pk__in=list(rows)).update(
            cancelled=True, cancelled_by=by, cancelled_at=now
        )
        journal.write(now)
        metrics.cancelled(_amounts(rows.values()))
    for transfer in transfers:
        transfer.cancelled, transfer.cancelled_at, transfer.cancelled_by = True, now, by
    return transfers


def confirm(transfer: Transfer) -> None:
    """Accept a booked transfer that is unchanged, and refuse one with an edited field."""
    stored = _rows("Transfer").filter(pk=transfer.pk).values().first()
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
        register = locked_single(_model("Register"))
        model = _model("Account")
        rows = [model(pk=account.pk, currency=account.currency) for account in accounts]
        _rows("Account").bulk_create(rows)
        # Counting on from a forged number would sign it.
        signed = register.is_signed()
        register.opened += len(rows)
        register.seal = (
            chains.keys()[0].count(register.NAME, register.opened) if signed else chains.GENESIS
        )
        _rows("Register").filter(pk=register.pk).update(opened=register.opened, seal=register.seal)
        journal = Journal({row.pk: row for row in rows})
        for row, account in zip(rows, accounts, strict=True):
            journal.change(row, Kind.OPENING, account.balance, by=by, reason=reason)
        journal.write(clock.now())
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
        row = _locked("Account", [account.pk]).first()
        if row is None:
            raise AccountMissing("Account does not exist")
        balance = row.balance
        if "balance" in wanted and known.get("balance") != account.balance_as_read:
            require_amount(account.balance, minimum=0)
            if row.balance != account.balance_as_read:
                raise BalanceChanged
            balance = account.balance
        journal = Journal({row.pk: row})
        if "currency" in wanted and known.get("currency", row.currency) != row.currency:
            if _touching([row.pk]).exists():
                raise CurrencyFixed
            # The balance in the old currency ends, and the one in the new currency begins.
            journal.change(row, Kind.CLOSING, -row.balance, by=by, reason=reason)
            row.currency = account.currency
            journal.change(row, Kind.OPENING, balance, by=by, reason=reason)
        elif balance != row.balance:
            journal.change(row, Kind.ADJUSTMENT, balance - row.balance, by=by, reason=reason)
        journal.write(clock.now())
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
        journal = Journal(rows)
        for row in rows.values():
            journal.change(row, Kind.CLOSING, -row.balance, by=by, reason=reason)
        journal.write(clock.now(), signed_with=FOR_GOOD)
        token = _closing.set(True)
        try:
            return _rows("Account").filter(pk__in=list(rows)).delete()
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
    return _lock_accounts(ids, no_key=False)


class Journal:
    """The changes of some locked accounts in one transaction, and the entries that record them."""

    def __init__(self, accounts: Mapping[int | None, Account]) -> None:
        self.accounts = accounts
        self.entries: list[Entry] = []

    def move(self, transfer: Transfer, kind: Kind, *, by_id: int | None) -> None:
        """Move the amount of a transfer; a CANCELLATION moves it back. The payer's entry is first.

        Raises a refusal of `rules.move`.
        """
        payer, receiver = _ends(transfer)
        back = kind == Kind.CANCELLATION
        if back:
            payer, receiver = receiver, payer
        amount = transfer.balance
        rules.move(amount, self.accounts, payer, receiver, back=back)
        for id, other, change in (payer, receiver, -amount), (receiver, payer, amount):
            self._enter(
                self.accounts[id],
                kind,
                change,
                transfer=transfer,
                counterparty=other,
                by_id=by_id,
                reason=transfer.reference,
            )

    def change(
        self, account: Account, kind: Kind, amount: int, *, by: User | None, reason: str
    ) -> None:
        """Change the balance of an account by `amount`."""
        account.balance += amount
        self._enter(account, kind, amount, by=by, reason=reason)

    def _enter(self, account: Account, kind: Kind, amount: int, **fields: Any) -> None:
        entry = _model("Entry")(
            account_id=account.pk,
            kind=kind,
            currency=account.currency,
            amount=amount,
            balance_after=account.balance,
            **fields,
        )
        self.entries.append(entry)

    def write(self, now: datetime, *, signed_with: bytes = b"") -> None:
        """Write the accounts in one statement and the entries in another.

        The accounts are locked, so they exist, and the upsert only ever updates. An UPDATE with
        one CASE for each row would cost the square of their number.
        """
        if not self.entries:
            return
        for entry in self.entries:
            self._chain(entry, now, signed_with)
        changed = {entry.account_id for entry in self.entries}
        by_key = connection.features.supports_update_conflicts_with_target
        _rows("Account").bulk_create(
            [account for id, account in self.accounts.items() if id in changed],
            update_conflicts=True,
            update_fields=["currency", "balance", "last_seq", "last_date", "seal"],
            unique_fields=["id"] if by_key else None,
        )
        _rows("Entry").bulk_create(self.entries)

    def _chain(self, entry: Entry, now: datetime, signed_with: bytes) -> None:
        """Add an entry to the end of its account's chain."""
        account = self.accounts[entry.account_id]
        last = account.last_date or now
        if (last - now).total_seconds() > settings.CLOCK_TOLERANCE_SECONDS:
            raise AccountAhead
        account.last_seq += 1
        # Clocks are set back by a little now and then, but the entries stay in order.
        account.last_date = max(now, last)
        entry.seq, entry.date = account.last_seq, account.last_date
        if entry.transfer:
            # The transfer had no number yet when the entry was made.
            entry.transfer_id = entry.transfer.pk
        entry.digest, account.seal = chains.append(
            bytes(account.seal), entry.content() + signed_with
        )


def _transaction() -> transaction.Atomic:
    # No savepoint in a transaction of the caller: it would cost two statements.
    return transaction.atomic(savepoint=False)


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


def _amounts(transfers: Iterable[Transfer]) -> list[tuple[str, int]]:
    return [(transfer.currency, transfer.balance) for transfer in transfers]


def _model(name: str) -> Any:
    # Looked up in Django's registry, since the models import this module.
    return apps.get_model("accounts", name)


def _rows(model: str) -> QuerySet[Any]:
    """Return all rows of a table, bypassing the guards of its model."""
    return QuerySet(_model(model))


def _touching(accounts: Sequence[int]) -> QuerySet[Transfer]:
    return _model("Transfer").objects.touching(accounts)


def _lock_accounts(ids: Iterable[int | None], *, no_key: bool = True) -> dict[int | None, Account]:
    return {account.pk: account for account in _locked("Account", ids, no_key=no_key)}


def _locked(model: str, ids: Iterable[int | None], *, no_key: bool = True) -> QuerySet[Any]:
    """Return the rows with these ids, locked in the order of their ids until the commit."""
    numbers = {id for id in ids if id is not None}
    return locked(_rows(model).filter(pk__in=numbers), no_key=no_key)

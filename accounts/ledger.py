"""The ledger: the only code that changes a balance.

Every function takes one object or many, locks the rows that it needs, decides from the locked
rows and never from what an object remembers, and then writes all or nothing: the balances, and
an entry for each change of one. The number of SQL statements does not depend on the number of
objects.

Rows are locked in one order everywhere: transfers by id, then accounts by id. Two requests
that need the same rows therefore wait for each other instead of locking each other out; what
the database still calls a deadlock is run again by `retried`.

Amounts and balances are micro units, whole numbers from 0 to MAX_MICRO_UNITS.
"""

from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model, QuerySet
from rest_framework import status

from accounts import metrics, models
from accounts.chain import FOR_GOOD
from almaFintech.db import chains, clock
from almaFintech.db.guards import SideDoor
from almaFintech.db.querysets import locked, locked_single
from almaFintech.db.transactions import retried
from almaFintech.refusals import RETRY_AFTER_SECONDS, Refusal

M = TypeVar("M", bound=Model)
_closing: ContextVar[bool] = ContextVar("closing", default=False)

# The largest number of the column and of the JSON numbers that clients send.
MAX_MICRO_UNITS = 2**63 - 1


class LedgerRefusal(Refusal):
    """A refused movement; nothing has moved.

    `index` tells which of several objects was refused, counted from 0.
    """


class CurrencyMismatch(LedgerRefusal):
    default_code = "currency_mismatch"
    default_detail = "Origin currency must match destination currency"


class InsufficientFunds(LedgerRefusal):
    default_code = "insufficient_funds"
    default_detail = "Origin account has insufficient funds"


class AlreadyCancelled(LedgerRefusal):
    default_code = "already_cancelled"
    default_detail = "Transfer already cancelled"


class AccountMissing(LedgerRefusal):
    default_code = "account_missing"
    default_detail = "Origin account does not exist"


class TransferMissing(LedgerRefusal):
    default_code = "transfer_missing"
    default_detail = "Transfer does not exist"


class SameAccount(LedgerRefusal):
    default_code = "same_account"
    default_detail = "Origin and destination must be different accounts"


class InvalidAmount(LedgerRefusal):
    default_code = "invalid_amount"
    default_detail = f"Balance must be a whole number from 1 to {MAX_MICRO_UNITS}"


class BalanceOverflow(LedgerRefusal):
    default_code = "balance_overflow"
    default_detail = "Destination account cannot hold that much"


class BalanceChanged(LedgerRefusal):
    """An edit would overwrite a balance that has changed since it was read."""

    default_code = "balance_changed"
    default_detail = "The balance has changed since it was read: read it again"
    status_code = 409


class CurrencyFixed(LedgerRefusal):
    default_code = "currency_fixed"
    default_detail = "The currency cannot change once the account has transfers"


class AccountAhead(LedgerRefusal):
    """The account's last entry is dated later than the database's clock says it is now.

    Entries keep their order, so each one to come would be dated as far ahead. A small difference
    is that of two clocks; a large one means that a clock was wrong for a moment.
    """

    default_code = "account_ahead"
    default_detail = "The last entry of the account is dated in the future"
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    wait = RETRY_AFTER_SECONDS


def post(transfers: "Iterable[models.Transfer]") -> "list[models.Transfer]":
    """Book new transfers in the order given, all or none, and return them.

    An earlier transfer may fund a later one. Each object gets its id, date and currency.
    Raises InvalidAmount, SameAccount, AccountMissing, CurrencyMismatch, InsufficientFunds or
    BalanceOverflow.
    """
    [outcome] = post_groups([transfers])
    if isinstance(outcome, LedgerRefusal):
        raise outcome
    return outcome


def post_groups(
    groups: "Iterable[Iterable[models.Transfer]]",
) -> "list[list[models.Transfer] | LedgerRefusal]":
    """Book groups of new transfers, each group all or none, in one transaction.

    Returns for each group its transfers, or the refusal of the first one that cannot be booked;
    a refused group leaves the others alone. See `post` for the rest.
    """
    lists = [list(group) for group in groups]
    outcomes: list[list[models.Transfer] | LedgerRefusal] = []
    with metrics.measured("post"):
        decided = _post_groups(lists)
    for group, booked in zip(lists, decided, strict=True):
        if isinstance(booked, LedgerRefusal):
            metrics.refused("post", booked)
            outcomes.append(booked)
            continue
        for transfer, row in zip(group, booked, strict=True):
            transfer.pk = row.pk
            transfer.date = row.date
            transfer.currency = row.currency
            transfer.cancelled = False
            transfer._state.adding = False
            transfer._state.db = row._state.db
        outcomes.append(group)
    return outcomes


@retried
def _post_groups(
    groups: "Sequence[Sequence[models.Transfer]]",
) -> "list[list[models.Transfer] | LedgerRefusal]":
    accounts = _lock_accounts(
        id for group in groups for transfer in group for id in _ends(transfer)
    )
    balances = {id: account.balance for id, account in accounts.items()}
    outcomes: list[list[models.Transfer] | LedgerRefusal] = []
    for group in groups:
        # What a refused group has moved until then is forgotten with its layer.
        trial = ChainMap({}, balances)
        try:
            outcomes.append(_decide(group, accounts, trial))
            balances.update(trial.maps[0])
        except LedgerRefusal as refusal:
            outcomes.append(refusal)

    rows = [row for booked in outcomes if isinstance(booked, list) for row in booked]
    if rows:
        journal = Journal(accounts)
        now = clock.now()
        for row in rows:
            row.date = now
        for row in _rows(models.Transfer).bulk_create(rows):
            journal.move(models.Entry.Kind.TRANSFER, row, row.date, row.created_by_id)
        journal.write()
        metrics.booked(rows)
    return outcomes


def _decide(
    transfers: "Sequence[models.Transfer]",
    accounts: "Mapping[int | None, models.Account]",
    balances: MutableMapping[int | None, int],
) -> "list[models.Transfer]":
    """Move the amounts in `balances`, and return the rows to insert."""
    rows = []
    for index, transfer in enumerate(transfers):
        try:
            _require_amount(transfer.balance, minimum=1)
            origin, destination = _ends(transfer)
            _move(
                accounts,
                balances,
                transfer.balance,
                payer=Side("Origin", origin),
                receiver=Side("Destination", destination),
            )
        except LedgerRefusal as refusal:
            refusal.index = index
            raise
        rows.append(
            models.Transfer(
                pk=transfer.pk,
                origin_id=origin,
                destination_id=destination,
                currency=accounts[origin].currency,
                balance=transfer.balance,
                reference=transfer.reference,
                created_by_id=transfer.created_by_id,
            )
        )
    return rows


def cancel(
    transfers: "Iterable[models.Transfer]", *, by: User | None = None
) -> "list[models.Transfer]":
    """Give transfers back in the order given, all or none, and return them.

    The rows stay, with `cancelled` set. Raises TransferMissing, AlreadyCancelled,
    AccountMissing, InsufficientFunds (of the destination) or BalanceOverflow.
    """
    transfers = list(transfers)
    with metrics.measured("cancel"):
        now = _cancel([transfer.pk for transfer in transfers], by)
    for transfer in transfers:
        transfer.cancelled = True
        transfer.cancelled_at = now
        transfer.cancelled_by = by
    return transfers


@retried
def _cancel(ids: Sequence[int | None], by: User | None) -> datetime:
    rows: dict[int | None, models.Transfer] = {row.pk: row for row in _locked(models.Transfer, ids)}
    accounts = _lock_accounts(id for row in rows.values() for id in _ends(row))
    balances = {id: account.balance for id, account in accounts.items()}
    for index, id in enumerate(ids):
        try:
            if id not in rows:
                raise TransferMissing
            row = rows[id]
            if row.cancelled:
                raise AlreadyCancelled
            row.cancelled = True
            origin, destination = _ends(row)
            _move(
                accounts,
                balances,
                row.balance,
                payer=Side("Destination", destination),
                receiver=Side("Origin", origin),
            )
        except LedgerRefusal as refusal:
            refusal.index = index
            raise
    now = clock.now()
    _rows(models.Transfer).filter(pk__in=list(rows)).update(
        cancelled=True, cancelled_by=by, cancelled_at=now
    )
    journal = Journal(accounts)
    for id in ids:
        journal.move(models.Entry.Kind.CANCELLATION, rows[id], now, by.pk if by else None)
    journal.write()
    metrics.cancelled(rows.values())
    return now


def confirm(transfer: "models.Transfer") -> None:
    """Refuse a booked transfer of which a field was edited; one that was not is fine."""
    stored = _rows(models.Transfer).filter(pk=transfer.pk).values().first()
    if stored is None:
        raise TransferMissing
    if any(transfer.__dict__.get(name, value) != value for name, value in stored.items()):
        raise SideDoor("A booked transfer does not change: delete() gives it back")


def open_accounts(
    accounts: "Iterable[models.Account]", *, by: User | None = None, reason: str = ""
) -> "list[models.Account]":
    """Insert new accounts with the balances they hold, and return them.

    Raises InvalidAmount.
    """
    accounts = list(accounts)
    for index, account in enumerate(accounts):
        _require_amount(account.balance, minimum=0, index=index)
    rows = _open_accounts([(a.pk, a.currency, a.balance) for a in accounts], by, reason)
    for account, row in zip(accounts, rows, strict=True):
        account.pk = row.pk
        account._state.adding = False
        account._state.db = row._state.db
        _remember(account, row)
    return accounts


@retried
def _open_accounts(
    openings: Sequence[tuple[int | None, str, int]], by: User | None, reason: str
) -> "list[models.Account]":
    # Locked before the accounts get their numbers, so that these are committed in their order.
    register = locked_single(models.Register)
    rows = [models.Account(pk=pk, currency=currency) for pk, currency, _ in openings]
    _rows(models.Account).bulk_create(rows)
    # A number that somebody else has written is not made good by counting on from it.
    signed = register.is_signed()
    register.opened += len(rows)
    register.seal = (
        chains.keys()[0].count(register.NAME, register.opened) if signed else chains.GENESIS
    )
    _rows(models.Register).filter(pk=register.pk).update(opened=register.opened, seal=register.seal)
    journal = Journal({row.pk: row for row in rows})
    now = clock.now()
    for row, (_, _, balance) in zip(rows, openings, strict=True):
        journal.enter(row, models.Entry.Kind.OPENING, balance, now, by=by, reason=reason)
    journal.write()
    return rows


def edit_account(
    account: "models.Account",
    fields: Iterable[str] | None = None,
    *,
    by: User | None = None,
    reason: str = "",
) -> None:
    """Write the edited `fields` (all when None) of an account, and read the others again.

    A balance that was not edited is left alone, whatever the object remembers. Raises
    BalanceChanged, CurrencyFixed, InvalidAmount or AccountMissing.
    """
    wanted = {"currency", "balance"} if fields is None else set(fields)
    _remember(account, _edit_account(account, wanted, by, reason))


@retried
def _edit_account(
    account: "models.Account", fields: set[str], by: User | None, reason: str
) -> "models.Account":
    row = _locked(models.Account, [account.pk]).first()
    if row is None:
        raise AccountMissing("Account does not exist")
    known = account.__dict__
    balance = row.balance
    if "balance" in fields and known.get("balance") != account.balance_as_read:
        _require_amount(account.balance, minimum=0)
        if row.balance != account.balance_as_read:
            raise BalanceChanged
        balance = account.balance

    kind = models.Entry.Kind
    journal = Journal({row.pk: row})
    now = clock.now()
    if "currency" in fields and known.get("currency", row.currency) != row.currency:
        if _touching([row.pk]).exists():
            raise CurrencyFixed
        # What there was in the old currency ends, what there is in the new one begins.
        journal.enter(row, kind.CLOSING, -row.balance, now, by=by, reason=reason)
        row.currency = account.currency
        journal.enter(row, kind.OPENING, balance, now, by=by, reason=reason)
    elif balance != row.balance:
        journal.enter(row, kind.ADJUSTMENT, balance - row.balance, now, by=by, reason=reason)
    journal.write()
    return row


def _remember(account: "models.Account", row: "models.Account") -> None:
    """Give the caller's object what the database now holds."""
    for name in ("currency", "balance", "last_seq", "last_date", "seal"):
        setattr(account, name, getattr(row, name))
    account.balance_as_read = row.balance


def close_accounts(
    accounts: "Iterable[models.Account]", *, by: User | None = None, reason: str = ""
) -> tuple[int, dict[str, int]]:
    """Delete accounts; their entries stay, and so do their transfers with that end null.

    Returns what `QuerySet.delete()` returns.
    """
    return _close_accounts([account.pk for account in accounts], by, reason)


@retried
def _close_accounts(ids: Sequence[int], by: User | None, reason: str) -> tuple[int, dict[str, int]]:
    rows = lock_to_close(ids)
    journal = Journal(rows)
    now = clock.now()
    for row in rows.values():
        journal.enter(
            row,
            models.Entry.Kind.CLOSING,
            -row.balance,
            now,
            by=by,
            reason=reason,
            signed_with=FOR_GOOD,
        )
    journal.write()
    token = _closing.set(True)
    try:
        return _rows(models.Account).filter(pk__in=list(rows)).delete()
    finally:
        _closing.reset(token)


def is_closing() -> bool:
    """Whether the ledger is deleting accounts just now, which their transfers then forget."""
    return _closing.get()


def lock_to_close(ids: Iterable[int]) -> "dict[int | None, models.Account]":
    """Lock accounts that are to be closed, by id, after all the transfers that name them."""
    ids = list(ids)
    for _ in locked(_touching(ids)).values_list("pk").iterator():
        pass
    # Not "no key": until this is committed, nothing may refer to the accounts any more.
    return _lock_accounts(ids, no_key=False)


class Side(NamedTuple):
    """One account of a transfer: its role in the messages, and its id."""

    role: str
    id: int | None


def _ends(transfer: "models.Transfer") -> tuple[int | None, int | None]:
    return transfer.origin_id, transfer.destination_id


def _move(
    accounts: "Mapping[int | None, models.Account]",
    balances: MutableMapping[int | None, int],
    amount: int,
    *,
    payer: Side,
    receiver: Side,
) -> None:
    """Move `amount` in `balances`, or say why it cannot move."""
    if payer.id is not None and payer.id == receiver.id:
        raise SameAccount
    if payer.id not in accounts:
        raise AccountMissing(f"{payer.role} account does not exist")
    # Before anything is said of the receiver: what an account could not pay must not show whether
    # another one exists, or in which currency.
    if balances[payer.id] < amount:
        raise InsufficientFunds(f"{payer.role} account has insufficient funds")
    if receiver.id not in accounts:
        raise AccountMissing(f"{receiver.role} account does not exist")
    if accounts[payer.id].currency != accounts[receiver.id].currency:
        raise CurrencyMismatch
    if balances[receiver.id] + amount > MAX_MICRO_UNITS:
        raise BalanceOverflow(f"{receiver.role} account cannot hold that much")
    balances[payer.id] -= amount
    balances[receiver.id] += amount


class Journal:
    """The entries of one transaction, and the locked accounts that they change."""

    def __init__(self, accounts: "Mapping[int | None, models.Account]") -> None:
        self.accounts = accounts
        self.entries: list[models.Entry] = []

    def move(self, kind: str, transfer: "models.Transfer", date: datetime, by: int | None) -> None:
        """Enter the two sides of a transfer or of its cancellation, the paying one first."""
        payer, receiver = _ends(transfer)
        if kind == models.Entry.Kind.CANCELLATION:
            payer, receiver = receiver, payer
        for id, other, amount in (
            (payer, receiver, -transfer.balance),
            (receiver, payer, transfer.balance),
        ):
            self.enter(
                self.accounts[id],
                kind,
                amount,
                date,
                transfer_id=transfer.pk,
                counterparty=other,
                by_id=by,
                reason=transfer.reference,
            )

    def enter(
        self,
        account: "models.Account",
        kind: str,
        amount: int,
        date: datetime,
        signed_with: bytes = b"",
        **fields: Any,
    ) -> None:
        """Change the balance of a locked account by `amount`, and enter that in its chain."""
        last = account.last_date or date
        if (last - date).total_seconds() > settings.CLOCK_TOLERANCE_SECONDS:
            raise AccountAhead
        account.balance += amount
        account.last_seq += 1
        # Clocks are set back by a little now and then, but the entries stay in order.
        account.last_date = max(date, last)
        entry = models.Entry(
            account_id=account.pk,
            seq=account.last_seq,
            kind=kind,
            amount=amount,
            balance_after=account.balance,
            date=account.last_date,
            currency=account.currency,
            **fields,
        )
        entry.digest, account.seal = chains.append(
            bytes(account.seal), entry.content() + signed_with
        )
        self.entries.append(entry)

    def write(self) -> None:
        """Write the accounts in one statement and the entries in another.

        The accounts are locked, so they exist, and the upsert only ever updates. An UPDATE with
        one CASE for each row would cost the square of their number.
        """
        changed = {entry.account_id for entry in self.entries}
        if changed:
            by_key = connection.features.supports_update_conflicts_with_target
            _rows(models.Account).bulk_create(
                [account for id, account in self.accounts.items() if id in changed],
                update_conflicts=True,
                update_fields=["currency", "balance", "last_seq", "last_date", "seal"],
                unique_fields=["id"] if by_key else None,
            )
            _rows(models.Entry).bulk_create(self.entries)


def _require_amount(amount: object, *, minimum: int, index: int = 0) -> None:
    # bool is an int to Python, and an F() expression or a float would reach the database.
    if type(amount) is not int or not minimum <= amount <= MAX_MICRO_UNITS:
        refusal = InvalidAmount(
            f"Balance must be a whole number from {minimum} to {MAX_MICRO_UNITS}"
        )
        refusal.index = index
        raise refusal


def _lock_accounts(
    ids: Iterable[int | None], *, no_key: bool = True
) -> "dict[int | None, models.Account]":
    return {account.pk: account for account in _locked(models.Account, ids, no_key=no_key)}


def _rows(model: type[M]) -> QuerySet[M]:
    """All rows, past the guards that the models put before everybody else."""
    return QuerySet(model)


def _touching(accounts: Sequence[int]) -> "QuerySet[models.Transfer]":
    return models.Transfer.objects.touching(accounts)


def _locked(model: type[M], ids: Iterable[int | None], *, no_key: bool = True) -> QuerySet[M]:
    """The rows with these ids, locked in id order until the transaction ends."""
    return locked(_rows(model).filter(pk__in={id for id in ids if id is not None}), no_key=no_key)

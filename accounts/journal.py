"""The changes of locked accounts in one transaction, and the entries that record them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from django.conf import settings

from accounts import rules
from accounts.chain import content_of
from accounts.rules import AccountAhead, Kind
from almaFintech.db import chains

if TYPE_CHECKING:
    from accounts.models import Account, Transfer


@dataclass(slots=True)
class Row:
    """A locked account without its model; the attributes are those of `accounts.models.Account`."""

    id: int
    currency: str
    balance: int
    last_seq: int
    last_date: datetime | None
    seal: bytes | memoryview[int]


Held: TypeAlias = "Account | Row"


class Change(NamedTuple):
    """A change of a balance that has no place in the chain of its account yet."""

    account: Held
    kind: Kind
    # The object and not its number, which some storages assign later.
    transfer: Transfer | None
    counterparty: int | None
    # The account may get another currency after this change.
    currency: str
    amount: int
    balance_after: int
    by: int | None
    reason: str


class Line(NamedTuple):
    """The columns of an entry, see `accounts.models.Entry`; its content is all but the digest."""

    account_id: int
    seq: int
    kind: str
    transfer_id: int | None
    counterparty: int | None
    currency: str
    amount: int
    balance_after: int
    date: datetime
    by_id: int | None
    reason: str
    digest: bytes


class Journal:
    """Changes of some locked accounts.

    accounts: the accounts by id, which the methods update.
    now: the time at which they were locked.
    """

    def __init__(self, accounts: Mapping[int | None, Held], now: datetime) -> None:
        self.accounts = accounts
        self.now = now
        self._changes: list[Change] = []

    @contextmanager
    def all_or_none(self) -> Iterator[None]:
        """Take back the changes of the block if it raises a refusal, or AccountAhead."""
        start = len(self._changes)
        try:
            yield
            for change in self._changes[start:]:
                self._require_clock(change.account)
        except rules.LedgerRefusal:
            for change in reversed(self._changes[start:]):
                change.account.balance -= change.amount
            del self._changes[start:]
            raise

    def move(self, transfer: Transfer, kind: Kind, *, by: int | None) -> None:
        """Move the amount of a transfer; a CANCELLATION moves it back. The payer's entry is first.

        Raises a refusal of `rules.move`.
        """
        payer, receiver = transfer.origin_id, transfer.destination_id
        back = kind == Kind.CANCELLATION
        if back:
            payer, receiver = receiver, payer
        amount, accounts = transfer.balance, self.accounts
        rules.move(amount, accounts, payer, receiver, back=back)
        for id, other, change in (payer, receiver, -amount), (receiver, payer, amount):
            self._add(accounts[id], kind, transfer, other, change, by, transfer.reference)

    def change(
        self, account: Held, kind: Kind, amount: int, *, by: int | None, reason: str
    ) -> None:
        """Change the balance of an account by `amount`."""
        account.balance += amount
        self._add(account, kind, None, None, amount, by, reason)

    def _add(
        self,
        account: Held,
        kind: Kind,
        transfer: Transfer | None,
        counterparty: int | None,
        amount: int,
        by: int | None,
        reason: str,
    ) -> None:
        self._changes.append(
            Change(
                account,
                kind,
                transfer,
                counterparty,
                account.currency,
                amount,
                account.balance,
                by,
                reason,
            )
        )

    def changed(self) -> list[Held]:
        """Return the accounts that have changed, once each."""
        return list({change.account.id: change.account for change in self._changes}.values())

    def lines(self, *, signed_with: bytes = b"") -> list[Line]:
        """Add the changes to the chains of their accounts, and return their entries."""
        lines = []
        for change in self._changes:
            account = change.account
            account.last_seq += 1
            # Clocks are set back by a little now and then, but the entries stay in order.
            account.last_date = max(self.now, account.last_date or self.now)
            values = (
                account.id,
                account.last_seq,
                change.kind.value,
                change.transfer.pk if change.transfer else None,
                change.counterparty,
                change.currency,
                change.amount,
                change.balance_after,
                account.last_date,
                change.by,
                change.reason,
            )
            digest, account.seal = chains.append(
                bytes(account.seal), content_of(*values) + signed_with
            )
            lines.append(Line(*values, digest))
        return lines

    def _require_clock(self, account: Held) -> None:
        last = account.last_date or self.now
        if (last - self.now).total_seconds() > settings.CLOCK_TOLERANCE_SECONDS:
            raise AccountAhead

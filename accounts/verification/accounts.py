"""Comparison of each account with its chain of entries, and of their number with the register."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from django.conf import settings

from accounts.chain import FOR_GOOD, content_of
from accounts.models import Account, Register
from accounts.verification.discrepancies import Discrepancy, as_text
from accounts.verification.heads import Head, RecordedHeads
from accounts.verification.reading import (
    ADJUSTMENT,
    CANCELLATION,
    CLOSING,
    OF_TRANSFERS,
    OPENING,
    TRANSFER,
    entry_pages,
    pages,
    side_by_side,
)
from accounts.verification.totals import Totals
from almaFintech.db import chains, clock

AFTER_OPENING = {TRANSFER, CANCELLATION, ADJUSTMENT, CLOSING}


class AccountRow(NamedTuple):
    pk: int
    currency: str
    balance: int
    last_seq: int
    last_date: datetime | None
    seal: bytes


@dataclass
class ChainEnd:
    """The end of an account's chain: its last entry, and the sum of all amounts.

    Attributes:
        for_good: whether the last entry closed the account for good.
        chain: the signatures, read to the end.
        recorded_digest: the digest of the entry whose head was recorded, if it is still there.
    """

    seq: int
    kind: str
    currency: str | None
    balance: int
    total: int
    date: datetime | None
    digest: bytes
    for_good: bool
    chain: chains.Follower
    recorded_digest: bytes | None


class AccountCheck:
    """One pass over all accounts and entries.

    Attributes, complete once `run` is exhausted:
        accounts, entries: how many there are.
        opened: how many accounts were ever opened, according to the entries.
    """

    def __init__(
        self,
        recorded: RecordedHeads,
        totals: Totals,
        record_head: Callable[[Head], object],
        progress: Callable[[int], object],
    ) -> None:
        self.recorded = recorded
        self.totals = totals
        self.record_head = record_head
        self.progress = progress
        self.accounts = self.entries = self.opened = 0
        self.latest = clock.now() + timedelta(seconds=settings.CLOCK_TOLERANCE_SECONDS)

    def run(self) -> Iterator[Discrepancy]:
        for account, (row, entries, recorded) in side_by_side(
            self._account_rows(),
            groupby(self._entry_rows(), itemgetter(0)),
            self.recorded.of_accounts(),
        ):
            end = yield from self._follow(account, entries or (), recorded.seq if recorded else 0)
            yield from _compare(account, row, end)
            if recorded and end.recorded_digest != recorded.digest:
                yield Discrepancy(
                    "head", recorded.digest, end.recorded_digest, account, recorded.seq
                )
            if end.seq:
                self.opened += 1
                self.record_head(Head(account, end.seq, end.digest))
        yield from self._check_register()

    def _account_rows(self) -> Iterator[tuple[int, AccountRow]]:
        for page in pages(Account.objects.values_list(*AccountRow._fields)):
            for row in map(AccountRow._make, page):
                self.accounts += 1
                self.totals[row.currency]["balance"] += row.balance
                yield row.pk, row

    def _entry_rows(self) -> Iterator[Sequence[Any]]:
        for page in entry_pages():
            self.entries += len(page)
            yield from page
            self.progress(len(page))

    def _follow(
        self, account: int, entries: Iterable[Sequence[Any]], recorded_seq: int
    ) -> Generator[Discrepancy, None, ChainEnd]:
        """Check each entry of an account against the one before it, and return where they end."""
        seq = balance = total = 0
        # A new account starts in the same state as a closed one.
        kind, currency, date, digest, for_good = CLOSING, None, None, b"", False
        chain = chains.Follower()
        recorded_digest = None
        totals, latest = self.totals, self.latest

        def differs(check: str, expected: Any, found: Any) -> Discrepancy:
            return Discrepancy(check, expected, found, account, number)

        # This loop is most of the work: it runs once for each entry, so it looks plain values
        # up, and builds something only where there is a discrepancy.
        for entry in entries:
            before = kind
            (_, number, kind, transfer, other, code, amount, after, utc, by, reason, link) = entry
            day = utc.replace(tzinfo=UTC)
            total += amount
            totals[code][kind] += amount

            if number != seq + 1:
                yield differs("seq", seq + 1, number)
            if before == CLOSING:
                currency = code
                if kind != OPENING:
                    yield differs("kind", OPENING, kind)
            elif kind not in AFTER_OPENING:
                yield differs("kind", " or ".join(sorted(AFTER_OPENING)), kind)
            if code != currency:
                yield differs("currency", currency, code)
            of_transfer = kind in OF_TRANSFERS
            if (transfer is None) is of_transfer:
                yield differs("transfer", "a transfer" if of_transfer else None, transfer)
            if (other is None) is of_transfer:
                yield differs("counterparty", "an account" if of_transfer else None, other)
            if after != balance + amount:
                yield differs("balance_after", balance + amount, after)
            if after < 0 or (after and kind == CLOSING):
                yield differs("balance_after", 0 if kind == CLOSING else "0 or more", after)
            if date is not None and day < date:
                yield differs("date", f"{as_text(date)} or later", day)
            if day > latest:
                yield differs("future", f"{as_text(latest)} or earlier", day)
            content = content_of(
                account, number, kind, transfer, other, code, amount, after, day, by, reason
            )
            digest = bytes(link)
            for_good = kind == CLOSING and chain.would_accept(content + FOR_GOOD, digest)
            if for_good:
                content += FOR_GOOD
            if not chain.accepts(content, digest):
                # The right digest stays secret: with it, a forger could complete the change.
                yield differs("digest", "one that the key gives", digest)
                for_good = kind == CLOSING
            if number == recorded_seq:
                recorded_digest = digest
            seq, balance, date = number, after, day
        return ChainEnd(
            seq, kind, currency, balance, total, date, digest, for_good, chain, recorded_digest
        )

    def _check_register(self) -> Iterator[Discrepancy]:
        register = Register.objects.first()
        number = register.opened if register else 0
        if number != self.opened:
            yield Discrepancy("opened", number, self.opened)
        if register is None or not register.is_signed():
            yield Discrepancy("register", "signed by the key", register and bytes(register.seal))


def _compare(account: int, row: AccountRow | None, end: ChainEnd) -> Iterator[Discrepancy]:
    """Compare an account with the end of its chain; `row` is None where it was closed."""
    closed = end.kind == CLOSING
    if row is not None and closed:
        yield Discrepancy("kind", OPENING, None, account, end.seq + 1)
    elif row is None and not closed:
        yield Discrepancy("kind", CLOSING, None, account, end.seq + 1)
    elif row is None and end.seq and not end.for_good:
        yield Discrepancy("closing", "one for good", "one of a currency", account, end.seq)

    # Without entries, the missing opening above is enough.
    if row is not None and end.seq:
        for check, expected, found in (
            ("currency", end.currency, row.currency),
            ("balance", end.balance, row.balance),
            ("last_seq", end.seq, row.last_seq),
            ("last_date", end.date, row.last_date),
        ):
            if found != expected:
                yield Discrepancy(check, expected, found, account)
        seal = bytes(row.seal)
        if not end.chain.ends_in(seal):
            yield Discrepancy("seal", f"that of entry {end.seq}", seal, account)
    held = row.balance if row else 0
    if end.total != held:
        yield Discrepancy("sum", end.total, held, account)

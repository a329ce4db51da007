"""Proof that the entries explain every balance and every transfer.

What the ledger writes holds by construction; what is checked here is that it still does, whatever
has reached the database since. Nothing is repaired. Every difference is a `Discrepancy`, whose
`check` is one of

    seq           the entries of an account count 1, 2, 3 ... without a gap
    kind          an account begins with an opening; after a closing there is nothing or an
                  opening, and an account without a row ends in a closing
    closing       that closing is signed as the account's last entry
    currency      from an opening to its closing the currency stays, and is the row's
    transfer      entries of transfers and cancellations name their transfer, others none
    counterparty  and so they name the other account
    balance_after each running balance is the one before plus the amount, and never negative;
                  after a closing it is 0
    date          the dates of an account never go back
    future        no entry is dated later than now
    digest        each digest follows from the one before, by the key of the ledger
    balance       an account holds what its last entry says
    sum           an account holds the sum of its entries
    last_seq, last_date, seal
                  an account knows its last entry, and holds its seal
    opened        there are as many accounts, those closed since included, as were ever opened
    register      and that number is signed
    head          an entry of which the digest was recorded elsewhere is still there
    entry         a transfer has one entry of each side, a cancelled one two, and no others
    account, amount, by, reason, and again counterparty and currency
                  an entry says what its transfer says
    booked, cancelled
                  and so it does of when: later only where an earlier entry of the account was
                  dated later, and by no more than clocks may differ; a transfer says when and by
                  whom it was cancelled if it was, and only then
    origin, destination
                  a transfer forgets no account that is still there
    entries       (of a transfer, where they are too many to tell one by one, or the database
                  alone sees the difference)
    total, total_transfer, total_cancellation
                  of each currency there is what openings and adjustments have brought and
                  closings have taken, and transfers and cancellations sum to zero
    record, record_seq, trail, record_head
                  the records of what staff did are a chain of the same kind, see `audit.trail`

Memory is bounded: entries, accounts and recorded heads are read side by side in the order of the
accounts, a page at a time, and the database compares the transfers with their entries.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, timedelta
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import (
    BigIntegerField,
    Case,
    Count,
    DateTimeField,
    Exists,
    F,
    Func,
    Max,
    Min,
    OuterRef,
    Q,
    QuerySet,
    When,
)
from django.db.models.functions import Cast, Coalesce
from django.db.transaction import TransactionManagementError

from accounts.chain import FOR_GOOD, content_of
from accounts.models import Account, Entry, Register, Transfer
from almaFintech.db import chains, clock
from audit.verification import Verification as RecordVerification

# Rows read at once: enough to make a query's overhead small, few enough to hold.
PAGE = 5_000
# A transfer should have two entries or four; more than these are counted and not shown.
MOST_ENTRIES = 8

# Plain strings, because those of the enumeration are slower to compare.
OPENING, TRANSFER, CANCELLATION, ADJUSTMENT, CLOSING = Entry.Kind.values
OF_TRANSFERS = {TRANSFER, CANCELLATION}
AFTER_OPENING = {TRANSFER, CANCELLATION, ADJUSTMENT, CLOSING}

ENTRY_FIELDS = (
    "account_id",
    "seq",
    "kind",
    "transfer_id",
    "counterparty",
    "currency",
    "amount",
    "balance_after",
    "utc",
    "by_id",
    "reason",
    "digest",
)
ACCOUNT_FIELDS = ("pk", "currency", "balance", "last_seq", "last_date", "seal")

START_SNAPSHOT = {
    "postgresql": ["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"],
    "mysql": [
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ],
    # Not the IMMEDIATE of the settings, which would keep everybody else from writing.
    "sqlite": ["BEGIN DEFERRED"],
}


class Discrepancy(NamedTuple):
    """One difference between what the ledger says and what it should say.

    `account` and `seq` name the entry, as far as there is one; `expected` and `found` are values
    of that field, None for what is absent.
    """

    check: str
    expected: Any
    found: Any
    account: int | None = None
    seq: int | None = None
    transfer: int | None = None
    currency: str | None = None
    record: int | None = None

    def __str__(self) -> str:
        subject = {
            "account": self.account,
            "entry": self.seq,
            "transfer": self.transfer,
            "currency": self.currency,
            "record": self.record,
        }
        where = " ".join(f"{name} {value}" for name, value in subject.items() if value is not None)
        expected, found = as_text(self.expected), as_text(self.found)
        return f"{where}: {self.check} expected {expected}, found {found}"


def as_text(value: Any) -> str:
    """A value of a discrepancy as text: bytes in hexadecimal digits, dates in ISO 8601."""
    if value is None:
        return "none"
    if isinstance(value, (bytes, memoryview)):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


class Head(NamedTuple):
    """The digest of the last row of a chain, which vouches for it and all rows before it.

    `account` names the chain; None is that of the records of staff.
    """

    account: int | None
    seq: int
    digest: bytes

    def __str__(self) -> str:
        chain = "records" if self.account is None else self.account
        return f"{chain} {self.seq} {self.digest.hex()}"


def read_heads(path: Path) -> Iterator[Head]:
    """Yield the heads in a file, which has a line `account seq digest` for each, by account.

    A last line `records seq digest` is the head of the records of staff. Raises ValueError, which
    names the line, when the file is anything else.
    """
    last = -math.inf
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            match = re.fullmatch(r"(-?[0-9]{1,19}|records) ([0-9]{1,19}) ([0-9a-f]{64})\n", line)
            if match is None:
                raise ValueError(f"line {number} is not an account, a seq and a digest")
            account = None if match[1] == "records" else int(match[1])
            # Nothing comes after the records.
            position = math.inf if account is None else account
            if position <= last:
                raise ValueError(f"line {number} is not in the order of the accounts")
            last = position
            yield Head(account, int(match[2]), bytes.fromhex(match[3]))


@contextmanager
def snapshot() -> Iterator[None]:
    """Within it, queries see the database as it is when the first one runs.

    Nobody waits for it, and it cannot write. Raises TransactionManagementError inside another
    transaction, which has begun too early to be told what to see.
    """
    if connection.in_atomic_block:
        raise TransactionManagementError("A snapshot is a transaction of its own")
    with connection.cursor() as cursor:
        for statement in START_SNAPSHOT[connection.vendor]:
            cursor.execute(statement)
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


def estimated_entries() -> int:
    """About how many entries there are, found without counting them."""
    return Entry.objects.aggregate(last=Max("pk"))["last"] or 0


class Verification:
    """One pass over the ledger.

    recorded: heads to look for, in the order of the accounts, that of the records last.
    keep: called with the present head of each chain, in that order.
    progress: called with a number of entries whenever that many have been read.

    Attributes, complete once `run` is exhausted:
        accounts, entries, transfers: how many there are.
        opened: how many accounts there ever were, by their entries.
        totals: for each currency the sums of the amounts by kind of entry, and of the balances
            as "balance", in micro units.
    """

    def __init__(
        self,
        recorded: Iterable[Head] = (),
        keep: Callable[[Head], object] = lambda head: None,
        progress: Callable[[int], object] = lambda entries: None,
    ) -> None:
        self.recorded = recorded
        self.keep = keep
        self.progress = progress
        self.accounts = self.entries = self.transfers = self.opened = 0
        self._recorded_trail: Head | None = None
        zeros = dict.fromkeys(("balance", *Entry.Kind.values), 0)
        # A kind that there should not be is summed like the others.
        self.totals: defaultdict[str, defaultdict[str, int]] = defaultdict(
            lambda: defaultdict(int, zeros)
        )

    def run(self) -> Iterator[Discrepancy]:
        """Yield every discrepancy. Run it within `snapshot` while others write."""
        self.latest = clock.now() + timedelta(seconds=settings.CLOCK_TOLERANCE_SECONDS)
        yield from self._check_accounts()
        yield from self._check_register()
        yield from self._check_transfers()
        yield from self._check_totals()
        yield from self._check_records()

    def _check_accounts(self) -> Iterator[Discrepancy]:
        rows = Account.objects.values_list(*ACCOUNT_FIELDS)
        for account, (row, entries, head) in side_by_side(
            ((row[0], row) for page in _pages(rows) for row in page),
            groupby(self._entry_rows(), itemgetter(0)),
            self._recorded_accounts(),
        ):
            if row is not None:
                self.accounts += 1
                self.totals[row[1]]["balance"] += row[2]
            yield from self._check_account(account, row, entries or (), head)

    def _recorded_accounts(self) -> Iterator[tuple[int, Head]]:
        """Yield the heads of accounts, and put that of the records aside for their own check."""
        for head in self.recorded:
            if head.account is None:
                self._recorded_trail = head
            else:
                yield head.account, head

    def _entry_rows(self) -> Iterator[Sequence[Any]]:
        for page in _entry_pages():
            self.entries += len(page)
            yield from page
            self.progress(len(page))

    def _check_account(
        self,
        account: int,
        row: Sequence[Any] | None,
        entries: Iterable[Sequence[Any]],
        head: Head | None,
    ) -> Iterator[Discrepancy]:
        seq = balance = total = 0
        # An account begins like one that was closed.
        kind, currency, date, digest, for_good = CLOSING, None, None, b"", False
        chain = chains.Follower()
        recorded_seq = head.seq if head else None
        recorded_digest = None
        totals = self.totals

        def differs(check: str, expected: Any, found: Any, seq: int | None = None) -> Discrepancy:
            return Discrepancy(check, expected, found, account, seq)

        # This loop is most of the work: it runs once for each entry, so it looks plain values
        # up, and builds something only where there is a discrepancy.
        for entry in entries:
            before = kind
            (
                _,
                now,
                kind,
                transfer,
                other,
                entry_currency,
                amount,
                after,
                utc,
                by,
                reason,
                link,
            ) = entry
            day = utc.replace(tzinfo=UTC)
            total += amount
            totals[entry_currency][kind] += amount

            if now != seq + 1:
                yield differs("seq", seq + 1, now, now)
            if before == CLOSING:
                currency = entry_currency
                if kind != OPENING:
                    yield differs("kind", OPENING, kind, now)
            elif kind not in AFTER_OPENING:
                yield differs("kind", " or ".join(sorted(AFTER_OPENING)), kind, now)
            if entry_currency != currency:
                yield differs("currency", currency, entry_currency, now)
            of_transfer = kind in OF_TRANSFERS
            if (transfer is None) is of_transfer:
                yield differs("transfer", "a transfer" if of_transfer else None, transfer, now)
            if (other is None) is of_transfer:
                yield differs("counterparty", "an account" if of_transfer else None, other, now)
            if after != balance + amount:
                yield differs("balance_after", balance + amount, after, now)
            if after < 0 or (after and kind == CLOSING):
                yield differs("balance_after", 0 if kind == CLOSING else "0 or more", after, now)
            if date is not None and day < date:
                yield differs("date", f"{as_text(date)} or later", day, now)
            if day > self.latest:
                yield differs("future", f"{as_text(self.latest)} or earlier", day, now)
            content = content_of(
                account,
                now,
                kind,
                transfer,
                other,
                entry_currency,
                amount,
                after,
                day,
                by,
                reason,
            )
            digest = bytes(link)
            for_good = kind == CLOSING and chain.would_accept(content + FOR_GOOD, digest)
            if for_good:
                content += FOR_GOOD
            if not chain.accepts(content, digest):
                # The right digest is not told: with it, whoever changed the entry could finish.
                yield differs("digest", "one that the key gives", digest, now)
                for_good = kind == CLOSING
            if now == recorded_seq:
                recorded_digest = digest
            seq, balance, date = now, after, day

        if (kind == CLOSING) != (row is None):
            yield differs("kind", CLOSING if row is None else OPENING, None, seq + 1)
        elif row is None and seq and not for_good:
            yield differs("closing", "one for good", "one of a currency", seq)
        if row is not None:
            fields = zip(
                ("currency", "balance", "last_seq", "last_date"),
                (currency, balance, seq, date),
                row[1:5],
                strict=True,
            )
            for name, expected, found in fields:
                # Where there is no entry, the missing opening says it all.
                if found != expected and seq:
                    yield differs(name, expected, found)
            if seq and not chain.ends_in(bytes(row[5])):
                yield differs("seal", f"that of entry {seq}", bytes(row[5]))
        held = 0 if row is None else row[2]
        if total != held:
            yield differs("sum", total, held)
        if head and recorded_digest != head.digest:
            yield differs("head", head.digest, recorded_digest, head.seq)
        if seq:
            self.opened += 1
            self.keep(Head(account, seq, digest))

    def _check_register(self) -> Iterator[Discrepancy]:
        register = Register.objects.first()
        number = register.opened if register else 0
        if number != self.opened:
            yield Discrepancy("opened", number, self.opened)
        if register is None or not register.is_signed():
            yield Discrepancy("register", "signed by the key", register and bytes(register.seal))

    def _check_records(self) -> Iterator[Discrepancy]:
        head = self._recorded_trail
        chain = RecordVerification((head.seq, head.digest) if head else None)
        for check, expected, found, record in chain.run():
            yield Discrepancy(check, expected, found, record=record)
        if chain.seq:
            self.keep(Head(None, chain.seq, chain.digest))

    def _check_transfers(self) -> Iterator[Discrepancy]:
        self.transfers = Transfer.objects.count()
        for page in _pages(_unexplained_transfers()):
            counts = {row[0]: row[1] for row in page}
            readable = [pk for pk, count in counts.items() if count <= MOST_ENTRIES]
            entries = defaultdict(list)
            for entry in Entry.objects.filter(transfer__in=readable).order_by("account_id", "seq"):
                entries[entry.transfer_id].append(entry)
            for transfer in Transfer.objects.filter(pk__in=list(counts)).order_by("pk"):
                count = counts[transfer.pk]
                if count > MOST_ENTRIES:
                    yield Discrepancy(
                        "entries", f"{MOST_ENTRIES} or less", count, transfer=transfer.pk
                    )
                else:
                    differences = list(_check_transfer(transfer, entries[transfer.pk]))
                    # What the database sees and Python does not is a difference all the same.
                    unnamed = Discrepancy(
                        "entries", "none that differ", count, transfer=transfer.pk
                    )
                    yield from differences or [unnamed]
        for page in _pages(_misdated_entries()):
            for _, account, seq, transfer_id, kind, date, said in page:
                check = "booked" if kind == TRANSFER else "cancelled"
                yield Discrepancy(check, said, date, account, seq, transfer_id)
        for page in _pages(_half_cancelled()):
            for pk, cancelled, date, by in page:
                if cancelled:
                    yield Discrepancy("cancelled", "a date", date, transfer=pk)
                else:
                    yield Discrepancy("cancelled", None, date or by, transfer=pk)
        for page in _pages(_forgotten_ends()):
            for _, account, seq, transfer_id, amount in page:
                check = "origin" if amount < 0 else "destination"
                yield Discrepancy(check, account, None, account, seq, transfer_id)
        for page in _pages(_entries_without_transfer()):
            for _, account, seq, transfer_id in page:
                yield Discrepancy("transfer", "a transfer", transfer_id, account, seq)

    def _check_totals(self) -> Iterator[Discrepancy]:
        for currency, sums in sorted(self.totals.items()):
            explained = sums[OPENING] + sums[ADJUSTMENT] + sums[CLOSING]
            for check, expected, found in (
                ("total", explained, sums["balance"]),
                ("total_transfer", 0, sums[TRANSFER]),
                ("total_cancellation", 0, sums[CANCELLATION]),
            ):
                if found != expected:
                    yield Discrepancy(check, expected, found, currency=currency)


def _unexplained_transfers() -> "QuerySet[Transfer, tuple[int, int]]":
    """The transfers whose entries are not what they should be, as (id, number of entries).

    One grouping in the database, which has no index by transfer everywhere. It need not say what
    is wrong, but must not overlook anything.
    """
    # MariaDB's column is unsigned, and so would be the negative number.
    amount = Cast("balance", BigIntegerField())

    def entered(kind: str, amount: Any, by: str) -> Count:
        """How many entries of this kind there are that say the rest right."""
        return Count(
            "entries",
            filter=Q(
                Q(entries__by=F(by)) | Q(**{"entries__by": None, by: None}),
                entries__kind=kind,
                entries__amount=amount,
                entries__currency=F("currency"),
                entries__reason=F("reference"),
            ),
        )

    of_origin = Q(entries__kind=TRANSFER, entries__amount__lt=0) | Q(
        entries__kind=CANCELLATION, entries__amount__gt=0
    )
    # The two accounts by what each entry says; the transfer forgets those that are deleted.
    ends: list[Any] = ["entries__account_id", "entries__counterparty"]
    origin, destination = (
        Case(When(of_origin, then=own), default=other, output_field=BigIntegerField())
        for own, other in (ends, reversed(ends))
    )
    twice = Max(Case(When(cancelled=True, then=1), default=0))
    return (
        # Grouped by the key alone, so that the database can go by it and has nothing to sort.
        Transfer.objects.values("pk")
        .annotate(
            number=Count("entries"),
            paid=entered(TRANSFER, -amount, "created_by"),
            received=entered(TRANSFER, amount, "created_by"),
            returned=entered(CANCELLATION, -amount, "cancelled_by"),
            regained=entered(CANCELLATION, amount, "cancelled_by"),
            twice=twice,
            origin_is=Coalesce(Max("origin"), Min(origin)),
            least_origin=Min(origin),
            greatest_origin=Max(origin),
            destination_is=Coalesce(Max("destination"), Min(destination)),
            least_destination=Min(destination),
            greatest_destination=Max(destination),
        )
        .exclude(
            number=2 + 2 * F("twice"),
            paid=1,
            received=1,
            returned=F("twice"),
            regained=F("twice"),
            least_origin=F("origin_is"),
            greatest_origin=F("origin_is"),
            least_destination=F("destination_is"),
            greatest_destination=F("destination_is"),
        )
        .values_list("pk", "number")
    )


def _misdated_entries() -> "QuerySet[Entry, Any]":
    """Entries that say another time than their transfer, and not for the sake of their order."""
    before = Entry.objects.filter(
        account=OuterRef("account"), seq=OuterRef("seq") - 1, date=OuterRef("date")
    )
    said = Case(When(kind=TRANSFER, then=F("transfer__date")), default=F("transfer__cancelled_at"))
    # Further apart than clocks may be, nothing would have been booked.
    tolerance = timedelta(seconds=settings.CLOCK_TOLERANCE_SECONDS)
    kept_in_order = Q(date__gt=F("said"), date__lte=F("said") + tolerance) & Exists(before)
    misdated = (
        Entry.objects.filter(kind__in=OF_TRANSFERS)
        .annotate(said=said)
        .filter(~Q(date=F("said")), ~kept_in_order, said__isnull=False)
    )
    return misdated.values_list("pk", "account_id", "seq", "transfer_id", "kind", "date", "said")


def _half_cancelled() -> "QuerySet[Transfer, Any]":
    """Transfers that are cancelled without a date, or have a date or a user without being so."""
    half = Q(cancelled=True, cancelled_at=None) | Q(cancelled=False) & (
        Q(cancelled_at__isnull=False) | Q(cancelled_by__isnull=False)
    )
    return Transfer.objects.filter(half).values_list(
        "pk", "cancelled", "cancelled_at", "cancelled_by_id"
    )


def _forgotten_ends() -> "QuerySet[Entry, Any]":
    """Entries of accounts that are there, but not in the transfer any more."""
    forgotten = Q(amount__lt=0, transfer__origin=None) | Q(amount__gt=0, transfer__destination=None)
    there = Account.objects.filter(pk=OuterRef("account_id"))
    # Not of a transfer that is itself missing.
    entries = Entry.objects.filter(transfer__balance__isnull=False, kind=TRANSFER)
    return entries.filter(forgotten, Exists(there)).values_list(
        "pk", "account_id", "seq", "transfer_id", "amount"
    )


def _entries_without_transfer() -> "QuerySet[Entry, tuple[int, int, int, int]]":
    there = Transfer.objects.filter(pk=OuterRef("transfer_id"))
    orphans = Entry.objects.filter(~Exists(there), transfer__isnull=False)
    return orphans.values_list("pk", "account_id", "seq", "transfer_id")


def _check_transfer(transfer: Transfer, entries: list[Entry]) -> Iterator[Discrepancy]:
    """Compare a transfer with its entries, of which there are few."""
    ends = [transfer.origin_id, transfer.destination_id]
    for entry in entries:
        # The transfer forgets an account that is deleted, but no entry does.
        of_origin = (entry.kind == TRANSFER) == (entry.amount < 0)
        said = (entry.account_id, entry.counterparty)
        for index, number in enumerate(said if of_origin else reversed(said)):
            ends[index] = ends[index] or number
    origin, destination = ends
    booked, given_back = transfer.balance, -transfer.balance
    for kind, due, by, amount_of_destination in (
        (TRANSFER, True, transfer.created_by_id, booked),
        (CANCELLATION, transfer.cancelled, transfer.cancelled_by_id, given_back),
    ):
        for account, other, amount in (
            (origin, destination, -amount_of_destination),
            (destination, origin, amount_of_destination),
        ):
            side = sorted(
                (e for e in entries if e.kind == kind and (e.amount < 0) == (amount < 0)),
                key=lambda entry: entry.account_id != account,
            )
            if due and not side:
                yield Discrepancy("entry", f"{kind} of {amount}", None, account, None, transfer.pk)
            for entry in side[:due]:
                for name, expected, found in (
                    ("account", account, entry.account_id),
                    ("counterparty", other, entry.counterparty),
                    ("currency", transfer.currency, entry.currency),
                    ("reason", transfer.reference, entry.reason),
                    ("amount", amount, entry.amount),
                    ("by", by, entry.by_id),
                ):
                    if found != expected:
                        yield Discrepancy(
                            name, expected, found, entry.account_id, entry.seq, transfer.pk
                        )
            for entry in side[due:]:
                yield Discrepancy(
                    "entry",
                    None,
                    f"{kind} of {entry.amount}",
                    entry.account_id,
                    entry.seq,
                    transfer.pk,
                )


def side_by_side(*streams: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, list[Any]]]:
    """Merge streams of (key, value), each in the order of its distinct keys.

    Yields each key once, with its value in each stream, None where it has none.
    """
    iterators = [iter(stream) for stream in streams]
    heads = [next(iterator, None) for iterator in iterators]
    while keys := [head[0] for head in heads if head]:
        key = min(keys)
        yield key, [head[1] if head and head[0] == key else None for head in heads]
        for index, head in enumerate(heads):
            if head and head[0] == key:
                heads[index] = next(iterators[index], None)


class _InUtc(Func):
    """A date; on PostgreSQL without its zone, since Django is slow to read one that has it."""

    arity = 1
    template = "%(expressions)s"
    output_field = DateTimeField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="%(expressions)s AT TIME ZONE 'UTC'", **context
        )


def _entry_pages() -> Iterator[list[Any]]:
    """All entries by account and seq: first the rest of an account, then the accounts after it.

    One condition on both columns would say the same, but not every database uses its index then.
    """
    dated = Entry.objects.annotate(utc=_InUtc("date")).order_by("account_id", "seq")
    rows = dated.values_list(*ENTRY_FIELDS)
    page = list(rows[:PAGE])
    while page:
        yield page
        account, seq = page[-1][:2]
        page = list(rows.filter(account_id=account, seq__gt=seq)[:PAGE])
        if len(page) < PAGE:
            page += rows.filter(account_id__gt=account)[:PAGE]


def _pages(rows: "QuerySet[Any, Any]") -> Iterator[list[Any]]:
    """Rows by primary key, which is their first value."""
    rows = rows.order_by("pk")
    page = list(rows[:PAGE])
    while page:
        yield page
        if len(page) < PAGE:
            break
        page = list(rows.filter(pk__gt=page[-1][0])[:PAGE])

"""Comparison of each transfer with its entries.

The database finds the differences, because it joins the two tables without holding either in
memory.
Each rule is one query here; Python only names what the query returns.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import (
    BigIntegerField,
    BooleanField,
    Case,
    Count,
    Exists,
    F,
    Func,
    Max,
    Min,
    OuterRef,
    Q,
    When,
)
from django.db.models.functions import Cast, Coalesce

from accounts.models import Account, Entry, Transfer
from accounts.verification.discrepancies import Discrepancy
from accounts.verification.reading import CANCELLATION, OF_TRANSFERS, TRANSFER, pages

# A transfer should have two entries or four; more than these are counted and not shown.
MOST_ENTRIES = 8

# Entries of the account that sent the transfer; the others are of the one that received it.
OF_ORIGIN = Q(kind=TRANSFER, amount__lt=0) | Q(kind=CANCELLATION, amount__gte=0)


def check_transfers() -> Iterator[Discrepancy]:
    yield from _check_number_of_entries()
    yield from _check_fields_of_entries()
    yield from _check_cancelled()
    yield from _check_forgotten_accounts()
    yield from _check_closed_accounts()
    yield from _check_orphans()


def _check_number_of_entries() -> Iterator[Discrepancy]:
    """Check that a transfer has one entry for each side, a cancelled one two, and no others."""

    def entered(kind: str, **amount: int) -> Count:
        return Count("entries", filter=Q(entries__kind=kind, **amount))

    # Grouped by the key alone, so that the database can read in its order and has nothing to sort.
    miscounted = (
        Transfer.objects.values("pk")
        .annotate(
            number=Count("entries"),
            paid=entered(TRANSFER, entries__amount__lt=0),
            received=entered(TRANSFER, entries__amount__gte=0),
            returned=entered(CANCELLATION, entries__amount__lt=0),
            regained=entered(CANCELLATION, entries__amount__gte=0),
            due=Max(Case(When(cancelled=True, then=1), default=0)),
        )
        .exclude(paid=1, received=1, returned=F("due"), regained=F("due"))
        .values_list("pk", "number")
    )
    for page in pages(miscounted):
        counts = dict(page)
        few = [pk for pk, count in counts.items() if count <= MOST_ENTRIES]
        entries = defaultdict(list)
        for entry in Entry.objects.filter(transfer__in=few).order_by("account_id", "seq"):
            entries[entry.transfer_id].append(entry)
        for transfer in Transfer.objects.filter(pk__in=list(counts)).order_by("pk"):
            count = counts[transfer.pk]
            if count > MOST_ENTRIES:
                expected = f"{MOST_ENTRIES} or less"
                yield Discrepancy("entries", expected, count, transfer=transfer.pk)
            else:
                yield from _missing_and_surplus(transfer, entries[transfer.pk])


def _missing_and_surplus(transfer: Transfer, entries: list[Entry]) -> Iterator[Discrepancy]:
    """Name the missing and the surplus entries of a transfer."""
    missing: list[tuple[str, int, int | None]] = []
    surplus: list[Entry] = []
    origin, destination, amount = transfer.origin_id, transfer.destination_id, transfer.balance
    for kind, account, due, is_due in (
        (TRANSFER, origin, -amount, True),
        (TRANSFER, destination, amount, True),
        (CANCELLATION, destination, -amount, transfer.cancelled),
        (CANCELLATION, origin, amount, transfer.cancelled),
    ):
        found = [it for it in entries if it.kind == kind and (it.amount < 0) == (due < 0)]
        # The entry of the right account, if there is one, counts as the right one.
        found.sort(key=lambda entry: entry.account_id != account)
        if not is_due:
            surplus += found
        elif found:
            surplus += found[1:]
        else:
            missing.append((kind, due, account))

    for kind, due, account in missing:
        yield Discrepancy("entry", f"{kind} of {due}", None, account, transfer=transfer.pk)
    for entry in surplus:
        said = f"{entry.kind} of {entry.amount}"
        yield Discrepancy("entry", None, said, entry.account_id, entry.seq, transfer.pk)


class _Differ(Func):
    """Condition that two values differ: two nulls do not, and texts in different case do."""

    output_field = BooleanField()
    template = "(%(expressions)s)"
    arg_joiner = " IS DISTINCT FROM "

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, arg_joiner=" IS NOT ", **context)

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(
            compiler,
            connection,
            template="NOT (BINARY %(expressions)s)",
            arg_joiner=" <=> BINARY ",
            **context,
        )


def _check_fields_of_entries() -> Iterator[Discrepancy]:
    """Check that an entry agrees with its transfer.

    The transfer has forgotten the accounts that are closed; see `_check_closed_accounts`.
    """
    # MariaDB's column is unsigned, and so would be the negative number.
    amount = Cast("transfer__balance", BigIntegerField())
    number = BigIntegerField()
    account = Case(When(OF_ORIGIN, then="transfer__origin"), default="transfer__destination")
    other = Case(When(OF_ORIGIN, then="transfer__destination"), default="transfer__origin")
    author = Case(
        When(kind=TRANSFER, then="transfer__created_by"), default="transfer__cancelled_by"
    )
    # Each check, with the entry's own field and the value that it should have.
    said = {
        "account": ("account_id", Coalesce(account, "account_id", output_field=number)),
        "counterparty": ("counterparty", Coalesce(other, "counterparty", output_field=number)),
        "currency": ("currency", F("transfer__currency")),
        "amount": (
            "amount",
            Case(When(amount__lt=0, then=-amount), default=amount, output_field=number),
        ),
        "by": ("by_id", author),
        "reason": ("reason", F("transfer__reference")),
        "booked": ("date", _date(TRANSFER, "transfer__date")),
        "cancelled": ("date", _date(CANCELLATION, "transfer__cancelled_at")),
    }
    differ = Q()
    for own, expected in said.values():
        differ |= Q(_Differ(own, expected))
    rows = (
        Entry.objects.filter(differ, kind__in=OF_TRANSFERS)
        .annotate(**{f"said_{check}": expected for check, (_, expected) in said.items()})
        .values_list(
            *("pk", "account_id", "seq", "transfer_id"),
            *(own for own, _ in said.values()),
            *(f"said_{check}" for check in said),
        )
    )
    for page in pages(rows):
        for _, account_id, seq, transfer, *values in page:
            found, expected = values[: len(said)], values[len(said) :]
            for check, due, value in zip(said, expected, found, strict=True):
                if value != due:
                    yield Discrepancy(check, due, value, account_id, seq, transfer)


def _date(kind: str, said: str) -> Case:
    """Return the date that an entry of this kind should have; any other keeps its own.

    It is the transfer's date, or a later one where that keeps the entries of the account in order.
    The ledger books nothing if the two differ by more than the tolerance of clocks.
    """
    before = Entry.objects.filter(
        account=OuterRef("account"), seq=OuterRef("seq") - 1, date=OuterRef("date")
    )
    latest = F(said) + timedelta(seconds=settings.CLOCK_TOLERANCE_SECONDS)
    in_order = Q(date__gt=F(said), date__lte=latest) & Exists(before)
    return Case(
        When(~Q(kind=kind), then="date"),
        When(in_order, then="date"),
        default=Coalesce(said, "date"),
    )


def _check_cancelled() -> Iterator[Discrepancy]:
    """Check that cancelled transfers, and no others, state when and by whom they were cancelled."""
    half = Q(cancelled=True, cancelled_at=None) | Q(cancelled=False) & (
        Q(cancelled_at__isnull=False) | Q(cancelled_by__isnull=False)
    )
    rows = Transfer.objects.filter(half).values_list(
        "pk", "cancelled", "cancelled_at", "cancelled_by_id"
    )
    for page in pages(rows):
        for pk, cancelled, date, by in page:
            if cancelled:
                yield Discrepancy("cancelled", "a date", date, transfer=pk)
            else:
                yield Discrepancy("cancelled", None, date or by, transfer=pk)


def _check_forgotten_accounts() -> Iterator[Discrepancy]:
    """Check that no transfer has forgotten an account that still exists."""
    forgotten = Q(amount__lt=0, transfer__origin=None) | Q(amount__gt=0, transfer__destination=None)
    there = Account.objects.filter(pk=OuterRef("account_id"))
    # Leave out entries whose transfer is itself missing.
    entries = Entry.objects.filter(transfer__balance__isnull=False, kind=TRANSFER)
    rows = entries.filter(forgotten, Exists(there)).values_list(
        "pk", "account_id", "seq", "transfer_id", "amount"
    )
    for page in pages(rows):
        for _, account, seq, transfer, amount in page:
            check = "origin" if amount < 0 else "destination"
            yield Discrepancy(check, account, None, account, seq, transfer)


def _check_closed_accounts() -> Iterator[Discrepancy]:
    """Check that the entries of a transfer agree on each account that it has forgotten."""
    of_origin = Q(entries__kind=TRANSFER, entries__amount__lt=0) | Q(
        entries__kind=CANCELLATION, entries__amount__gte=0
    )
    own, other = "entries__account_id", "entries__counterparty"
    origin = Case(When(of_origin, then=own), default=other, output_field=BigIntegerField())
    destination = Case(When(of_origin, then=other), default=own, output_field=BigIntegerField())
    rows = (
        Transfer.objects.filter(Q(origin=None) | Q(destination=None))
        .filter(entries__kind__in=OF_TRANSFERS)
        .values("pk")
        .annotate(
            least_origin=Min(origin),
            greatest_origin=Max(origin),
            least_destination=Min(destination),
            greatest_destination=Max(destination),
        )
        .exclude(least_origin=F("greatest_origin"), least_destination=F("greatest_destination"))
        .values_list(
            *("pk", "least_origin", "greatest_origin"),
            *("least_destination", "greatest_destination"),
        )
    )
    for page in pages(rows):
        for pk, *ends in page:
            for check, least, greatest in ("origin", *ends[:2]), ("destination", *ends[2:]):
                if least != greatest:
                    yield Discrepancy(check, least, greatest, transfer=pk)


def _check_orphans() -> Iterator[Discrepancy]:
    """Check that the transfer of each entry exists."""
    there = Transfer.objects.filter(pk=OuterRef("transfer_id"))
    orphans = Entry.objects.filter(~Exists(there), transfer__isnull=False)
    for page in pages(orphans.values_list("pk", "account_id", "seq", "transfer_id")):
        for _, account, seq, transfer in page:
            yield Discrepancy("transfer", "a transfer", transfer, account, seq)

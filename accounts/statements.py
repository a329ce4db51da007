"""Statements: the entries of an account in a period, as JSON in pages or as CSV in a stream."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from django.utils import timezone
from rest_framework.renderers import BaseRenderer

from accounts.fields import iso
from accounts.models import STATEMENT_COLUMNS, Account, Entry, EntryQuerySet

# Characters that begin a formula in a spreadsheet (OWASP, "CSV Injection"). The signs = + - @
# have a full-width form too.
FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n")
ROWS_AT_A_TIME = 1000


@dataclass(frozen=True)
class Statement:
    """The entries of an account from `start` (included; None: from its opening) to `end` (not).

    No entry is dated before an earlier one, so the period is a range of `seq`: two index look-ups
    find its ends, and with them the balances.

    Until its first transfer an account may change its currency, which closes it in the old one
    and opens it in the new one. A statement is in the `currency` at its end, and leaves out
    entries in another currency.
    """

    account: Account
    currency: str
    start: datetime | None
    end: datetime
    opening_balance: int
    closing_balance: int
    # The `seq` of the last entry before the period, and of the last one in it.
    after: int
    until: int

    @classmethod
    def of(cls, account: Account, start: datetime | None, end: datetime | None) -> Self:
        """Look up the ends of a period and the balances at them. Without `end` it ends now."""
        end = end or up_to_now(account, start)
        entries = Entry.objects.filter(account=account.pk)
        before = entries.filter(date__lt=start).latest_state() if start else None
        last = entries.filter(date__lt=end).latest_state()
        currency = last.currency if last else account.currency
        is_same = before is not None and before.currency == currency
        return cls(
            account=account,
            currency=currency,
            start=start,
            end=end,
            opening_balance=before.balance_after if before and is_same else 0,
            closing_balance=last.balance_after if last else 0,
            after=before.seq if before else 0,
            until=last.seq if last else 0,
        )

    def entries(self) -> EntryQuerySet:
        """Return the entries, oldest first."""
        return Entry.objects.of(self.account.pk).filter(
            currency=self.currency, seq__gt=self.after, seq__lte=self.until
        )

    def json(self, page: Sequence[dict[str, Any]] | None) -> dict[str, Any]:
        """Return the statement with one page of entries; the balances are of the whole period."""
        return {
            "account": self.account.pk,
            "currency": self.currency,
            "from": self.start,
            "to": self.end,
            "opening_balance": self.opening_balance,
            "closing_balance": self.closing_balance,
            "entries": page,
        }

    def csv(self) -> Iterator[str]:
        """Yield the lines of the statement as CSV (RFC 4180): a header, the entries, a total.

        Entries do not change, so they can be read in pieces, in constant memory.
        """
        line = csv.writer(Echo()).writerow
        yield line(STATEMENT_COLUMNS)
        total, seq = 0, self.after
        while rows := list(self.entries().filter(seq__gt=seq).lines()[:ROWS_AT_A_TIME]):
            for row in rows:
                total += row["amount"]
                row["date"] = iso(row["date"])
                row["reference"] = harmless(row["reference"])
                yield line(row[column] for column in STATEMENT_COLUMNS)
            seq = rows[-1]["seq"]
        yield line(["total", iso(self.end), "", "", "", "", total, self.closing_balance])


class CSVRenderer(BaseRenderer):
    """Lets clients request CSV.

    It renders nothing: a renderer gets the whole response at once, and the statement is streamed.
    """

    media_type = "text/csv"
    format = "csv"


class Echo:
    """A file whose `write` returns the text."""

    def write(self, line: str) -> str:
        return line


def up_to_now(account: Account, start: datetime | None) -> datetime:
    """Return an end of the period that includes every entry.

    The last entry may be dated later than now, if the clock of another server is ahead. The start
    may be later than now, if the clock of a client is ahead; then the period is empty.
    """
    after_last = account.last_date and account.last_date + timedelta(microseconds=1)
    return max(filter(None, [timezone.now(), after_last, start]))


def harmless(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would read as a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text

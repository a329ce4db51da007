"""What happened on an account: its entries of a period, as JSON in pages or as CSV in a stream."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from django.utils import timezone
from rest_framework.renderers import JSONRenderer

from accounts.models import STATEMENT_COLUMNS, Account, Entry, EntryQuerySet

# Characters that begin a formula in a spreadsheet (OWASP, "CSV Injection"), the signs also in
# full width: = + - @.
FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n")
ROWS_AT_A_TIME = 1000


@dataclass(frozen=True)
class Statement:
    """The entries of an account from `start` (included; None: from its opening) to `end` (not).

    Without `end` it is up to now. Entries are never written before an existing one, so the
    period is a range of `seq`: two index look-ups find its ends, and with them the balances.

    Until its first transfer an account may change its currency, which closes it in the old one
    and opens it in the new one. A statement is in the `currency` at its end, and leaves out the
    entries in another.
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
        """Look up the ends of a period, and the balances at them."""
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
        """The entries, oldest first."""
        return Entry.objects.of(self.account.pk).filter(
            currency=self.currency, seq__gt=self.after, seq__lte=self.until
        )

    def json(self, page: Sequence[dict[str, Any]] | None) -> dict[str, Any]:
        """The statement with one page of its entries; the balances are of the whole period."""
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
        """The lines of the statement as CSV (RFC 4180): a header, the entries, a total.

        Entries do not change, so reading them piece by piece gives one consistent whole, in
        constant memory.
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


class CSVRenderer(JSONRenderer):
    """Lets clients ask for CSV. The statement streams by itself; an error is told as JSON."""

    media_type = "text/csv"
    format = "csv"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        if renderer_context:
            renderer_context["response"]["Content-Type"] = JSONRenderer.media_type
        return super().render(data, JSONRenderer.media_type, renderer_context)


class Echo:
    """A file that hands back what is written to it."""

    def write(self, line: str) -> str:
        return line


def up_to_now(account: Account, start: datetime | None) -> datetime:
    """The end of a period that leaves nothing out.

    The last entry may be dated ahead, by another server whose clock is; and so may the start, of
    a client's, which makes the period empty.
    """
    after_last = account.last_date and account.last_date + timedelta(microseconds=1)
    return max(filter(None, [timezone.now(), after_last, start]))


def iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def harmless(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text

"""Reading the ledger as of one moment, a page at a time."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.models import DateTimeField, Func, Max, QuerySet
from django.db.transaction import TransactionManagementError

from accounts.models import Entry

# Rows read at once: enough to make a query's overhead small, few enough to hold.
PAGE = 5_000

# Plain strings, because those of the enumeration are slower to compare.
KINDS = OPENING, TRANSFER, CANCELLATION, ADJUSTMENT, CLOSING = tuple(Entry.Kind.values)
OF_TRANSFERS = {TRANSFER, CANCELLATION}

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

START_SNAPSHOT = {
    "postgresql": ["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"],
    "mysql": [
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ],
    # Not the IMMEDIATE of the settings, which would block all writers.
    "sqlite": ["BEGIN DEFERRED"],
}


@contextmanager
def snapshot() -> Iterator[None]:
    """Let all queries within it see the database as it is when the first one runs.

    It blocks nobody, and it cannot write. Raises TransactionManagementError inside another
    transaction, whose view of the database is already fixed.
    """
    if connection.in_atomic_block:
        raise TransactionManagementError("A snapshot needs its own transaction")
    with connection.cursor() as cursor:
        for statement in START_SNAPSHOT[connection.vendor]:
            cursor.execute(statement)
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


def estimated_entries() -> int:
    """Return about how many entries there are, without counting them."""
    return Entry.objects.aggregate(last=Max("pk"))["last"] or 0


def pages(rows: "QuerySet[Any, Any]") -> Iterator[list[Any]]:
    """Yield rows in lists, ordered by primary key, which is the first value of each row."""
    rows = rows.order_by("pk")
    page = list(rows[:PAGE])
    while page:
        yield page
        if len(page) < PAGE:
            break
        page = list(rows.filter(pk__gt=page[-1][0])[:PAGE])


class _InUtc(Func):
    """A date; on PostgreSQL without its zone, since Django is slow to read one that has it."""

    arity = 1
    template = "%(expressions)s"
    output_field = DateTimeField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="%(expressions)s AT TIME ZONE 'UTC'", **context
        )


def entry_pages() -> Iterator[list[Sequence[Any]]]:
    """Yield all entries in lists, ordered by account and seq, as tuples of ENTRY_FIELDS.

    A page is the rest of an account, and then the accounts after it. One condition on both columns
    would be equivalent, but not every database would use the index for it.
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


def side_by_side(*streams: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, list[Any]]]:
    """Merge streams of (key, value), each in the order of its distinct keys.

    Yields each key with its value in each stream, None where a stream has none.
    """
    iterators = [iter(stream) for stream in streams]
    nexts = [next(iterator, None) for iterator in iterators]
    while keys := [pair[0] for pair in nexts if pair]:
        key = min(keys)
        yield key, [pair[1] if pair and pair[0] == key else None for pair in nexts]
        for index, pair in enumerate(nexts):
            if pair and pair[0] == key:
                nexts[index] = next(iterators[index], None)

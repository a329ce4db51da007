"""Fill a migrated, empty PostgreSQL database with accounts and any number of transfers.

    python -m bench.fill --transfers 1000000 --accounts 10000

The ledger opens the accounts. The transfers and their signed entries are computed here and copied
into the tables: minutes for ten million, which would take the ledger hours. `verify_ledger` accepts
the result.

The users are STAFF, a MERCHANT with up to 1000 accounts, and customers with one to three accounts
each. A few accounts have many transfers, and most have few.
"""

import argparse
import os
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import django
from django.conf import settings

if not settings.configured:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "almaFintech.settings")
    django.setup()

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from tqdm import tqdm

from accounts import ledger
from accounts.chain import content_of
from accounts.models import Account, Entry, Transfer
from accounts.rules import Kind
from almaFintech.db import chains, clock
from login.models import Profile

# The names of the users; the customers are customer-1, customer-2 and so on.
STAFF, MERCHANT, CUSTOMER = "staff", "merchant", "customer"
MERCHANT_ACCOUNTS = 1000
CURRENCIES = ("USD", "EUR", "USD", "ARS", "USD")
# No account runs out of money.
OPENING_BALANCE, MOST_SENT = 10**15, 10**6
REFERENCES = ("rent", "order {}", *[""] * 18)
CANCELLED_SHARE = 0.01
# The first of 1000 accounts has a tenth of the transfers, the first hundred have almost half.
SKEW = 3
SPAN = timedelta(days=365)
AT_A_TIME = 100_000

TRANSFER_COLUMNS = (
    "id, date, origin_id, destination_id, currency, balance, cancelled, reference, created_by_id, "
    "cancelled_by_id, cancelled_at"
)
ENTRY_COLUMNS = (
    "account_id, seq, kind, transfer_id, counterparty, currency, amount, balance_after, date, "
    "by_id, reason, digest"
)


def fill(transfers: int, accounts: int) -> None:
    """Open accounts, and book transfers between them that are spread over the last year.

    The database user must be a superuser.
    """
    if connection.vendor != "postgresql" or Account.objects.exists():
        raise SystemExit("This fills PostgreSQL only, and only while there are no accounts.")
    if accounts < 2 * len(CURRENCIES):
        raise SystemExit("Each currency needs two accounts.")
    opened = timezone.now() - SPAN
    books = Books(open_accounts(accounts, opened))
    with transaction.atomic(), connection.cursor() as cursor, without_indexes(cursor):
        # Otherwise a trigger looks up every account and every transfer that a row refers to.
        cursor.execute("SET LOCAL session_replication_role = replica")
        with tqdm(total=transfers, unit=" transfers", disable=None) as bar:
            for first in range(1, transfers + 1, AT_A_TIME):
                ids = range(first, min(first + AT_A_TIME, transfers + 1))
                for id in ids:
                    books.add(id, opened + SPAN / (transfers + 1) * id)
                books.copy(cursor)
                bar.update(len(ids))
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
        cursor.execute(
            "SELECT setval(pg_get_serial_sequence('accounts_transfer', 'id'), %s)", [transfers]
        )
        books.close()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def open_accounts(number: int, date: datetime) -> dict[Account, int]:
    """Create the users and open the accounts; return these with the ids of their owners."""
    accounts = [
        Account(currency=CURRENCIES[index % len(CURRENCIES)], balance=OPENING_BALANCE + index)
        for index in range(number)
    ]
    with clock.set_to(date):
        for first in range(0, number, 1000):
            ledger.open_accounts(accounts[first : first + 1000])
    # The merchant's accounts are among the busy ones and among the quiet ones. Of the others, each
    # customer has one to three.
    names = [
        MERCHANT
        if index % 2 == 0 and index < 2 * MERCHANT_ACCOUNTS
        else f"{CUSTOMER}-{index // 3 + 1}"
        for index in range(number)
    ]
    password = make_password(None)
    users = User.objects.bulk_create(
        User(username=name, password=password, is_staff=name == STAFF)
        for name in dict.fromkeys([STAFF, MERCHANT, *names])
    )
    profiles = Profile.objects.bulk_create(Profile(user=user) for user in users)
    profile_of = {profile.user.username: profile for profile in profiles}
    access = Profile.accounts.through
    access.objects.bulk_create(
        access(profile_id=profile_of[name].pk, account_id=account.pk)
        for name, account in zip(names, accounts, strict=True)
    )
    return {
        account: profile_of[name].user_id for name, account in zip(names, accounts, strict=True)
    }


@contextmanager
def without_indexes(cursor: Any) -> Iterator[None]:
    """Build the indexes afterwards, which is quicker than row by row; constraints stay."""
    cursor.execute(
        """
        SELECT indexname, indexdef FROM pg_indexes
        WHERE tablename = ANY(%s) AND indexname NOT IN (SELECT conname FROM pg_constraint)
        """,
        [[Transfer._meta.db_table, Entry._meta.db_table]],
    )
    indexes = dict(cursor.fetchall())
    cursor.execute(f"DROP INDEX {', '.join(indexes)}")
    yield
    cursor.execute("; ".join(indexes.values()))


class Books:
    """Transfers and entries that are still to be written, and the accounts as they then are."""

    def __init__(self, owners: dict[Account, int]) -> None:
        self.owners = owners
        self.accounts = [*owners]
        self.by_currency = defaultdict(list)
        for account in owners:
            self.by_currency[account.currency].append(account)
        self.key = chains.keys()[0]
        self.draw = random.Random(1)
        # Lines in the text format of COPY.
        self.transfers: list[str] = []
        self.entries: list[str] = []

    def add(self, id: int, date: datetime) -> None:
        """Book a transfer, and cancel one in a hundred at once."""
        origin = self._choose(self.accounts)
        destination = origin
        while destination is origin:
            destination = self._choose(self.by_currency[origin.currency])
        sender, receiver = self.owners[origin], self.owners[destination]
        amount = self.draw.randint(1, MOST_SENT)
        reference = REFERENCES[id % len(REFERENCES)].format(id)
        booked = Kind.TRANSFER.value
        self._enter(origin, booked, id, destination, -amount, date, sender, reference)
        self._enter(destination, booked, id, origin, amount, date, sender, reference)
        cancelled = self.draw.random() < CANCELLED_SHARE
        if cancelled:
            back = Kind.CANCELLATION.value
            self._enter(destination, back, id, origin, -amount, date, receiver, reference)
            self._enter(origin, back, id, destination, amount, date, receiver, reference)
        self.transfers.append(
            f"{id}\t{date}\t{origin.pk}\t{destination.pk}\t{origin.currency}\t{amount}\t{cancelled}"
            f"\t{reference}\t{sender}\t" + (f"{receiver}\t{date}\n" if cancelled else "\\N\t\\N\n")
        )

    def _choose(self, accounts: Sequence[Account]) -> Account:
        return accounts[int(self.draw.random() ** SKEW * len(accounts))]

    def _enter(
        self,
        account: Account,
        kind: str,
        transfer: int,
        other: Account,
        amount: int,
        date: datetime,
        by: int,
        reason: str,
    ) -> None:
        account.last_seq += 1
        account.last_date = date
        account.balance += amount
        fields: Any = (
            *(account.pk, account.last_seq, kind, transfer, other.pk, account.currency),
            *(amount, account.balance, date, by, reason),
        )
        digest = self.key.link(bytes(account.seal), content_of(*fields))
        account.seal = self.key.seal(digest)
        self.entries.append("\t".join(map(str, fields)) + f"\t\\\\x{digest.hex()}\n")

    def copy(self, cursor: Any) -> None:
        """Write the transfers and entries."""
        for table, columns, lines in (
            ("accounts_transfer", TRANSFER_COLUMNS, self.transfers),
            ("accounts_entry", ENTRY_COLUMNS, self.entries),
        ):
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                copy.write("".join(lines))
            lines.clear()

    def close(self) -> None:
        """Write the accounts."""
        every: QuerySet[Account] = QuerySet(Account)
        every.bulk_create(
            self.accounts,
            batch_size=10_000,
            update_conflicts=True,
            update_fields=["balance", "last_seq", "last_date", "seal"],
            unique_fields=["id"],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--transfers", type=int, required=True)
    parser.add_argument("--accounts", type=int, default=10_000)
    options = parser.parse_args()
    fill(options.transfers, options.accounts)


if __name__ == "__main__":
    main()

"""Measurement of the bytes that a transfer takes on disk, with its entries and indexes.

Run on an empty database: `python scripts/with_postgres.py python -m bench.size`.
"""

import os
import random

import django

TRANSFERS = 100_000
ACCOUNTS = 1_000
AT_A_TIME = 1_000


def main() -> None:
    from django.core.management import call_command
    from django.db import connection

    from accounts import ledger
    from accounts.models import Account, Entry, Transfer

    call_command("migrate", verbosity=0)
    accounts = ledger.open_accounts(
        Account(currency="USD", balance=10**12) for _ in range(ACCOUNTS)
    )
    draw = random.Random(1)
    for _ in range(TRANSFERS // AT_A_TIME):
        pairs = [draw.sample(accounts, 2) for _ in range(AT_A_TIME)]
        ledger.post(
            Transfer(origin=origin, destination=destination, balance=draw.randint(1, 10**6))
            for origin, destination in pairs
        )
    with connection.cursor() as cursor:
        for model in (Transfer, Entry):
            table = model._meta.db_table
            cursor.execute("SELECT pg_table_size(%s), pg_indexes_size(%s)", [table, table])
            rows, indexes = cursor.fetchone()
            print(f"{table}: {rows / TRANSFERS:.0f} + {indexes / TRANSFERS:.0f} in indexes")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "almaFintech.settings")
    django.setup()
    main()

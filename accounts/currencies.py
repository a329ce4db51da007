"""The currencies an account may be opened in: the active codes of ISO 4217."""

from functools import cache
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet
from iso4217 import Currency

# Codes that ISO 4217 sets aside: XTS for tests, XXX for "no currency".
NOT_MONEY = {"XTS", "XXX"}

# Each MIN is one look-up in the index.
NEXT_CURRENCIES = """
WITH RECURSIVE used (currency) AS (
    SELECT min(currency) FROM ({rows}) AS rows_of_all
    UNION ALL
    SELECT (SELECT min(currency) FROM ({rows}) AS others WHERE others.currency > used.currency)
    FROM used WHERE used.currency IS NOT NULL
)
SELECT currency FROM used WHERE currency IS NOT NULL
"""


@cache
def currency_choices() -> list[tuple[str, str]]:
    """Return pairs of `(code, "code name")`, ordered by code.

    The model refers to this function, so an update of the iso4217 package needs no migration.
    """
    return sorted(
        (currency.code, f"{currency.code} {currency.currency_name}")
        for currency in Currency
        if currency.code not in NOT_MONEY
    )


def in_units(micro_units: int, currency: str) -> str:
    """Format an amount for people: 1_250_000 micro units of USD are "1.25 USD"."""
    units, rest = divmod(abs(micro_units), 1_000_000)
    decimals = f"{rest:06}".rstrip("0").ljust(2, "0")
    sign = "-" if micro_units < 0 else ""
    return f"{sign}{units:,}.{decimals}\N{NO-BREAK SPACE}{currency}"


def currencies_in_use(rows: QuerySet[Any]) -> list[str]:
    """Return the currencies of `rows` in order, by an index that begins with the currency.

    The statement looks up the next currency after each one; DISTINCT would read all rows. On
    MariaDB it is the other way round: DISTINCT skips through the index, and the look-ups do not.
    """
    codes = rows.order_by("currency").values_list("currency", flat=True)
    if connection.vendor == "mysql":
        return list(codes.distinct())
    try:
        sql, values = codes.order_by().query.sql_with_params()
    except EmptyResultSet:
        return []
    with connection.cursor() as cursor:
        cursor.execute(NEXT_CURRENCIES.format(rows=sql), (*values, *values))
        return [code for [code] in cursor.fetchall()]

"""The currencies an account may be opened in: the active codes of ISO 4217."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.db.models import QuerySet
from iso4217 import Currency

# Codes that ISO 4217 sets aside: XTS for tests, XXX for "no currency".
NOT_MONEY = {"XTS", "XXX"}


@cache
def currency_choices() -> list[tuple[str, str]]:
    """Return `(code, "code name")` by code.

    The model refers to this function, so a new table of the iso4217 package makes no migration.
    """
    return sorted(
        (currency.code, f"{currency.code} {currency.currency_name}")
        for currency in Currency
        if currency.code not in NOT_MONEY
    )


def in_units(micro_units: int, currency: str) -> str:
    """Return an amount as people write it: 1_250_000 micro units of USD are "1.25 USD"."""
    units, rest = divmod(abs(micro_units), 1_000_000)
    decimals = f"{rest:06}".rstrip("0").ljust(2, "0")
    sign = "-" if micro_units < 0 else ""
    return f"{sign}{units:,}.{decimals}\N{NO-BREAK SPACE}{currency}"


def currencies_in_use(rows: QuerySet[Any]) -> Iterator[str]:
    """The currencies of `rows`, found by hops along an index, where DISTINCT would read it all."""
    currencies = rows.order_by("currency").values_list("currency", flat=True)
    code = currencies.first()
    while code is not None:
        yield code
        code = currencies.filter(currency__gt=code).first()

"""Sums of each currency.

Openings and adjustments add money, closings remove it, and transfers and cancellations only move
it.
"""

from collections import defaultdict
from collections.abc import Iterator

from accounts.verification.discrepancies import Discrepancy
from accounts.verification.reading import (
    ADJUSTMENT,
    CANCELLATION,
    CLOSING,
    KINDS,
    OPENING,
    TRANSFER,
)


class Totals(defaultdict[str, defaultdict[str, int]]):
    """For each currency the sums of the amounts by kind of entry, and of balances as "balance"."""

    def __init__(self) -> None:
        zeros = dict.fromkeys(("balance", *KINDS), 0)
        # An unknown kind is summed like the others.
        super().__init__(lambda: defaultdict(int, zeros))


def check_totals(totals: Totals) -> Iterator[Discrepancy]:
    for currency, sums in sorted(totals.items()):
        explained = sums[OPENING] + sums[ADJUSTMENT] + sums[CLOSING]
        for check, expected, found in (
            ("total", explained, sums["balance"]),
            ("total_transfer", 0, sums[TRANSFER]),
            ("total_cancellation", 0, sums[CANCELLATION]),
        ):
            if found != expected:
                yield Discrepancy(check, expected, found, currency=currency)

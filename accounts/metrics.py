"""The ledger's metrics for Prometheus. `docs/operating.md` describes each of them.

Movements count once they are committed: a transaction that is rolled back is not counted, and one
that is retried counts once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import transaction
from prometheus_client import Counter, Histogram

from almaFintech.refusals import Refusal

TRANSFERS = Counter("wallet_transfers", "Transfers booked.", ["currency"])
TRANSFERRED = Counter("wallet_transferred_micro_units", "Amounts of transfers.", ["currency"])
CANCELLATIONS = Counter("wallet_cancellations", "Transfers cancelled.", ["currency"])
CANCELLED = Counter("wallet_cancelled_micro_units", "Amounts of cancelled transfers.", ["currency"])
REFUSALS = Counter("wallet_refusals", "Movements refused.", ["operation", "code"])
SECONDS = Histogram(
    "wallet_ledger_seconds",
    "Time of one call of the ledger, including the wait for locks.",
    ["operation"],
)


# A currency and an amount in it, in micro units.
Amount = tuple[str, int]


@contextmanager
def measured(operation: str) -> Iterator[None]:
    """Observe the time of a call of the ledger, and count the refusal that it raises."""
    with SECONDS.labels(operation).time():
        try:
            yield
        except Refusal as refusal:
            refused(operation, refusal)
            raise


def refused(operation: str, refusal: Refusal) -> None:
    REFUSALS.labels(operation, refusal.code).inc()


def booked(amounts: Sequence[Amount]) -> None:
    _count_on_commit(TRANSFERS, TRANSFERRED, amounts)


def cancelled(amounts: Sequence[Amount]) -> None:
    _count_on_commit(CANCELLATIONS, CANCELLED, amounts)


def _count_on_commit(number: Counter, total: Counter, amounts: Sequence[Amount]) -> None:
    def count() -> None:
        for code in {currency for currency, _ in amounts}:
            of_currency = [amount for currency, amount in amounts if currency == code]
            number.labels(code).inc(len(of_currency))
            total.labels(code).inc(sum(of_currency))

    # Robust: the money has moved, so a full disk must not turn the response into an error.
    transaction.on_commit(count, robust=True)

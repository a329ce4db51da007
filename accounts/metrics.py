"""What Prometheus is told of the ledger. `docs/operating.md` says what each metric means.

Movements are counted once they are committed, so a transaction that is undone or run again
counts for what it came to.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import transaction
from prometheus_client import Counter, Histogram

from accounts import models
from almaFintech.refusals import Refusal

TRANSFERS = Counter("wallet_transfers", "Transfers booked.", ["currency"])
TRANSFERRED = Counter("wallet_transferred_micro_units", "Amounts of transfers.", ["currency"])
CANCELLATIONS = Counter("wallet_cancellations", "Transfers cancelled.", ["currency"])
CANCELLED = Counter("wallet_cancelled_micro_units", "Amounts given back.", ["currency"])
REFUSALS = Counter("wallet_refusals", "Movements refused.", ["operation", "code"])
SECONDS = Histogram(
    "wallet_ledger_seconds",
    "Time that the ledger took for one call, waiting for locks included.",
    ["operation"],
)


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


def booked(transfers: "Iterable[models.Transfer]") -> None:
    _count_on_commit(TRANSFERS, TRANSFERRED, transfers)


def cancelled(transfers: "Iterable[models.Transfer]") -> None:
    _count_on_commit(CANCELLATIONS, CANCELLED, transfers)


def _count_on_commit(
    number: Counter, amount: Counter, transfers: "Iterable[models.Transfer]"
) -> None:
    movements = [(transfer.currency, transfer.balance) for transfer in transfers]

    def count() -> None:
        for currency, balance in movements:
            number.labels(currency).inc()
            amount.labels(currency).inc(balance)

    # Robust: the money has moved, so a full disk must not turn the answer into an error.
    transaction.on_commit(count, robust=True)

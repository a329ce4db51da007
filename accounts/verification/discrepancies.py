"""Differences between the ledger and its expected state."""

from typing import Any, NamedTuple


class Discrepancy(NamedTuple):
    """One difference between the ledger and its expected state.

    `account` and `seq` name the entry, as far as there is one; `expected` and `found` are values
    of that field, None if absent.
    """

    check: str
    expected: Any
    found: Any
    account: int | None = None
    seq: int | None = None
    transfer: int | None = None
    currency: str | None = None
    record: int | None = None

    def __str__(self) -> str:
        subject = {
            "account": self.account,
            "entry": self.seq,
            "transfer": self.transfer,
            "currency": self.currency,
            "record": self.record,
        }
        where = " ".join(f"{name} {value}" for name, value in subject.items() if value is not None)
        expected, found = as_text(self.expected), as_text(self.found)
        return f"{where}: {self.check} expected {expected}, found {found}"


def as_text(value: Any) -> str:
    """Return a value of a discrepancy as text: bytes in hexadecimal, dates in ISO 8601."""
    if value is None:
        return "none"
    if isinstance(value, (bytes, memoryview)):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)

"""The hash chain of an account's entries.

The digest of an entry is SHA-256 (FIPS 180-4) over the 32 bytes of the digest before it, zeros
for the first entry, and then the entry's own fields as a JSON array (RFC 8259) without white
space in ASCII, in this order:

    account, seq, kind, transfer, counterparty, currency, amount, balance_after, date, by, reason

Numbers are JSON numbers, what is absent is null, and the date is ISO 8601 in UTC with six digits
of a second, such as "2026-01-31T12:00:00.000000+00:00". Whoever knows the digest of one entry can
thus tell whether it or any entry before it was changed later.
"""

import hashlib
import json
from datetime import UTC, datetime

GENESIS = bytes(32)
_encode = json.JSONEncoder(separators=(",", ":")).encode


def digest_of(
    previous: bytes,
    account: int,
    seq: int,
    kind: str,
    transfer: int | None,
    counterparty: int | None,
    currency: str,
    amount: int,
    balance_after: int,
    date: datetime,
    by: int | None,
    reason: str,
) -> bytes:
    """Return the 32 bytes of the digest of an entry, given the digest before it."""
    fields = [
        account,
        seq,
        kind,
        transfer,
        counterparty,
        currency,
        amount,
        balance_after,
        date.astimezone(UTC).isoformat(timespec="microseconds"),
        by,
        reason,
    ]
    return hashlib.sha256(previous + _encode(fields).encode("ascii")).digest()

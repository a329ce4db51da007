"""The content of an entry, as `almaFintech.db.chains` signs it.

It is the entry's fields as a JSON array (RFC 8259) without white space in ASCII, in this order:

    account, seq, kind, transfer, counterparty, currency, amount, balance_after, date, by, reason

The entry that closes an account is followed by `FOR_GOOD`; one that closes a currency is not.
Numbers are JSON numbers, absent values are null, and the date is ISO 8601 in UTC with microseconds,
such as "2026-01-31T12:00:00.000000+00:00".
"""

import json
from datetime import UTC, datetime

# No row holds the seal of a deleted account. Without this, its chain could be truncated after the
# closing of an earlier currency, and would still end in a closing.
FOR_GOOD = b" for good"

_encode = json.JSONEncoder(separators=(",", ":")).encode


def content_of(
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
    """Return the content that the digest of an entry signs."""
    return _encode(
        [
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
    ).encode("ascii")

"""Verification that the records of staff are unchanged."""

from collections.abc import Iterator
from typing import Any

from almaFintech.db import chains
from audit.models import End, Record

# Rows read at once.
PAGE = 5_000


class Verification:
    """One pass over the chain of records.

    recorded: number and digest of a record that were stored elsewhere.

    Attributes, complete once `run` is exhausted:
        seq, digest: of the last record.
    """

    def __init__(self, recorded: tuple[int, bytes] | None = None) -> None:
        self.recorded = recorded
        self.seq = 0
        self.digest = b""

    def run(self) -> Iterator[tuple[str, Any, Any, int | None]]:
        """Yield each difference as (check, expected, found, number of the record).

        The checks are `record_seq`: records count 1, 2, 3 ... without a gap; `record`: the digest
        of each follows from the one before, by the key of the ledger; `trail`: the end is the last
        record's, and sealed by that key; `record_head`: the recorded record is still there.
        """
        recorded_seq, recorded_digest = self.recorded or (None, None)
        found_digest = None
        chain = chains.Follower(End.NAME)
        records = Record.objects.order_by("seq")
        # Without a lower bound: the admin also shows a forged record with a number below 1.
        page = list(records[:PAGE])
        while page:
            for record in page:
                if record.seq != self.seq + 1:
                    yield "record_seq", self.seq + 1, record.seq, record.seq
                self.seq, self.digest = record.seq, bytes(record.digest)
                if self.seq == recorded_seq:
                    found_digest = self.digest
                if not chain.accepts(record.content(), self.digest):
                    yield "record", "a digest that the key gives", self.digest, self.seq
            page = list(records.filter(seq__gt=self.seq)[:PAGE])
        end = End.objects.first()
        sealed = f"the seal of record {self.seq}"
        if end is None:
            yield "trail", sealed, None, None
        elif end.seq != self.seq or not chain.ends_in(bytes(end.seal)):
            yield "trail", sealed, f"that of record {end.seq}", None
        if found_digest != recorded_digest:
            yield "record_head", recorded_digest, found_digest, recorded_seq
